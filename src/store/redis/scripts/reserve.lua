-- Sets an upper bound aside in every scope or in none.
local call, tokens, money, lasts = arg(), arg(), arg(), arg()
expire()
if call_of(call) then
  return { now, '' }
end
local scopes, balances = {}, {}
for _ = 1, number() do
  local scope = arg()
  if not balances[scope] then
    local _, balance = balance_of(scope)
    if not has_room(balance, tokens, money) then
      return { now, scope }
    end
    scopes[#scopes + 1] = scope
    balances[scope] = balance
  end
end
for scope, balance in pairs(balances) do
  balance[5] = text(plus(amount(balance[5]), amount(tokens)))
  balance[6] = text(plus(amount(balance[6]), amount(money)))
  set_balance(scope, balance)
end
set_call(call, { scopes = table.concat(scopes, '\n'), tokens = tokens, money = money,
  expires = text(plus(amount(now), amount(lasts))), stand = 'open' })
return { now, '' }
