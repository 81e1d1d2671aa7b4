-- Sets or removes a field of a tenant's shared context. `fields` has all of them in the order of an export.
local tenant, field, is_set, value, theirs = arg(), arg(), arg() == '1', arg(), arg() == '1'
if is_set then
  redis.call('HSET', key('context:' .. tenant), field, value)
  redis.call('ZADD', key('fields'), 0, tenant .. '\n' .. field)
  if theirs then
    redis.pcall('HSET', 'global:context', field, value)
  end
else
  redis.call('HDEL', key('context:' .. tenant), field)
  redis.call('ZREM', key('fields'), tenant .. '\n' .. field)
  if theirs then
    redis.pcall('HDEL', 'global:context', field)
  end
end
return { now }
