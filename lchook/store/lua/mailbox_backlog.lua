-- mailboxes to count → letters, customers, age of the oldest in ms
--! needs common
local letters, oldest = 0, 0
for _, customer in ipairs(redis.call('ZRANGE', p .. 'oldest', 0, ARGV[3] - 1)) do
  letters = letters + redis.call('ZCARD', p .. 'box:' .. customer)
end
local first = redis.call('ZRANGE', p .. 'oldest', 0, 0, 'WITHSCORES')[2]
if first then oldest = now() - tonumber(first) end
return {letters, redis.call('ZCARD', p .. 'oldest'), string.format('%.0f', oldest)}
