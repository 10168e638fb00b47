-- key, key, … → of each: 'queued', 'done' or 'lost', outcome
--! needs common log outbox
local result = {}
for i = 3, #ARGV do
  local state, rest = known(ARGV[i])
  result[#result + 1] = state or 'lost'
  result[#result + 1] = state == 'done' and rest or ''
end
return result
