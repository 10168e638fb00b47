-- customer, text, s to keep it
--! needs common log outbox
add_status(ARGV[3], ARGV[4], ARGV[5])
