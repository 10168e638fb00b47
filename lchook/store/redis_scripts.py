"""What the Redis store does in one step each, in Lua. Owns the layout of the keys; no I/O.

`{p}` is the prefix; times are milliseconds of Redis's own clock, so that instances need not agree on theirs.

    {p}number                 the number of the latest letter, of all customers; begins with the time in microseconds
    {p}box:<customer>         sorted set: number → "<at>:<text>", a mailbox
    {p}oldest                 sorted set: customer → when their oldest letter came in, for customers with letters
    {p}seen:<fingerprint>     a webhook that need not be kept again
    {p}owner:<customer>       "<instance> <at>": the instance that delivers to the customer, and when they came to it;
                              0 where they have not spoken there, and others may claim them
    {p}standby:<customer>     set: instances that had the customer, or wanted to, for some time
    {p}held:<customer>        set: instances that wait for acknowledgements of the customer
    {p}due:<instance>         set: customers of the instance for whom letters have come in
    {p}alive:<instance>       there as long as the instance is
    {p}ended:<instance>       there for some time after its regular end
    {p}line-of:<instance>     there as long, and for some time after: before its places in lines are given up, whoever has
                              a repeat of its messages can take them over
    {p}line:<customer>        list of "<instance> <ticket>", the order in which messages go to DMS
    {p}to_dms:<key>           what became of a message: "p <instance> <ticket>" waits, "s <instance> <ticket>" is being
                              posted, "d <outcome>"
    {p}bell:<instance>        channel: what the instance should look at
"""

from __future__ import annotations

# An instance that has not been heard of for this long is dead, and others take over what it had.
_ALIVE_MILLISECONDS = 15_000
# Several times as long as messages that wait take to look again.
_TAKE_OVER_MILLISECONDS = 3_000

_COMMON = (
    f"local alive_for, take_over_for = {_ALIVE_MILLISECONDS}, {_TAKE_OVER_MILLISECONDS}"
    + """
local p, me = ARGV[1], ARGV[2]
local function stay_alive()
  redis.call('SET', p .. 'alive:' .. me, '', 'PX', alive_for)
  redis.call('SET', p .. 'line-of:' .. me, '', 'PX', alive_for + take_over_for)
end
-- Who speaks is alive, even if Redis was away for so long that it forgot. Unless these are last words.
if redis.call('EXISTS', p .. 'alive:' .. me, p .. 'ended:' .. me) == 0 then stay_alive() end
local function alive(instance) return instance == me or redis.call('EXISTS', p .. 'alive:' .. instance) == 1 end
local function ring(instance, what, customer) redis.call('PUBLISH', p .. 'bell:' .. instance, what .. ' ' .. customer) end
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function oldest(customer)
  local first = redis.call('ZRANGE', p .. 'box:' .. customer, 0, 0)[1]
  if first then
    redis.call('ZADD', p .. 'oldest', string.match(first, '^%d+'), customer)
  else
    redis.call('ZREM', p .. 'oldest', customer)
  end
end
local function owner_of(customer)
  local owner, at = string.match(redis.call('GET', p .. 'owner:' .. customer) or '', '^(%S+) (%d+)$')
  return owner, tonumber(at or 0)
end
local function own(customer, at) redis.call('SET', p .. 'owner:' .. customer, me .. ' ' .. string.format('%.0f', at)) end
local function due(customer)
  local owner = owner_of(customer)
  if owner and owner ~= me then
    redis.call('SADD', p .. 'due:' .. owner, customer)
    ring(owner, 'due', customer)
  end
  return owner == me
end
"""
)

# By its own bell the instance hears whether it listens where others ring.
STAY_ALIVE = _COMMON + "stay_alive() ring(me, 'here', '')"

# The instance ends.
END = (
    _COMMON
    + """
redis.call('SET', p .. 'ended:' .. me, '', 'PX', 4 * alive_for)
redis.call('DEL', p .. 'alive:' .. me)
redis.call('PEXPIRE', p .. 'line-of:' .. me, take_over_for)
"""
)

# customer, text, fingerprint or '', seconds to remember it, letters a mailbox holds → kept, here, dropped
PUT = (
    _COMMON
    + """
local customer, text, fingerprint, remember, size = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
if fingerprint ~= '' and not redis.call('SET', p .. 'seen:' .. fingerprint, '', 'NX', 'EX', remember) then
  -- Whoever put it may not have heard that it was kept, and so has not sent it.
  return {0, due(customer) and 1 or 0, 0}
end
local box, at = p .. 'box:' .. customer, now()
-- A Redis that was emptied must not number letters as it did before: instances remember how far they got.
redis.call('SET', p .. 'number', string.format('%.0f', at * 1000), 'NX')
redis.call('INCR', p .. 'number')
redis.call('ZADD', box, redis.call('GET', p .. 'number'), string.format('%.0f', at) .. ':' .. text)
local dropped = redis.call('ZCARD', box) - size
if dropped > 0 then redis.call('ZREMRANGEBYRANK', box, 0, dropped - 1) else dropped = 0 end
redis.call('ZADD', p .. 'oldest', 'NX', string.format('%.0f', at), customer)
return {1, due(customer) and 1 or 0, dropped}
"""
)

_CLAIM = """
-- Who came last counts, not whose word of it does: that may have had to wait until Redis was back. A weak claim takes the
-- customer from who is alive in such a way that their claim counts more. Who loses is told when the customer is free again.
local function claim(customer, ago, weakly)
  local owner, at = owner_of(customer)
  local came = now() - tonumber(ago)
  if owner == me then
    if came > at then own(customer, came) end
    return
  end
  local others = owner and alive(owner)
  if others and weakly then came = 0 end
  local loser = others and (weakly or came >= at) and owner or me
  if loser ~= me or not others then own(customer, came) end
  if loser ~= me then ring(loser, 'elsewhere', customer) end
  if others then
    redis.call('SADD', p .. 'standby:' .. customer, loser)
    redis.call('EXPIRE', p .. 'standby:' .. customer, 86400)
  end
end
"""

# customer, ms since they came, '1' if they have not spoken
CLAIM = _COMMON + _CLAIM + "claim(ARGV[3], ARGV[4], ARGV[5] == '1')"

# customer, after, limit, time to live in ms → state, number, text, number, text, …
FETCH = (
    _COMMON
    + """
local customer, after, limit, ttl = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
-- Nobody has them: Redis forgot (it was emptied), or the other instance has let go.
local owner, at = owner_of(customer)
if not owner then
  own(customer, 0)
elseif owner ~= me then
  return {'elsewhere', at == 0 and 1 or 0}
end
for _, instance in ipairs(redis.call('SMEMBERS', p .. 'held:' .. customer)) do
  if instance ~= me then
    if alive(instance) then return {'held'} end
    redis.call('SREM', p .. 'held:' .. customer, instance)
  end
end
local result, youngest, found = {'ours'}, now() - ttl, nil
repeat
  found = redis.call('ZRANGEBYSCORE', p .. 'box:' .. customer, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #found, 2 do
    local at, text = string.match(found[i], '^(%d+):(.*)$')
    after = found[i + 1]
    if tonumber(at) > youngest then
      result[#result + 1] = after
      result[#result + 1] = text
    end
  end
-- Where the time of some was over, others follow.
until #result > 2 * limit or #found < 2 * limit
if #result > 1 then redis.call('SADD', p .. 'held:' .. customer, me) end
return result
"""
)

# customer, '1' if the instance waits for no other acknowledgement, number, number, …
REMOVE = (
    _COMMON
    + """
local customer = ARGV[3]
for i = 5, #ARGV do redis.call('ZREMRANGEBYSCORE', p .. 'box:' .. customer, ARGV[i], ARGV[i]) end
if #ARGV > 4 then oldest(customer) end
if ARGV[4] == '1' and redis.call('SREM', p .. 'held:' .. customer, me) == 1 then due(customer) end
"""
)

# customer, '1' if the instance still waits for acknowledgements
LEAVE = (
    _COMMON
    + """
local customer = ARGV[3]
if owner_of(customer) == me then
  redis.call('DEL', p .. 'owner:' .. customer)
  for _, instance in ipairs(redis.call('SMEMBERS', p .. 'standby:' .. customer)) do
    if instance ~= me and alive(instance) then
      redis.call('SADD', p .. 'due:' .. instance, customer)
      ring(instance, 'due', customer)
    end
  end
  redis.call('DEL', p .. 'standby:' .. customer)
end
if ARGV[4] ~= '1' and redis.call('SREM', p .. 'held:' .. customer, me) == 1 then due(customer) end
"""
)

_DROP_UNTIL = """
-- Drop the letters of a customer that came in until then. How many were there?
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
"""

# customer, ms since the time until which letters are dropped → letters dropped
CLEAR = _COMMON + _DROP_UNTIL + "return drop_until(ARGV[3], now() - tonumber(ARGV[4]))"

# customer, text
PASS_ON = (
    _COMMON
    + """
local owner = owner_of(ARGV[3])
if owner and owner ~= me then
  redis.call('PUBLISH', p .. 'bell:' .. owner, 'now ' .. #ARGV[3] .. ' ' .. ARGV[3] .. ARGV[4])
end
"""
)

# time to live in ms, customers at once → letters dropped, customers looked at
EXPIRE = (
    _COMMON
    + _DROP_UNTIL
    + """
local youngest = now() - tonumber(ARGV[3])
local customers = redis.call('ZRANGEBYSCORE', p .. 'oldest', '-inf', string.format('%.0f', youngest), 'LIMIT', 0, ARGV[4])
local dropped = 0
for _, customer in ipairs(customers) do
  dropped = dropped + drop_until(customer, youngest)
end
return {dropped, #customers}
"""
)

_LINE = """
-- Is this ticket at the front? Tickets of instances that died are taken out: nobody will post for them.
local function turn(customer, ticket, key, remember)
  local line = p .. 'line:' .. customer
  while true do
    local first = redis.call('LINDEX', line, 0)
    if not first or first == me .. ' ' .. ticket then
      if key ~= '' then redis.call('SET', p .. 'to_dms:' .. key, 's ' .. me .. ' ' .. ticket, 'EX', remember) end
      return 1
    end
    if redis.call('EXISTS', p .. 'line-of:' .. string.match(first, '^%S+')) == 1 then return 0 end
    redis.call('LPOP', line)
  end
end
local function next_of_mine(line, from)
  for _, other in ipairs(redis.call('LRANGE', line, from, -1)) do
    if string.match(other, '^%S+') == me then return other end
  end
end
-- Put a ticket into the line, before another or at the end, unless it is there.
local function place(line, mine, before)
  if redis.call('LPOS', line, mine) then return end
  if not before or redis.call('LINSERT', line, 'BEFORE', before, mine) < 1 then redis.call('RPUSH', line, mine) end
  redis.call('EXPIRE', line, 3600)
end
"""

# customer, ticket, key or '', seconds to remember, ms since it came, the ticket of this instance to put it before or ''
# → state, turn, outcome, the ticket of this instance that comes next after it or ''
ARRIVE = (
    _COMMON
    + _CLAIM
    + _LINE
    + """
local customer, ticket, key, remember = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local line, mine, dead = p .. 'line:' .. customer, me .. ' ' .. ticket, nil
claim(customer, ARGV[7])
if key ~= '' then
  local known = redis.call('GET', p .. 'to_dms:' .. key)
  if known then
    local state, rest = string.sub(known, 1, 1), string.sub(known, 3)
    if state == 'd' then return {'done', 0, rest, ''} end
    if rest ~= mine then
      if alive(string.match(rest, '^%S+')) then return {'pending', 0, '', ''} end
      if state == 's' then return {'lost', 0, '', ''} end
      -- It only waited for its turn when its instance died: it is as good as new, and keeps its place.
      dead, known = rest, nil
    end
  end
  if not known then redis.call('SET', p .. 'to_dms:' .. key, 'p ' .. mine, 'EX', remember) end
end
-- It is there already if it arrived before, and the answer was lost.
place(line, mine, dead and redis.call('LPOS', line, dead) and dead or ARGV[8] ~= '' and me .. ' ' .. ARGV[8])
if dead then redis.call('LREM', line, 1, dead) end
local is_turn = turn(customer, ticket, key, remember)
local after = next_of_mine(line, redis.call('LPOS', line, mine) + 1)
return {'first', is_turn, '', after and string.match(after, '%S+$') or ''}
"""
)

# customer, ticket, key or '', seconds to remember → 1 at the front of the line, 2 another instance has the message, else 0
TURN = (
    _COMMON
    + _LINE
    + """
if ARGV[5] ~= '' then
  local known = redis.call('GET', p .. 'to_dms:' .. ARGV[5])
  if known and string.sub(known, 3) ~= me .. ' ' .. ARGV[4] then return 2 end
end
-- Others took it out of the line if Redis was away for so long that this instance seemed dead.
local line = p .. 'line:' .. ARGV[3]
place(line, me .. ' ' .. ARGV[4], next_of_mine(line, 0))
return turn(ARGV[3], ARGV[4], ARGV[5], ARGV[6])
"""
)

# customer, ticket, key or '', seconds to remember, outcome or '' to forget it
FINISH = (
    _COMMON
    + """
local customer, line, mine = ARGV[3], p .. 'line:' .. ARGV[3], me .. ' ' .. ARGV[4]
redis.call('LREM', line, 1, mine)
if ARGV[5] ~= '' then
  local key = p .. 'to_dms:' .. ARGV[5]
  if ARGV[7] ~= '' then
    redis.call('SET', key, 'd ' .. ARGV[7], 'EX', ARGV[6])
  elseif string.sub(redis.call('GET', key) or '', 3) == mine then
    redis.call('DEL', key)
  end
end
local first = redis.call('LINDEX', line, 0)
if first then
  local instance = string.match(first, '^%S+')
  if instance ~= me then ring(instance, 'turn', customer) end
end
"""
)

# mailboxes to count → letters, customers, age of the oldest in ms
WAITING = (
    _COMMON
    + """
local letters, oldest = 0, 0
for _, customer in ipairs(redis.call('ZRANGE', p .. 'oldest', 0, ARGV[3] - 1)) do
  letters = letters + redis.call('ZCARD', p .. 'box:' .. customer)
end
local first = redis.call('ZRANGE', p .. 'oldest', 0, 0, 'WITHSCORES')[2]
if first then oldest = now() - tonumber(first) end
return {letters, redis.call('ZCARD', p .. 'oldest'), string.format('%.0f', oldest)}
"""
)

# customers at most → customer, letters, age of the oldest in ms, customer, …
WAITING_CUSTOMERS = (
    _COMMON
    + """
local result, at = {}, now()
local found = redis.call('ZRANGE', p .. 'oldest', 0, ARGV[3] - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  result[#result + 1] = found[i]
  result[#result + 1] = redis.call('ZCARD', p .. 'box:' .. found[i])
  result[#result + 1] = string.format('%.0f', at - tonumber(found[i + 1]))
end
return result
"""
)
