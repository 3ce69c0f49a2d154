-- The beginning of nearly every script. What a value consists of is said in package packed.
-- A script answers a number, or a list of a number, a value and the milliseconds that the value is still kept.

local VERSION = 1
local STATE, STATE_LENGTH = '>BBc16BI6I6I4', 39
local HEAD, HEAD_LENGTH = '>BI6I4I4I6I6I4', 35
local OUTCOME_AT, IDENTITY_AT = 32, 67 -- where the lengths of outcome and identity stand
local RESIDUE, RUNNING, AWAITED, GIVEN_UP, DONE, RESOLVED = 0x11, 0x22, 0x77, 0x44, 0x88, 0xee
local OK, LOST, UNREADABLE, FULL = 0, -1, -2, -3

local function sealed(part)
  return part .. struct.pack('>I4', tonumber(string.sub(redis.sha1hex(KEYS[1] .. part), 1, 8), 16))
end

local function is_sealed(part)
  return sealed(string.sub(part, 1, -5)) == part
end

-- fields reads what is known to be a record.
local function fields(value)
  local identity_at = STATE_LENGTH + HEAD_LENGTH
  local _, state, owner, kind, life, elapsed, outcome = struct.unpack(STATE, value)
  local on_crash, fence, attempt, max_attempts, lease, retain, identity = struct.unpack(HEAD, value, STATE_LENGTH + 1)
  local identity_end = identity_at + identity
  return {
    value = value, state = state, owner = owner, kind = kind, life = life == 0 and retain or life, elapsed = elapsed,
    on_crash = on_crash, fence = fence, attempt = attempt, max_attempts = max_attempts, lease = lease, retain = retain,
    identity = string.sub(value, identity_at + 1, identity_end),
    outcome = string.sub(value, identity_end + 1, identity_end + outcome), notes = string.sub(value, identity_end + outcome + 1),
  }
end

-- parse returns nil for what is no record of this version.
local function parse(value)
  local identity_at = STATE_LENGTH + HEAD_LENGTH
  if string.byte(value) ~= VERSION or #value < identity_at or not is_sealed(string.sub(value, 1, STATE_LENGTH))
    or not is_sealed(string.sub(value, STATE_LENGTH + 1, identity_at)) then
    return nil
  end
  return fields(value)
end

-- changed tells those who wait for the key. It is a hint, so it may fail.
local function changed()
  redis.pcall('PUBLISH', string.sub(KEYS[1], 1, -46) .. 'changed', KEYS[1])
end

