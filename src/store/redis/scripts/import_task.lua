-- An imported task, unless its id or its name is taken.
local id, tenant, dry_run, digest, name = arg(), arg(), arg() == '1', arg(), arg()
local task, log = key('task:' .. id), key('log:' .. id)
local there = redis.call('HGET', task, 'tenant')
if there then
  return { now, decimal(opened()), 'there', there }
end
if name ~= '' and redis.call('HEXISTS', key('names:' .. tenant), name) == 1 then
  return { now, decimal(opened()), 'name' }
end
if not dry_run then
  -- Whoever held its attempts did so in another process: its leases have run out.
  write_task(task, log, id, tenant, {}, 'imported', digest, name, now)
  local whose = tenant .. '\n' .. id
  for _ = 1, number() do
    local agent = arg()
    redis.call('SADD', key('traced:' .. whose), agent)
    for _ = 1, number() do
      redis.call('RPUSH', key('trace:' .. whose .. '\n' .. agent), arg())
    end
  end
end
return { now, decimal(opened()), 'written' }
