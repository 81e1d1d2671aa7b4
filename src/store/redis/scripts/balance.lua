-- How a scope stands now.
expire()
local _, balance = balance_of(arg())
return { now, unpack(balance) }
