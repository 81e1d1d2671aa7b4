-- The budget ledger's rules, as in ledger.rs: how a scope stands, and a call's reservation. Amounts come in pairs of
-- tokens and money.
local REMEMBERED_MS = 86400000
-- How many reservations are looked after at once; whatever is left counts as set aside for a while longer.
local LOOKED_AFTER = 1000

-- The limit, what is spent and what is reserved, of tokens and of money; without a limit the first two are empty.
local FIELDS = { 'lt', 'lm', 'st', 'sm', 'rt', 'rm' }

local function balance_of(scope)
  local found = redis.call('HMGET', key('budget:' .. scope), unpack(FIELDS))
  if not found[3] then
    return nil, { '', '', '0', '0', '0', '0' }
  end
  return found, found
end

local function set_balance(scope, balance)
  local pairs_of = {}
  for place, field in ipairs(FIELDS) do
    pairs_of[#pairs_of + 1] = field
    pairs_of[#pairs_of + 1] = balance[place]
  end
  redis.call('HSET', key('budget:' .. scope), unpack(pairs_of))
  redis.call('ZADD', key('budgets'), 0, scope)
end

local function has_room(balance, tokens, money)
  if balance[1] == '' then
    return true
  end
  local after_tokens = plus(plus(amount(balance[3]), amount(balance[5])), amount(tokens))
  local after_money = plus(plus(amount(balance[4]), amount(balance[6])), amount(money))
  return not above(after_tokens, amount(balance[1])) and not above(after_money, amount(balance[2]))
end

-- A call's reservation: its scopes by lines, its upper bound, when it expires, and how it stands.
local RESERVED = { 'scopes', 'tokens', 'money', 'expires', 'stand' }

local function call_of(call)
  local found = redis.call('HMGET', key('call:' .. call), unpack(RESERVED))
  if not found[5] then
    return nil
  end
  return { scopes = found[1], tokens = found[2], money = found[3], expires = found[4], stand = found[5] }
end

-- When something must be done about a reservation: at its expiry, and then when it is forgotten.
local function look_at(reserved)
  local moment = tonumber(reserved.expires)
  return reserved.stand == 'open' and moment or moment + REMEMBERED_MS
end

local function set_call(call, reserved)
  redis.call('HSET', key('call:' .. call), 'scopes', reserved.scopes, 'tokens', reserved.tokens, 'money', reserved.money,
    'expires', reserved.expires, 'stand', reserved.stand)
  redis.call('ZADD', key('calls'), 0, call)
  redis.call('ZADD', key('calls:due'), decimal(look_at(reserved)), call)
end

local function forget_call(call)
  redis.call('DEL', key('call:' .. call))
  redis.call('ZREM', key('calls'), call)
  redis.call('ZREM', key('calls:due'), call)
end

-- Takes a reservation out of where it counts and counts `tokens` and `money` as spent.
local function replace(reserved, tokens, money)
  local counted = reserved.stand == 'open' and 5 or 3
  for scope in string.gmatch(reserved.scopes, '[^\n]+') do
    local _, balance = balance_of(scope)
    balance[counted] = text(minus(amount(balance[counted]), amount(reserved.tokens)))
    balance[counted + 1] = text(minus(amount(balance[counted + 1]), amount(reserved.money)))
    balance[3] = text(plus(amount(balance[3]), amount(tokens)))
    balance[4] = text(plus(amount(balance[4]), amount(money)))
    set_balance(scope, balance)
  end
end

-- Counts as spent what expired, and forgets what is old.
local function expire()
  for _, call in ipairs(redis.call('ZRANGEBYSCORE', key('calls:due'), '-inf', now, 'LIMIT', 0, LOOKED_AFTER)) do
    local reserved = call_of(call)
    if reserved and reserved.stand == 'open' then
      replace(reserved, reserved.tokens, reserved.money)
      reserved.stand = 'expired'
    end
    if reserved and look_at(reserved) > now_ms then
      set_call(call, reserved)
    else
      forget_call(call)
    end
  end
end
