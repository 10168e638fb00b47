-- The conversation. An entry is "<number>:<at in ms>:<c or d>:<number in the mailbox or 0>:<payload>".
local function next_number(customer)
  local t = redis.call('TIME')
  local number = t[1] * 1000000 + t[2]
  for _, name in ipairs({'log:', 'log_changes:'}) do
    local last = tonumber(redis.call('ZREVRANGE', p .. name .. customer, 0, 0, 'WITHSCORES')[2] or 0)
    if last >= number then number = last + 1 end
  end
  return string.format('%.0f', number)
end
-- Tell the other instances that have followers of the customer.
local function followers(customer, tell)
  local key = p .. 'followers:' .. customer
  for _, instance in ipairs(redis.call('SMEMBERS', key)) do
    if instance ~= me then
      if alive(instance) then tell(instance) else redis.call('SREM', key, instance) end
    end
  end
end
local function news(customer)
  followers(customer, function(instance)
    redis.call('SADD', p .. 'news:' .. instance, customer)
    notify(instance, 'news', customer)
  end)
end
local function drop_entries(customer, last_rank)
  local log = p .. 'log:' .. customer
  for _, entry in ipairs(redis.call('ZRANGE', log, 0, last_rank)) do
    local number = string.match(entry, '^%d+')
    redis.call('HDEL', p .. 'log_outcomes:' .. customer, number)
    redis.call('ZREM', p .. 'log_changes:' .. customer, number)
  end
  redis.call('ZREMRANGEBYRANK', log, 0, last_rank)
end
local function oldest_entry(customer)
  local first = redis.call('ZRANGE', p .. 'log:' .. customer, 0, 0, 'WITHSCORES')[2]
  if first then redis.call('ZADD', p .. 'log_oldest', first, customer) else redis.call('ZREM', p .. 'log_oldest', customer) end
end
local function append(customer, at, origin, queued, text, ttl, size)
  local log, number = p .. 'log:' .. customer, next_number(customer)
  redis.call('ZADD', log, number, number .. ':' .. string.format('%.0f', at) .. ':' .. origin .. ':' .. queued .. ':' .. text)
  local surplus = redis.call('ZCARD', log) - size
  if surplus > 0 then drop_entries(customer, surplus - 1) end
  oldest_entry(customer)
  -- Where conversations are not kept any more nobody else would remove it.
  for _, name in ipairs({'log:', 'log_outcomes:', 'log_changes:', 'log_pending:'}) do
    redis.call('PEXPIRE', p .. name .. customer, ttl + 60000)
  end
  return number
end
-- A message has left the outbox.
local function has_outcome(customer, message, message_id, outcome)
  local pending = p .. 'log_pending:' .. customer
  local number = redis.call('HGET', pending, message)
  if not number then return end
  redis.call('HDEL', pending, message)
  if redis.call('ZCOUNT', p .. 'log:' .. customer, number, number) == 0 then return end
  if message_id ~= 'null' then outcome = '{"message_id":' .. message_id .. ',' .. string.sub(outcome, 2) end
  redis.call('ZADD', p .. 'log_changes:' .. customer, next_number(customer), number)
  redis.call('HSET', p .. 'log_outcomes:' .. customer, number, outcome)
  local ttl = redis.call('PTTL', p .. 'log:' .. customer)
  redis.call('PEXPIRE', p .. 'log_changes:' .. customer, ttl)
  redis.call('PEXPIRE', p .. 'log_outcomes:' .. customer, ttl)
  news(customer)
end
