-- ARGV: the record as it is to be if the key is new · '1' when no new key may be taken · the fingerprints of the claim
local ACQUIRED, MISMATCH, DONE_ALREADY, STILL_RUNNING, IN_DOUBT, TOO_LATE = 1, 2, 3, 4, 5, 6

local claim = fields(ARGV[1])
local r, unreadable = read()
if unreadable then
  return unreadable
end

if not r then
  if ARGV[2] == '1' then
    return FULL
  end
  tell(STEP_ACQUIRED, claim)
  redis.call('SET', KEYS[1], ARGV[1], 'PX', claim.life)
  return {ACQUIRED, ARGV[1], claim.life}
end
if r.state == RESIDUE then
  if r.owner == claim.owner then
    return TOO_LATE
  end
  claim.fence = r.fence + 1
  tell(STEP_ACQUIRED, claim)
  return {ACQUIRED, write(claim), claim.life}
end

local matches = false
for i = 3, #ARGV do
  matches = matches or string.sub(r.identity, 1, #ARGV[i]) == ARGV[i]
end
if not matches then
  return {MISMATCH, r.value, r.left}
end
if not is_running(r) then
  return {DONE_ALREADY, r.value, r.left}
end
if r.owner == claim.owner then
  r.elapsed = r.elapsed + r.age
  tell_of_life(r)
elseif not lease_is_over(r) then
  return {STILL_RUNNING, r.value, r.left}
elseif may_rerun(r) then
  -- The identity stays the first one: every claim that matched so far still matches.
  r.owner, r.fence, r.attempt, r.elapsed = claim.owner, r.fence + 1, r.attempt + 1, 0
  tell(STEP_TAKEN_OVER, r)
else
  return {IN_DOUBT, r.value, r.left}
end
run(r)
r.lease, r.life, r.retain, r.notes = claim.lease, claim.life, claim.retain, claim.notes
return {ACQUIRED, write(r), r.life}
