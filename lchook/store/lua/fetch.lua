-- customer, after, limit, time to live in ms → state, number, text, number, text, …
--! needs common
local customer, after, limit, ttl = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
-- Nobody has them: Redis forgot (it was emptied), or the other instance has let go.
local owner, at = owner_of(customer)
if not owner then
  own(customer, 0)
elseif owner ~= me then
  return {'elsewhere', at == 0 and 1 or 0}
end
for _, instance in ipairs(redis.call('SMEMBERS', p .. 'held:' .. customer)) do
  if instance ~= me then
    if alive(instance) then return {'held'} end
    redis.call('SREM', p .. 'held:' .. customer, instance)
  end
end
local result, youngest, found = {'ours'}, now() - ttl, nil
repeat
  found = redis.call('ZRANGEBYSCORE', p .. 'box:' .. customer, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #found, 2 do
    local at, text = string.match(found[i], '^(%d+):(.*)$')
    after = found[i + 1]
    if tonumber(at) > youngest then
      result[#result + 1] = after
      result[#result + 1] = text
    end
  end
-- Where the time of some was over, others follow.
until #result > 2 * limit or #found < 2 * limit
if #result > 1 then redis.call('SADD', p .. 'held:' .. customer, me) end
return result
