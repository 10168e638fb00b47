-- customers at most → customer, messages, age of the oldest in ms, customer, …
--! needs common
local result, at = {}, now()
local found = redis.call('ZRANGE', p .. 'oldest', 0, ARGV[3] - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  result[#result + 1] = found[i]
  result[#result + 1] = redis.call('ZCARD', p .. 'box:' .. found[i])
  result[#result + 1] = string.format('%.0f', at - tonumber(found[i + 1]))
end
return result
