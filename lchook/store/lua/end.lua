-- The instance ends.
--! needs common
redis.call('SET', p .. 'ended:' .. me, '', 'PX', 4 * alive_for)
redis.call('DEL', p .. 'alive:' .. me)
