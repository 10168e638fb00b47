-- By its own bell the instance hears whether it listens where others ring.
--! needs common
stay_alive() ring(me, 'here', '')
