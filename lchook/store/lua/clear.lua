-- customer, ms since the time until which messages are dropped → messages dropped
--! needs common drop_until
return drop_until(ARGV[3], now() - tonumber(ARGV[4]))
