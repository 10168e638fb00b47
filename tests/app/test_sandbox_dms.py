"""The sandbox DMS over real HTTP: what it takes, how it fails on request, what it sends, and the page's API."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests
from flask.testing import FlaskClient

from lchook.core.tokens import TokenError, Tokens
from lchook.pages import CDN_CLIENT, CDN_INTEGRITY
from lchook.sandbox.bodies import KINDS
from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.faults import STATUS_FAULTS, Answer
from lchook.sandbox.files import FILES
from lchook.sandbox.inbox import NotReceivedError
from lchook.sandbox.web import create_app
from lchook.sandbox.webhooks import MAX_WAITING

ISSUER = "the-connection"
# 64 bytes: PyJWT warns of shorter ones for HS512, which one test signs with.
SECRET = "0123456789abcdef" * 4
TOKENS = Tokens(issuer=ISSUER, secret=SECRET, clock=time.time)
TEXT = {"type": "text", "customer_id": "c1", "message_id": 1, "text": ["Hello"]}
# Long enough for a busy machine; nothing waits this long when all is well.
DEADLINE_SECONDS = 10.0


class Hook:
    """Stands for LCH: records webhooks, and answers as told."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[dict[str, Any]] = []
        self.raws: list[bytes] = []
        self.verdicts: list[str] = []
        self.max_at_once: dict[str, int] = {}
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._now: dict[str, int] = {}
        self._changed = threading.Condition()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                hook._record(raw, self.headers.get("Authorization"), self.headers.get("connection_id"))
                self.send_response(hook.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"OK")

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            # A test may end while a connection is open.
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.bodies) >= count, DEADLINE_SECONDS), self.bodies
            return list(self.bodies)

    def _record(self, raw: bytes, authorization: str | None, connection_id: str | None) -> None:
        try:
            TOKENS.verify_authorization(authorization)
            verdict = "good" if connection_id else "no connection_id"
        except TokenError as error:
            verdict = str(error)
        body = json.loads(raw)
        customer_id = body["customer_id"]
        with self._changed:
            self.bodies.append(body)
            self.raws.append(raw)
            self.verdicts.append(verdict)
            self._now[customer_id] = self._now.get(customer_id, 0) + 1
            self.max_at_once[customer_id] = max(self.max_at_once.get(customer_id, 0), self._now[customer_id])
            self._changed.notify_all()
        self.may_answer.wait(DEADLINE_SECONDS)
        with self._changed:
            self._now[customer_id] -= 1


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.stop()


@pytest.fixture
def dms() -> Iterator[SandboxDms]:
    """Without a webhook address, so that it only takes posts."""
    with SandboxDms(issuer=ISSUER, secret=SECRET) as dms:
        yield dms


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


Post = Callable[..., requests.Response]


@pytest.fixture
def post(dms: SandboxDms, session: requests.Session) -> Post:
    """Post to the DMS as LCH does; what is given takes the place of the usual, None leaves it out."""

    def post(
        body: Any = TEXT, *, raw: bytes | None = None, method: str = "POST", **headers: str | None
    ) -> requests.Response:
        usual: dict[str, str | None] = {
            "Authorization": f"Bearer {TOKENS.sign(ttl_seconds=30)}",
            "connection_id": ISSUER,
            "Content-Type": "application/json",
        }
        data = json.dumps(body).encode() if raw is None else raw
        return session.request(
            method, dms.url, data=data, headers={**usual, **headers}, timeout=DEADLINE_SECONDS, allow_redirects=False
        )

    return post


def token(*, key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token made by hand; a claim that is None is left out."""
    now = int(time.time())
    all_claims = {"iss": ISSUER, "iat": now, "exp": now + 30, **claims}
    kept = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode(kept, key if algorithm != "none" else None, algorithm=algorithm)


def tampered() -> str:
    head, _, signature = token().split(".")
    claims = {"iss": ISSUER, "iat": int(time.time()), "exp": int(time.time()) + 3000}
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.{signature}"


# --- taking posts ---


def test_a_good_post_is_taken_and_remembered(dms: SandboxDms, post: Post) -> None:
    response = post()
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    [received] = dms.received
    assert received.body == TEXT
    assert received.raw == json.dumps(TEXT).encode()
    assert received.headers["CONNECTION_ID"] == ISSUER
    assert (received.method, received.path, received.status) == ("POST", "/dms", 200)
    assert abs(received.at - time.time()) < DEADLINE_SECONDS
    assert dms.accepted == [TEXT]


@pytest.mark.parametrize(
    ("make_token", "problem"),
    [
        (lambda: token(key="another secret that is long enough"), "signature"),
        (lambda: token(iss="another-connection"), "iss"),
        (lambda: token(iss=None), "iss"),
        (lambda: token(iat=None), "iat"),
        (lambda: token(exp="soon"), "exp"),
        (lambda: token(iat=int(time.time()) - 310, exp=int(time.time()) + 60), "older than 300"),
        (lambda: token(iat=int(time.time()) + 310, exp=int(time.time()) + 350), "future"),
        (lambda: token(iat=int(time.time()) - 60, exp=int(time.time()) - 30), "expired"),
        (lambda: token(algorithm="none"), "HS256"),
        (lambda: token(algorithm="HS512"), "HS256"),
        (tampered, "signature"),
        (lambda: "garbage", "JWT"),
        (lambda: "a.b.c", "JWT"),
        (lambda: "", "Bearer"),
    ],
    ids=[
        "wrong key",
        "wrong issuer",
        "no issuer",
        "no iat",
        "exp in words",
        "too old",
        "from the future",
        "expired",
        "alg none",
        "other alg",
        "tampered",
        "garbage",
        "garbage with dots",
        "empty",
    ],
)
def test_a_bad_token_is_answered_401(dms: SandboxDms, post: Post, make_token: Callable[[], str], problem: str) -> None:
    response = post(Authorization=f"Bearer {make_token()}")
    assert response.status_code == 401
    assert problem in response.json()["error"]
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert dms.accepted == []
    assert dms.received[0].status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": None},
        {"Authorization": "Basic dXNlcjpzZWNyZXQ="},
        {"connection_id": None},
        {"connection_id": "another-connection"},
        {"connection_id": None, "connection-id": ISSUER},
    ],
    ids=str,
)
def test_both_headers_are_required_and_must_fit(post: Post, headers: dict[str, str | None]) -> None:
    response = post(**headers)
    assert response.status_code == 401
    assert response.json()["error"]


@pytest.mark.parametrize("age_seconds", [290, 60, 0, -60, -290])
@pytest.mark.parametrize("exp_seconds", [None, 20], ids=["without exp", "with exp"])
def test_a_token_counts_for_five_minutes_both_ways(post: Post, age_seconds: int, exp_seconds: int | None) -> None:
    now = int(time.time())
    exp = None if exp_seconds is None else now + exp_seconds
    assert post(Authorization=f"Bearer {token(iat=now - age_seconds, exp=exp)}").status_code == 200


def test_the_clock_can_be_turned(session: requests.Session) -> None:
    with SandboxDms(issuer=ISSUER, secret=SECRET, clock=lambda: time.time() + 301) as dms:
        headers = {"Authorization": f"Bearer {token(exp=int(time.time()) + 900)}", "connection_id": ISSUER}
        response = session.post(dms.url, json=TEXT, headers=headers, timeout=DEADLINE_SECONDS)
    assert (response.status_code, "older" in response.text) == (401, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"type": "text", "customer_id": "c1", "message_id": NaN}',
        b"[" * 100_000,
        b'{"type": "text"}',
        b'{"type": "text", "customer_id": "c1", "message_id": 1, "text": []}',
        b'{"type": "text", "customer_id": "c1", "message_id": 1, "session": "x"}',
        b'{"type": "a_type_that_nobody_knows", "customer_id": "c1"}',
    ],
    ids=lambda raw: raw[:60].decode("latin-1"),
)
def test_a_malformed_body_is_answered_400_in_words(dms: SandboxDms, post: Post, raw: bytes) -> None:
    response = post(raw=raw)
    assert response.status_code == 400
    assert response.json()["error"]
    assert dms.received[0].raw == raw
    assert post().status_code == 200


def test_another_method_and_another_content_type_are_refused(dms: SandboxDms, post: Post) -> None:
    assert post(method="GET").status_code == 405
    assert post(method="PUT").status_code == 405
    assert post(**{"Content-Type": "text/plain"}).status_code == 415
    assert post(**{"Content-Type": None}).status_code == 415
    assert post(**{"Content-Type": "application/json; charset=utf-8"}).status_code == 200
    assert [received.method for received in dms.received] == ["GET", "PUT", "POST", "POST", "POST"]


def test_what_is_no_http_costs_only_its_own_connection(dms: SandboxDms, post: Post) -> None:
    port = urlsplit(dms.url).port
    for garbage in (b"\x16\x03\x01 garbage\r\n\r\n", b"POST /dms HTTP/1.1\r\nContent-Length: many\r\n\r\n", b"POST"):
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as connection:
            connection.sendall(garbage)
    assert post().status_code == 200
    assert len(dms.received) == 1


def test_a_connection_is_kept_for_the_next_post(dms: SandboxDms) -> None:
    headers = {
        "Authorization": f"Bearer {token()}",
        "connection_id": ISSUER,
        "Content-Type": "application/json",
    }
    connection = HTTPConnection("127.0.0.1", urlsplit(dms.url).port, timeout=DEADLINE_SECONDS)
    with contextlib.closing(connection):
        connection.connect()
        first_socket = connection.sock
        for number in range(5):
            connection.request("POST", "/dms", json.dumps({**TEXT, "message_id": number}), headers)
            assert json.load(connection.getresponse()) == {"status": "ok"}
            assert connection.sock is first_socket
    assert [body["message_id"] for body in dms.accepted] == [0, 1, 2, 3, 4]


def test_many_posts_at_once_are_all_taken(dms: SandboxDms, post: Post) -> None:
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda number: post({**TEXT, "message_id": number}).status_code, range(400)))
    assert set(statuses) == {200}
    assert sorted(body["message_id"] for body in dms.wait_for(400)) == list(range(400))


# --- waiting for them ---


def test_waiting_by_count_and_by_predicate(dms: SandboxDms, post: Post) -> None:
    def later() -> None:
        post(Authorization=None)
        post({**TEXT, "message_id": 1})
        post({**TEXT, "message_id": 2})

    thread = threading.Thread(target=later)
    thread.start()
    assert [body["message_id"] for body in dms.wait_for(2)] == [1, 2]
    assert dms.wait_for(lambda body: body["message_id"] == 2) == [{**TEXT, "message_id": 2}]
    assert [received.status for received in dms.wait_for_posts(3)] == [401, 200, 200]
    thread.join()
    dms.clear()
    assert (dms.received, dms.wait_for(0)) == ([], [])


@pytest.mark.parametrize("error", [AssertionError, TimeoutError])
def test_waiting_in_vain_says_what_came_instead(dms: SandboxDms, post: Post, error: type[Exception]) -> None:
    post(Authorization=None)
    with pytest.raises(error, match=r"(?s)for 1 accepted.*of 1 posts 0 were accepted.*401.*Hello") as raised:
        dms.wait_for(1, timeout_seconds=0.05)
    assert isinstance(raised.value, NotReceivedError)


# --- faults ---


@pytest.mark.parametrize("fault", STATUS_FAULTS)
def test_a_status_is_answered_so_many_times(dms: SandboxDms, post: Post, fault: str) -> None:
    dms.faults.set(dms=fault, times=2)
    assert [post().status_code for _ in range(3)] == [int(fault), int(fault), 200]
    assert len(dms.accepted) == 1


def test_429_says_when_to_come_back(dms: SandboxDms, post: Post) -> None:
    dms.faults.set(dms="429", retry_after_seconds=3)
    assert post().headers["Retry-After"] == "3"


def test_slow_answers_late_and_checks_all_the_same(dms: SandboxDms, post: Post) -> None:
    dms.faults.set(dms="slow", delay_seconds=0.3)
    started = time.monotonic()
    assert post().status_code == 200
    assert time.monotonic() - started >= 0.3
    assert post(Authorization=None).status_code == 401
    [received, _] = dms.received
    assert received.answered_at is not None
    assert received.answered_at - received.at >= 0.29


def test_hang_never_answers(dms: SandboxDms, post: Post, session: requests.Session) -> None:
    dms.faults.set(dms="hang", delay_seconds=60, times=1)
    with pytest.raises(requests.ReadTimeout):
        session.post(dms.url, json=TEXT, timeout=(DEADLINE_SECONDS, 0.2))
    assert [received.status for received in dms.wait_for_posts(1)] == [None]
    assert post().status_code == 200


def test_hang_closes_the_connection_in_the_end(dms: SandboxDms, post: Post) -> None:
    dms.faults.set(dms="hang", delay_seconds=0.05)
    with pytest.raises(requests.ConnectionError, match="without response"):
        post()


def test_stopping_does_not_wait_for_what_hangs(session: requests.Session) -> None:
    dms = SandboxDms(issuer=ISSUER, secret=SECRET).start()
    dms.faults.set(dms="hang", delay_seconds=3600)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(session.post, dms.url, json=TEXT, timeout=DEADLINE_SECONDS)
        dms.wait_for_posts(1)
        started = time.monotonic()
        dms.stop()
        assert time.monotonic() - started < 3
        assert isinstance(hanging.exception(DEADLINE_SECONDS), requests.ConnectionError)


def test_refused_closes_the_port_and_open_connections_and_comes_back(dms: SandboxDms, post: Post) -> None:
    url = dms.url
    for _ in range(3):
        assert post().status_code == 200
        dms.faults.set(dms="refused")
        with pytest.raises(requests.ConnectionError):
            post()
        with pytest.raises(requests.ConnectionError, match="refused"):
            post()
        dms.faults.clear()
    assert post().status_code == 200
    assert dms.url == url
    assert len(dms.received) == 4


def test_refused_can_be_set_before_the_start(session: requests.Session) -> None:
    dms = SandboxDms(issuer=ISSUER, secret=SECRET)
    dms.faults.set(dms="refused")
    with dms, pytest.raises(requests.ConnectionError, match="refused"):
        session.post(dms.url, json=TEXT, timeout=DEADLINE_SECONDS)


def test_reset_is_a_connection_reset_by_peer_after_the_post_was_read(dms: SandboxDms, post: Post) -> None:
    dms.faults.set(dms="reset", times=1)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        post()
    assert [received.status for received in dms.received] == [None]
    assert post().status_code == 200


def test_garbage_is_no_http(dms: SandboxDms, post: Post) -> None:
    dms.faults.set(dms="garbage", times=1)
    with pytest.raises(requests.ConnectionError, match="BadStatusLine"):
        post()
    assert post().status_code == 200


def test_redirect_points_to_a_place_that_would_tell(dms: SandboxDms, post: Post, session: requests.Session) -> None:
    dms.faults.set(dms="redirect", times=1)
    response = post()
    assert response.status_code == 302
    assert session.get(response.headers["Location"], timeout=DEADLINE_SECONDS).status_code == 405
    assert dms.received[-1].path == "/dms/moved"


def test_a_test_can_decide_for_each_message(dms: SandboxDms, post: Post) -> None:
    answers = {
        1: Answer(status=503, headers={"Retry-After": "0"}, body={"error": "mine"}),
        2: Answer(status=200, body=b"not json"),
        3: None,
        4: Answer(broken="hang_up"),
        5: Answer(delay_seconds=0.2),
    }
    dms.answer = lambda body: answers[body["message_id"]]
    first, second, third = (post({**TEXT, "message_id": number}) for number in (1, 2, 3))
    assert (first.status_code, first.headers["Retry-After"], first.json()) == (503, "0", {"error": "mine"})
    assert (second.status_code, second.content) == (200, b"not json")
    assert third.json() == {"status": "ok"}
    with pytest.raises(requests.ConnectionError):
        post({**TEXT, "message_id": 4})
    started = time.monotonic()
    assert post({**TEXT, "message_id": 5}).status_code == 200
    assert time.monotonic() - started >= 0.2
    assert [body["message_id"] for body in dms.accepted] == [2, 3, 5]


# --- webhooks ---


def test_a_webhook_is_signed_as_dms_signs(dms: SandboxDms, hook: Hook) -> None:
    dms.webhook_url = hook.url
    assert dms.send("c1", text=["Hello"]).status_code == 200
    assert dms.send("c1", "menu", title="Mine").status_code == 200
    assert hook.verdicts == ["good", "good"]
    first, second = hook.bodies
    assert (first["type"], first["text"], first["customer_id"]) == ("text", ["Hello"], "c1")
    assert (second["type"], second["title"]) == ("menu", "Mine")
    assert first["message_id"] != second["message_id"]


def test_a_webhook_can_be_wrong_in_any_way(dms: SandboxDms, hook: Hook) -> None:
    dms.webhook_url = hook.url
    dms.send("c1", token="garbage")
    dms.send("c1", headers={"Authorization": None})
    dms.send("c1", headers={"connection_id": None})
    dms.send("c1", raw=b'{"customer_id": "c9"}')
    assert "JWT" in hook.verdicts[0]
    assert "missing" in hook.verdicts[1]
    assert hook.verdicts[2:] == ["no connection_id", "good"]
    assert hook.bodies[-1] == {"customer_id": "c9"}


def test_a_webhook_without_an_address_is_a_mistake_in_the_test(dms: SandboxDms) -> None:
    with pytest.raises(RuntimeError, match="webhook_url"):
        dms.send("c1")


def test_the_script_answers_what_was_accepted_and_nothing_else(dms: SandboxDms, hook: Hook, post: Post) -> None:
    dms.webhook_url = hook.url
    post(Authorization=None)
    dms.faults.set(dms="503", times=1)
    post()
    post()
    post({**TEXT, "text": ["wait"]})
    kinds = [body["type"] for body in hook.wait_for(5)]
    assert kinds == ["typing_indicator", "text", "typing_indicator", "menu", "wait_time"]
    assert set(hook.verdicts) == {"good"}


def test_without_a_script_nothing_is_answered(hook: Hook, session: requests.Session) -> None:
    with SandboxDms(issuer=ISSUER, secret=SECRET, webhook_url=hook.url, scripted=False) as dms:
        headers = {"Authorization": f"Bearer {token()}", "connection_id": ISSUER}
        assert session.post(dms.url, json=TEXT, headers=headers, timeout=DEADLINE_SECONDS).status_code == 200
        dms.say("c1", "menu").result(DEADLINE_SECONDS)
    assert [body["type"] for body in hook.bodies] == ["menu"]


def test_webhooks_of_one_customer_go_in_order_and_one_at_a_time(dms: SandboxDms, hook: Hook) -> None:
    dms.webhook_url = hook.url
    outcomes = [
        dms.say(customer_id, "text", text=[str(number)]) for number in range(50) for customer_id in ("c1", "c2", "c3")
    ]
    assert {outcome.result(DEADLINE_SECONDS) for outcome in outcomes} == {200}
    for customer_id in ("c1", "c2", "c3"):
        texts = [body["text"][0] for body in hook.bodies if body["customer_id"] == customer_id]
        assert texts == [str(number) for number in range(50)]
    assert set(hook.max_at_once.values()) == {1}


def test_customers_do_not_wait_for_each_other(dms: SandboxDms, hook: Hook) -> None:
    dms.webhook_url = hook.url
    hook.may_answer.clear()
    outcomes = [dms.say(f"c{number}", "text") for number in range(10)]
    assert len(hook.wait_for(10)) == 10
    hook.may_answer.set()
    assert {outcome.result(DEADLINE_SECONDS) for outcome in outcomes} == {200}


def test_the_fault_duplicate_sends_the_same_bytes_twice(dms: SandboxDms, hook: Hook) -> None:
    dms.webhook_url = hook.url
    dms.faults.set(webhook="duplicate")
    assert dms.say("c1", "text").result(DEADLINE_SECONDS) == 200
    assert len(hook.raws) == 2
    assert hook.raws[0] == hook.raws[1]


def test_the_fault_bad_signature_signs_with_another_key(dms: SandboxDms, hook: Hook) -> None:
    dms.webhook_url = hook.url
    dms.faults.set(webhook="bad_signature")
    dms.say("c1", "text").result(DEADLINE_SECONDS)
    [verdict] = hook.verdicts
    assert "signature" in verdict


def test_the_fault_silence_sends_nothing_and_the_wire_says_so(dms: SandboxDms, hook: Hook) -> None:
    dms.webhook_url = hook.url
    dms.faults.set(webhook="silence")
    assert dms.say("c1", "text").result(DEADLINE_SECONDS) is None
    assert hook.bodies == []
    [entry] = dms.wire.after(0)
    assert (entry["direction"], entry["status"], "silence" in entry["error"]) == ("to_customer", None, True)


def test_the_fault_slow_sends_late(dms: SandboxDms, hook: Hook) -> None:
    dms.webhook_url = hook.url
    dms.faults.set(webhook="slow", delay_seconds=0.2)
    started = time.monotonic()
    dms.say("c1", "text").result(DEADLINE_SECONDS)
    assert time.monotonic() - started >= 0.2


def test_a_hook_that_is_not_there_costs_that_webhook_only(dms: SandboxDms, hook: Hook) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dms.webhook_url = f"http://127.0.0.1:{nobody.getsockname()[1]}/webhook"
        assert dms.say("c1", "text").result(DEADLINE_SECONDS) is None
    [entry] = dms.wire.after(0)
    assert (entry["status"], "refused" in entry["error"]) == (None, True)
    dms.webhook_url = hook.url
    assert dms.say("c1", "text").result(DEADLINE_SECONDS) == 200


def test_what_waits_for_a_hook_is_bounded(dms: SandboxDms, hook: Hook, post: Post) -> None:
    dms.webhook_url = hook.url
    hook.may_answer.clear()
    dms.say("c1", "text")
    hook.wait_for(1)
    for _ in range(MAX_WAITING):
        dms.say("c1", "text")
    assert post().status_code == 200
    assert post({**TEXT, "customer_id": "c2"}).status_code == 200
    dropped = [entry for entry in dms.wire.after(0) if entry["error"]]
    assert {entry["customer_id"] for entry in dropped} == {"c1"}
    assert {"not sent" in entry["error"] for entry in dropped} == {True}
    assert hook.wait_for(2)[1]["customer_id"] == "c2"


def test_stopping_drops_what_waits(hook: Hook) -> None:
    with SandboxDms(issuer=ISSUER, secret=SECRET, webhook_url=hook.url, pace_seconds=60) as dms:
        headers = {"Authorization": f"Bearer {token()}", "connection_id": ISSUER}
        with requests.Session() as session:
            assert session.post(dms.url, json=TEXT, headers=headers, timeout=DEADLINE_SECONDS).status_code == 200
        started = time.monotonic()
    assert time.monotonic() - started < 3
    assert hook.bodies == []


def test_posts_and_webhooks_are_on_the_wire_without_their_tokens(dms: SandboxDms, hook: Hook, post: Post) -> None:
    dms.webhook_url = hook.url
    post({"type": "typing_indicator", "customer_id": "c1"})
    dms.wire.after(0, timeout_seconds=DEADLINE_SECONDS)
    dms.send("c2", "wait_time")
    to_dms, to_customer = dms.wire.after(0)
    assert (to_dms["direction"], to_dms["customer_id"], to_dms["type"], to_dms["status"]) == (
        "to_dms",
        "c1",
        "typing_indicator",
        200,
    )
    assert to_dms["response"]["body"] == {"status": "ok"}
    assert (to_customer["direction"], to_customer["url"], to_customer["status"]) == ("to_customer", hook.url, 200)
    assert to_customer["request"]["body"]["waitTime"]
    for entry in (to_dms, to_customer):
        assert entry["request"]["headers"]["token_claims"]["iss"] == ISSUER
        assert "eyJ" not in json.dumps(entry)


# --- the page's API ---


@pytest.fixture
def browser(dms: SandboxDms, tmp_path: Path) -> FlaskClient:
    return create_app(dms, "http://hook.example:5600/", root=tmp_path).test_client()


def test_the_page_takes_socketio_from_the_cdn_with_its_hash(browser: FlaskClient) -> None:
    response = browser.get("/")
    assert response.status_code == 200
    assert CDN_CLIENT in response.text
    assert CDN_INTEGRITY in response.text
    policy = response.headers["Content-Security-Policy"]
    assert f"script-src 'self' {CDN_CLIENT};" in policy
    assert "connect-src 'self' http://hook.example:5600 ws://hook.example:5600;" in policy
    assert "unsafe" not in policy
    assert browser.get("/sandbox/socket.io.min.js").status_code == 404


def test_the_page_takes_socketio_from_here_where_npm_put_it(dms: SandboxDms, tmp_path: Path) -> None:
    client_file = tmp_path / "node_modules/socket.io-client/dist/socket.io.min.js"
    client_file.parent.mkdir(parents=True)
    client_file.write_text("// socket.io")
    browser = create_app(dms, "", root=tmp_path).test_client()
    response = browser.get("/", base_url="https://chat.example")
    assert "/sandbox/socket.io.min.js" in response.text
    assert CDN_CLIENT not in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "connect-src 'self' https://chat.example wss://chat.example;" in policy
    with browser.get("/sandbox/socket.io.min.js") as script:
        assert script.text == "// socket.io"
        assert script.mimetype == "text/javascript"


def test_what_the_page_refers_to_is_there(browser: FlaskClient) -> None:
    for name in ("chat.js", "chat.css"):
        with browser.get(f"/sandbox/static/{name}") as response:
            assert response.status_code == 200


def test_the_page_learns_where_all_is(dms: SandboxDms, browser: FlaskClient) -> None:
    config = browser.get("/sandbox/config.json").json
    assert config is not None
    assert (config["hook"], config["dms_url"], config["webhook_url"]) == ("http://hook.example:5600", dms.url, None)
    assert config["customers"][-1] == {"customer_id": "", "customer_name": "Unauthenticated person"}


def test_attachments_are_served_where_webhooks_say(dms: SandboxDms, browser: FlaskClient, hook: Hook) -> None:
    dms.webhook_url = hook.url
    browser.get("/", base_url="http://page.example")
    dms.send("c1", "attachments")
    for attachment in hook.bodies[0]["attachments"]:
        response = browser.get(attachment["url"])
        assert attachment["url"].startswith("http://page.example/sandbox/files/")
        assert (response.status_code, len(response.data)) == (200, attachment["size"])
        assert response.mimetype == attachment["content_type"]
    assert len(hook.bodies[0]["attachments"]) == len(FILES)
    assert browser.get("/sandbox/files/harbour.svg").status_code == 403


def test_faults_are_read_and_set_as_a_whole(dms: SandboxDms, browser: FlaskClient) -> None:
    state = browser.get("/sandbox/faults").json
    assert state == dms.faults.as_dict()
    wanted = {**state, "dms": "429", "times": 2, "retry_after_seconds": None}
    response = browser.put("/sandbox/faults", json=wanted)
    assert (response.status_code, response.json) == (200, wanted)
    assert dms.faults.as_dict() == wanted


@pytest.mark.parametrize(
    "sent",
    [
        {"json": {"dms": "no such fault"}},
        {"json": {"no such field": 1}},
        {"json": ["dms"]},
        {"data": b"{", "content_type": "application/json"},
        {"data": b'{"dms": "none"}', "content_type": "text/plain"},
    ],
    ids=str,
)
def test_wrong_faults_are_answered_400_in_words(dms: SandboxDms, browser: FlaskClient, sent: dict[str, Any]) -> None:
    dms.faults.set(dms="404")
    response = browser.put("/sandbox/faults", **sent)
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["error"]
    assert dms.faults.state.dms == "404"


@pytest.mark.parametrize("kind", KINDS)
def test_the_agent_says_what_the_page_wants(dms: SandboxDms, browser: FlaskClient, hook: Hook, kind: str) -> None:
    dms.webhook_url = hook.url
    response = browser.post("/sandbox/say", json={"customer_id": "", "kind": kind, "text": "Mine"})
    assert (response.status_code, response.json) == (200, {"status": 200})
    [body] = hook.bodies
    assert body["type"] == ("text" if kind in ("string_text", "attachments", "agent_left") else kind)
    assert body["customer_id"] == ""
    assert (body.get("text") == ["Mine"]) is (kind in ("text", "attachments"))
    assert (body.get("text") == "Mine") is (kind in ("string_text", "agent_left"))


def test_the_page_learns_the_hooks_status(dms: SandboxDms, browser: FlaskClient, hook: Hook) -> None:
    dms.webhook_url = hook.url
    hook.status = 503
    assert browser.post("/sandbox/say", json={"customer_id": "c1", "kind": "text"}).json == {"status": 503}
    dms.faults.set(webhook="silence")
    assert browser.post("/sandbox/say", json={"customer_id": "c1", "kind": "text"}).json == {"status": None}


@pytest.mark.parametrize(
    "wanted",
    [
        [],
        {"kind": "text"},
        {"customer_id": None, "kind": "text"},
        {"customer_id": True, "kind": "text"},
        {"customer_id": "c1"},
        {"customer_id": "c1", "kind": "no such kind"},
        {"customer_id": "c1", "kind": ["text"]},
        {"customer_id": "c1", "kind": "text", "text": ["Hello"]},
    ],
    ids=str,
)
def test_what_cannot_be_said_is_answered_400_in_words(browser: FlaskClient, wanted: Any) -> None:
    response = browser.post("/sandbox/say", json=wanted)
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["error"]


def test_the_end_of_the_session_by_the_agent_makes_the_bot_greet_again(
    dms: SandboxDms, browser: FlaskClient, hook: Hook, post: Post
) -> None:
    dms.webhook_url = hook.url
    post()
    hook.wait_for(4)
    browser.post("/sandbox/say", json={"customer_id": "c1", "kind": "csr_end_session"})
    post()
    assert hook.wait_for(9)[-1]["type"] == "menu"


def test_the_wire_is_a_stream_of_events_that_can_be_taken_up_again(dms: SandboxDms, browser: FlaskClient) -> None:
    dms.faults.set(webhook="silence")
    dms.webhook_url = "http://127.0.0.1:1/never-reached"
    for number in range(3):
        dms.say("c1", "text", text=[str(number)]).result(DEADLINE_SECONDS)

    def events(path: str, **headers: str) -> list[dict[str, Any]]:
        with browser.get(path, headers=headers, buffered=False) as response:
            assert response.mimetype == "text/event-stream"
            chunks = response.iter_encoded()
            assert next(chunks).startswith(b":")
            found = []
            for event in next(chunks).decode().strip().split("\n\n"):
                id_line, data_line = event.split("\n")
                entry = json.loads(data_line.removeprefix("data: "))
                assert id_line == f"id: {entry['seq']}"
                found.append(entry)
            return found

    assert [entry["request"]["body"]["text"] for entry in events("/sandbox/wire")] == [["0"], ["1"], ["2"]]
    assert [entry["seq"] for entry in events("/sandbox/wire?after=2")] == [3]
    assert [entry["seq"] for entry in events("/sandbox/wire?after=0", **{"Last-Event-ID": "1"})] == [2, 3]
    assert browser.get("/sandbox/wire?after=x").status_code == 400


def test_the_stream_ends_when_the_sandbox_stops(browser: FlaskClient, dms: SandboxDms) -> None:
    with browser.get("/sandbox/wire", buffered=False) as response:
        chunks = response.iter_encoded()
        assert next(chunks).startswith(b":")
        dms.wire.close()
        assert all(chunk.startswith(b":") for chunk in chunks)
