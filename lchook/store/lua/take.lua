-- customer, the outcome of what a dead instance was posting, s to remember it, s to keep its status
-- → the first message: number, age in ms, ticket, key, message_id, type, body; what the dead one was posting: likewise
--! needs common log outbox
return take(ARGV[3], ARGV[4], ARGV[5], ARGV[6])
