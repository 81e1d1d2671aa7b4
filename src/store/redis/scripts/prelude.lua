-- What every script begins with: the keys' prefix and the moment by which it goes, as its first two arguments. Without
-- a moment the server's clock is asked. Numbers that may be large are kept as decimal text, and compared as numbers only
-- where they are moments.
local prefix, now = ARGV[1], ARGV[2]
if now == '' then
  local time = redis.call('TIME')
  now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end
local now_ms = tonumber(now)

local position = 2
local function arg()
  position = position + 1
  return ARGV[position]
end
local function number()
  return tonumber(arg())
end

local function key(name)
  return prefix .. name
end

-- The text of a number without an exponent.
local function decimal(value)
  return string.format('%.0f', value)
end

-- Things that are equally early come in the order in which they arrived.
local function arrival()
  return string.format('%014.0f', redis.call('INCR', key('arrivals')))
end

-- === Things that fall due: `set` orders them by the moment from which they are shown, `set:at` knows when each is due.

local function show(set, thing, due, from)
  local place = redis.call('HGET', key(set .. ':at'), thing)
  if place then
    redis.call('ZREM', key(set), string.sub(place, 1, 14) .. thing)
  end
  local number = arrival()
  redis.call('HSET', key(set .. ':at'), thing, number .. due)
  redis.call('ZADD', key(set), from, number .. thing)
end

local function hide(set, thing)
  local place = redis.call('HGET', key(set .. ':at'), thing)
  if place then
    redis.call('ZREM', key(set), string.sub(place, 1, 14) .. thing)
    redis.call('HDEL', key(set .. ':at'), thing)
  end
end

-- When a thing is due; nil when it is not there.
local function due_at(set, thing)
  local place = redis.call('HGET', key(set .. ':at'), thing)
  return place and string.sub(place, 15)
end

local function hold(agent, thing, until_then)
  redis.call('SADD', key('held:' .. agent), thing)
  show('leases', thing, until_then, until_then)
end

local function release(agent, thing)
  hide('leases', thing)
  redis.call('SREM', key('held:' .. agent), thing)
end

-- === Queues: one per capability, by rank, and by arrival where ranks are equal.

local function dequeue(capability, where)
  local member = redis.call('HGET', key('places:' .. capability), where)
  if not member then
    return
  end
  redis.call('HDEL', key('places:' .. capability), where)
  redis.call('ZREM', key('queue:' .. capability), member)
  local priority = string.match(member, '\n(%d)\n%d+$')
  redis.call('HINCRBY', key('counts:' .. capability), priority, -1)
  if redis.call('HLEN', key('places:' .. capability)) == 0 then
    redis.call('DEL', key('counts:' .. capability))
    redis.call('SREM', key('queues'), capability)
  end
end

local function enqueue(capability, where, priority, rank)
  dequeue(capability, where)
  local member = arrival() .. where .. '\n' .. priority .. '\n' .. rank
  redis.call('HSET', key('places:' .. capability), where, member)
  redis.call('ZADD', key('queue:' .. capability), rank, member)
  redis.call('HINCRBY', key('counts:' .. capability), priority, 1)
  redis.call('SADD', key('queues'), capability)
end

-- === Lists of tasks by their ordinals, and those that have ended by when they did.

local function join(id, tenant, status, ordinal)
  redis.call('ZADD', key('tasks:s:' .. status), ordinal, id)
  redis.call('ZADD', key('tasks:ts:' .. status .. ':' .. tenant), ordinal, id)
end

local function part(id, tenant, status)
  redis.call('ZREM', key('tasks:s:' .. status), id)
  redis.call('ZREM', key('tasks:ts:' .. status .. ':' .. tenant), id)
end

-- The list of what a tenant and a status, each of which may be empty, leave of all.
local function list_of(tenant, status)
  if tenant == '' then
    return key(status == '' and 'tasks' or 'tasks:s:' .. status)
  end
  return key(status == '' and 'tasks:t:' .. tenant or 'tasks:ts:' .. status .. ':' .. tenant)
end

-- The name of a task among those that have ended, in the order of their ordinals.
local function among_ended(id, ordinal)
  return string.format('%016.0f', ordinal) .. id
end

-- Who waits for a task's events, or for other agents, is woken by every process's reader of this feed. Its numbers have
-- no gaps, so that a reader that was left behind knows.
local function feed(line)
  local number = decimal(redis.call('INCR', key('fed')))
  redis.call('XADD', key('feed'), 'MAXLEN', '~', 10000, number .. '-0', unpack(line))
end

local function tell(tenant, id, version, is_open)
  local line = { 't', tenant, 'i', id, 'v', version }
  if is_open then
    line[7], line[8] = 'o', '1'
  end
  feed(line)
end

local function opened()
  return tonumber(redis.call('GET', key('open')) or '0')
end
