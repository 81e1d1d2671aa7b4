-- One page of tasks, newest first, with one more than asked for: it tells whether there is a next page.
local tenant, status, before, limit = arg(), arg(), arg(), arg()
local list = list_of(tenant, status)
local page = redis.call('ZREVRANGEBYSCORE', list, before, '-inf', 'LIMIT', 0, limit)
local tasks = {}
for _, id in ipairs(page) do
  tasks[#tasks + 1] = { id, unpack(redis.call('HMGET', key('task:' .. id), 'tenant', 'ordinal', 'status', 'priority',
    'accepted_at', 'updated_at', 'summary')) }
end
return { now, tasks }
