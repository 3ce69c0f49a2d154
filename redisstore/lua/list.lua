-- ARGV: cursor, empty at the beginning · pattern · about how many keys to look at
-- Answers, after the three usual things of which the value is the next cursor: key, value without its outcome, milliseconds
-- left, and so on. Outcomes stay where they are.
local from = ARGV[1] == '' and '0' or ARGV[1]
local found = redis.call('SCAN', from, 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local answer = {OK, found[1], 0}

-- without_outcome reads as much of a record as it is one; the client judges it.
local function without_outcome(key, head)
  if #head < HEAD_LENGTH then
    return head
  end
  local identity, notes = struct.unpack('>I3I3', head, LENGTHS_AT)
  return redis.call('GETRANGE', key, 0, HEAD_LENGTH + identity + notes - 1)
end

for _, key in ipairs(found[2]) do
  local head = redis.pcall('GETRANGE', key, 0, HEAD_LENGTH - 1)
  if type(head) == 'string' and head ~= '' then
    table.insert(answer, key)
    table.insert(answer, without_outcome(key, head))
    table.insert(answer, tostring(redis.call('PTTL', key)))
  end
end
return answer
