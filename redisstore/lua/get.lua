-- The client judges what it reads. This is one script, so that value and expiry belong together and no replica answers.
local value = redis.call('GET', KEYS[1])
if not value then
  return OK
end
return {OK, value, redis.call('PTTL', KEYS[1])}
