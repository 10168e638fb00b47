"""What the sender is told when DMS's address is not a DMS, or the network between is not a good one."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lchook.sandbox.faults import Answer
from tests.app.conftest import CreateHook
from tests.app.hook import Hook
from tests.support.peers import peer, read_request
from tests.support.tools import needs

FORWARDING_FAILED = "Error forwarding request to external API"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def say(hook: Hook, customer: str) -> dict[str, Any]:
    """One text through the hook; what fails must come as acknowledgement and as serverError."""
    client = hook.connect()
    acknowledgement: dict[str, Any] = client.say(customer, message_id=1)
    if acknowledgement["status"] == "sent":
        assert client.errors == []
    else:
        assert client.errors == [[FORWARDING_FAILED, acknowledgement]]
    return acknowledgement


def answers(*pieces: bytes, then: Callable[[socket.socket], None] | None = None) -> Callable[[socket.socket], None]:
    """A peer that reads one request and answers with these pieces."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        for piece in pieces:
            connection.sendall(piece)
        if then:
            then(connection)

    return serve


def wait_for_end(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def send_without_end(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def drip(connection: socket.socket) -> None:
    """A byte now and then, so that no read ever takes too long."""
    stop = time.monotonic() + 8
    while time.monotonic() < stop:
        connection.sendall(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(answers(OK + b"\r\n", then=send_without_end), id="body without end"),
        pytest.param(answers(OK + b"Content-Length: 1000000\r\n\r\n", then=drip), id="body that drips"),
        pytest.param(answers(OK + b"Content-Length: 1000\r\n\r\nx"), id="body that breaks off"),
        pytest.param(answers(OK + b"Content-Length: 1000\r\n\r\nx", then=wait_for_end), id="body that stops"),
        pytest.param(answers(OK + b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n"), id="broken chunks"),
        pytest.param(answers(OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), id="broken gzip"),
        pytest.param(answers(OK + b"Content-Length: 0\r\n\r\n"), id="no body"),
        pytest.param(answers(b"HTTP/1.1 100 Continue\r\n\r\n", OK + b"Content-Length: 0\r\n\r\n"), id="100 first"),
    ],
)
def test_an_answers_status_counts_whatever_its_body_is_like(
    create_hook: CreateHook, customer: str, serve: Callable[[socket.socket], None]
) -> None:
    started = time.monotonic()
    with peer(serve) as address:
        acknowledgement = say(create_hook(dms_url=f"http://{address}/"), customer)

        assert acknowledgement == {"status": "sent", "message_id": 1, "dms_status": 200}
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        pytest.param(answers(), "broke", id="closes without an answer"),
        pytest.param(answers(b"\x16\x03\x01 garbage\r\n\r\n"), "", id="no HTTP"),
        pytest.param(answers(b"HTTP/1.1 OK\r\n\r\n"), "", id="no status"),
        pytest.param(answers(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), "", id="endless header"),
        pytest.param(wait_for_end, "in time", id="never answers"),
    ],
)
def test_what_is_no_answer_fails_and_is_not_posted_again(
    create_hook: CreateHook, customer: str, serve: Callable[[socket.socket], None], words: str
) -> None:
    connections = []

    def counted(connection: socket.socket) -> None:
        connections.append(connection)
        serve(connection)

    with peer(counted) as address:
        acknowledgement = say(create_hook(dms_url=f"http://{address}/"), customer)

    assert acknowledgement["status"] == "failed"
    assert acknowledgement["dms_status"] is None
    assert words in acknowledgement["error"]
    assert len(connections) == 1


def test_a_redirect_is_not_followed_and_its_target_gets_no_token(create_hook: CreateHook, customer: str) -> None:
    stolen: list[bytes] = []

    def steal(connection: socket.socket) -> None:
        stolen.append(read_request(connection))
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    for status in (301, 302, 303, 307, 308):
        with peer(steal) as target:
            moved = f"HTTP/1.1 {status} Moved\r\nLocation: http://{target}/\r\nContent-Length: 0\r\n\r\n"
            with peer(answers(moved.encode())) as address:
                acknowledgement = say(create_hook(dms_url=f"http://{address}/"), customer)

        assert acknowledgement["status"] == "failed"
        assert acknowledgement["dms_status"] == status
    assert [request for request in stolen if request] == []


def test_a_kept_connection_that_dms_closed_meanwhile_costs_no_message(create_hook: CreateHook, customer: str) -> None:
    served = threading.Semaphore(0)

    def one_each(connection: socket.socket) -> None:
        answers(OK + b"Content-Length: 0\r\nConnection: keep-alive\r\n\r\n")(connection)
        connection.shutdown(socket.SHUT_RDWR)
        served.release()

    with peer(one_each) as address:
        client = create_hook(dms_url=f"http://{address}/").connect()
        for number in range(5):
            assert client.say(customer, message_id=number)["status"] == "sent"
            assert served.acquire(timeout=5)


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(
    create_hook: CreateHook, customer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [needs("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    requests_seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        requests_seen.append(read_request(connection))
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with peer(serve, tls=tls) as address:
        acknowledgement = say(create_hook(dms_url=f"https://{address}/"), customer)
        assert acknowledgement["status"] == "failed"
        assert acknowledgement["error"] == "DMS's certificate was not accepted"
        assert [request for request in requests_seen if request] == []

        # With the certificate among those that the environment trusts, the same address is good.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert say(create_hook(dms_url=f"https://{address}/"), customer)["status"] == "sent"
        # And for another name it is not.
        elsewhere = address.replace("127.0.0.1", "localhost")
        assert say(create_hook(dms_url=f"https://{elsewhere}/"), customer)["status"] == "failed"


def test_a_queue_has_a_bound_and_says_so(create_hook: CreateHook, customer: str) -> None:
    hook = create_hook(max_queue_length=3)
    release = threading.Event()

    def wait(message: dict[str, Any]) -> Answer:
        release.wait(5)
        return Answer()

    hook.dms.answer = wait
    client = hook.connect()
    with contextlib.ExitStack() as stack:
        stack.callback(release.set)
        for number in range(5):
            client.send_without_callback(
                "clientMessage", {"type": "text", "customer_id": customer, "message_id": number, "text": ["x"]}
            )

        assert len(client.errors) == 2
        for text, detail in client.errors:
            assert text == FORWARDING_FAILED
            assert detail["status"] == "rejected"
            assert "more than 3 messages are waiting" in detail["error"]
        assert hook.connect().is_connected
    assert [message["message_id"] for message in hook.dms.wait_for(3)] == [0, 1, 2]
