-- Writing what a commit or an import brings, once it is known that it may be written. It takes the arguments behind those
-- of the script itself, in the order in which `body` in task_wire.rs gives them.
local function write_task(task, log, id, tenant, known, commit, digest, name, until_then)
  local whose = tenant .. '\n' .. id
  local version, schema, status, ended_at, updated_at = arg(), arg(), arg(), arg(), arg()
  local state, kinds = arg(), known.kinds or ''
  for _ = 1, number() do
    local kind = arg()
    if not string.find(kinds, ',' .. kind .. ',', 1, true) then
      kinds = (kinds == '' and ',' or kinds) .. kind .. ','
    end
  end
  local priority, accepted_at, summary, names = arg(), arg(), arg(), arg()
  local ordinal = known.ordinal
  if not ordinal then
    ordinal = redis.call('INCR', key('ordinals'))
    redis.call('HSET', task, 'tenant', tenant, 'ordinal', ordinal, 'priority', priority, 'accepted_at', accepted_at,
      'summary', summary, 'digest', digest, 'name', name, 'names', names)
    if name ~= '' then
      redis.call('HSET', key('names:' .. tenant), name, id)
    end
    redis.call('ZADD', key('tasks'), ordinal, id)
    redis.call('ZADD', key('tasks:t:' .. tenant), ordinal, id)
    join(id, tenant, status, ordinal)
    if ended_at == '' then
      redis.call('INCR', key('open'))
    end
  elseif status ~= known.status then
    part(id, tenant, known.status)
    join(id, tenant, status, ordinal)
    if ended_at ~= '' and tonumber(known.status) < 3 then
      redis.call('DECR', key('open'))
    end
  end
  redis.call('HSET', task, 'version', version, 'schema', schema, 'status', status, 'updated_at', updated_at,
    'kinds', kinds, 'state', state)
  if ended_at ~= '' then
    redis.call('ZADD', key('ended'), ended_at, among_ended(id, ordinal))
    redis.call('ZADD', key('ended:' .. tenant), ended_at, among_ended(id, ordinal))
  end
  for event = 1, number() do
    local seq, text = arg(), arg()
    if event == 1 then
      redis.call('XADD', log, seq .. '-0', 'e', text, 'c', commit)
    else
      redis.call('XADD', log, seq .. '-0', 'e', text)
    end
  end
  for _ = 1, number() do
    redis.call('HSET', key('payload:' .. id), arg(), arg())
  end
  for _ = 1, number() do
    dequeue(arg(), whose .. '\n' .. arg())
  end
  for _ = 1, number() do
    enqueue(arg(), whose .. '\n' .. arg(), arg(), arg())
  end
  for _ = 1, number() do
    hide('timers', whose .. '\n' .. arg())
  end
  for _ = 1, number() do
    local thing, due = whose .. '\n' .. arg(), arg()
    show('timers', thing, due, due)
  end
  for _ = 1, number() do
    release(arg(), whose .. '\n' .. arg())
  end
  for _ = 1, number() do
    hold(arg(), whose .. '\n' .. arg(), until_then)
  end
  -- The predecessor's names. What somebody else has put there is theirs, and is no reason to lose the commit.
  local seconds = arg()
  for _ = 1, number() do
    local kind, theirs, value = arg(), arg(), arg()
    if kind == 'set' then
      redis.pcall('SET', theirs, value, 'EX', seconds)
    else
      redis.pcall('RPUSH', theirs, value)
      redis.pcall('EXPIRE', theirs, seconds)
    end
  end
  tell(tenant, id, version, ended_at == '')
end
