-- The end of a Complete that was not as usual.
local r = mine and fields(value) or parse(value)
if not r then
  return UNREADABLE
end
if r.owner ~= string.sub(ARGV[1], 3) then
  return LOST
end
if is_running(r) then
  tell(STEP_COMPLETED, r, string.byte(ARGV[3], 19))
  local kept = string.sub(value, STATE_LENGTH + 1, STATE_LENGTH + HEAD_LENGTH + #r.identity)
  redis.call('SET', KEYS[1], ARGV[3] .. kept .. ARGV[4], 'PX', ARGV[2] == '0' and r.retain or ARGV[2])
  hint(r)
  return OK
end
local outcome = struct.unpack('>I4', ARGV[3], OUTCOME_AT)
local same = r.state == DONE and r.kind == string.byte(ARGV[3], 19) and r.outcome == string.sub(ARGV[4], 1, outcome)
return same and OK or LOST
