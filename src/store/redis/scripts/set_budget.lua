-- Sets or lifts a limit.
local scope, tokens, money = arg(), arg(), arg()
local _, balance = balance_of(scope)
balance[1], balance[2] = tokens, money
set_balance(scope, balance)
return { now }
