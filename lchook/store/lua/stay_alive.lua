-- By its own notification the instance sees whether it listens where others notify.
--! needs common
stay_alive() notify(me, 'here', '')
