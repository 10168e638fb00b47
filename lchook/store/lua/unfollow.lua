-- customer
--! needs common
redis.call('SREM', p .. 'followers:' .. ARGV[3], me)
redis.call('SREM', p .. 'news:' .. me, ARGV[3])
