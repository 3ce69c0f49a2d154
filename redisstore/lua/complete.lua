-- ARGV: how the value begins, up to its check, if nothing has changed since its owner acquired the key · the value of the
-- record when it is done · how long that is kept in milliseconds if nothing has changed · how long the outcome is to be kept,
-- 0 for what the record says
-- This is how nearly every request ends without an audit trail, so it stands before the rest of its script, where even a
-- function that is not called takes time. It copies nothing, because Lua hashes every byte of every string. A value with the
-- owner's token and the expected check in its place is the record that its owner acquired.
if not KEYS[2] and redis.call('GETRANGE', KEYS[1], '0', '21') == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 0 -- OK
end

