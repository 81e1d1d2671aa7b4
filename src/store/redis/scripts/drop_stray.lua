-- Drops an entry of the queues, timers or leases, if its task still stands as it did when it did not know the entry; a task
-- that was not there is as none.
local id, tenant, version, updated_at = arg(), arg(), arg(), arg()
local found = redis.call('HMGET', key('task:' .. id), 'tenant', 'version', 'updated_at')
local ours = found[1] == tenant
local is_unchanged = (ours and found[2] or '') == version and (ours and found[3] or '') == updated_at
if is_unchanged then
  local set, group, thing = arg(), arg(), arg()
  if set == 'queue' then
    dequeue(group, thing)
  elseif set == 'timers' then
    hide(set, thing)
  else
    release(group, thing)
  end
end
return { now, is_unchanged and 1 or 0 }
