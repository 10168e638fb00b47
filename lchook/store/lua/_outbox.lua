-- Messages to DMS. An entry of a queue is {number, at, ticket, key, message_id as JSON, type, body}.
-- Who posts for a customer, and the number of the message that they are posting.
local function poster_of(customer)
  return string.match(redis.call('GET', p .. 'poster:' .. customer) or '', '^(%S+) (%d+)$')
end
local function first_of(customer)
  local first = redis.call('LINDEX', p .. 'queue:' .. customer, 0)
  return first and cjson.decode(first)
end
local function push(customer, ticket, key, message_id, kind, body)
  local at = now()
  local number = redis.call('INCR', p .. 'outbox_number')
  if number == 1 then
    -- A Redis that was emptied must not number messages as it did before: instances may still tell what became of one.
    number = at * 1000
    redis.call('SET', p .. 'outbox_number', string.format('%.0f', number))
  end
  local entry = {string.format('%.0f', number), string.format('%.0f', at), ticket, key, message_id, kind, body}
  if redis.call('RPUSH', p .. 'queue:' .. customer, cjson.encode(entry)) == 1 then
    redis.call('ZADD', p .. 'outbox', entry[2], customer)
  end
  redis.call('INCR', p .. 'outbox_size')
  return entry[1]
end
local function add_status(customer, text, keep)
  redis.call('RPUSH', p .. 'status:' .. customer, text)
  redis.call('LTRIM', p .. 'status:' .. customer, -1000, -1)
  redis.call('EXPIRE', p .. 'status:' .. customer, keep)
end
local function statuses_of(customer)
  -- The usual case, in which there are none, costs least so.
  if redis.call('EXISTS', p .. 'status:' .. customer) == 0 then return {} end
  local statuses = redis.call('LRANGE', p .. 'status:' .. customer, 0, -1)
  redis.call('DEL', p .. 'status:' .. customer)
  return statuses
end
-- The first message has its outcome, and is out of the queue.
local function complete(customer, number, ticket, key, message_id, outcome, remember, tell_later, keep)
  redis.call('LPOP', p .. 'queue:' .. customer)
  redis.call('DECR', p .. 'outbox_size')
  local second = first_of(customer)
  if second then
    redis.call('ZADD', p .. 'outbox', second[2], customer)
  else
    redis.call('ZREM', p .. 'outbox', customer)
  end
  local whose = '{"customer":' .. cjson.encode(customer) .. ','
  redis.call('SET', p .. 'to_dms:' .. key, 'd ' .. whose .. string.sub(outcome, 2), 'EX', remember)
  has_outcome(customer, number, message_id, outcome)
  if not tell_later or message_id == 'null' then return end
  local origin = string.match(ticket, '^%S+')
  if origin == me or not alive(origin) then
    add_status(customer, '{"message_id":' .. message_id .. ',' .. string.sub(outcome, 2), keep)
  end
end
-- This instance does not post for the customer any more.
local function give_up(customer)
  redis.call('DEL', p .. 'poster:' .. customer)
  redis.call('SREM', p .. 'posts:' .. me, customer)
  if redis.call('EXISTS', p .. 'queue:' .. customer) == 1 then redis.call('SADD', p .. 'orphans', customer) end
end
-- Post for a customer, unless another instance that is alive does. What a dead one was posting has its outcome with that:
-- `unknown`. → the first message, or an empty list; what that was, or an empty list; nothing instead of two empty lists
local function take(customer, unknown, remember, keep)
  local who, posting = poster_of(customer)
  local abandoned = {}
  if who and who ~= me then
    if alive(who) then return {} end
    redis.call('SREM', p .. 'posts:' .. who, customer)
    local entry = first_of(customer)
    if entry and entry[1] == posting then
      complete(customer, entry[1], entry[3], entry[4], entry[5], unknown, remember, true, keep)
      abandoned = entry
    end
  elseif not who then
    redis.call('SREM', p .. 'orphans', customer)
  end
  local entry = first_of(customer)
  if not entry then
    if who then give_up(customer) end
    return #abandoned > 0 and {{}, abandoned} or {}
  end
  redis.call('SET', p .. 'poster:' .. customer, me .. ' ' .. entry[1])
  if who ~= me then redis.call('SADD', p .. 'posts:' .. me, customer) end
  entry[2] = string.format('%.0f', now() - tonumber(entry[2]))
  return {entry, abandoned}
end
-- What is known of a message: 'queued', 'done' and its outcome, or 'lost'; its ticket; nil for nothing.
local function known(key)
  local text = redis.call('GET', p .. 'to_dms:' .. key)
  if not text then return nil end
  local state, rest = string.sub(text, 1, 1), string.sub(text, 3)
  if state == 'd' then return 'done', rest end
  -- "p" and "s" are of the version before, whose instances keep their messages themselves.
  if state == 'q' or alive(string.match(rest, '^%S+')) then return 'queued', rest end
  return 'lost', ''
end
