-- One page of tasks, in the order in which they were accepted, each with all that belongs to it. It looks at a bounded
-- part of the list, so that no question holds the server up, and says how far it looked.
local tenant, status, since, until_then, after = arg(), arg(), arg(), arg(), number()
local most, most_bytes, most_looked_at = number(), number(), number()
local ids = {}
for place = 1, number() do
  ids[place] = arg()
end

local candidates = {}
if #ids > 0 then
  for _, id in ipairs(ids) do
    local ordinal = tonumber(redis.call('HGET', key('task:' .. id), 'ordinal') or '0')
    if ordinal > after then
      candidates[#candidates + 1] = { id, ordinal }
    end
  end
  table.sort(candidates, function(one, other) return one[2] < other[2] end)
else
  local page = redis.call('ZRANGEBYSCORE', list_of(tenant, status), '(' .. decimal(after), '+inf', 'WITHSCORES',
    'LIMIT', 0, most_looked_at)
  for place = 1, #page, 2 do
    candidates[#candidates + 1] = { page[place], tonumber(page[place + 1]) }
  end
end

local function meant(found)
  return (tenant == '' or found[1] == tenant) and (status == '' or found[2] == status)
    and (since == '' or tonumber(found[3]) >= tonumber(since))
    and (until_then == '' or tonumber(found[3]) < tonumber(until_then))
end

local tasks, bytes, looked_at = {}, 0, 0
for place, candidate in ipairs(candidates) do
  local id = candidate[1]
  local found = redis.call('HMGET', key('task:' .. id), 'tenant', 'status', 'accepted_at', 'schema', 'kinds', 'digest',
    'name', 'state')
  if meant(found) then
    local events, traces = {}, {}
    for _, entry in ipairs(redis.call('XRANGE', key('log:' .. id), '-', '+')) do
      events[#events + 1] = entry[2][2]
      bytes = bytes + #entry[2][2]
    end
    local payloads = redis.call('HGETALL', key('payload:' .. id))
    for _, value in ipairs(payloads) do
      bytes = bytes + #value
    end
    local whose = found[1] .. '\n' .. id
    for _, agent in ipairs(redis.call('SMEMBERS', key('traced:' .. whose))) do
      traces[#traces + 1] = { agent, redis.call('LRANGE', key('trace:' .. whose .. '\n' .. agent), 0, -1) }
    end
    tasks[#tasks + 1] = { id, found[1], found[4], found[5], found[6], found[7], found[8], events, payloads, traces }
  end
  looked_at = place
  if #tasks >= most or bytes >= most_bytes then
    break
  end
end
local behind = ''
if looked_at > 0 and (looked_at < #candidates or #candidates >= most_looked_at) then
  behind = decimal(candidates[looked_at][2])
end
return { now, tasks, behind }
