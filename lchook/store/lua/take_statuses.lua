-- customer → texts
--! needs common log outbox
return statuses_of(ARGV[3])
