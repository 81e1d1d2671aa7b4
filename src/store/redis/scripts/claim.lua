-- The first due things that are not claimed, claimed until the claim ends; and when to look again.
local set, limit, until_then = arg(), number(), decimal(now_ms + number())
local due, taken = {}, {}
local members = limit > 0 and redis.call('ZRANGEBYSCORE', key(set), '-inf', now, 'LIMIT', 0, decimal(limit)) or {}
for _, member in ipairs(members) do
  local thing = string.sub(member, 15)
  local at = due_at(set, thing)
  if at then
    show(set, thing, at, until_then)
    due[#due + 1] = thing
    due[#due + 1] = at
    taken[thing] = true
  end
end
local next_at = ''
local rest = redis.call('ZRANGE', key(set), 0, #due / 2, 'WITHSCORES')
for place = 1, #rest, 2 do
  if not taken[string.sub(rest[place], 15)] then
    next_at = rest[place + 1]
    break
  end
end
return { now, due, next_at }
