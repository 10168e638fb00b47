"""One customer's posts hang: that is nobody else's business."""

from __future__ import annotations

import time

from lchook.sandbox.faults import Answer
from tests.chaos.world import World
from tests.support.waiting import wait_until


def test_a_customer_whose_posts_hang_delays_nobody_and_nothing_reaches_the_wrong_one() -> None:
    with World("sqlite", customers=12, kinds=("resume",), DMS_READ_TIMEOUT="4") as world:
        hanging, *others = world.clients
        world.dms.answer = lambda body: Answer(delay_seconds=3.0) if body["customer_id"] == hanging.customer_id else Answer()
        for number in range(2):
            hanging.say(number)
        wait_until(lambda: world.dms.received, "the post that hangs")

        started = time.monotonic()
        for number in range(10):
            for client in others:
                client.say(number)
        for number, client in enumerate(world.clients):
            assert world.webhook(client.customer_id, number) == 200
        wait_until(lambda: all(not client.untold for client in others), "the others' outcomes", timeout_seconds=10)
        seconds = time.monotonic() - started

        assert hanging.untold == 2
        assert seconds < 3
        assert all(told.outcome["status"] == "sent" for client in others for told in client.told.values() if told.outcome)
        wait_until(lambda: all(client.receipts for client in world.clients), "a message for each")
        assert [[receipt.number for receipt in client.receipts] for client in world.clients] == [[n] for n in range(12)]
        wait_until(lambda: not hanging.untold, "the outcomes that took their time", timeout_seconds=10)
        _, to_dms = world.count()
        assert to_dms.is_right, to_dms
        assert to_dms.failed == 0
