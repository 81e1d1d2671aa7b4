-- Removes finished tasks, those that ended first before the others, with all that belongs to them.
local limit = number()
local gone = {}

-- The predecessor's names for a task: the first line is what it was called there, the others are its steps.
local function unlist_task(names, agents)
  local theirs
  for line in string.gmatch(names, '[^\n]+') do
    if theirs then
      redis.pcall('DEL', 'subtask:' .. theirs .. ':' .. line, 'route:' .. theirs .. ':' .. line)
    else
      theirs = line
      redis.pcall('DEL', 'subtasks:' .. line, 'results:' .. line, 'dispatch_log:' .. line)
      for _, agent in ipairs(agents) do
        redis.pcall('DEL', 'ag2:trace:' .. line .. ':' .. agent)
      end
    end
  end
end

local function remove(member)
  local id = string.sub(member, 17)
  local task = key('task:' .. id)
  local tenant, status, name, names = unpack(redis.call('HMGET', task, 'tenant', 'status', 'name', 'names'))
  local whose = tenant .. '\n' .. id
  local agents = redis.call('SMEMBERS', key('traced:' .. whose))
  for _, agent in ipairs(agents) do
    redis.call('DEL', key('trace:' .. whose .. '\n' .. agent))
  end
  redis.call('DEL', task, key('log:' .. id), key('payload:' .. id), key('traced:' .. whose))
  if name and name ~= '' then
    redis.call('HDEL', key('names:' .. tenant), name)
  end
  redis.call('ZREM', key('tasks'), id)
  redis.call('ZREM', key('tasks:t:' .. tenant), id)
  part(id, tenant, status)
  redis.call('ZREM', key('ended'), member)
  redis.call('ZREM', key('ended:' .. tenant), member)
  redis.call('DEL', key('budget:task:' .. id))
  redis.call('ZREM', key('budgets'), 'task:' .. id)
  unlist_task(names or '', agents)
  tell(tenant, id, 'gone')
  gone[#gone + 1] = tenant
  gone[#gone + 1] = id
end

local last = math.min(meant, limit)
if last > 0 then
  for _, member in ipairs(redis.call('ZRANGE', list, 0, last - 1)) do
    remove(member)
  end
end
return { now, gone, meant > limit and 1 or 0 }
