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
  return string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) - retain)
end

-- tell keeps a step of the attempt. It goes before the record is written: what fails here has changed nothing.
local function tell(step, r, kind)
  if not told then
    return
  end
  local entry = sealed(struct.pack('>BBI3I5BI3', VERSION, step, r.attempt, r.fence, kind or 0, #r.identity),
    r.identity .. string.sub(told, struct.size(TOLD) + 1))
  if retain == 0 then
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

