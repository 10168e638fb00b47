-- customer, ms since the time until which letters are dropped → letters dropped
--! needs common drop_until
return drop_until(ARGV[3], now() - tonumber(ARGV[4]))
