-- customer, '1' if the instance waits for no other acknowledgement, number, number, …
--! needs common
local customer = ARGV[3]
for i = 5, #ARGV do redis.call('ZREMRANGEBYSCORE', p .. 'box:' .. customer, ARGV[i], ARGV[i]) end
if #ARGV > 4 then oldest(customer) end
if ARGV[4] == '1' and redis.call('SREM', p .. 'held:' .. customer, me) == 1 then due(customer) end
