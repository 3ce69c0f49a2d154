-- The beginning of nearly every script. What a value consists of is said in package packed.
-- A script answers a number, or a list of a number, a value and the milliseconds that the value is still kept.

local VERSION = 2
local TOP, CHECKED, HEAD_LENGTH = '>BBc16', '>BBI5I3I3I5I5I5I5I3I3', 61
local CHECK_AT, CHECKED_AT = 19, 23 -- the check stands between the two
local LENGTHS_AT = 56 -- where those of identity and notes stand
local RESIDUE, RUNNING, AWAITED, GIVEN_UP, DONE, RESOLVED = 0x11, 0x22, 0x77, 0x44, 0x88, 0xee
local OK, LOST, UNREADABLE, FULL, NO_EXPIRY = 0, -1, -2, -3, -4

-- sealed puts the check of the two between them.
local function sealed(top, checked)
  return top .. struct.pack('>I4', tonumber(string.sub(redis.sha1hex(KEYS[1] .. top .. checked), 1, 8), 16)) .. checked
end

-- fields reads what is known to be a record.
local function fields(value)
  local _, state, owner = struct.unpack(TOP, value)
  local kind, on_crash, fence, attempt, max_attempts, life, elapsed, lease, retain, identity, notes =
    struct.unpack(CHECKED, value, CHECKED_AT)
  local identity_end = HEAD_LENGTH + identity
  local notes_end = identity_end + notes
  return {
    value = value, state = state, owner = owner, kind = kind, on_crash = on_crash, fence = fence, attempt = attempt,
    max_attempts = max_attempts, life = life, elapsed = elapsed, lease = lease, retain = retain,
    identity = string.sub(value, HEAD_LENGTH + 1, identity_end), notes = string.sub(value, identity_end + 1, notes_end),
    outcome = string.sub(value, notes_end + 1),
  }
end

-- parse returns nil for what is no record of this version.
local function parse(value)
  if string.byte(value) ~= VERSION or #value < HEAD_LENGTH then
    return nil
  end
  local r = fields(value)
  local checked = string.sub(value, 1, HEAD_LENGTH + #r.identity + #r.notes)
  if sealed(string.sub(checked, 1, CHECK_AT - 1), string.sub(checked, CHECKED_AT)) ~= checked then
    return nil
  end
  return r
end

-- changed tells those who wait for the key. It is a hint, so it may fail.
local function changed()
  redis.pcall('PUBLISH', string.sub(KEYS[1], 1, -46) .. 'changed', KEYS[1])
end

