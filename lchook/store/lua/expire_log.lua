-- time to live in ms, customers at once → customers looked at
--! needs common log
local oldest = string.format('%.0f', now() * 1000 - tonumber(ARGV[3]) * 1000)
local customers = redis.call('ZRANGEBYSCORE', p .. 'log_oldest', '-inf', oldest, 'LIMIT', 0, ARGV[4])
for _, customer in ipairs(customers) do
  local count = redis.call('ZCOUNT', p .. 'log:' .. customer, '-inf', oldest)
  if count > 0 then drop_entries(customer, count - 1) end
  oldest_entry(customer)
end
return #customers
