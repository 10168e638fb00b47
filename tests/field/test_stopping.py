"""An instance that is told to stop: webhooks are kept until the last moment, and browsers can read why they are refused."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lchook.sandbox.dms import SandboxDms
from tests.chaos.instance import Running, production
from tests.support.clients import NodeClient, text_message
from tests.support.hooks import QUICK
from tests.support.jwts import ISSUER, SECRET, mint
from tests.support.raw_socket_io import RawPolling
from tests.support.servers import free_port
from tests.support.tools import needs
from tests.support.waiting import wait_until

POST_SECONDS = 3.0
ORIGIN = "https://chat.example.com"
HANDSHAKE = "/socket.io/?EIO=4&transport=polling"


class World:
    """LCH as it is run, its store's file, and a DMS that takes its time."""

    def __init__(self, dms_url: str, folder: Path, **settings: str) -> None:
        self.file = folder / "lch.sqlite"
        self.port = free_port()
        usual = {"DMS_URL": dms_url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, "ALLOWED_ORIGIN": ORIGIN}
        timing = {"DMS_READ_TIMEOUT": "10", "ACK_TIMEOUT": "10", "STORE_URL": f"sqlite:///{self.file}"}
        self.server = Running(production(self.port), self.port, **{**QUICK, **usual, **timing, **settings})
        self.url = self.server.url

    def terminate(self) -> threading.Thread:
        thread = threading.Thread(target=self.server.terminate)
        thread.start()
        wait_until(lambda: requests.get(f"{self.url}/readyz", timeout=5).status_code == 503, "that it stops")
        return thread

    def kept(self) -> set[str]:
        """The message_ids of what is in the store."""
        with sqlite3.connect(self.file) as db:
            return {json.loads(text)["message_id"] for (text,) in db.execute("SELECT text FROM letters")}


@pytest.fixture
def world(dms: SandboxDms, tmp_path: Path) -> Iterator[World]:
    world = World(dms.url, tmp_path)
    yield world
    world.server.stop()


def post(url: str, name: str, session: requests.Session | None = None) -> int:
    body = json.dumps({"type": "text", "customer_id": "c", "message_id": name, "text": ["kept"]}).encode()
    headers = {"Authorization": f"Bearer {mint()}", "Content-Type": "application/json"}
    return (session or requests).post(f"{url}/webhook", data=body, headers=headers, timeout=5).status_code


@pytest.mark.parametrize("kept_alive", [True, False], ids=["row-31-kept-alive", "row-31-a-connection-each"])
def test_webhooks_are_kept_and_answered_200_until_the_last_moment(world: World, dms: SandboxDms, kept_alive: bool) -> None:
    needs("node")
    dms.faults.set(dms="slow", delay_seconds=POST_SECONDS)
    answers: dict[str, int] = {}
    errors: list[tuple[float, Exception]] = []
    over = threading.Event()

    def stream() -> None:
        with requests.Session() as session:
            for number in itertools.count():
                name = f"m{number}"
                try:
                    answers[name] = post(world.url, name, session if kept_alive else None)
                except requests.RequestException as error:
                    errors.append((time.monotonic(), error))
                if over.wait(0.02):
                    return

    streaming = threading.Thread(target=stream)
    with NodeClient(world.url, transports=("websocket",)) as client:
        number = client.emit("clientMessage", text_message("somebody else"))
        wait_until(lambda: dms.received, "the post")
        streaming.start()
        wait_until(lambda: len(answers) > 10, "webhooks")
        started = time.monotonic()
        world.terminate().join()
        ended = time.monotonic()
        over.set()
        streaming.join()
        assert client.ack(number)["status"] == "sent"

    assert POST_SECONDS - 2 < ended - started < POST_SECONDS + 3
    assert set(answers.values()) == {200}
    assert len(answers) > 40
    assert all(at > ended - 0.5 for at, _ in errors), "refused while it could still have kept them"
    assert set(answers) <= world.kept()


def test_row_31_meanwhile_health_is_told_clients_go_elsewhere_and_messages_are_stored_for_the_next(
    world: World, dms: SandboxDms
) -> None:
    dms.faults.set(dms="slow", delay_seconds=POST_SECONDS)
    with RawPolling(world.url) as client:
        client.send(f'420["clientMessage",{json.dumps(text_message("c"))}]')
        wait_until(lambda: dms.received, "the post")
        ending = world.terminate()
        assert requests.get(f"{world.url}/healthz", timeout=5).status_code == 200
        assert requests.get(f"{world.url}/webhook", timeout=5).status_code == 200
        refused = requests.get(world.url + HANDSHAKE, timeout=5)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        client.send(f'421["clientMessage",{json.dumps(text_message("c", message_id=17))}]')
        assert '"sent"' in client.wait_for("430", 1)[0]
        ending.join()
    with sqlite3.connect(world.file) as db:
        assert db.execute("SELECT message_id, poster, is_posted FROM outbox").fetchall() == [("17", "", 0)]
    assert len(dms.received) == 1


def test_row_31_with_nothing_to_do_it_ends_at_once_whatever_is_connected(world: World) -> None:
    idle = http.client.HTTPConnection("127.0.0.1", world.port)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    silent = socket.create_connection(("127.0.0.1", world.port))
    assert world.server.terminate() < 2.5
    idle.close()
    silent.close()


def test_row_31_a_request_that_was_begun_is_answered(world: World) -> None:
    body = json.dumps({"type": "text", "customer_id": "c", "message_id": "slow", "text": ["kept"]})
    head = f"POST /webhook HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {mint()}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", world.port)) as connection:
        connection.sendall((head + body[:10]).encode())
        ending = world.terminate()
        time.sleep(1.5)
        connection.sendall(body[10:].encode())
        answer = connection.recv(65_536)
        ending.join()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b"Connection: close" in answer
    assert world.kept() == {"slow"}


def test_row_31_sigterm_again_and_for_the_worker_as_well_changes_nothing(world: World, dms: SandboxDms) -> None:
    dms.faults.set(dms="slow", delay_seconds=POST_SECONDS)
    with RawPolling(world.url) as client:
        client.send(f'420["clientMessage",{json.dumps(text_message("c"))}]')
        wait_until(lambda: dms.received, "the post")
        os.kill(world.server.worker_pid, signal.SIGTERM)
        ending = world.terminate()
        os.kill(world.server.worker_pid, signal.SIGTERM)
        assert post(world.url, "kept") == 200
        assert '"sent"' in client.wait_for("430", 1)[0]
        ending.join()
    assert "kept" in world.kept()


def test_row_31_a_reload_refuses_nothing(world: World, dms: SandboxDms) -> None:
    dms.faults.set(dms="slow", delay_seconds=POST_SECONDS)
    names: list[str] = []
    with RawPolling(world.url) as client:
        client.send(f'420["clientMessage",{json.dumps(text_message("c"))}]')
        wait_until(lambda: dms.received, "the post")
        before = world.server.worker_pid
        os.kill(world.server.pid, signal.SIGHUP)

        def one_more() -> bool:
            names.append(f"m{len(names)}")
            assert post(world.url, names[-1]) == 200
            return not Path(f"/proc/{before}").exists()

        wait_until(one_more, "the end of the old worker", timeout_seconds=15)
    assert set(names) <= world.kept()
    assert len(names) > 20


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_row_31_who_cannot_wait_need_not(world: World, dms: SandboxDms, number: signal.Signals) -> None:
    dms.faults.set(dms="slow", delay_seconds=POST_SECONDS)
    with RawPolling(world.url) as client:
        client.send(f'420["clientMessage",{json.dumps(text_message("c"))}]')
        wait_until(lambda: dms.received, "the post")
        ending = world.terminate()
        assert post(world.url, "kept") == 200
        started = time.monotonic()
        os.kill(world.server.pid, number)
        ending.join()
    assert time.monotonic() - started < POST_SECONDS - 0.5
    assert "kept" in world.kept()


# Answers that a browser lets its page read


@pytest.mark.parametrize("origin", [ORIGIN, "https://evil.example.com", None])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_row_43_an_allowed_pages_browser_is_told_that_the_instance_stops(
    world: World, dms: SandboxDms, origin: str | None, method: str
) -> None:
    dms.faults.set(dms="slow", delay_seconds=POST_SECONDS)
    with RawPolling(world.url) as client:
        client.send(f'420["clientMessage",{json.dumps(text_message("c"))}]')
        wait_until(lambda: dms.received, "the post")
        ending = world.terminate()
        headers = {"Origin": origin} if origin else {}
        response = requests.request(method, world.url + HANDSHAKE, headers=headers, timeout=5)
        ending.join()
    if method == "GET":
        assert response.status_code == 503
    assert response.headers.get("Access-Control-Allow-Origin") == (origin if origin == ORIGIN else None)
    if origin == ORIGIN:
        assert response.headers["Access-Control-Allow-Credentials"] == "true"


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}
KEY = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
REFUSALS = {
    "transport": (400, "GET", "/socket.io/?EIO=4&transport=pigeon", {}, b""),
    "version": (400, "GET", "/socket.io/?EIO=3&transport=polling", {}, b""),
    "no-version": (400, "OPTIONS", "/socket.io/?transport=polling", {}, b""),
    "session": (400, "GET", HANDSHAKE + "&sid=nobody", {}, b""),
    "session-post": (400, "POST", HANDSHAKE + "&sid=nobody", {}, b"40"),
    "method": (405, "PUT", HANDSHAKE, {}, b""),
    "chunks": (400, "POST", HANDSHAKE + "&sid=nobody", {"Transfer-Encoding": "chunked"}, b"no chunk\r\n\r\n"),
    "length": (400, "POST", HANDSHAKE + "&sid=nobody", {"Content-Length": "-1"}, b""),
    "websocket-key": (400, "GET", "/socket.io/?EIO=4&transport=websocket", {**UPGRADE, "Sec-WebSocket-Version": "13"}, b""),
    "websocket-version": (426, "GET", "/socket.io/?EIO=4&transport=websocket", {**UPGRADE, **KEY}, b""),
    "too-many": (429, "GET", HANDSHAKE, {"X-Forwarded-For": "192.0.2.9"}, b""),
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World("http://127.0.0.1:9", tmp_path_factory.mktemp("strict"), CONNECTION_RATE="0.1", PROXY_HOPS="1")
    yield world
    world.server.stop()


@pytest.mark.parametrize("origin", [ORIGIN, "https://evil.example.com"])
@pytest.mark.parametrize("name", REFUSALS)
def test_row_43_an_allowed_pages_browser_may_read_every_refusal(strict: World, name: str, origin: str) -> None:
    status, method, path, headers, body = REFUSALS[name]

    def answer() -> tuple[int, str | None]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", strict.port, timeout=5)) as connection:
            connection.putrequest(method, path)
            for header, value in {"Origin": origin, "Content-Length": str(len(body)), **headers}.items():
                if not (header == "Content-Length" and "Transfer-Encoding" in headers):
                    connection.putheader(header, value)
            connection.endheaders(body)
            with connection.getresponse() as response:
                return response.status, response.getheader("Access-Control-Allow-Origin")

    if name == "too-many" and origin == ORIGIN:
        wait_until(lambda: answer()[0] == 429, "too many")
    if status not in (426, 400) and origin != ORIGIN:
        status = 400
    assert answer() == (status, ORIGIN if origin == ORIGIN else None)
