-- ARGV: the first entry, or "(" and the one before it · the last one · how many
-- Answers, after the three usual things: entry's id, entry, and so on.
local from = ARGV[1]
if retain > 0 then
  local over = oldest()
  if tonumber(string.match(from, '%d+')) < tonumber(over) then
    from = over
  end
end
local answer = {OK, '', 0}
for _, found in ipairs(redis.call('XRANGE', KEYS[2], from, ARGV[2], 'COUNT', ARGV[3])) do
  table.insert(answer, found[1])
  table.insert(answer, found[2][2])
end
return answer
