-- ARGV: owner
local r, unreadable = read()
if unreadable then
  return unreadable
end
if not r then
  leave_residue(ARGV[1], 0, 0)
elseif r.state == RESIDUE then
  leave_residue(ARGV[1], r.fence, r.left) -- its fence must not be forgotten sooner
elseif is_running(r) and r.owner == ARGV[1] then
  tell(STEP_RELEASED, r)
  leave_residue(r.owner, r.fence, 2 * r.lease)
  hint(r)
else
  return LOST
end
return OK
