"""Things go wrong for a few seconds, and then everything must have arrived: once, in order, or its sender knows.

`python -m tests.chaos` runs all scenarios with thousands of messages, and prints the table.
"""

from __future__ import annotations

import pytest

from tests.chaos import faults
from tests.chaos.scenarios import ACKNOWLEDGING, BOTH, CONNECTIONS, NETWORK, TO_CUSTOMER, TO_DMS, Scenario

_BY_NAME = {scenario.name: scenario for scenario in (*TO_CUSTOMER, *TO_DMS)}
_CASES = (
    ("memory", Scenario(name="network, clients that never acknowledge", faults=NETWORK, kinds=(*ACKNOWLEDGING, "silent"))),
    ("sqlite", _BY_NAME["half-open connections"]),
    ("sqlite", _BY_NAME["server kill -9"]),
    ("sqlite", _BY_NAME["SIGTERM"]),
    ("sqlite", _BY_NAME["DMS: all of these, network"]),
    ("redis", Scenario(name="Redis kill -9", faults=(faults.redis_is_killed, faults.clients_come_and_go))),
    # The fourth takes long.
    *((scenario.stores[-1], scenario) for scenario in (BOTH[2], *BOTH[4:], CONNECTIONS[1])),
)


@pytest.mark.parametrize(
    ("store", "scenario"),
    _CASES,
    ids=[f"{store}, {scenario.instances} instances: {scenario.name}" for store, scenario in _CASES],
)
def test_every_message_arrives_once_and_in_order_or_its_sender_knows(store: str, scenario: Scenario) -> None:
    to_customer, to_dms, world = scenario.run(store, customers=9, to_customer=180, to_dms=90, seconds=3, seed=1)

    assert to_customer.messages == 180
    assert to_dms.messages == 90
    assert to_customer.is_right, to_customer
    assert to_dms.is_right, to_dms
    assert all(seconds < 25 for seconds in world.stop_seconds)
