-- Marks the record, so that its end is told.
local r, unreadable = read()
if unreadable then
  return unreadable
end
if not r or not is_running(r) then
  return LOST -- it has ended
end
if r.state == RUNNING then
  r.state = AWAITED
  redis.call('SET', KEYS[1], packed(r), 'KEEPTTL')
end
return OK
