-- A task's events above a number.
local id, tenant, after, limit = arg(), arg(), arg(), arg()
local found = redis.call('HMGET', key('task:' .. id), 'tenant', 'schema')
if found[1] ~= tenant then
  return { now }
end
local events = {}
if limit ~= '0' then
  for _, entry in ipairs(redis.call('XRANGE', key('log:' .. id), '(' .. after .. '-0', '+', 'COUNT', limit)) do
    events[#events + 1] = entry[2][2]
  end
end
return { now, found[2], events }
