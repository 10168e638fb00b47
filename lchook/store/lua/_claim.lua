-- Who came last counts, not whose word of it does: that may have had to wait until Redis was back. A weak claim takes the
-- customer from who is alive in such a way that their claim counts more. Who loses is told when the customer is free again.
local function claim(customer, ago, weakly)
  local owner, at = owner_of(customer)
  local came = now() - tonumber(ago)
  if owner == me then
    if came > at then own(customer, came) end
    return
  end
  local others = owner and alive(owner)
  if others and weakly then came = 0 end
  local loser = others and (weakly or came >= at) and owner or me
  if loser ~= me or not others then own(customer, came) end
  if loser ~= me then notify(loser, 'elsewhere', customer) end
  if others then
    redis.call('SADD', p .. 'standby:' .. customer, loser)
    redis.call('EXPIRE', p .. 'standby:' .. customer, 86400)
  end
end
