-- ARGV: fence · '1' to force it · kind, 0 to make the key free · the outcome · notes · how long the outcome is kept in
-- milliseconds, 0 for what the claim said
local r, unreadable = read()
if unreadable then
  return unreadable
end
if not r or r.state == RESIDUE or r.fence ~= tonumber(ARGV[1]) then
  return LOST
end
local force = ARGV[2] == '1'
local in_doubt = is_running(r) and lease_is_over(r) and not may_rerun(r)
if not in_doubt and not force then
  return LOST
end

if force then
  r.fence = r.fence + 1
end
local kind = tonumber(ARGV[3])
tell(force and STEP_FORCED or STEP_RESOLVED, r, kind)
if kind == 0 then
  leave_residue(r.owner, r.fence, 2 * r.lease)
else
  r.state, r.kind, r.outcome, r.notes, r.elapsed = RESOLVED, kind, ARGV[4], ARGV[5], 0
  r.life = ARGV[6] == '0' and r.retain or tonumber(ARGV[6])
  write(r)
end
changed()
return OK
