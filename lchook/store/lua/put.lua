-- customer, text, fingerprint or '', seconds to remember it, messages a mailbox holds, time to live of the conversation
-- in ms or 0, entries of it that are kept → kept, here, dropped
--! needs common log
local customer, text, fingerprint, remember, size = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
if fingerprint ~= '' and not redis.call('SET', p .. 'seen:' .. fingerprint, '', 'NX', 'EX', remember) then
  -- Whoever put it may not have heard that it was kept, and so has not sent it.
  return {0, due(customer) and 1 or 0, 0}
end
local box, at = p .. 'box:' .. customer, now()
-- A Redis that was emptied must not number messages as it did before: instances remember how far they got.
redis.call('SET', p .. 'number', string.format('%.0f', at * 1000), 'NX')
redis.call('INCR', p .. 'number')
local number = redis.call('GET', p .. 'number')
redis.call('ZADD', box, number, string.format('%.0f', at) .. ':' .. text)
if ARGV[8] ~= '0' then
  append(customer, at, 'd', number, text, tonumber(ARGV[8]), tonumber(ARGV[9]))
  news(customer)
end
local dropped = redis.call('ZCARD', box) - size
if dropped > 0 then redis.call('ZREMRANGEBYRANK', box, 0, dropped - 1) else dropped = 0 end
redis.call('ZADD', p .. 'oldest', 'NX', string.format('%.0f', at), customer)
return {1, due(customer) and 1 or 0, dropped}
