-- One commit, whole or not at all. Nothing is written before it is known that it may be.
local id, tenant, commit, expected, expected_at, first = arg(), arg(), arg(), arg(), arg(), arg()
local newest_schema, touch = number(), arg()
local has_submission, id_given, digest, name, most_open = arg() == '1', arg() == '1', arg(), arg(), number()
local slots = {}
for place = 1, number() do
  slots[place] = { agent = arg(), life = arg(), most = number() }
end
local task, log = key('task:' .. id), key('log:' .. id)
local found = redis.call('HMGET', task, 'tenant', 'version', 'schema', 'status', 'ordinal', 'digest', 'kinds', 'updated_at')
local known = { tenant = found[1] or nil, version = found[2], schema = found[3], status = found[4],
  ordinal = found[5] or nil, digest = found[6], kinds = found[7] or nil, updated_at = found[8] }
local ours = known.tenant == tenant

local function answer(...)
  return { now, decimal(opened()), ... }
end

-- Something to write, for whoever waits for replicas to have what this connection wrote: what they have of it, they have
-- behind all that was written before.
local function touched()
  if touch == '1' then
    redis.call('INCR', key('touched'))
  end
end

local function again(other, clash)
  if redis.call('HGET', key('task:' .. other), 'digest') == digest then
    touched()
    return answer('repeated', other)
  end
  return answer(clash)
end

-- What becomes of a first commit that need not be written; nil when it makes a new task.
local function turned_away()
  if known.tenant and not ours then
    return answer('id')
  end
  if not has_submission then
    return known.tenant and answer('conflict')
  end
  local by_id = known.tenant and id
  local by_name = name ~= '' and redis.call('HGET', key('names:' .. tenant), name)
  if id_given and name ~= '' then
    if by_id and by_name == id then
      return again(id, 'id')
    end
    if by_id or by_name then
      return answer('disagree')
    end
  elseif id_given then
    if by_id then
      return again(id, 'id')
    end
  else
    if by_name then
      return again(by_name, 'name')
    end
    -- An id that the client did not choose names nobody's submission: it was made up twice.
    if by_id then
      return answer('id')
    end
  end
  return opened() >= most_open and answer('full')
end

-- What an agent's life has where that is more than it may. An earlier life's leases are in nobody's way.
local function too_many(of)
  local held = key('held:' .. of.agent)
  if redis.call('SCARD', held) <= of.most then
    return nil
  end
  local theirs, tail = {}, '\n' .. of.life
  for _, thing in ipairs(redis.call('SMEMBERS', held)) do
    if string.sub(thing, -#tail) == tail then
      theirs[#theirs + 1] = thing
    end
  end
  return #theirs > of.most and theirs
end

if ours then
  if tonumber(known.schema) > newest_schema then
    return answer('newer')
  end
  if tonumber(known.version) > tonumber(expected) then
    local there = redis.call('XRANGE', log, first .. '-0', first .. '-0')[1]
    if there and there[2][3] == 'c' and there[2][4] == commit then
      touched()
      return answer('again')
    end
  end
end
if expected == '0' then
  local refusal = turned_away()
  if refusal then
    return refusal
  end
-- A version alone tells no histories apart: see `expected_at` of a commit.
elseif not ours or known.version ~= expected or known.updated_at ~= expected_at then
  return answer('conflict')
end
for _, of in ipairs(slots) do
  local theirs = too_many(of)
  if theirs then
    return answer('no slot', theirs)
  end
end
write_task(task, log, id, tenant, known, commit, digest, name, decimal(now_ms + number()))
return answer('applied')
