-- customer, text
--! needs common
local owner = owner_of(ARGV[3])
if owner and owner ~= me then
  redis.call('PUBLISH', p .. 'bell:' .. owner, 'now ' .. #ARGV[3] .. ' ' .. ARGV[3] .. ARGV[4])
end
