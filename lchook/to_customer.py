"""The flow to customers: a webhook's message is kept in the customer's mailbox until their browser has it.

A customer is reached on the socket that spoke for them last, and on no other (`customers.py` has the rest of it). Letters
go out in order, without waiting for each other's acknowledgement. A letter is done when it is acknowledged, or when its
socket has answered a ping that was sent after it: what was sent before that ping has arrived. Where the socket closes first,
the letter goes to the customer's next one.

Knows nothing of HTTP, and of Socket.IO only two functions.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from lchook.canonical import compact_json
from lchook.customers import Customer, JustKept, Sent
from lchook.logs import Log
from lchook.messages import MessageToCustomer
from lchook.store import Letter, Removal, Store, StoreError

log = Log(__name__)

# Worth nothing later: sent if the customer is there, and not kept.
_FLEETING = frozenset({"typing_indicator", "wait_time"})
_FETCH_AT_ONCE = 100
# Characters on their way to one customer. More wait in the store until some are acknowledged: memory is for everybody.
_MOST_ON_THE_WAY = 4_000_000
_EXPIRE_EVERY_SECONDS = 30.0
_LOCKS = 64
# What a client says is that much older when LCH hears it, at most; and it counts from when it said it.
_ON_THE_WAY_SECONDS = 1.0
# Sockets with unacknowledged letters that are asked whether they are there, when the customer comes on another.
_MOST_ASKED = 8
_MOST_TICK_SECONDS = 1.0

# Emits a payload (JSON) to a socket as `serverMessage` and calls back when the client acknowledges it.
Emit = Callable[[str, str, Callable[..., None]], None]
# How many seconds ago a socket was sent the latest ping that it has answered; None where it is gone.
AnsweredPingAge = Callable[[str], float | None]
# Pings a socket, closes it if it does not answer soon, and calls back when it does.
Ask = Callable[[str, Callable[[], object] | None], None]


class ToCustomer:
    """Keeps and delivers messages to customers, and knows on which socket each is. Call from anywhere."""

    def __init__(
        self,
        store: Store,
        *,
        emit: Emit,
        answered_ping_age: AnsweredPingAge,
        ack_timeout_seconds: float,
        heartbeat_seconds: float,
        on_acknowledgement: Callable[[float], None] = lambda _: None,
        is_older: Callable[[str, str], bool] = lambda sid, other: False,
        ask: Ask = lambda sid, answered: None,
        soon: Callable[[Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param heartbeat_seconds: ping interval and ping timeout together: how long a dead socket may go unnoticed.
        :param is_older: has this socket connected before that one?
        :param ask: whether a socket is there.
        :param soon: does something in a task of its own when what has come in by now is handled, so that the store is told
            of several acknowledgements at once. If not given, it is told of each by itself.
        """
        self._store = store
        self._emit = emit
        self._answered_ping_age = answered_ping_age
        self._ack_timeout_seconds = ack_timeout_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._on_acknowledgement = on_acknowledgement
        self._is_older = is_older
        self._ask = ask
        self._soon = soon or (lambda task: task())
        self._clock = clock
        self._lock = threading.Lock()
        # Shared by many customers each: one of their own would be one more thing to fetch from memory. Nobody holds two.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._customers: dict[str, Customer] = {}
        self._customers_on: dict[str, set[str]] = {}
        # Oldest first. Left in here when they are done; `tick` passes over them.
        self._unacknowledged: OrderedDict[int, Sent] = OrderedDict()
        self._unproven: OrderedDict[int, Sent] = OrderedDict()
        # Customers of whom the store is to be told what is done.
        self._to_tell: list[Customer] = []
        # Customers to come back to: another instance holds their letters, or the store failed.
        self._again: set[str] = set()
        self._next_expiry = 0.0
        # What happened, for those who run it.
        self.counts: Counter[str] = Counter()

    # Sockets

    def speaks_on(self, customer_id: str, sid: str, *, untold: bool = False) -> None:
        """From now on the customer is reached on this socket. Does not send yet: `send_waiting` does.

        :param untold: the store does not hear of it with what they say, as of a typing indicator.
        """
        now = self._clock()
        with self._lock:
            customer = self._customer(customer_id)
            with customer.lock:
                customer.unclaimed = customer.unclaimed or (untold and customer.sid != sid)
                doubtful = self._move(customer, sid, came_at=now, spoke_at=now)
                customer.weak = False
        self._after_move(doubtful, sid)

    def resume(self, customer_id: str, sid: str, *, spoke_seconds_ago: float | None = None) -> None:
        """This socket says whose it is, and has not said anything else yet.

        The customer is reached on it, and by this instance, unless they are on another one that is alive, and on which they
        spoke later.

        :param spoke_seconds_ago: when its client spoke last, over a connection before this one; None where it does not say.
        """
        now = self._clock()
        spoke_at = None if spoke_seconds_ago is None else now - max(0.0, spoke_seconds_ago - _ON_THE_WAY_SECONDS)
        doubtful: list[str] = []
        with self._lock:
            customer = self._customer(customer_id)
            with customer.lock:
                stands_by = customer.stand_by(sid, spoke_at)
                self._customers_on.setdefault(sid, set()).add(customer_id)
                superfluous = customer.too_many()
                if superfluous is not None and superfluous not in (customer.sid, customer.younger):
                    self._leave_if_done(customer, superfluous)
                holder = customer.sid
                if not stands_by:
                    came_at = now if spoke_at is None else spoke_at
                    said_at = -math.inf if spoke_at is None else spoke_at
                    doubtful = self._move(customer, sid, came_at=came_at, spoke_at=said_at)
                    customer.weak = spoke_at is None
        if stands_by and holder is not None:
            log.info("stands by: the customer is on another socket", customer=customer_id, socket=sid)
            self._ask(holder, lambda: self._is_there(customer, holder))
            self._after_move([], sid)
            return
        self._after_move(doubtful, sid)
        try:
            self._claim(customer)
        except StoreError as error:
            log.error("the customer cannot be claimed now", customer=customer_id, reason=error)
            self._claim_later(customer_id)
            return
        self.send_waiting(customer_id)

    def send_waiting_on(self, customer_id: str, sid: str) -> None:
        """As `send_waiting`, now that the store knows that the customer is here."""
        customer = self._customers.get(customer_id)
        if customer is None or customer.sid is None:
            # The store was asked before it knew, and said that they are elsewhere.
            self.speaks_on(customer_id, sid)
        self.send_waiting(customer_id)

    def send_waiting(self, customer_id: str) -> None:
        """Send what waits for the customer, if they are here, and nothing has to be held back for order's sake."""
        customer = self._customers.get(customer_id)
        if customer is not None:
            self._send_waiting(customer)

    def due(self, customer_id: str) -> None:
        """Something waits for the customer, or the instance that had them has let go of them: if a socket stands by here,
        they are on it now."""
        customer = self._customers.get(customer_id)
        if customer is None:
            return
        with self._lock, customer.lock:
            if customer.sid is None and customer.resumed:
                customer.move_to_following(customer.resumed[0], replaced=False)
                customer.came += 1
                customer.came_at = self._clock()
                customer.unclaimed = True
        self._send_waiting(customer)

    def socket_gone(self, sid: str, *, silently: bool = False) -> None:
        """The socket is closed: what was not acknowledged on it goes to the customer's next one.

        :param silently: it was dead for some time before.
        """
        with self._lock:
            # Some may be forgotten already: they moved on, and have acknowledged everything.
            customers = [self._customers.get(customer_id) for customer_id in self._customers_on.pop(sid, ())]
        for customer in customers:
            if customer is not None:
                self._gone_from(customer, sid, silently=silently)

    def elsewhere(self, customer_id: str) -> None:
        """Another instance says that it has the customer now. That may be old news, so the store is asked."""
        self.send_waiting(customer_id)

    def reconnected(self) -> None:
        """The store was away: look anew for every customer who is here."""
        self._again.update(list(self._customers))

    # Messages

    def deliver(self, message: MessageToCustomer, *, fingerprint: str | None) -> None:
        """Keep a message for its customer and send it if they are here. Returns when it is kept.

        :param fingerprint: what is equal for repeats of the same webhook, if repeats can be recognised.
        :raises StoreError: where it could not be kept.
        """
        customer_id = message.customer_id
        if message.type in _FLEETING:
            self._deliver_now(message)
            return
        name = message.payload.get("message_id")
        text = compact_json(message.payload)
        kept = self._store.put(customer_id, text, fingerprint)
        if not kept.kept:
            self.counts["repeated_webhook"] += 1
            log.info("a repeated webhook is not delivered again", customer=customer_id, message=name)
            if kept.here:
                # Where the store kept the first one and its answer was lost, nobody has sent it yet.
                self.send_waiting(customer_id)
            return
        if kept.dropped:
            self.counts["dropped_mailbox_full"] += kept.dropped
            log.warning("mailbox full: the oldest letters are dropped", customer=customer_id, letters=kept.dropped)
        customer = self._customers.get(customer_id)
        # A customer who is here though the store says no: it has forgotten, or knows better; it will be asked.
        if not kept.here and (customer is None or customer.sid is None):
            log.info("kept; another instance has the customer, or none", customer=customer_id, message=name)
            return
        if customer is None:
            log.info("kept until the customer comes", customer=customer_id, message=name)
        else:
            just_kept = JustKept(Letter(kept.number, text), kept.before, message) if kept.number else None
            self._send_waiting(customer, just_kept)

    def send_now(self, customer_id: str, payload: dict[str, Any]) -> bool:
        """Send a payload that is not kept, if the customer is here; tells whether they are."""
        customer = self._customers.get(customer_id)
        sid = customer.sid if customer is not None else None
        if customer is None or sid is None:
            return False
        text = json.dumps(payload, separators=(",", ":"))
        self._hand_over(Sent(customer, 0, sid, self._clock()), text, payload)
        return True

    def clear(self, customer_id: str, *, seconds_ago: float = 0.0) -> None:
        """The customer ended the session so long ago: what waited for them then is worth nothing any more."""
        try:
            count = self._store.clear(customer_id, seconds_ago=seconds_ago)
        except StoreError as error:
            log.error("the mailbox could not be emptied", customer=customer_id, reason=error)
            return
        if count:
            self.counts["dropped_session_ended"] += count
            log.info("the customer ended the session: waiting letters are dropped", customer=customer_id, letters=count)

    def customers(self) -> int:
        """How many customers are here, or were until acknowledgements still come."""
        return len(self._customers)

    def unacknowledged(self) -> int:
        """How many letters are on their way, or done without the store knowing."""
        return sum(len(customer.on_the_way) + len(customer.done) for customer in list(self._customers.values()))

    def whereabouts(self, customer_id: str) -> tuple[bool, int]:
        """Is the customer here, and how many letters are on their way to them?"""
        customer = self._customers.get(customer_id)
        return (False, 0) if customer is None else (customer.sid is not None, len(customer.on_the_way))

    # Time

    def tick(self) -> None:
        """Look after what time brings: overdue acknowledgements, survived heartbeats, second tries, expiry."""
        now = self._clock()
        for sent in self._due(self._unacknowledged, now - self._ack_timeout_seconds, lambda sent: sent.at):
            sent.overdue = True
            self.counts["acknowledgement_timeout"] += 1
            log.error(
                f"not acknowledged within {self._ack_timeout_seconds:g} s",
                customer=sent.customer.customer_id,
                message=sent.name,
                socket=sent.sid,
            )
        for sent in self._due(self._unproven, now - self._heartbeat_seconds, lambda sent: sent.looked_at):
            if sent.customer.on_the_way.get(sent.number) is sent:
                self._ask_the_heartbeat(sent, now)
        for _ in range(len(self._again)):
            if self._clock() - now > _MOST_TICK_SECONDS:
                # The store stalls, and would do so for each of them.
                break
            customer_id = self._again.pop()
            customer = self._customers.get(customer_id)
            if customer is None:
                continue
            if customer.done or (customer.held and not customer.on_the_way):
                self._tell_done([customer])
            if customer.sid is None:
                self._let_go(customer)
            else:
                self.send_waiting(customer_id)
        if now >= self._next_expiry:
            self._next_expiry = now + _EXPIRE_EVERY_SECONDS
            self._expire()

    def _ask_the_heartbeat(self, sent: Sent, now: float) -> None:
        age = self._answered_ping_age(sent.sid)
        if age is None:
            self.socket_gone(sent.sid)
            if sent.customer.on_the_way.get(sent.number) is sent:
                self._gone_from(sent.customer, sent.sid)
        elif age < now - sent.at:
            sent.customer.silent = True
            self.counts["delivered_by_heartbeat"] += 1
            self._done(sent)
        else:
            # The latest answer is to a ping from before: the connection may have died since.
            sent.looked_at = now
            with self._lock:
                self._unproven[id(sent)] = sent

    def _due(self, waiting: OrderedDict[int, Sent], before: float, since: Callable[[Sent], float]) -> list[Sent]:
        due = []
        with self._lock:
            while waiting:
                key, sent = next(iter(waiting.items()))
                if since(sent) > before:
                    break
                del waiting[key]
                due.append(sent)
        return due

    def _expire(self) -> None:
        try:
            expired = self._store.expire()
        except StoreError as error:
            log.error("the store could not be tidied", reason=error)
            return
        if expired:
            self.counts["dropped_expired"] += expired
            log.warning("letters are dropped: their time to live is over", letters=expired)

    # Sending

    def _deliver_now(self, message: MessageToCustomer) -> None:
        if not self.send_now(message.customer_id, message.payload):
            try:
                self._store.pass_on(message.customer_id, json.dumps(message.payload))
            except StoreError as error:
                log.warning(
                    "a message that is not kept is lost", customer=message.customer_id, type=message.type, reason=error
                )

    def _send_waiting(self, customer: Customer, just_kept: JustKept | None = None) -> None:
        """:param just_kept: the last of what waits, which need not be fetched if all before it were sent."""
        with customer.lock:
            customer.send_again = True
            if customer.sending:
                return
            customer.sending = True
        while True:
            with customer.lock:
                if not customer.send_again:
                    customer.sending = False
                    break
                customer.send_again = False
            letter, just_kept = just_kept, None
            try:
                if letter is None or not self._send_at_once(customer, letter):
                    self._send(customer)
            except StoreError as error:
                log.error("letters cannot be fetched now", customer=customer.customer_id, reason=error)
                # It may have gone through.
                customer.held = True
                self._claim_later(customer.customer_id)
            except Exception:
                log.exception("sending failed", customer=customer.customer_id)
                self._again.add(customer.customer_id)
        if customer.held and not customer.on_the_way:
            # All was acknowledged meanwhile, or nothing could be sent.
            self._tell_done([customer])
        if customer.sid is None:
            self._forget_if_idle(customer)

    def _send_at_once(self, customer: Customer, just_kept: JustKept) -> bool:
        """Send a letter without asking the store for it; tells whether it was, or had been."""
        letter, before, message = just_kept
        sent = Sent(customer, letter.number, "", self._clock(), size=len(letter.text))
        with customer.lock:
            if customer.sid is None or customer.unclaimed or before > customer.sent_up_to:
                return False
            if letter.number <= customer.sent_up_to:
                return True
            on_the_way = customer.on_the_way.values()
            if on_the_way and (
                any(other.sid != customer.sid for other in on_the_way)
                or sum(other.size for other in on_the_way) + sent.size > _MOST_ON_THE_WAY
            ):
                return False
            sent.sid = customer.sid
            customer.sent_up_to = letter.number
            customer.on_the_way[letter.number] = sent
            customer.held = True
        self._hand_over(sent, letter.text, message.payload)
        return True

    def _send(self, customer: Customer) -> None:
        sid = customer.sid
        if sid is None:
            return
        if not customer.silent and any(sent.sid != sid for sent in list(customer.on_the_way.values())):
            # Letters on another socket are not acknowledged yet. If that socket is dead they come first.
            return
        came, after = customer.came, customer.sent_up_to
        if customer.unclaimed:
            self._claim(customer)
            customer.unclaimed = False
        fetched = self._store.fetch(customer.customer_id, after, _FETCH_AT_ONCE)
        if fetched.state == "elsewhere":
            self._moved(customer, came, weakly=fetched.weakly)
            return
        if fetched.state == "held":
            self._again.add(customer.customer_id)
            return
        customer.held = customer.held or bool(fetched.letters)
        for letter in fetched.letters:
            sent = Sent(customer, letter.number, sid, self._clock(), size=len(letter.text))
            with customer.lock:
                # Letters of a socket that died meanwhile come first.
                if customer.sid != sid or customer.sent_up_to != after:
                    customer.send_again = True
                    break
                on_the_way = sum(other.size for other in customer.on_the_way.values()) if customer.on_the_way else 0
                if on_the_way and on_the_way + sent.size > _MOST_ON_THE_WAY:
                    customer.held_back = True
                    return
                known = letter.number in customer.on_the_way or letter.number in customer.done
                customer.sent_up_to = after = letter.number
                if not known:
                    customer.on_the_way[letter.number] = sent
            if not known:
                self._hand_over(sent, letter.text, json.loads(letter.text))
        if len(fetched.letters) >= _FETCH_AT_ONCE:
            customer.send_again = True

    def _hand_over(self, sent: Sent, text: str, payload: dict[str, Any]) -> None:
        sent.name = payload.get("message_id")
        sent.looked_at = sent.at
        with self._lock:
            self._unacknowledged[id(sent)] = sent
            if sent.number:
                self._unproven[id(sent)] = sent
        log.info(
            "sent to the customer",
            customer=sent.customer.customer_id,
            message=sent.name,
            type=payload.get("type"),
            socket=sent.sid,
        )
        self._emit(sent.sid, text, lambda *_: self._acknowledged(sent))
        # A ping that is sent from now on comes after it.
        sent.at = self._clock()

    def _acknowledged(self, sent: Sent) -> None:
        with self._lock:
            self._unacknowledged.pop(id(sent), None)
            self._unproven.pop(id(sent), None)
        self._on_acknowledgement(self._clock() - sent.at)
        log.info(
            "acknowledged late" if sent.overdue else "acknowledged",
            customer=sent.customer.customer_id,
            message=sent.name,
            socket=sent.sid,
        )
        if sent.number:
            sent.customer.silent = False
            self._done(sent)

    def _done(self, sent: Sent) -> None:
        """The browser has this letter."""
        customer = sent.customer
        with customer.lock:
            # Its socket may have been given up already, and the letter may wait for the next one, or be on its way there.
            customer.on_the_way.pop(sent.number, None)
            customer.done.add(sent.number)
        self.counts["delivered"] += 1
        self._tell_soon(customer)
        if customer.sid is not None and (sent.sid != customer.sid or customer.held_back):
            # Letters may have been held back for this one.
            customer.held_back = False
            self.send_waiting(customer.customer_id)

    def _tell_soon(self, customer: Customer) -> None:
        with self._lock:
            if customer.telling:
                return
            customer.telling = True
            self._to_tell.append(customer)
            if len(self._to_tell) > 1:
                return
        self._soon(self._tell_all)

    def _tell_all(self) -> None:
        with self._lock:
            customers, self._to_tell = self._to_tell, []
            for customer in customers:
                customer.telling = False
        self._tell_done(customers)
        for customer in customers:
            if customer.sid is None:
                self._forget_if_idle(customer)

    def _tell_done(self, customers: list[Customer]) -> None:
        removals = []
        for customer in customers:
            with customer.lock:
                # While letters are being fetched, the store must go on believing that we wait.
                last = customer.held and not customer.on_the_way and not customer.sending
                removals.append(Removal(customer.customer_id, list(customer.done), last))
        try:
            self._store.remove(removals)
        except StoreError as error:
            for customer in customers:
                log.error("delivered letters cannot be removed now", customer=customer.customer_id, reason=error)
                self._again.add(customer.customer_id)
            return
        for customer, removal in zip(customers, removals, strict=True):
            with customer.lock:
                customer.done.difference_update(removal.numbers)
                if removal.last:
                    customer.held = False

    # Who is here

    def _customer(self, customer_id: str) -> Customer:
        """Call with the lock."""
        customer = self._customers.get(customer_id)
        if customer is None:
            lock = self._locks[hash(customer_id) % _LOCKS]
            customer = self._customers[customer_id] = Customer(customer_id, lock)
        return customer

    def _move(self, customer: Customer, sid: str, *, came_at: float, spoke_at: float) -> list[str]:
        """From now on the customer is reached on this socket. Call with the locks.

        Returns the others on which letters are unacknowledged: nothing more is sent before it is known what became of those.
        """
        customer.came += 1
        customer.came_at = came_at
        before = customer.sid
        customer.move_to(sid, spoke_at)
        if before == sid:
            return []
        customer.younger = before if before is not None and self._is_older(sid, before) else None
        self._customers_on.setdefault(sid, set()).add(customer.customer_id)
        if before not in (None, customer.younger):
            self._leave_if_done(customer, before)
        return list({sent.sid for sent in customer.on_the_way.values()} - {sid}) if customer.on_the_way else []

    def _after_move(self, doubtful: list[str], sid: str) -> None:
        """Ask those sockets whether they are there. One that is not is closed, and what was sent on it goes to another."""
        for other in doubtful[-_MOST_ASKED:]:
            self._ask(other, None)
        if self._answered_ping_age(sid) is None:
            # It closed while it spoke, and under threads `socket_gone` may have come first.
            self.socket_gone(sid)

    def _is_there(self, customer: Customer, sid: str) -> None:
        """The customer's socket has answered: those that stand by did not come in its place."""
        with customer.lock:
            if customer.sid == sid:
                customer.heir = None

    def _gone_from(self, customer: Customer, sid: str, *, silently: bool = False) -> None:
        """A socket that the customer was on is closed: what was on its way there goes to another, or waits."""
        with self._lock:
            was_theirs = customer.sid == sid
            count = self._take_back(customer, sid, silently=silently)
            following = customer.sid
        if count:
            self.counts["unacknowledged_at_disconnect"] += count
            log.info("letters wait for the next socket", customer=customer.customer_id, letters=count)
        if following is None:
            log.info("mapping removed: the socket is closed", customer=customer.customer_id, socket=sid)
            self._let_go(customer)
        elif count or was_theirs:
            if was_theirs:
                self._ask(following, None)
            self.send_waiting(customer.customer_id)

    def _moved(self, customer: Customer, came: int, *, weakly: bool) -> None:
        """The store says that another instance has the customer.

        :param came: how often they had come when the store was asked.
        :param weakly: only because somebody resumed there.
        """
        with self._lock, customer.lock:
            if customer.came != came:
                # They spoke here meanwhile, and the store will hear of it, or has.
                customer.send_again = True
                return
            sid, customer.sid = customer.sid, None
            if sid is None:
                return
            doubtful = {sent.sid for sent in customer.on_the_way.values()}
            is_theirs, customer.heir = weakly and not customer.makes_room, None
            self._leave_if_done(customer, sid)
        log.info("now on another instance", customer=customer.customer_id)
        for other in doubtful:
            self._ask(other, None)
        if is_theirs:
            # If this one is alive, they are on it: they spoke here, or came back here first.
            self._ask(sid, lambda: self._soon(lambda: self._back(customer, sid)))

    def _back(self, customer: Customer, sid: str) -> None:
        """A socket of a customer who went to another instance has answered: they are on it again."""
        with self._lock:
            back = self._customer(customer.customer_id)
            with back.lock:
                if back.sid is not None:
                    return
                back.sid, back.came_at, back.spoke_at = sid, customer.came_at, customer.spoke_at
                back.weak, back.unclaimed = False, True
                self._customers_on.setdefault(sid, set()).add(back.customer_id)
        self._after_move([], sid)
        self._send_waiting(back)

    def _claim(self, customer: Customer) -> None:
        ago = self._clock() - customer.came_at
        self._store.claim(customer.customer_id, seconds_ago=max(0.0, ago), weakly=customer.weak)

    def _claim_later(self, customer_id: str) -> None:
        customer = self._customers.get(customer_id)
        if customer is not None:
            customer.unclaimed = customer.sid is not None
        self._again.add(customer_id)

    def _let_go(self, customer: Customer) -> None:
        """The customer has no socket here any more."""
        customer_id = customer.customer_id
        with customer.lock:
            # While the store has letters that are done, nobody else may send them.
            waiting = bool(customer.on_the_way or customer.done) or customer.sending
        try:
            self._store.leave(customer_id, waiting=waiting)
        except StoreError as error:
            log.error("the store cannot be told that the customer is gone", customer=customer_id, reason=error)
            self._again.add(customer_id)
            return
        with customer.lock:
            customer.held = customer.held and waiting
        self._forget_if_idle(customer)
        back = self._customers.get(customer_id)
        if back is not None and back.sid is not None:
            # They came back while the store was told: it may have heard of both in the wrong order.
            self._claim_later(customer_id)

    def _forget_if_idle(self, customer: Customer) -> None:
        with self._lock, customer.lock:
            busy = customer.on_the_way or customer.done or customer.sending or customer.held or customer.resumed
            if customer.sid is None and not busy and self._customers.get(customer.customer_id) is customer:
                del self._customers[customer.customer_id]

    def _take_back(self, customer: Customer, sid: str, *, silently: bool) -> int:
        """The letters on their way on this socket are not; returns how many there were."""
        with customer.lock:
            lost = [number for number, sent in customer.on_the_way.items() if sent.sid == sid]
            for number in lost:
                del customer.on_the_way[number]
            if lost:
                customer.sent_up_to = min(customer.sent_up_to, min(lost) - 1)
            customer.drop(sid, silently=silently)
        return len(lost)

    def _leave_if_done(self, customer: Customer, sid: str) -> None:
        """The customer is not on this socket any more, unless letters are on their way there, or it stands by."""
        if sid not in customer.resumed and not any(sent.sid == sid for sent in customer.on_the_way.values()):
            self._leave(customer.customer_id, sid)

    def _leave(self, customer_id: str, sid: str) -> None:
        customers = self._customers_on.get(sid)
        if customers is not None:
            customers.discard(customer_id)
            if not customers:
                del self._customers_on[sid]
