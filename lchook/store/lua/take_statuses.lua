-- customer → texts
--! needs common outbox
return statuses_of(ARGV[3])
