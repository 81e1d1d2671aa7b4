-- A field of shared context, a budget or a reservation, unless there is one already.
local kind, dry_run = arg(), arg() == '1'

local function judged(there, new)
  if not there then
    return 'written'
  end
  for place, value in ipairs(new) do
    if there[place] ~= value then
      return 'other'
    end
  end
  return 'same'
end

local answer
if kind == 'context' then
  local tenant, field, value = arg(), arg(), arg()
  local there = redis.call('HGET', key('context:' .. tenant), field)
  answer = judged(there and { there }, { value })
  if answer == 'written' and not dry_run then
    redis.call('HSET', key('context:' .. tenant), field, value)
    redis.call('ZADD', key('fields'), 0, tenant .. '\n' .. field)
  end
elseif kind == 'budget' then
  local scope, new = arg(), { arg(), arg(), arg(), arg(), arg(), arg() }
  answer = judged((balance_of(scope)), new)
  if answer == 'written' and not dry_run then
    set_balance(scope, new)
  end
else
  local call = arg()
  local new = { scopes = arg(), tokens = arg(), money = arg(), expires = arg(), stand = arg() }
  local there = call_of(call)
  answer = judged(there and { there.scopes, there.tokens, there.money, there.expires, there.stand },
    { new.scopes, new.tokens, new.money, new.expires, new.stand })
  if answer == 'written' and not dry_run then
    set_call(call, new)
  end
end
return { now, answer }
