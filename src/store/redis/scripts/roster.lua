-- Agents' records, which stand until a moment. A foreign agent knows only the predecessor's part of the contract, and its
-- own key shows that it lives; its record is kept for a day, for whenever the key is there again.
local FOREIGN_MS = 86400000
-- How long a foreign agent's key stands after each beat.
local BEAT_MS = 30000

-- Forgets what the predecessor's names say of an agent.
local function unlist(agent)
  redis.pcall('HDEL', 'routing', agent)
  redis.pcall('DEL', 'metrics:' .. agent)
  for capability in string.gmatch(redis.call('HGET', key('agents:listed'), agent) or '', '[^\n]+') do
    redis.pcall('SREM', 'cap_index:' .. capability, agent)
  end
  redis.call('HDEL', key('agents:listed'), agent)
end

local function forget(agent, goodbye)
  if redis.call('HDEL', key('agents'), agent) == 1 then
    feed({ 'a', agent })
    if goodbye ~= '' then
      unlist(agent)
      redis.pcall('PUBLISH', 'agent_events', goodbye)
    end
  end
  redis.call('ZREM', key('agents:until'), agent)
  redis.call('SREM', key('agents:foreign'), agent)
end
