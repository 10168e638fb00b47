-- ms without a word after which an instance is dead, and others take over what it had: within 15 s, with the second until
-- they look.
local alive_for = 13000
local p, me = ARGV[1], ARGV[2]
local function stay_alive()
  redis.call('SET', p .. 'alive:' .. me, '', 'PX', alive_for)
  redis.call('SADD', p .. 'instances', me)
end
-- Who speaks is alive, even if Redis was away for so long that it forgot. Unless these are last words.
if redis.call('EXISTS', p .. 'alive:' .. me, p .. 'ended:' .. me) == 0 then stay_alive() end
local function alive(instance) return instance == me or redis.call('EXISTS', p .. 'alive:' .. instance) == 1 end
local function notify(instance, what, customer) redis.call('PUBLISH', p .. 'bell:' .. instance, what .. ' ' .. customer) end
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function oldest(customer)
  local first = redis.call('ZRANGE', p .. 'box:' .. customer, 0, 0)[1]
  if first then
    redis.call('ZADD', p .. 'oldest', string.match(first, '^%d+'), customer)
  else
    redis.call('ZREM', p .. 'oldest', customer)
  end
end
local function owner_of(customer)
  local owner, at = string.match(redis.call('GET', p .. 'owner:' .. customer) or '', '^(%S+) (%d+)$')
  return owner, tonumber(at or 0)
end
local function own(customer, at) redis.call('SET', p .. 'owner:' .. customer, me .. ' ' .. string.format('%.0f', at)) end
local function due(customer)
  local owner = owner_of(customer)
  if owner and owner ~= me then
    redis.call('SADD', p .. 'due:' .. owner, customer)
    notify(owner, 'due', customer)
  end
  return owner == me
end
