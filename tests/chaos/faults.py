"""What goes wrong. Each function makes one kind of trouble, again and again, until the world is to be calm, and leaves
everything in order."""

from __future__ import annotations

import random
import time
from typing import Any

from tests.chaos.world import Fault, World


def clients_come_and_go(world: World, dice: random.Random) -> None:
    """Clients close, or vanish with a reset, and come back."""
    while world.pause(dice.uniform(0.02, 0.1)):
        dice.choice(world.clients).leave(how=dice.choice(("politely", "reset")))


def connections_are_cut(world: World, dice: random.Random) -> None:
    """The network resets connections, webhooks' too."""
    while world.pause(dice.uniform(0.2, 0.6)):
        world.balancer.cut(0.3)


def connections_go_dead(world: World, dice: random.Random) -> None:
    """Half-open connections: nothing comes through any more, and no end is told."""
    while world.pause(dice.uniform(0.2, 0.6)):
        world.balancer.freeze(0.2)


def clients_stay_away(world: World, dice: random.Random) -> None:
    """Clients are offline for a second or two."""
    while world.pause(dice.uniform(0.1, 0.3)):
        client = dice.choice(world.clients)
        client.go_away()
        world.pause(dice.uniform(0.3, 1.0))
        client.come_back()


def instances_are_killed(world: World, dice: random.Random) -> None:
    """Kill -9, and a new start a moment later."""
    while world.pause(dice.uniform(0.8, 2.0)):
        instance = dice.choice(world.instances)
        instance.kill()
        time.sleep(dice.uniform(0.0, 0.5))
        instance.start()


def one_instance_dies(world: World, dice: random.Random) -> None:
    """Kill -9, once, for good. Others have to take over."""
    world.pause(dice.uniform(1.5, 2.5))
    dice.choice(world.instances[1:]).kill()


def instances_are_stopped(world: World, dice: random.Random) -> None:
    """SIGTERM, and a new start."""
    while world.pause(dice.uniform(1.0, 2.0)):
        instance = dice.choice(world.instances)
        world.stop_seconds.append(instance.terminate())
        instance.start()


def one_instance_is_stopped(world: World, dice: random.Random) -> None:
    """SIGTERM, once, for good."""
    world.pause(dice.uniform(1.5, 2.5))
    world.stop_seconds.append(world.instances[0].terminate())


def redis_is_killed(world: World, dice: random.Random) -> None:
    """Kill -9 for Redis, and a new start from its file."""
    assert world.redis
    while world.pause(dice.uniform(1.0, 2.0)):
        world.redis.kill()
        time.sleep(dice.uniform(0.0, 1.5))
        world.redis.start()


def redis_hangs(world: World, dice: random.Random) -> None:
    """Redis answers nothing for longer than LCH waits, and goes on."""
    assert world.redis
    while world.pause(dice.uniform(1.5, 2.5)):
        world.redis.pause()
        time.sleep(dice.uniform(0.5, 3.0))
        world.redis.go_on()


def dms_is(name: str, **details: Any) -> Fault:
    """DMS has this fault in spells, for about half of the time."""

    def fault(world: World, dice: random.Random) -> None:
        while world.pause(dice.uniform(0.2, 0.6)):
            world.dms.faults.set(dms=name, **details)
            world.pause(dice.uniform(0.2, 0.6))
            world.dms.faults.clear()
        world.dms.faults.clear()

    fault.__name__ = f"dms_is_{name}"
    return fault


def dms_is_down(world: World, dice: random.Random) -> None:
    """DMS refuses connections, all the time."""
    world.dms.faults.set(dms="refused")
    while world.pause(1.0):
        pass
    world.dms.faults.clear()


def dms_has_everything(world: World, dice: random.Random) -> None:
    """DMS has one fault after the other."""
    kinds: tuple[dict[str, Any], ...] = (
        {"dms": "none"},
        {"dms": "slow", "delay_seconds": 0.3},
        {"dms": "slow", "delay_seconds": 2.0},
        {"dms": "refused"},
        {"dms": "reset"},
        {"dms": "429", "retry_after_seconds": 1},
        {"dms": "503", "retry_after_seconds": None},
        {"dms": "hang", "delay_seconds": 1.5},
    )
    while world.pause(dice.uniform(0.1, 0.4)):
        world.dms.faults.set(**dice.choice(kinds))
    world.dms.faults.clear()
