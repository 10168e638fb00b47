"""core/heartbeats.py: a table of lives, and any life against a model that looks at each connection in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lchook.core.heartbeats import ASK_SECONDS, Heartbeat, Heartbeats

INTERVAL, TIMEOUT = 25.0, 20.0

# What happens when (ask, pong, end, or a look at who is due), and what comes of it.
LIVES: dict[str, list[tuple[float, str, object]]] = {
    "pinged after the interval": [(24, "look", ""), (25, "look", "ping"), (26, "look", "")],
    "answers, and is pinged an interval later": [
        (25, "look", "ping"),
        (26, "pong", ()),
        (50, "look", ""),
        (51, "look", "ping"),
    ],
    "owes its pong for too long": [(25, "look", "ping"), (44.9, "look", ""), (45, "look", "silent"), (46, "look", "")],
    "a look that comes late": [(40, "look", "ping"), (59, "look", ""), (60, "look", "silent")],
    "a pong that nobody asked for": [(10, "pong", ()), (25, "look", "ping")],
    "asked, it is pinged at once and in place of the next time": [
        (10, "ask", True),
        (12, "pong", ("answered",)),
        (25, "look", ""),
        (36.9, "look", ""),
        (37, "look", "ping"),
    ],
    "asked, it has little time": [(10, "ask", True), (12.9, "look", ""), (13, "look", "silent")],
    "asked twice, one ping will do": [
        (10, "ask", True),
        (11, "ask", False),
        (12, "pong", ("answered", "answered")),
        (20, "look", ""),
    ],
    "asked while it owes a pong": [(25, "look", "ping"), (30, "ask", False), (32, "look", ""), (33, "look", "silent")],
    "asked when it has hardly any time left": [
        (25, "look", "ping"),
        (44, "ask", False),
        (45, "look", "silent"),
        (47, "look", ""),
    ],
    "answers in time though it was asked": [
        (25, "look", "ping"),
        (30, "ask", False),
        (32, "pong", ("answered",)),
        (46, "look", ""),
    ],
    "ended": [(5, "end", None), (25, "look", ""), (99, "look", "")],
    "ended while it owes a pong": [(10, "ask", True), (11, "end", None), (13, "look", ""), (99, "look", "")],
}


@pytest.mark.parametrize("name", LIVES)
def test_a_connections_life(name: str) -> None:
    heartbeats, heartbeat = Heartbeats(INTERVAL, TIMEOUT), Heartbeat("it", 0.0)
    heartbeats.begin(heartbeat, 0.0)
    for now, what, comes in LIVES[name]:
        if what == "ask":
            assert heartbeats.ask(heartbeat, lambda: "answered", now) is comes
        elif what == "pong":
            assert tuple(answered() for answered in heartbeats.pong(heartbeat, now)) == comes
        elif what == "end":
            heartbeats.end(heartbeat)
        else:
            pings, silent = heartbeats.due(now)
            assert ["ping"] * len(pings) + ["silent"] * len(silent) == ([comes] if comes else [])


def test_what_is_answered_is_the_time_of_the_ping() -> None:
    heartbeats, heartbeat = Heartbeats(INTERVAL, TIMEOUT), Heartbeat("it", 3.0)
    heartbeats.begin(heartbeat, 4.0)
    assert heartbeat.answered_ping_at == 3.0
    assert heartbeats.due(29.0) == (["it"], [])
    assert heartbeat.answered_ping_at == 3.0
    heartbeats.pong(heartbeat, 40.0)
    assert heartbeat.answered_ping_at == 29.0


class _Model:
    """One connection as one would write it down: when it was pinged, and by when it must answer."""

    def __init__(self, now: float) -> None:
        self.heartbeat: Heartbeat
        self.ping_at: float | None = now + INTERVAL
        self.pong_by = math.inf
        self.asked = 0

    def look(self, now: float) -> str:
        if self.pong_by <= now:
            return "silent"
        if self.ping_at is not None and self.ping_at <= now:
            self.ping_at, self.pong_by = None, now + TIMEOUT
            return "ping"
        return ""


class AnyLives(RuleBasedStateMachine):
    """Many connections at once: they come due in the order of their times, and those that are not are left alone."""

    @initialize()
    def start(self) -> None:
        self.now, self.opened = 0.0, 0
        self.heartbeats = Heartbeats(INTERVAL, TIMEOUT)
        self.models: dict[str, _Model] = {}
        self.heard: list[str] = []
        self.expected: list[str] = []

    def _some(self, index: int) -> tuple[str, _Model] | None:
        return list(self.models.items())[index % len(self.models)] if self.models else None

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 2.5, 3.0, 20.0, 25.0, 70.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def open(self) -> None:
        self.opened += 1
        name, model = f"connection {self.opened}", _Model(self.now)
        model.heartbeat = Heartbeat(name, self.now)
        self.heartbeats.begin(model.heartbeat, self.now)
        self.models[name] = model

    @rule(index=st.integers(0, 9))
    def pong(self, index: int) -> None:
        if (some := self._some(index)) is None:
            return
        name, model = some
        for answered in self.heartbeats.pong(model.heartbeat, self.now):
            answered()
        if model.ping_at is None:
            self.expected += [name] * model.asked
            model.ping_at, model.pong_by, model.asked = self.now + INTERVAL, math.inf, 0

    @rule(index=st.integers(0, 9))
    def ask(self, index: int) -> None:
        if (some := self._some(index)) is None:
            return
        name, model = some
        answered: Callable[[], Any] = lambda: self.heard.append(name)  # noqa: E731
        assert self.heartbeats.ask(model.heartbeat, answered, self.now) == (model.ping_at is not None)
        model.ping_at, model.pong_by = None, min(model.pong_by, self.now + ASK_SECONDS)
        model.asked += 1

    @rule(index=st.integers(0, 9))
    def close(self, index: int) -> None:
        if (some := self._some(index)) is None:
            return
        self.heartbeats.end(some[1].heartbeat)
        del self.models[some[0]]

    @rule()
    def look(self) -> None:
        found = {name: model.look(self.now) for name, model in self.models.items()}
        pings, silent = self.heartbeats.due(self.now)
        assert sorted(pings) == sorted(name for name, what in found.items() if what == "ping")
        assert sorted(silent) == sorted(name for name, what in found.items() if what == "silent")
        for name in silent:
            self.heartbeats.end(self.models.pop(name).heartbeat)

    @invariant()
    def all_who_asked_have_heard(self) -> None:
        assert getattr(self, "heard", []) == getattr(self, "expected", [])


TestAnyLives = AnyLives.TestCase
