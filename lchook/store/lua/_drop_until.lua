-- Drop the messages of a customer that came in until then. How many were there?
local function drop_until(customer, time)
  local box, dropped = p .. 'box:' .. customer, 0
  while true do
    local first = redis.call('ZRANGE', box, 0, 0)[1]
    if not first or tonumber(string.match(first, '^%d+')) > time then break end
    redis.call('ZREMRANGEBYRANK', box, 0, 0)
    dropped = dropped + 1
  end
  oldest(customer)
  return dropped
end
