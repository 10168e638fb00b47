-- customer, '1' if the instance still waits for acknowledgements
--! needs common
local customer = ARGV[3]
if owner_of(customer) == me then
  redis.call('DEL', p .. 'owner:' .. customer)
  for _, instance in ipairs(redis.call('SMEMBERS', p .. 'standby:' .. customer)) do
    if instance ~= me and alive(instance) then
      redis.call('SADD', p .. 'due:' .. instance, customer)
      notify(instance, 'due', customer)
    end
  end
  redis.call('DEL', p .. 'standby:' .. customer)
end
if ARGV[4] ~= '1' and redis.call('SREM', p .. 'held:' .. customer, me) == 1 then due(customer) end
