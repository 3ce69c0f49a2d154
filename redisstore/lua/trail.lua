-- The beginning of the scripts that keep or read the audit trail. With one there is a second key, a stream, and a last argument:
-- level · how many milliseconds an entry is kept, 0 for ever · the note of the step.
local TOLD = '>BI6'
local STEP_ACQUIRED, STEP_TAKEN_OVER, STEP_EXTENDED, STEP_GIVEN_UP, STEP_COMPLETED = 1, 2, 3, 4, 5
local STEP_RELEASED, STEP_RESOLVED, STEP_FORCED = 6, 7, 8
local ALL = 2

local told = KEYS[2] and table.remove(ARGV)
local level, retain = 0, 0
if told then
  level, retain = struct.unpack(TOLD, told)
end

-- oldest is the moment in milliseconds before which entries are over.
local function oldest()
  local now = redis.call('TIME')
  return string.format('%.0f', math.max(0, now[1] * 1000 + math.floor(now[2] / 1000) - retain))
end

-- lacks returns a command that a step with an entry takes and that the user may not use, nil if there is none.
local function lacks()
  local may = redis.acl_check_cmd
  return not may('XADD', KEYS[2], '*', 'entry', '') and 'XADD'
    or not may('PEXPIRE', KEYS[2], '1') and 'PEXPIRE'
    or not may('PERSIST', KEYS[2]) and 'PERSIST'
    or not may('TIME') and 'TIME'
    or not may('SET', KEYS[1], '') and 'SET'
    or nil
end

-- tell keeps a step of the attempt. It goes before the record is written, and after the rights for all of it were asked for:
-- what fails here has changed nothing. For how long entries are kept is for those to say who run things: an operator removes
-- none, and makes no trail shorter.
local function tell(step, r, kind)
  if not told then
    return
  end
  local lacking = lacks()
  if lacking then
    error({err = 'NOPERM the user may not ' .. lacking})
  end
  local entry = sealed(struct.pack('>BBI3I5BI3', VERSION, step, r.attempt, r.fence, kind or 0, #r.identity),
    r.identity .. string.sub(told, struct.size(TOLD) + 1))
  if step == STEP_RESOLVED or step == STEP_FORCED then
    local left = redis.call('PTTL', KEYS[2])
    redis.call('XADD', KEYS[2], '*', 'entry', entry)
    if left ~= -1 and left < retain then
      redis.call('PEXPIRE', KEYS[2], retain)
    end
  elseif retain == 0 then
    redis.call('XADD', KEYS[2], '*', 'entry', entry)
    redis.call('PERSIST', KEYS[2])
  else
    redis.call('XADD', KEYS[2], 'MINID', oldest(), '*', 'entry', entry)
    redis.call('PEXPIRE', KEYS[2], retain)
  end
end

-- tell_of_life keeps a sign of life, if signs of life are kept or the lease had been given up.
local function tell_of_life(r)
  if level == ALL or r.state == GIVEN_UP then
    tell(STEP_EXTENDED, r)
  end
end

