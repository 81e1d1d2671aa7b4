-- Lets leases that stand run until then; the places of those that do not.
local until_then = decimal(now_ms + number())
local gone = {}
for place = 1, number() do
  local thing = arg()
  if due_at('leases', thing) then
    show('leases', thing, until_then, until_then)
  else
    gone[#gone + 1] = place
  end
end
return { now, gone }
