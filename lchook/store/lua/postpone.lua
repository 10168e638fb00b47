-- customer, number, '1' if this instance posts for them no more
--! needs common log outbox
local customer, number = ARGV[3], ARGV[4]
local who, posting = poster_of(customer)
if who ~= me then return end
if ARGV[5] == '1' then
  give_up(customer)
elseif posting == number then
  redis.call('SET', p .. 'poster:' .. customer, me .. ' 0')
end
