-- The beginning of the scripts that judge a record and write it.

local MIN_RESIDUE = 60000 -- driver.MinResidue

-- read returns the record, nil when there is none, and what to answer if there is something else. One whose expiry somebody
-- took away has lost its clock. Left is how long the record is still kept, age how long its life has lasted.
local function read()
  local value = redis.call('GET', KEYS[1])
  if not value then
    return nil
  end
  local r, left = parse(value), redis.call('PTTL', KEYS[1])
  if not r or left < 0 then
    return nil, r and NO_EXPIRY or UNREADABLE
  end
  r.left, r.age = left, math.max(0, r.life - left)
  return r
end

-- packed is the value of the record.
local function packed(r)
  local top = struct.pack(TOP, VERSION, r.state, r.owner)
  local checked = struct.pack(CHECKED, r.kind, r.on_crash, r.fence, r.attempt, r.max_attempts, r.life, r.elapsed, r.lease, r.retain,
    #r.identity, #r.notes)
  return sealed(top, checked .. r.identity .. r.notes) .. r.outcome
end

-- write stores the record for the length of its life, and returns its value.
local function write(r)
  local value = packed(r)
  redis.call('SET', KEYS[1], value, 'PX', r.life)
  return value
end

local function leave_residue(owner, fence, life)
  write({state = RESIDUE, owner = owner, kind = 0, life = math.max(MIN_RESIDUE, life), elapsed = 0, on_crash = 0, fence = fence,
    attempt = 0, max_attempts = 0, lease = 0, retain = 0, identity = '', outcome = '', notes = ''})
end

local function is_running(r)
  return r.state == RUNNING or r.state == AWAITED or r.state == GIVEN_UP
end

-- run lets the record run on. Who has begun to wait since the lease was given up is waiting still.
local function run(r)
  r.state = r.state == RUNNING and RUNNING or AWAITED
end

-- hint tells of the end of an attempt, if anybody asked for it.
local function hint(r)
  if r.state ~= RUNNING then
    changed()
  end
end

-- Both moments are cut to milliseconds, so a lease is over only when more than its length has passed.
local function lease_is_over(r)
  return r.state == GIVEN_UP or r.age > r.lease
end

local function may_rerun(r)
  return r.on_crash == 2 and r.attempt < r.max_attempts
end

