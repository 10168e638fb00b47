"""gunicorn that speaks TLS itself: what the event loop sees of a connection is not what can be read of it, so all is waited
for."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import requests
import websocket

from tests.support.certificates import self_signed
from tests.support.clients import text_message
from tests.support.hooks import Hook, running_hook, text_body
from tests.support.jwts import mint
from tests.support.servers import gunicorn_command
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls")).file


@pytest.fixture(scope="module")
def hook(certificate: Path) -> Iterator[Hook]:
    # For who waits for its first answer.
    environment = pytest.MonkeyPatch()
    environment.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    keys = ("--certfile", str(certificate), "--keyfile", str(certificate.with_name("key.pem")))
    with running_hook(gunicorn_command, *keys, PING_INTERVAL="1", PING_TIMEOUT="1") as hook:
        yield hook
    environment.undo()


def webhook(hook: Hook, certificate: Path, body: bytes | Iterator[bytes]) -> int:
    """Post one, and return the status."""
    headers = {"Authorization": f"Bearer {mint()}"}
    return requests.post(f"{hook.url}/webhook", data=body, headers=headers, verify=str(certificate), timeout=10).status_code


class Client:
    """A WebSocket client that has joined, or is only connected."""

    def __init__(self, hook: Hook, *, join: bool = True) -> None:
        address = hook.url.replace("https", "wss") + "/socket.io/?EIO=4&transport=websocket"
        self._socket = websocket.create_connection(
            address, timeout=10, suppress_origin=True, sslopt={"cert_reqs": ssl.CERT_NONE}
        )
        assert self.receive().startswith("0{")
        if join:
            self.send("40")
            assert self.receive().startswith("40{")

    def send(self, *packets: str) -> None:
        for packet in packets:
            self._socket.send(packet)

    def receive(self) -> str:
        """The next packet; heartbeats are answered, and passed over. Empty at the end."""
        while (packet := str(self._socket.recv())) == "2":
            self.send("3")
        return packet

    def wait_for_end(self) -> None:
        while self._socket.recv():
            pass

    def is_silent(self, seconds: float) -> bool:
        """Comes nothing but heartbeats?"""
        until = time.monotonic() + seconds
        self._socket.settimeout(0.2)
        while time.monotonic() < until:
            with contextlib.suppress(websocket.WebSocketTimeoutException):
                if self._socket.recv() != "2":
                    return False
                self.send("3")
        self._socket.settimeout(10)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        # After an end that the server began, `close` leaves the socket open.
        self._socket.shutdown()


def test_messages_go_both_ways_and_heartbeats_with_them(hook: Hook, certificate: Path, customer: str) -> None:
    said = json.dumps(["clientMessage", text_message(customer)])
    with Client(hook) as client:
        client.send(f"421{said}")
        assert '"status":"sent"' in client.receive()
        for number in range(5):
            assert webhook(hook, certificate, json.dumps(text_body(customer, message_id=number)).encode()) == 200
            packet = client.receive()
            assert f'"message_id":{number}' in packet
            client.send(f"43{packet[2:].partition('[')[0]}[]")
        # Longer than a client may be silent.
        assert client.is_silent(3)
        client.send(f"422{said}")
        assert '"status":"sent"' in client.receive()
    wait_until(lambda: "disconnected" in hook.server.log, "that its end is noticed")


@pytest.mark.parametrize("packet", ["9", "x", "b!!!", "4", "4{", "42[", "5", "4" + "[" * 50_000])
def test_a_packet_that_is_none_costs_nobody_anything(hook: Hook, customer: str, packet: str) -> None:
    with Client(hook) as client:
        client.send(packet, f"421{json.dumps(['clientMessage', text_message(customer)])}")
        while '"status":"sent"' not in (answer := client.receive()):
            assert answer.startswith('42["serverError"')
    assert "Traceback" not in hook.server.log


def test_a_client_that_does_not_answer_is_closed(hook: Hook) -> None:
    with Client(hook) as client:
        client.wait_for_end()
    wait_until(lambda: "ping timeout" in hook.server.log, "the reason")


def test_a_body_comes_in_whole_and_in_chunks(hook: Hook, certificate: Path) -> None:
    body = json.dumps(text_body("c", text=["x" * 200_000])).encode()
    assert webhook(hook, certificate, body) == 200
    assert webhook(hook, certificate, iter([body[:100_000], body[100_000:]])) == 200
