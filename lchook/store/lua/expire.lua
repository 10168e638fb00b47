-- time to live in ms, customers at once → messages dropped, customers looked at
--! needs common drop_until
local youngest = now() - tonumber(ARGV[3])
local customers = redis.call('ZRANGEBYSCORE', p .. 'oldest', '-inf', string.format('%.0f', youngest), 'LIMIT', 0, ARGV[4])
local dropped = 0
for _, customer in ipairs(customers) do
  dropped = dropped + drop_until(customer, youngest)
end
return {dropped, #customers}
