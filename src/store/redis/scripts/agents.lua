-- The records of the agents that live. Of a foreign one also what its own key says, and for how long it still stands.
local listed = arg() == '1'
local beats = {}
if listed then
  for _, agent in ipairs(redis.call('SMEMBERS', key('agents:foreign'))) do
    local beat = redis.pcall('GET', 'heartbeat:' .. agent)
    if type(beat) == 'string' then
      beats[agent] = { beat, decimal(math.max(0, BEAT_MS - redis.call('PTTL', 'heartbeat:' .. agent))) }
    end
  end
end
local lapsed = {}
for _, agent in ipairs(redis.call('ZRANGEBYSCORE', key('agents:until'), '-inf', now)) do
  lapsed[agent] = true
  local kept = 0
  if redis.call('SISMEMBER', key('agents:foreign'), agent) == 1 then
    kept = FOREIGN_MS
  end
  if not beats[agent] and redis.call('ZSCORE', key('agents:until'), agent) + kept <= now_ms then
    local goodbye = listed and cjson.encode({ event = 'leave', agent_id = agent }) or ''
    forget(agent, goodbye)
  end
end
local records = redis.call('HGETALL', key('agents'))
local live = {}
for place = 1, #records, 2 do
  local agent = records[place]
  if beats[agent] or not lapsed[agent] then
    live[#live + 1] = { records[place + 1], unpack(beats[agent] or {}) }
  end
end
return { now, live }
