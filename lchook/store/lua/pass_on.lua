-- customer, text, '1' where only followers of the conversation get it
--! needs common log
local customer, what = ARGV[3], 'now ' .. #ARGV[3] .. ' ' .. ARGV[3] .. ARGV[4]
local owner, told = owner_of(customer), {}
local function tell(instance)
  if not told[instance] then redis.call('PUBLISH', p .. 'bell:' .. instance, what) end
  told[instance] = true
end
if owner and owner ~= me and ARGV[5] ~= '1' then tell(owner) end
followers(customer, tell)
