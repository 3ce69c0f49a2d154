-- The end of a Complete that was not as usual. It takes from its arguments what the owner knows in any case.
local value = redis.call('GET', KEYS[1])
if not value then
  return LOST
end
local r, done = parse(value), fields(ARGV[2])
if not r then
  return UNREADABLE
end
if r.owner ~= done.owner then
  return LOST
end
if not is_running(r) then
  local same = r.state == DONE and r.kind == done.kind and r.outcome == done.outcome
  return same and OK or LOST
end
tell(STEP_COMPLETED, r, done.kind)
hint(r)
r.state, r.kind, r.outcome, r.notes, r.elapsed = DONE, done.kind, done.outcome, done.notes, 0
r.life = ARGV[4] == '0' and r.retain or tonumber(ARGV[4])
write(r)
return OK
