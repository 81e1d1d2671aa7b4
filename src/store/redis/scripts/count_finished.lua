-- How many finished tasks are meant. Each limit means the first so many, so the greater number counts.
local list, before, keep = key(arg()), arg(), arg()
local meant = 0
if before ~= '' then
  meant = redis.call('ZCOUNT', list, '-inf', '(' .. before)
end
if keep ~= '' then
  meant = math.max(meant, redis.call('ZCARD', list) - tonumber(keep))
end
