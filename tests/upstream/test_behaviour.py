"""What LCH relies on of libraries that no hash of a source shows: compiled parts, and what several parts do together."""

from __future__ import annotations

import _socket
import ast
import contextlib
import json
import queue
import socket
import time
from collections.abc import Iterator
from typing import Any

import engineio
import engineio.exceptions
import gevent
import gevent.queue
import gevent.socket
import gevent.ssl
import httptools
import jwt
import pytest
import redis
import requests
from engineio import packet as engine_packet
from engineio.socket import Socket
from gevent import get_hub
from greenlet import getcurrent
from gunicorn.config import Config
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.retry import Retry
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from socketio import packet
from urllib3.exceptions import InvalidHeader, MaxRetryError, NewConnectionError
from urllib3.util import Retry as HttpRetry

from tests.support.servers import free_port
from tests.support.tools import ROOT
from tests.upstream import source

SECRET = "a secret of thirty-two characters"

# Engine.IO and Socket.IO


@pytest.mark.parametrize("error", ["ContentTooLongError", "UnknownPacketError", "QueueEmpty", "SocketIsClosedError"])
def test_the_engines_errors_are_of_its_own_kind(error: str) -> None:
    assert issubclass(getattr(engineio.exceptions, error), engineio.exceptions.EngineIOError)


@pytest.mark.parametrize(
    ("kind", "data", "encoded"),
    [
        (engine_packet.CLOSE, None, "1"),
        (engine_packet.PING, None, "2"),
        (engine_packet.PONG, "probe", "3probe"),
        (engine_packet.MESSAGE, '2["a",1]', '42["a",1]'),
        (engine_packet.UPGRADE, None, "5"),
        (engine_packet.NOOP, None, "6"),
    ],
)
def test_an_engine_packet_is_a_digit_and_its_text(kind: int, data: str | None, encoded: str) -> None:
    assert engine_packet.Packet(kind, data).encode() == encoded
    decoded = engine_packet.Packet(encoded_packet=encoded)
    assert (decoded.packet_type, decoded.data or None) == (kind, data)


@pytest.mark.parametrize("name", ["acks", "websocket", "upgrade", "has_joined", "_heartbeat", "ask", "close_soon", "use"])
def test_the_engines_sockets_have_nothing_under_the_names_that_lch_gives_them(name: str) -> None:
    server = engineio.Server(async_mode="threading", monitor_clients=False)
    assert not hasattr(Socket(server, "sid"), name)


@pytest.mark.parametrize(
    ("made", "encoded"),
    [
        (packet.Packet(packet.EVENT, data=["a", {"b": 1}], id=7), '27["a",{"b":1}]'),
        (packet.Packet(packet.EVENT, data=["a"], namespace="/"), '2["a"]'),
        (packet.Packet(packet.EVENT, data=["a"], namespace="/console", id=7), '2/console,7["a"]'),
        (packet.Packet(packet.ACK, data=[{"status": "ok"}], namespace="/", id=12), '312[{"status":"ok"}]'),
        (packet.Packet(packet.CONNECT, data={"sid": "x"}), '0{"sid":"x"}'),
    ],
)
def test_a_socket_io_packet_is_type_namespace_id_and_json(made: packet.Packet, encoded: str) -> None:
    assert made.encode() == encoded
    read = packet.Packet(encoded_packet=encoded)
    assert (read.packet_type, read.id, read.data) == (made.packet_type, made.id, made.data)
    assert (read.namespace or "/") == (made.namespace or "/")


def test_binary_data_is_announced_by_the_types_that_lch_refuses() -> None:
    announced, attachment = packet.Packet(packet.EVENT, data=["a", b"b"], id=7).encode()
    assert (announced, attachment) == ('51-7["a",{"_placeholder":true,"num":0}]', b"b")
    announced, _ = packet.Packet(packet.ACK, data=[b"b"], id=7).encode()
    assert announced.startswith("61-7[")


@pytest.mark.parametrize("made", [queue.Queue(), gevent.queue.JoinableQueue()], ids=["threads", "gevent"])
def test_what_waits_in_an_engine_sockets_queue_can_be_looked_at_in_order(made: Any) -> None:
    made.put("a")
    made.put(None)
    assert (list(made.queue), made.qsize()) == (["a", None], 2)


# gevent


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_a_watcher_calls_back_while_its_socket_is_ready_until_it_is_stopped(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    called: list[tuple[object, ...]] = []
    reading = get_hub().loop.io(ours.fileno(), 1)
    assert not reading.active
    reading.start(lambda *arguments: called.append((getcurrent(), *arguments)), "a", 1)
    assert reading.active
    gevent.sleep(0.01)
    assert called == []

    theirs.send(b"x")
    deadline = time.monotonic() + 10
    while len(called) < 2 and time.monotonic() < deadline:
        gevent.sleep(0)
    assert called[:2] == [(get_hub(), "a", 1)] * 2, "a watcher goes on as long as there is something to read"

    reading.stop()
    assert not reading.active
    called.clear()
    gevent.sleep(0.01)
    assert called == []
    reading.start(called.append, "again")
    gevent.sleep(0.01)
    assert "again" in called
    reading.stop()
    reading.close()

    writing = get_hub().loop.io(ours.fileno(), 2)
    written: list[str] = []
    writing.start(written.append, "free")
    gevent.sleep(0.01)
    writing.stop()
    writing.close()
    assert written[0] == "free"


def test_callbacks_run_in_order_with_their_arguments_in_the_hub() -> None:
    ran: list[tuple[object, ...]] = []

    def callback(*arguments: object) -> None:
        ran.append((getcurrent() is get_hub(), *arguments))
        if arguments == (1,):
            get_hub().loop.run_callback(callback, 3)

    get_hub().loop.run_callback(callback, 1)
    get_hub().loop.run_callback(callback, 2, "b")
    assert ran == []
    gevent.sleep(0.01)
    assert ran == [(True, 1), (True, 2, "b"), (True, 3)]


def test_a_greenlet_that_waits_in_the_hub_is_woken_with_what_it_is_handed() -> None:
    woken: list[object] = []

    def wait() -> None:
        woken.append(getcurrent())
        woken.append(get_hub().switch())
        woken.append(get_hub().switch())

    gevent.spawn_raw(wait)
    assert woken == [], "it starts in the loop's next round"
    gevent.sleep(0)
    waiting: Any = woken.pop()
    get_hub().loop.run_callback(waiting.switch, "job", ("a",))
    gevent.sleep(0)
    assert woken == [("job", ("a",))]
    get_hub().loop.run_callback(waiting.switch, "job", ())
    gevent.sleep(0)
    assert (woken[1], waiting.dead) == (("job", ()), True)


def test_errors_that_nobody_catches_go_to_the_hubs_own_print_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[object, ...]] = []
    monkeypatch.setattr(get_hub(), "print_exception", lambda context, kind, error, trace: told.append((kind, str(error))))

    def fail(words: str) -> None:
        raise ValueError(words)

    gevent.spawn(fail, "a greenlet").join()
    gevent.spawn_raw(fail, "a bare greenlet")
    get_hub().loop.run_callback(fail, "a callback")
    gevent.sleep(0.01)
    assert set(told) == {(ValueError, f"a {what}") for what in ("greenlet", "bare greenlet", "callback")}


def test_the_bare_socket_takes_a_descriptor_over_and_does_not_wait() -> None:
    assert _socket.socket is not gevent.socket.socket
    ours, theirs = gevent.socket.socketpair()
    with contextlib.closing(theirs):
        number = ours.fileno()
        bare = _socket.socket(ours.family, ours.type, ours.proto, ours.detach())
        ours.close()
        bare.setblocking(False)
        with contextlib.closing(bare):
            assert bare.fileno() == number
            with pytest.raises(BlockingIOError):
                bare.recv(1)
            theirs.send(b"x")
            assert bare.recv(10) == b"x"


def test_only_sockets_of_tls_have_pending() -> None:
    """By that incoming.py and websocket_offer.py know a connection whose bytes the loop does not see."""
    with contextlib.closing(gevent.socket.socket()) as plain:
        assert not hasattr(plain, "pending")
    assert hasattr(gevent.ssl.SSLSocket, "pending")


# gunicorn


def test_what_gunicorn_conf_py_sets_are_settings_of_gunicorns() -> None:
    """It passes over names that it does not know without a word."""
    tree = ast.parse((ROOT / "gunicorn.conf.py").read_text(encoding="utf-8"))
    ours = {"settings", "soft", "hard", "wanted", "OTHER_FILES"}
    assigned = [target for node in tree.body for target in source.targets_of(node) if isinstance(target, ast.Name)]
    names = {target.id for target in assigned} | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert names - ours - set(Config().settings) == set()
    assert names & set(Config().settings) >= {"bind", "worker_class", "control_socket_disable", "pre_fork", "logger_class"}


# HTTP


class _Heard:
    """Writes down what httptools calls, with what it knows then."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.heard.append((name, value))

    def on_headers_complete(self) -> None:
        self.heard.append(("headers", self.parser.get_status_code(), self.parser.should_keep_alive()))

    def on_body(self, piece: bytes) -> None:
        if self.heard[-1][0] == "body":
            piece = self.heard.pop()[1] + piece  # type: ignore[operator]
        self.heard.append(("body", piece))

    def on_message_complete(self) -> None:
        self.heard.append(("complete",))


@pytest.mark.parametrize("at_once", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            [(b"Content-Length", b"2"), ("headers", 200, True), ("body", b"ok"), ("complete",)],
            id="a-length",
        ),
        pytest.param(
            b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
            [(b"Transfer-Encoding", b"chunked"), ("headers", 202, True), ("body", b"ok"), ("complete",)],
            id="chunks",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            [("headers", 100, True), ("complete",), ("headers", 204, True), ("complete",)],
            id="an-interim-answer",
        ),
        pytest.param(
            b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\nto the end",
            [(b"Connection", b"close"), ("headers", 500, False), ("body", b"to the end")],
            id="no-length",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", [("headers", 200, False)], id="http-1.0"),
    ],
)
def test_an_answers_parts_come_in_order_however_it_is_cut(answer: bytes, heard: list[Any], at_once: int) -> None:
    reader = _Heard()
    for start in range(0, len(answer), at_once):
        reader.parser.feed_data(answer[start : start + at_once])
    assert reader.heard == heard


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n bad\x00: x\r\n\r\n"]
)
def test_what_is_no_answer_is_an_error_of_the_parsers(answer: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        _Heard().parser.feed_data(answer)


class _Asked:
    """Writes down what httptools calls for requests, with what it knows then."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.heard.append(("begin",))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.heard.append((name, value))

    def on_headers_complete(self) -> None:
        self.heard.append(("headers", self.parser.should_keep_alive(), self.parser.should_upgrade()))

    def on_body(self, piece: bytes) -> None:
        if self.heard[-1][0] == "body":
            piece = self.heard.pop()[1] + piece  # type: ignore[operator]
        self.heard.append(("body", piece))

    def on_message_complete(self) -> None:
        self.heard.append(("complete",))


_HEAD = b"POST / HTTP/1.1\r\n"
_CHUNKS = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("at_once", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("request_", "heard"),
    [
        pytest.param(
            _HEAD + b"Content-Length: 2\r\nX:  a b \t\r\n\r\nok",
            [
                ("begin",),
                (b"Content-Length", b"2"),
                (b"X", b"a b \t"),
                ("headers", True, False),
                ("body", b"ok"),
                ("complete",),
            ],
            id="a-length",
        ),
        pytest.param(
            _CHUNKS,
            [
                ("begin",),
                (b"Transfer-Encoding", b"chunked"),
                ("headers", True, False),
                ("body", b"ok"),
                (b"Trailer", b"x"),
                ("complete",),
            ],
            id="chunks-and-a-trailer",
        ),
        pytest.param(
            b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
            [("begin",), ("headers", True, False), ("complete",)] * 2,
            id="one-after-the-other",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            [("begin",), (b"Connection", b"close"), ("headers", False, False), ("complete",)],
            id="the-last-one",
        ),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", [("begin",), ("headers", False, False), ("complete",)], id="http-1.0"),
    ],
)
def test_a_requests_parts_come_in_order_however_it_is_cut(request_: bytes, heard: list[Any], at_once: int) -> None:
    reader = _Asked()
    for start in range(0, len(request_), at_once):
        reader.parser.feed_data(request_[start : start + at_once])
    assert reader.heard == heard


def test_at_a_requests_end_the_parser_forgets_whether_it_was_the_last() -> None:
    """Which is why that is asked in on_headers_complete."""
    reader = _Asked()
    reader.parser.feed_data(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert reader.parser.should_keep_alive()


def test_a_request_for_another_protocol_ends_with_its_head() -> None:
    reader = _Asked()
    request_ = _HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade):
        reader.parser.feed_data(request_ + b"ok")
    assert reader.heard[-2:] == [("headers", True, True), ("complete",)]
    # Not one that does not say so in both headers.
    reader = _Asked()
    reader.parser.feed_data(_HEAD + b"Upgrade: h2c\r\nContent-Length: 2\r\n\r\nok")
    assert reader.heard[-1] == ("complete",)


@pytest.mark.parametrize("callback", ["on_message_begin", "on_header", "on_headers_complete", "on_body"])
def test_what_a_callback_raises_is_the_context_of_the_parsers_error(callback: str) -> None:
    class Refusing(_Asked):
        pass

    def refuse(*_: object) -> None:
        raise KeyError(callback)

    setattr(Refusing, callback, refuse)
    with pytest.raises(httptools.HttpParserError) as error:
        Refusing().parser.feed_data(_HEAD + b"Content-Length: 2\r\n\r\nok")
    assert isinstance(error.value.__context__, KeyError)


@pytest.mark.parametrize(
    "passes",
    [b"GET / HTTP/2.0\r\n\r\n", b"GET /\r\n\r\n", b"GET  /  HTTP/1.1\r\n\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"],
)
def test_what_the_parser_lets_pass_and_lch_refuses_itself(passes: bytes) -> None:
    """Where one of these fails, a check in request_parser.py may go."""
    reader = _Asked()
    reader.parser.feed_data(passes)
    assert reader.heard[-1] == ("complete",)


@pytest.mark.parametrize(
    "refused",
    [
        _HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n",
        _HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        _HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
        _HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        _HEAD + b"Transfer-Encoding: xchunked\r\n\r\n",
        _HEAD + b"X : y\r\n\r\n",
        _HEAD + b"X: y\r\n z\r\n\r\n",
        _HEAD + b"X: y\n\r\n",
        _HEAD + b"X: y\rz: a\r\n\r\n",
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_an_error_of_the_parsers(refused: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        _Asked().parser.feed_data(refused)


_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*_PROXY_VARIABLES, *map(str.upper, _PROXY_VARIABLES), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def _environments(url: str) -> dict[str, Any]:
    return dict(requests.Session().merge_environment_settings(url, {}, None, None, None))


def test_without_anything_in_the_environment_there_is_no_proxy_and_certificates_are_checked(
    environment: pytest.MonkeyPatch,
) -> None:
    found = _environments("https://dms.example/post")
    assert (dict(found["proxies"]), found["verify"], found["cert"]) == ({}, True, None)


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({"https_proxy": "http://a:1"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1"}, "http://a:1"),
        ({"all_proxy": "http://b:1"}, "http://b:1"),
        ({"http_proxy": "http://c:1"}, None),
        ({"https_proxy": "http://a:1", "no_proxy": "dms.example"}, None),
        ({"https_proxy": "http://a:1", "no_proxy": ".example"}, None),
        ({"https_proxy": "http://a:1", "no_proxy": "other.example"}, "http://a:1"),
    ],
)
def test_the_proxy_is_the_environments_for_this_address(
    variables: dict[str, str], proxy: str | None, environment: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    url = "https://dms.example/post"
    assert select_proxy(url, _environments(url)["proxies"]) == proxy


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_authorities_are_the_environments(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(name, "/some/where.pem")
    assert _environments("https://dms.example/post")["verify"] == "/some/where.pem"


def test_an_adapter_takes_a_request_that_was_put_together_by_hand_and_says_that_nothing_was_sent() -> None:
    request = requests.PreparedRequest()
    request.method, request.url, request.body = "POST", f"http://127.0.0.1:{free_port()}/", b"{}"
    request.headers = {"Content-Length": "2"}  # type: ignore[assignment]
    with pytest.raises(requests.ConnectionError) as failed, contextlib.closing(HTTPAdapter()) as adapter:
        adapter.send(request, stream=True, timeout=(5, 5), verify=True, cert=None, proxies={})
    cause = failed.value.args[0]
    assert isinstance(cause, MaxRetryError)
    assert isinstance(cause.reason, NewConnectionError)


def test_connections_that_took_too_long_and_proxies_and_certificates_have_errors_of_their_own() -> None:
    """dms.py catches them before ConnectionError, which they are, too."""
    for kind in (requests.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError):
        assert issubclass(kind, requests.ConnectionError)
    assert not issubclass(requests.ReadTimeout, requests.ConnectionError)


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3), (" 3 ", 3), ("0", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", InvalidHeader)]
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: Any) -> None:
    if seconds is InvalidHeader:
        with pytest.raises(InvalidHeader):
            HttpRetry().parse_retry_after(text)
    else:
        assert HttpRetry().parse_retry_after(text) == seconds


# Tokens

_OPTIONS: Any = {
    "require": ["iss", "iat"],
    **dict.fromkeys(("verify_iat", "verify_exp", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False),
}


def _decoded(claims: dict[str, Any] | str, **options: Any) -> Any:
    token = claims if isinstance(claims, str) else jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, algorithm="HS256")
    return jwt.decode(token, SECRET, algorithms=["HS256"], options={**_OPTIONS, **options})


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": "x"},
        {"iat": 9e12},
        {"iat": "x"},
        {"aud": "others"},
        {"iss": 5},
        {"sub": 5},
        {"jti": 5},
        {"nbf": 1},
    ],
    ids=str,
)
def test_what_lch_checks_itself_is_handed_out_as_it_is(claims: dict[str, Any]) -> None:
    assert _decoded({"iss": "c", "iat": 1, **claims}) == {"iss": "c", "iat": 1, **claims}


def test_what_lch_leaves_to_pyjwt_is_checked() -> None:
    with pytest.raises(jwt.MissingRequiredClaimError) as missing:
        _decoded({"iss": "c"})
    assert missing.value.claim == "iat"
    with pytest.raises(jwt.ImmatureSignatureError):
        _decoded({"iss": "c", "iat": 1, "nbf": time.time() + 3600})
    with pytest.raises(jwt.InvalidAlgorithmError):
        _decoded(jwt.encode({"iss": "c", "iat": 1}, SECRET * 2, algorithm="HS512"))
    with pytest.raises(jwt.InvalidAlgorithmError):
        _decoded(jwt.encode({"iss": "c", "iat": 1}, None, algorithm="none"))
    with pytest.raises(jwt.InvalidSignatureError):
        _decoded(jwt.encode({"iss": "c", "iat": 1}, SECRET + ".", algorithm="HS256"))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", "e30.e30.", "bnVsbA.bnVsbA.bnVsbA", "\ud800"])
def test_rubbish_is_an_error_that_lch_catches(token: str) -> None:
    with pytest.raises((jwt.PyJWTError, ValueError)):
        _decoded(token)


# Redis, Prometheus


def test_retry_with_none_left_tries_once() -> None:
    tries: list[int] = []
    failures: list[Exception] = []

    def fail() -> None:
        tries.append(1)
        raise redis.ConnectionError

    with pytest.raises(redis.ConnectionError):
        Retry(NoBackoff(), 0).call_with_retry(fail, failures.append)
    assert (len(tries), len(failures)) == (1, 1)


def test_a_redis_that_is_not_there_is_told_at_once() -> None:
    options: dict[str, Any] = {"socket_connect_timeout": 2, "retry": Retry(NoBackoff(), 0)}
    pool = redis.BlockingConnectionPool.from_url(f"redis://127.0.0.1:{free_port()}", timeout=2, **options)
    started = time.monotonic()
    with contextlib.closing(redis.Redis(connection_pool=pool)) as client, pytest.raises(redis.ConnectionError):
        client.register_script("return 1")()
    assert time.monotonic() - started < 1


def test_nothing_is_collected_while_a_collector_is_registered() -> None:
    class Ours(Collector):
        def collect(self) -> Any:
            raise AssertionError

    CollectorRegistry().register(Ours())
