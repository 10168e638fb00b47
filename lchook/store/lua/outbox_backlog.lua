-- → messages in the outbox, age of the oldest in ms
--! needs common
local first, oldest = redis.call('ZRANGE', p .. 'outbox', 0, 0, 'WITHSCORES')[2], 0
if first then oldest = now() - tonumber(first) end
return {redis.call('GET', p .. 'outbox_size') or '0', string.format('%.0f', oldest)}
