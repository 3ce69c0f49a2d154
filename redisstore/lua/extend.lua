-- ARGV: owner · lease in milliseconds, 0 to give it up · notes
local r, unreadable = read()
if unreadable then
  return unreadable
end
if not r or not is_running(r) or r.owner ~= ARGV[1] then
  return LOST
end

local lease = tonumber(ARGV[2])
if lease > 0 then
  tell_of_life(r)
  run(r)
  r.lease = lease
else
  if r.state ~= GIVEN_UP or r.notes ~= ARGV[3] then
    tell(STEP_GIVEN_UP, r)
  end
  hint(r)
  r.state = GIVEN_UP -- the old length stays, for the residue
end
r.elapsed, r.notes = r.elapsed + r.age, ARGV[3]
write(r)
return OK
