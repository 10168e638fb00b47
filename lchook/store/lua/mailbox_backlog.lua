-- mailboxes to count → messages, customers, age of the oldest in ms
--! needs common
local messages, oldest = 0, 0
for _, customer in ipairs(redis.call('ZRANGE', p .. 'oldest', 0, ARGV[3] - 1)) do
  messages = messages + redis.call('ZCARD', p .. 'box:' .. customer)
end
local first = redis.call('ZRANGE', p .. 'oldest', 0, 0, 'WITHSCORES')[2]
if first then oldest = now() - tonumber(first) end
return {messages, redis.call('ZCARD', p .. 'oldest'), string.format('%.0f', oldest)}
