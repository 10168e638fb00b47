-- customer, number, outcome, s to remember it, '1' to take, '1' to tell it later, `take`'s unknown, its remember and keep
-- → what `take` returns
--! needs common outbox
local customer, keep = ARGV[3], ARGV[11]
local who = poster_of(customer)
if who == me then
  local entry = first_of(customer)
  -- It may have been told before, and the answer was lost.
  if entry and entry[1] == ARGV[4] then complete(customer, entry, ARGV[5], ARGV[6], ARGV[8] == '1', keep) end
end
if ARGV[7] == '1' then return take(customer, ARGV[9], ARGV[10], keep) end
if who == me then give_up(customer) end
return {{}, {}}
