-- customers at most → customers for whom messages wait that nobody alive posts
--! needs common
local result = redis.call('SRANDMEMBER', p .. 'orphans', ARGV[3])
for _, instance in ipairs(redis.call('SMEMBERS', p .. 'instances')) do
  if not alive(instance) then
    local customers = redis.call('SRANDMEMBER', p .. 'posts:' .. instance, ARGV[3])
    if #customers == 0 then redis.call('SREM', p .. 'instances', instance) end
    for _, customer in ipairs(customers) do result[#result + 1] = customer end
  end
end
return result
