-- customer, after, changed after, entries, characters, time to live in ms, '1' for one who joins, entries kept, s to be told news
-- → latest, '1' if there are more, entries, changes; of each: number, at in ms, c or d, number in the mailbox or 0, payload, outcome, changed
--! needs common log
local customer, after, ttl, size = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[8]), tonumber(ARGV[10])
local log, box, latest = p .. 'log:' .. customer, p .. 'box:' .. customer, next_number(customer)
redis.call('SADD', p .. 'followers:' .. customer, me)
redis.call('EXPIRE', p .. 'followers:' .. customer, ARGV[11])
local function parts_of(entry) return string.match(entry, '^(%d+):(%d+):(%a):(%d+):(.*)$') end
local function waits(queued) return queued ~= '0' and redis.call('ZCOUNT', box, queued, queued) > 0 end
if ARGV[9] == '1' and redis.call('EXISTS', box) == 1 then
  local known = {}
  for _, entry in ipairs(redis.call('ZRANGE', log, 0, -1)) do
    local number, _, _, queued = parts_of(entry)
    known[queued] = true
    -- Who joins has seen these.
    if tonumber(number) <= after and after <= tonumber(latest) and queued ~= '0' then
      redis.call('ZREMRANGEBYSCORE', box, queued, queued)
    end
  end
  oldest(customer)
  -- They were put where no conversation was kept, or have waited for longer than it is kept.
  local boxed = redis.call('ZRANGE', box, 0, -1, 'WITHSCORES')
  for i = 1, #boxed, 2 do
    local at, text = string.match(boxed[i], '^(%d+):(.*)$')
    if not known[boxed[i + 1]] then append(customer, tonumber(at), 'd', boxed[i + 1], text, ttl, size) end
  end
end
local function shown(entry)
  local number, at, origin, queued, text = parts_of(entry)
  local changed = redis.call('ZSCORE', p .. 'log_changes:' .. customer, number) or '0'
  local outcome = redis.call('HGET', p .. 'log_outcomes:' .. customer, number) or ''
  return {number, at, origin, waits(queued) and queued or '0', text, outcome, changed}
end
local entries, changes, characters, more = {}, {}, 0, 0
local changed = redis.call('ZRANGEBYSCORE', p .. 'log_changes:' .. customer, '(' .. ARGV[5], '+inf')
for _, number in ipairs(changed) do
  if tonumber(number) <= after then
    local entry = redis.call('ZRANGEBYSCORE', log, number, number)[1]
    if entry then changes[#changes + 1] = shown(entry) end
  end
end
local from = string.format('%.0f', math.max(after, tonumber(next_number(customer)) - ttl * 1000))
local offset, found = 0, nil
repeat
  found = redis.call('ZRANGEBYSCORE', log, '(' .. from, '+inf', 'LIMIT', offset, 10)
  offset = offset + #found
  for _, entry in ipairs(found) do
    if #entries >= tonumber(ARGV[6]) or characters >= tonumber(ARGV[7]) then
      more = 1
      break
    end
    entries[#entries + 1] = shown(entry)
    characters = characters + #entry
  end
until more == 1 or #found < 10
return {next_number(customer), more, entries, changes}
