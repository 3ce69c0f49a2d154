-- ARGV: how a value begins that is running, awaited by nobody, and the owner's · how long the outcome is kept in milliseconds,
-- 0 for what the claim said · the state · the outcome and all that follows
-- This is how nearly every request ends without an audit trail, so it stands before the rest of its script, where even a function that is not called
-- takes time. What is copied keeps the checks that it has: a value with the owner's token in its place is a record.
local value = redis.call('GET', KEYS[1])
if not value then
  return -1 -- LOST
end
local mine = string.sub(value, 1, 18) == ARGV[1]
if mine and not KEYS[2] then
  local a, b, c, d = string.byte(value, 67, 70) -- the length of the identity
  local kept = string.sub(value, 40, 74 + ((a * 256 + b) * 256 + c) * 256 + d)
  local life = ARGV[2] == '0' and struct.unpack('>I6', value, 61) or ARGV[2]
  redis.call('SET', KEYS[1], ARGV[3] .. kept .. ARGV[4], 'PX', life)
  return 0 -- OK
end

