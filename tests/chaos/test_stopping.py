"""SIGTERM: what is in flight finishes, new clients are refused, and clients come back by themselves to the next instance."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from tests.chaos.world import World
from tests.support.clients import NodeClient, text_message
from tests.support.tools import needs
from tests.support.waiting import wait_until

POST_SECONDS = 2.0


@pytest.fixture
def quiet_world() -> World:
    return World("sqlite", customers=0, DMS_READ_TIMEOUT="10", PING_INTERVAL="25", PING_TIMEOUT="20")


def test_a_post_in_flight_is_finished_and_acknowledged_and_new_clients_meanwhile_get_503(quiet_world: World) -> None:
    needs("node")
    with quiet_world as world:
        world.dms.faults.set(dms="slow", delay_seconds=POST_SECONDS)
        (instance,) = world.instances
        with NodeClient(instance.url, transports=("websocket",)) as client, requests.Session() as kept_open:
            kept_open.get(f"{instance.url}/webhook", timeout=5)
            number = client.emit("clientMessage", text_message("c"))
            wait_until(lambda: world.dms.received, "the post")
            took: list[float] = []
            stopping = threading.Thread(target=lambda: took.append(instance.terminate()))
            stopping.start()
            handshake = f"{instance.url}/socket.io/?EIO=4&transport=polling"

            def refused() -> bool:
                return kept_open.get(handshake, timeout=5).status_code == 503

            wait_until(refused, "503", timeout_seconds=2)
            assert world.webhook("c", 1) == 200
            assert client.ack(number)["status"] == "sent"
            stopping.join()

    assert POST_SECONDS - 0.5 < took[0] < POST_SECONDS + 4
    assert [post.status for post in world.dms.received] == [200]


def test_browsers_reconnect_by_themselves_and_get_what_was_kept(quiet_world: World) -> None:
    needs("node")
    with quiet_world as world:
        (instance,) = world.instances
        options = {"reconnection": True, "reconnectionDelay": 100, "reconnectionDelayMax": 300}
        clients = [
            NodeClient(instance.url, transports=transports, auth={"customer_id": f"c{n}"}, **options)
            for n, transports in enumerate((("websocket",), ("polling",), ("polling", "websocket")))
        ]
        try:
            for n, client in enumerate(clients):
                assert world.webhook(f"c{n}", 1) == 200
                client.wait_for_messages(1)
            started = time.monotonic()
            seconds = instance.terminate()
            instance.start()
            for n, client in enumerate(clients):
                assert world.webhook(f"c{n}", 2) == 200
                assert [message["number"] for message in client.wait_for_messages(2)] == [1, 2]
        finally:
            for client in clients:
                client.close()

    assert seconds < 5
    assert time.monotonic() - started < 20
