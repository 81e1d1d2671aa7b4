-- Amounts up to 2^64 - 1, which a Lua number cannot hold: two limbs of ten decimal digits. Sums stop at the greatest and
-- differences at zero.
local GREATEST = { 1844674407, 3709551615 }

local function amount(text)
  local padded = string.rep('0', 20 - #text) .. text
  return { tonumber(string.sub(padded, 1, 10)), tonumber(string.sub(padded, 11)) }
end

local function text(value)
  if value[1] > 0 then
    return string.format('%.0f%010.0f', value[1], value[2])
  end
  return decimal(value[2])
end

local function above(one, other)
  return one[1] > other[1] or (one[1] == other[1] and one[2] > other[2])
end

local function plus(one, other)
  local low = one[2] + other[2]
  local carry = low >= 1e10 and 1 or 0
  local sum = { one[1] + other[1] + carry, low - carry * 1e10 }
  return above(sum, GREATEST) and GREATEST or sum
end

local function minus(one, other)
  if above(other, one) then
    return { 0, 0 }
  end
  local low = one[2] - other[2]
  local borrow = low < 0 and 1 or 0
  return { one[1] - other[1] - borrow, low + borrow * 1e10 }
end
