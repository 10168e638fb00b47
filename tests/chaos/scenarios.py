"""What is tried: which faults, on which store, with how many instances. The tests run some of it small, the program all."""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos import counts, faults
from tests.chaos.instance import Command, production
from tests.chaos.world import Fault, World
from tests.support.chaos_clients import Kind
from tests.support.servers import flask_command

NETWORK: tuple[Fault, ...] = (faults.clients_come_and_go, faults.connections_are_cut, faults.connections_go_dead)
EVERYTHING: tuple[Fault, ...] = (*NETWORK, faults.instances_are_killed, faults.dms_has_everything)
ACKNOWLEDGING: tuple[Kind, ...] = ("resume", "lcc")
SINGLE = ("memory", "sqlite", "redis")
LASTING = ("sqlite", "redis")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    name: str
    faults: tuple[Fault, ...]
    stores: tuple[str, ...] = LASTING
    instances: int = 1
    kinds: tuple[Kind, ...] = ACKNOWLEDGING
    command: Command = production
    # To Pega, in one hook.
    connections: tuple[str, ...] = ("",)
    # How long the faults last, if not as long as those who run it say.
    seconds: float | None = None

    def run(
        self, store: str, *, customers: int, to_customer: int, to_dms: int, seconds: float, seed: int
    ) -> tuple[counts.Count, counts.Count, World]:
        with World(
            store,
            instances=self.instances,
            kinds=self.kinds,
            customers=customers,
            seed=seed,
            command=self.command,
            connections=self.connections,
        ) as world:
            seconds = self.seconds or seconds
            both = world.run(*self.faults, to_customer=to_customer, to_dms=to_dms, seconds=seconds, patience_seconds=60)
        return *both, world


TO_CUSTOMER = (
    Scenario(name="none", faults=(), stores=SINGLE),
    Scenario(name="clients disconnect and reconnect", faults=(faults.clients_come_and_go,), stores=SINGLE),
    Scenario(name="clients are offline for a while", faults=(faults.clients_stay_away,)),
    Scenario(name="connections are reset", faults=(faults.connections_are_cut,)),
    Scenario(name="half-open connections", faults=(faults.connections_go_dead,)),
    Scenario(name="clients that never acknowledge, half-open", faults=(faults.connections_go_dead,), kinds=("silent",)),
    Scenario(name="server kill -9", faults=(faults.instances_are_killed,)),
    Scenario(name="SIGTERM", faults=(faults.instances_are_stopped, faults.clients_come_and_go)),
    Scenario(name="Redis kill -9", faults=(faults.redis_is_killed, faults.clients_come_and_go), stores=("redis",)),
    Scenario(name="Redis hangs for seconds", faults=(faults.redis_hangs, faults.clients_come_and_go), stores=("redis",)),
)

TO_DMS = (
    Scenario(name="DMS slow", faults=(faults.dms_is("slow", delay_seconds=0.4),)),
    Scenario(name="DMS slower than the timeout", faults=(faults.dms_is("slow", delay_seconds=1.5),)),
    Scenario(name="DMS hangs", faults=(faults.dms_is("hang", delay_seconds=1.5),)),
    Scenario(name="DMS refuses connections", faults=(faults.dms_is("refused"),)),
    Scenario(name="DMS resets connections", faults=(faults.dms_is("reset"),)),
    Scenario(name="DMS 429 with Retry-After", faults=(faults.dms_is("429", retry_after_seconds=1),)),
    Scenario(name="DMS 503", faults=(faults.dms_is("503", retry_after_seconds=None),)),
    Scenario(name="DMS: all of these, network", faults=(*NETWORK, faults.dms_has_everything)),
)

# Clients of the known one's kind, to DMS: they look at no acknowledgement, and never repeat.
DEAF = (
    Scenario(name="deaf clients: server kill -9", faults=(faults.instances_are_killed,), kinds=("deaf",)),
    Scenario(name="deaf clients: SIGTERM", faults=(faults.instances_are_stopped,), kinds=("deaf",)),
    Scenario(name="deaf clients: DMS down for a minute", faults=(faults.dms_is_down,), kinds=("deaf",), seconds=60.0),
    Scenario(name="deaf clients: DMS slow", faults=(faults.dms_is("slow", delay_seconds=0.4),), kinds=("deaf",)),
    Scenario(name="deaf clients: DMS hangs", faults=(faults.dms_is("hang", delay_seconds=1.5),), kinds=("deaf",)),
    Scenario(name="deaf clients: DMS slow, kill -9",
             faults=(faults.dms_is("slow", delay_seconds=0.4), faults.instances_are_killed), kinds=("deaf",)),
    Scenario(name="deaf clients: Redis kill -9", faults=(faults.redis_is_killed,), kinds=("deaf",), stores=("redis",)),
    Scenario(name="deaf clients: kill -9", faults=(faults.instances_are_killed,), kinds=("deaf",), stores=("redis",),
             instances=2),
    Scenario(name="deaf clients: one kill -9, one SIGTERM",
             faults=(faults.one_instance_dies, faults.one_instance_is_stopped, faults.dms_is("slow", delay_seconds=0.4)),
             kinds=("deaf",), stores=("redis",), instances=3),
)  # fmt: skip

BOTH = (
    Scenario(name="all: network, DMS, kill -9", faults=EVERYTHING),
    Scenario(name="network", faults=NETWORK, stores=("redis",), instances=2),
    Scenario(name="one kill -9, one SIGTERM", faults=(faults.one_instance_dies, faults.one_instance_is_stopped, *NETWORK),
             stores=("redis",), instances=3),
    Scenario(name="all: network, DMS, kill -9", faults=EVERYTHING, stores=("redis",), instances=3),
    Scenario(name="all, and Redis kill -9", faults=(*EVERYTHING, faults.redis_is_killed), stores=("redis",), instances=2),
    Scenario(name="network, kill -9 (flask run)", faults=(*NETWORK, faults.instances_are_killed), stores=("sqlite",),
             command=flask_command),
)  # fmt: skip

# Equal ids everywhere, and whatever goes wrong at one of the two.
CONNECTIONS = (
    Scenario(name="two connections, equal ids: all, kill -9", faults=EVERYTHING, connections=("north", "south")),
    Scenario(
        name="two connections, equal ids: all, kill -9",
        faults=EVERYTHING,
        stores=("redis",),
        instances=2,
        connections=("north", "south"),
    ),
)
