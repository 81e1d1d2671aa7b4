-- Replaces a reservation, expired or not, by what was spent.
local call, tokens, money = arg(), arg(), arg()
expire()
local reserved = call_of(call)
if not reserved or reserved.stand == 'settled' then
  return { now, 0 }
end
replace(reserved, tokens, money)
reserved.stand = 'settled'
set_call(call, reserved)
return { now, 1 }
