-- Appends steps of an agent's reasoning in a task, and to the predecessor's list where one is named.
local whose, agent, theirs, seconds = arg(), arg(), arg(), arg()
redis.call('SADD', key('traced:' .. whose), agent)
for _ = 1, number() do
  local step = arg()
  redis.call('RPUSH', key('trace:' .. whose .. '\n' .. agent), step)
  if theirs ~= '' then
    redis.pcall('RPUSH', theirs, step)
  end
end
if theirs ~= '' then
  redis.pcall('EXPIRE', theirs, seconds)
end
return { now }
