-- Keeps an agent's record, and tells of an agent that was not there, or not as it declares itself.
local agent, record, declared, until_then = arg(), arg(), arg(), decimal(now_ms + number())
local foreign, listed = arg() == '1', arg() == '1'
local known = redis.call('HGET', key('agents'), agent)
local stood = tonumber(redis.call('ZSCORE', key('agents:until'), agent) or '0') > now_ms
if not known or not stood or not string.find(known, declared, 1, true) then
  feed({ 'a', agent })
end
redis.call('HSET', key('agents'), agent, record)
redis.call('ZADD', key('agents:until'), until_then, agent)
redis.call(foreign and 'SADD' or 'SREM', key('agents:foreign'), agent)
local capabilities = {}
for place = 1, number() do
  capabilities[place] = arg()
  local seen = redis.call('HGET', key('seen'), capabilities[place])
  if not seen or tonumber(seen) < now_ms then
    redis.call('HSET', key('seen'), capabilities[place], now)
  end
end
if listed then
  local declaration, load, last_heartbeat, hello = arg(), arg(), arg(), arg()
  local before, names = redis.call('HGET', key('agents:listed'), agent), table.concat(capabilities, '\n')
  if before ~= names then
    if before then
      unlist(agent)
    end
    for _, capability in ipairs(capabilities) do
      redis.pcall('SADD', 'cap_index:' .. capability, agent)
    end
    redis.call('HSET', key('agents:listed'), agent, names)
  end
  redis.pcall('HSET', 'routing', agent, declaration)
  redis.pcall('HSET', 'metrics:' .. agent, 'load', load, 'avg_latency_ms', 'null', 'recent_failures', '0',
    'last_heartbeat', last_heartbeat)
  if not before then
    redis.pcall('PUBLISH', 'agent_events', hello)
  end
end
return { now }
