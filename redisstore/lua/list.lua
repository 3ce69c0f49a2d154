-- ARGV: cursor, empty at the beginning · pattern · about how many keys to look at
-- Answers, after the three usual things of which the value is the next cursor: key, value without its outcome, milliseconds
-- left, and so on. Outcomes stay where they are.
local from = ARGV[1] == '' and '0' or ARGV[1]
local found = redis.call('SCAN', from, 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local answer = {OK, found[1], 0}

-- without_outcome reads as much of a record as it is one; the client judges it.
local function without_outcome(key, head)
  if #head < STATE_LENGTH + HEAD_LENGTH then
    return head
  end
  local outcome = #head + struct.unpack('>I4', head, IDENTITY_AT)
  local notes = outcome + struct.unpack('>I4', head, OUTCOME_AT)
  local value = head .. redis.call('GETRANGE', key, #head, outcome - 1)
  if #value < outcome then
    return value
  end
  return value .. redis.call('GETRANGE', key, notes, -1)
end

for _, key in ipairs(found[2]) do
  local head = redis.pcall('GETRANGE', key, 0, STATE_LENGTH + HEAD_LENGTH - 1)
  if type(head) == 'string' and head ~= '' then
    table.insert(answer, key)
    table.insert(answer, without_outcome(key, head))
    table.insert(answer, tostring(redis.call('PTTL', key)))
  end
end
return answer
