-- customer, ms since they came, '1' if they have not spoken
--! needs common claim
claim(ARGV[3], ARGV[4], ARGV[5] == '1')
