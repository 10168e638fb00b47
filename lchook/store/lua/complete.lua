-- customer, number, outcome, s to remember it, '1' to take, '1' to tell it later, `take`'s unknown, its remember and keep, the
-- message's ticket, key and message_id → what `take` returns
--! needs common log outbox
local customer, keep = ARGV[3], ARGV[11]
local who, posting = poster_of(customer)
-- What is being posted is the first message. It may have been told before, and the answer was lost: then that is another one.
if who == me and posting == ARGV[4] then
  complete(customer, posting, ARGV[12], ARGV[13], ARGV[14], ARGV[5], ARGV[6], ARGV[8] == '1', keep)
end
if ARGV[7] == '1' then return take(customer, ARGV[9], ARGV[10], keep) end
if who == me then give_up(customer) end
return {}
