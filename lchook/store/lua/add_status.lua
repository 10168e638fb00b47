-- customer, text, s to keep it
--! needs common outbox
add_status(ARGV[3], ARGV[4], ARGV[5])
