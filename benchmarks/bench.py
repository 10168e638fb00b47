"""What all measures share: how much to do, whom to measure, and where the rows go."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from benchmarks.hooks import Contender, Server
from benchmarks.load import Crowd
from benchmarks.peers import Dms, Happenings
from benchmarks.report import Row, Target

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """How much is done. Times are seconds."""

    rounds: int = 5
    # V8 compiles what it has seen often enough: a Node hook's first second is twice as dear as its third.
    warm_up: float = 4.0
    flood: float = 4.0
    steady: float = 10.0
    connected: int = 500
    rate: float = 200.0
    idle: int = 2_000
    rest: float = 3.0
    many_idle: int = 10_000
    # More than one ping interval (25 s), so that every socket is pinged.
    idle_hold: float = 30.0
    busy_hold: float = 45.0
    customers: tuple[int, ...] = (100, 1_000, 10_000)
    waiting: tuple[int, ...] = (0, 1_000, 100_000)
    starts: int = 7
    growth_rounds: int = 3
    # Compare Node only with LCH, and not also with itself under other conditions.
    lch_growth_only: bool = False


FULL = Plan()
# For a first look: every measure runs, none has enough rounds to be quoted.
QUICK = Plan(
    rounds=1,
    warm_up=1.0,
    flood=0.4,
    steady=1.0,
    connected=200,
    idle=500,
    rest=0.7,
    many_idle=1_000,
    idle_hold=0.5,
    busy_hold=1.0,
    customers=(100, 1_000),
    waiting=(0, 10_000),
    starts=1,
    growth_rounds=1,
    lch_growth_only=True,
)


@dataclass
class Bench:
    """One run."""

    plan: Plan
    lch: Contender
    # What LCH is measured beside. The first in all measures, the others in those of the two flows.
    peers: Sequence[Contender]
    dms_url: str
    happenings: Happenings
    say: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    charts: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def begin(cls, plan: Plan, lch: Contender, peers: Sequence[Contender], say: Callable[[str], None]) -> Bench:
        happenings = Happenings()
        return cls(plan, lch, peers, await Dms.listen(happenings), happenings, say)

    @property
    def contenders(self) -> list[Contender]:
        return [self.lch, *self.peers[:1]]

    @property
    def growing(self) -> list[Contender]:
        """Whom to compare with themselves under other conditions."""
        return [self.lch] if self.plan.lch_growth_only else self.contenders

    @contextlib.asynccontextmanager
    async def crowd(
        self,
        contender: Contender,
        customers: int = 0,
        *,
        instances: int = 1,
        store: str = "",
        prepare: Path | None = None,
        **settings: str,
    ) -> AsyncIterator[Crowd]:
        """A hook (or several) that runs, and customers on it who have all spoken."""
        servers: list[Server] = []
        try:
            for _ in range(instances):
                servers.append(contender.start(self.dms_url, store=store, prepare=prepare, **settings))
            crowd = Crowd(self.happenings, servers)
            try:
                if customers:
                    await crowd.connect(customers)
                await crowd.settle()
                yield crowd
            finally:
                crowd.close()
        finally:
            Dms.delay_seconds = 0.0
            for server in servers:
                server.stop()
            # Connections to what is gone are not a problem of what comes next.
            await asyncio.sleep(0.1)
            self.happenings.lost_connections, self.happenings.problems = 0, []
            gc.collect()

    def compare(
        self,
        what: str,
        unit: str,
        figures: Mapping[str, Sequence[float]],
        target: Target | None = None,
        targets: Mapping[str, Target] = MappingProxyType({}),
    ) -> None:
        """A row for each peer that has figures: LCH beside it. `targets`: by the peer's name, where it is not `target`."""
        own = list(figures.get(self.lch.name, ()))
        measured = [peer.name for peer in self.peers if peer.name in figures]
        for name in measured:
            self.rows.append(Row(what, unit, own, list(figures[name]), name, targets.get(name, target)))
        if not measured:
            self.rows.append(Row(what, unit, own, [], "", target))


async def interleaved(
    crowds: Mapping[T, Crowd], plan: Plan, rounds: int, work: Callable[[Crowd, float], Awaitable[float]]
) -> dict[T, list[float]]:
    """Do it to each crowd in turn, every other round in the opposite order; the figures by crowd.

    A round before the first, which does not count, is for compilers and caches to get warm.

    :param work: gets a crowd and how many seconds to be at it.
    """
    figures: dict[T, list[float]] = {name: [] for name in crowds}
    for crowd in crowds.values():
        await work(crowd, plan.warm_up)
    for number in range(rounds):
        for name in reversed(crowds) if number % 2 else crowds:
            figures[name].append(await work(crowds[name], plan.flood))
    return figures


def connections_possible() -> int:
    """How many sockets this process may have; as many as the system lets it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - 500 if hard != resource.RLIM_INFINITY else 1_000_000
