"""Load: a crowd of browsers on one or more hooks, and messages in both directions, counted and timed.

Two ways to send: `flood` keeps a number of messages under way for a while and tells what they cost; `steady` sends at a
rate, whatever the hook does, and tells how long they took.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import jwt

from benchmarks import wire
from benchmarks.hooks import ISSUER, SECRET, Server
from benchmarks.peers import Browser, Happenings, HttpConnection

# Messages that a flood keeps under way, and connections that DMS posts on.
WINDOW = 50
_PATIENCE_SECONDS = 20.0
_numbers = itertools.count(1)


class LoadError(Exception):
    """A hook lost messages or connections, or said something wrong: its figures count for nothing."""


class Crowd:
    """Customers 0, 1, 2, … with a browser each, spread evenly over the hooks."""

    def __init__(self, happenings: Happenings, servers: Sequence[Server]) -> None:
        self.happenings = happenings
        self.servers = servers
        self.browsers: list[Browser] = []
        # Sockets of nobody: connected, and silent.
        self.idle: list[Browser] = []

    async def connect(self, count: int, *, idle: bool = False, as_lcc: bool = False, at_once: int = 50) -> None:
        """Connect so many browsers. Unless they are idle, each sends a message, so that the hook knows who is where."""
        browsers, places = [], iter(range(count))

        async def some() -> None:
            pair: list[HttpConnection] = []
            for place in places:
                port = self.servers[place % len(self.servers)].port
                if as_lcc:
                    pair = pair or [await HttpConnection.connect(port) for _ in range(2)]
                    browser = await Browser.connect_as_lcc(port, self.happenings, *pair)
                else:
                    browser = await Browser.connect(port, self.happenings)
                browsers.append((place, browser))
            for connection in pair:
                connection.close()

        await asyncio.gather(*(some() for _ in range(min(count, at_once))))
        browsers.sort(key=lambda each: each[0])
        if idle:
            self.idle += [browser for _, browser in browsers]
            return
        self.browsers += [browser for _, browser in browsers]
        await flood(self, ToDms(self), count=len(self.browsers))

    def in_turn(self, seed: int) -> Iterator[int]:
        """Each customer in turn, for ever, in no order that hooks or connections could fall into step with."""
        order = list(range(len(self.browsers)))
        random.Random(seed).shuffle(order)
        return itertools.cycle(order)

    def cpu_seconds(self) -> float:
        return sum(server.cpu_seconds() for server in self.servers)

    async def settle(self) -> None:
        """Wait until the hooks have nothing left to do."""
        for _ in range(200):
            before = self.cpu_seconds()
            await asyncio.sleep(0.2)
            if self.cpu_seconds() - before <= 0.01 * len(self.servers):
                return

    def check(self) -> None:
        """:raises LoadError: for anything that should not have happened."""
        happenings = self.happenings
        if happenings.lost_connections:
            happenings.problems.append(f"{happenings.lost_connections} connections lost")
        problems, happenings.problems, happenings.lost_connections = happenings.problems, [], 0
        if problems:
            raise LoadError(f"{self.servers[0].name}: {len(problems)} problems, the first: {problems[0]}")

    def close(self) -> None:
        for browser in self.browsers + self.idle:
            browser.close()
        self.browsers, self.idle = [], []


class ToDms:
    """Sends what customers say, until DMS has it."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._customers = crowd.in_turn(1)
        self.under_way: dict[int, float] = {}
        self.finished: Callable[[float], None] = lambda seconds: None
        crowd.happenings.reached_dms = self._reached

    def send(self) -> None:
        number, index = next(_numbers), next(self._customers)
        frame = wire.client_message(index, number)
        self.under_way[number] = time.perf_counter()
        self._crowd.browsers[index].transport.write(frame)

    def _reached(self, number: int) -> None:
        since = self.under_way.pop(number, None)
        if since is None:
            self._crowd.happenings.problems.append(f"DMS got message {number} once more")
        else:
            self.finished(time.perf_counter() - since)

    def close(self) -> None:
        """Nothing to do."""


class ToCustomer:
    """Posts webhooks, until the hook has answered and the customer's browser has the message."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._customers = crowd.in_turn(2)
        self._connections: deque[HttpConnection] = deque()
        self._queued: deque[float] = deque()
        self._arrivals: dict[int, float] = {}
        self._answered: set[int] = set()
        self._authorization = (0, "")
        self.under_way: dict[int, float] = {}
        self.finished: Callable[[float], None] = lambda seconds: None
        crowd.happenings.reached_browser = self._reached

    @classmethod
    async def connect(cls, crowd: Crowd, connections: int = WINDOW) -> ToCustomer:
        flow, servers = cls(crowd), crowd.servers
        for place in range(connections):
            flow._connections.append(await HttpConnection.connect(servers[place % len(servers)].port))
        return flow

    def send(self) -> None:
        self._post(time.perf_counter())

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _post(self, since: float) -> None:
        if not self._connections:
            self._queued.append(since)
            return
        number, connection = next(_numbers), self._connections.popleft()
        self.under_way[number] = since
        data = wire.webhook(next(self._customers), number, self._signed())
        connection.request(data, partial(self._take_answer, connection, number))

    def _signed(self) -> str:
        second = int(time.time())
        if self._authorization[0] != second:
            token = jwt.encode({"iss": ISSUER, "iat": second, "exp": second + 300}, SECRET, algorithm="HS256")
            self._authorization = second, f"Bearer {token}"
        return self._authorization[1]

    def _take_answer(self, connection: HttpConnection, number: int, head: bytes, body: bytes) -> None:
        if not head.startswith(b"http/1.1 200"):
            self._crowd.happenings.problems.append(f"a webhook was answered {head[:40]!r} {body[:200]!r}")
        self._connections.append(connection)
        self._answered.add(number)
        self._finish(number)
        if self._queued:
            self._post(self._queued.popleft())

    def _reached(self, number: int) -> None:
        if number in self._arrivals or number not in self.under_way:
            self._crowd.happenings.problems.append(f"a browser got message {number} once more")
            return
        self._arrivals[number] = time.perf_counter()
        self._finish(number)

    def _finish(self, number: int) -> None:
        if number in self._answered and number in self._arrivals:
            self._answered.remove(number)
            self.finished(self._arrivals.pop(number) - self.under_way.pop(number))


Flow = ToDms | ToCustomer


@dataclass(frozen=True)
class Flood:
    """What a flood brought through, and what it cost."""

    count: int
    cpu_seconds: float

    @property
    def per_cpu_second(self) -> float:
        return self.count / self.cpu_seconds

    @property
    def microseconds_each(self) -> float:
        return 1e6 * self.cpu_seconds / self.count


async def flood(crowd: Crowd, flow: Flow, *, seconds: float = 0.0, count: int = 0) -> Flood:
    """Keep `WINDOW` messages under way, for so many seconds or for so many messages.

    :raises LoadError: where not all of them arrived, or anything else went wrong.
    """
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    finished, sent = 0, 0
    before, stop_at = crowd.cpu_seconds(), time.perf_counter() + seconds

    def send() -> None:
        nonlocal sent
        sent += 1
        flow.send()

    def one_finished(_: float) -> None:
        nonlocal finished
        finished += 1
        if sent < count or time.perf_counter() < stop_at:
            send()
        elif finished == sent and not over.done():
            over.set_result(None)

    flow.finished = one_finished
    for _ in range(min(WINDOW, count or WINDOW, len(crowd.browsers))):
        send()
    await _wait(over, seconds, crowd, flow)
    # Acknowledgements are still on their way.
    await asyncio.sleep(0.2)
    crowd.check()
    return Flood(finished, crowd.cpu_seconds() - before)


async def steady(crowd: Crowd, flows: Sequence[Flow], *, rate: float, seconds: float, seed: int) -> list[list[float]]:
    """Send so many messages a second on each flow, at random moments; returns each flow's latencies in milliseconds.

    :raises LoadError: where not all of them arrived, or anything else went wrong.
    """
    loop = asyncio.get_running_loop()
    latencies: list[list[float]] = [[] for _ in flows]

    async def send(flow: Flow, place: int) -> None:
        flow.finished = lambda taken: latencies[place].append(1000 * taken)
        moments = random.Random(f"{seed} {place}")
        due = started = loop.time()
        while (due := due + moments.expovariate(rate)) < started + seconds:
            await asyncio.sleep(due - loop.time())
            flow.send()

    await asyncio.gather(*(send(flow, place) for place, flow in enumerate(flows)))
    for _ in range(int(_PATIENCE_SECONDS / 0.05)):
        if not any(flow.under_way for flow in flows):
            break
        await asyncio.sleep(0.05)
    _raise_if_lost(crowd, *flows)
    await asyncio.sleep(0.2)
    crowd.check()
    return latencies


async def _wait(over: asyncio.Future[None], seconds: float, crowd: Crowd, flow: Flow) -> None:
    try:
        await asyncio.wait_for(over, seconds + _PATIENCE_SECONDS)
    except TimeoutError:
        _raise_if_lost(crowd, flow)
        raise


def _raise_if_lost(crowd: Crowd, *flows: Flow) -> None:
    if lost := sum(len(flow.under_way) for flow in flows):
        problems = crowd.happenings.problems
        name, log = crowd.servers[0].name, crowd.servers[0].last_words()
        raise LoadError(f"{name}: {lost} messages did not arrive; {len(problems)} other problems: {problems[:1]}\n{log}")
