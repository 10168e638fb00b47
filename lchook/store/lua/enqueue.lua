-- customer, '1' to take, messages that may wait of one customer, of all, s to remember a message, `take`'s unknown, its
-- remember and keep, '1' if the customer comes with them, time to live of the conversation in ms or 0, entries of it that are
-- kept, then of each message: ticket, key, message_id as JSON, type, body
-- → of each message: state, outcome; what `take` returns; statuses. Of one message that is new, and the first and to be posted,
-- and with no statuses: its number, and nothing else
--! needs common claim log outbox
local customer, most, size, remember = ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local answers, number = {}, nil
if ARGV[11] == '1' then claim(customer, 0) end
local length = redis.call('LLEN', p .. 'queue:' .. customer)
for i = 14, #ARGV, 5 do
  local ticket, key = me .. ' ' .. ARGV[i], ARGV[i + 1]
  local state, rest = known(key)
  if state == 'queued' then
    if rest ~= ticket then state = 'pending' end
    rest = ''
  elseif not state then
    if length >= most then
      state, rest = 'full', 'customer'
    elseif tonumber(redis.call('GET', p .. 'outbox_size') or 0) >= size then
      state, rest = 'full', 'all'
    else
      number = push(customer, ticket, key, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
      redis.call('SET', p .. 'to_dms:' .. key, 'q ' .. ticket, 'EX', remember)
      if ARGV[12] ~= '0' then
        local pending = p .. 'log_pending:' .. customer
        local entry = append(customer, now(), 'c', '0', ARGV[i + 4], tonumber(ARGV[12]), tonumber(ARGV[13]))
        redis.call('HSET', pending, number, entry)
        redis.call('PEXPIRE', pending, ARGV[12] + 60000)
        news(customer)
      end
      state, rest, length = 'queued', '', length + 1
    end
  end
  answers[#answers + 1] = state
  answers[#answers + 1] = rest
end
local taken, statuses = {}, ARGV[11] == '1' and statuses_of(customer) or {}
if number and length == 1 and ARGV[4] == '1' and not poster_of(customer) then
  redis.call('SET', p .. 'poster:' .. customer, me .. ' ' .. number)
  redis.call('SADD', p .. 'posts:' .. me, customer)
  if #answers == 2 and #statuses == 0 then return number end
  taken = take(customer, ARGV[8], ARGV[9], ARGV[10])
elseif ARGV[4] == '1' then
  taken = take(customer, ARGV[8], ARGV[9], ARGV[10])
elseif length > 0 and not poster_of(customer) then
  redis.call('SADD', p .. 'orphans', customer)
end
return {answers, taken, statuses}
