-- Lets the leases of one life of an agent run out now, unless they already have.
local agent, tail = arg(), '\n' .. arg()
for _, thing in ipairs(redis.call('SMEMBERS', key('held:' .. agent))) do
  if string.sub(thing, -#tail) == tail then
    local due = due_at('leases', thing)
    if due and tonumber(due) > now_ms then
      show('leases', thing, now, now)
    end
  end
end
return { now }
