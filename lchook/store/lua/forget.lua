-- customer → messages in the mailbox, messages to DMS, statuses, entries of the conversation
--! needs common
local customer, queue, counts = ARGV[3], p .. 'queue:' .. ARGV[3], {}
for _, entry in ipairs(redis.call('LRANGE', queue, 0, -1)) do
  redis.call('DEL', p .. 'to_dms:' .. cjson.decode(entry)[4])
  redis.call('DECR', p .. 'outbox_size')
end
counts[1] = redis.call('ZCARD', p .. 'box:' .. customer)
counts[2] = redis.call('LLEN', queue)
counts[3] = redis.call('LLEN', p .. 'status:' .. customer)
counts[4] = redis.call('ZCARD', p .. 'log:' .. customer)
local poster = string.match(redis.call('GET', p .. 'poster:' .. customer) or '', '^%S+')
if poster then redis.call('SREM', p .. 'posts:' .. poster, customer) end
for _, name in ipairs({'box', 'queue', 'poster', 'status', 'log', 'log_outcomes', 'log_changes', 'log_pending'}) do
  redis.call('DEL', p .. name .. ':' .. customer)
end
for _, name in ipairs({'oldest', 'outbox', 'log_oldest'}) do redis.call('ZREM', p .. name, customer) end
redis.call('SREM', p .. 'orphans', customer)
-- Where they are connected is known as long as they are.
local owner = owner_of(customer)
if not (owner and alive(owner)) then
  for _, name in ipairs({'owner', 'held', 'standby'}) do redis.call('DEL', p .. name .. ':' .. customer) end
end
return counts
