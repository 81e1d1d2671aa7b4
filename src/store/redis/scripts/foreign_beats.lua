-- What the keys of the foreign agents recorded say.
local beats = {}
for _, agent in ipairs(redis.call('SMEMBERS', key('agents:foreign'))) do
  local beat = redis.call('GET', 'heartbeat:' .. agent)
  if beat then
    beats[#beats + 1] = { agent, beat }
  end
end
return { now, beats }
