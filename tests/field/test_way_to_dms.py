"""The way to DMS as the field has it: clocks, addresses, name services, typing, companies' certificates, proxies."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lchook.core.tokens import Tokens
from lchook.dms.client import DmsClient, DmsError
from lchook.dms.failures import STRICT_CODES, cause_in_words
from lchook.dms.name_service import FRESH_SECONDS, NameService
from lchook.dms.trust import trusting_context
from lchook.doctor.dms import examine_dms
from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.faults import Answer
from tests.support.addresses import accepting, swallowing
from tests.support.certificates import Certificate, self_signed
from tests.support.clients import PythonClient, text_message
from tests.support.hooks import QUICK, Hook, running_hook
from tests.support.jwts import ISSUER, SECRET, mint
from tests.support.names import Names
from tests.support.peers import peer, read_request
from tests.support.servers import Server, free_port, gunicorn_command
from tests.support.tools import needs
from tests.support.waiting import wait_until

# Clocks


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with running_hook(gunicorn_command) as it:
        yield it


@pytest.mark.parametrize(
    "ahead_seconds", [45, 290, -290], ids=["case-10", "case-10 fast by minutes", "case-10 slow by minutes"]
)
def test_a_dms_whose_clock_differs_by_minutes_takes_our_messages(ahead_seconds: float) -> None:
    clock = lambda: time.time() + ahead_seconds  # noqa: E731
    with SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False, clock=clock) as dms:
        port = free_port()
        settings = {**QUICK, "DMS_URL": dms.url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET}
        with Server(gunicorn_command(port), port, **settings) as server, PythonClient(server.url) as client:
            assert client.say("c1")["status"] == "sent"


def ahead(seconds: float, **claims: object) -> str:
    """A token that was made just now by somebody whose clock is ahead of ours by so much."""
    now = int(time.time() + seconds)
    lasting = claims.pop("lasting", 30)
    return mint(iat=now, **({"exp": now + lasting} if lasting else {}), without=() if lasting else ("exp",), **claims)


@pytest.mark.parametrize(
    ("token", "status"),
    [
        pytest.param(lambda: ahead(60), 200, id="case-11"),
        pytest.param(lambda: ahead(295), 200, id="case-11 minutes"),
        pytest.param(lambda: ahead(295, lasting=0), 200, id="case-11 without exp"),
        pytest.param(lambda: ahead(60.5, nbf=time.time() + 60), 200, id="case-11 with nbf"),
        pytest.param(lambda: ahead(-60, lasting=300), 200, id="case-11 slow"),
        pytest.param(lambda: ahead(-295, lasting=0), 200, id="case-11 slow by minutes"),
        pytest.param(lambda: mint(iat=time.time() + 60, exp=time.time() + 90), 200, id="case-11 a fraction of a second"),
        pytest.param(lambda: mint(exp=(time.time() + 30) * 1000), 200, id="case-11 exp in milliseconds"),
        pytest.param(lambda: ahead(310), 401, id="case-11 too fast"),
        pytest.param(lambda: ahead(-310, lasting=3600), 401, id="case-11 too slow"),
        pytest.param(lambda: mint(nbf=time.time() + 310), 401, id="case-11 nbf too far"),
        pytest.param(lambda: mint(exp=int(time.time()) - 1), 401, id="case-11 over before it was made"),
        pytest.param(lambda: mint(nbf="soon"), 401, id="case-11 nbf in words"),
    ],
)
def test_a_webhook_counts_for_five_minutes_either_way(hook: Hook, token: object, status: int) -> None:
    response = hook.post_raw(b'{"type":"text","customer_id":"c1","text":["Hi"]}', token=token())  # type: ignore[operator]

    assert response.status_code == status, response.text


# Addresses


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NAME = "dms.test"
SETTINGS = {**QUICK, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, "DMS_CONNECT_TIMEOUT": "2"}


class Dms:
    """Takes every post, on one connection after the other, or on kept ones."""

    def __init__(self, *, keep: bool = False, delay_seconds: float = 0.0) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._answer = OK.replace(b"Connection: close\r\n", b"") if keep else OK
        self._keep = keep
        self._delay_seconds = delay_seconds

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        while request := read_request(connection):
            self.requests.append(request)
            time.sleep(self._delay_seconds)
            connection.sendall(self._answer)
            if not self._keep:
                return


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("dms"), names=f"DNS:{NAME}")


@pytest.fixture
def names(tmp_path: Path) -> Names:
    return Names(tmp_path)


@contextlib.contextmanager
def lch(url: str, names: Names | None = None, **settings: str) -> Iterator[tuple[Server, PythonClient]]:
    port = free_port()
    environment = {**SETTINGS, **(names.environment if names else {}), "DMS_URL": url, **settings}
    with Server(gunicorn_command(port), port, **environment) as server, PythonClient(server.url) as client:
        yield server, client


def say(client: PythonClient, customer_id: str = "c1") -> tuple[dict[str, Any], float]:
    """The outcome of a text, and how long it took."""
    started = time.monotonic()
    return client.say(customer_id), time.monotonic() - started


BAD = {
    "swallows": swallowing,
    "accepts and keeps silent": accepting,
    "accepts and resets": functools.partial(accepting, then_reset=True),
    "refuses": lambda address, port: contextlib.nullcontext(),
}


@pytest.mark.parametrize(
    ("tls", "bad"),
    [
        pytest.param(False, {"127.0.0.2": "swallows"}, id="case-21"),
        pytest.param(False, {"127.0.0.2": "swallows", "127.0.0.3": "swallows"}, id="case-21 two"),
        pytest.param(False, {"127.0.0.2": "refuses", "127.0.0.3": "swallows"}, id="case-21 one refuses, one swallows"),
        pytest.param(False, {"::1": "refuses", "2001:db8::1": "refuses"}, id="case-21 IPv6 leads nowhere"),
        pytest.param(True, {"127.0.0.2": "swallows"}, id="case-21 TLS"),
        pytest.param(True, {"127.0.0.2": "accepts and keeps silent"}, id="case-21 TLS hangs"),
        pytest.param(True, {"127.0.0.2": "accepts and resets"}, id="case-21 TLS breaks"),
    ],
)
def test_where_some_of_its_addresses_fail_dms_is_reached_by_another(
    names: Names, certificate: Certificate, tls: bool, bad: dict[str, str]
) -> None:
    dms = Dms()
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(peer(dms.serve, tls=certificate.tls if tls else None))
        port = int(address.split(":")[1])
        for bad_address, kind in bad.items():
            stack.enter_context(BAD[kind](bad_address, port))
        names.set(NAME, [*bad, "127.0.0.1"])
        url = f"{'https' if tls else 'http'}://{NAME}:{port}/"
        server, client = stack.enter_context(lch(url, names, REQUESTS_CA_BUNDLE=str(certificate.file)))

        outcome, seconds = say(client)
        assert outcome["status"] == "sent"
        assert seconds < 1.5
        # It is known now which address works.
        fastest = min(say(client)[1] for _ in range(3))
        assert fastest < 0.2
        assert len(dms.requests) == 4
        assert names.asked().count(NAME) == 1
        swallows = "swallows" in bad.values() or "accepts and keeps silent" in bad.values()
        assert ("an address fails, another one works" in server.log) or not swallows


def test_where_all_addresses_swallow_a_post_fails_within_the_deadline_and_the_next_one_works_when_one_does(
    names: Names,
) -> None:
    dms = Dms()
    with peer(dms.serve) as address, swallowing("127.0.0.2", int(address.split(":")[1])):
        port = int(address.split(":")[1])
        names.set(NAME, ["127.0.0.2"])
        with lch(f"http://{NAME}:{port}/", names, DMS_CONNECT_TIMEOUT="1") as (_, client):
            outcome, seconds = say(client)
            assert outcome["error"] == "no connection to DMS within the time allowed"
            assert 0.9 < seconds < 2
            # It has moved: where no address answered, the name service is asked anew.
            names.set(NAME, ["127.0.0.1"])
            assert say(client)[0]["status"] == "sent"


# Name service


def test_a_name_service_that_stalls_holds_up_only_those_who_need_it_and_one_question_is_under_way(
    names: Names, customer: str
) -> None:
    dms = Dms()
    names.set(NAME, "stalls")
    with peer(dms.serve) as address, lch(f"http://{NAME}:{address.split(':')[1]}/", names) as (server, client):
        started = time.monotonic()
        waiting = [client.emit("clientMessage", text_message(f"{customer}-{number}", "Hi")) for number in range(30)]
        while time.monotonic() - started < 1:
            before = time.monotonic()
            assert requests.get(f"{server.url}/healthz", timeout=5).status_code == 200
            assert time.monotonic() - before < 0.5
        outcomes = [client.ack(number) for number in waiting]
        assert {outcome["error"] for outcome in outcomes} == {"no connection to DMS within the time allowed"}
        assert time.monotonic() - started < 4
        assert names.asked() == [NAME]
        assert "the name service gives no answer" in server.log
        names.set(NAME, ["127.0.0.1"])
        wait_until(lambda: client.say(customer)["status"] == "sent", "a name service that answers again")


@pytest.mark.parametrize("trouble", ["stalls", "fails"])
def test_what_the_name_service_said_before_is_believed_while_it_fails(names: Names, trouble: str) -> None:
    dms = Dms()
    names.set(NAME, ["127.0.0.1"])
    url = f"http://{NAME}:"
    with (
        peer(dms.serve) as address,
        lch(url + address.split(":")[1], names, SOCKET_RATE="0", CUSTOMER_RATE="0") as (server, client),
    ):
        assert say(client)[0]["status"] == "sent"
        names.set(NAME, trouble)
        wait_until(
            lambda: say(client)[0]["status"] == "sent" and len(names.asked()) > 1,
            "the next question",
            timeout_seconds=FRESH_SECONDS + 5,
        )
        for number in range(5):
            outcome, seconds = say(client, f"c{number}")
            assert outcome["status"] == "sent"
            assert seconds < 0.5
        assert "no answer of the name service: addresses that it told before are used" in server.log


def test_a_numeric_address_needs_no_name_service(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for host in ("127.0.0.1", "::1"):
        assert NameService().addresses(host, 80, within_seconds=1)[0][4][0] == host


# Typing


@pytest.mark.parametrize("trouble", [Answer(status=503), Answer(delay_seconds=6.0)], ids=["case-28", "case-28 DMS hangs"])
def test_typing_is_tried_once_and_never_before_a_text(trouble: Answer) -> None:
    with running_hook(gunicorn_command, OUTBOX_TTL="30", DMS_READ_TIMEOUT="15") as hook, hook.connect() as client:
        hook.dms.answer = lambda body: trouble if body["type"] == "typing_indicator" else None
        typing = client.emit("clientMessage", {"type": "typing_indicator", "customer_id": "c1"})
        wait_until(lambda: hook.dms.received, "the typing indicator")
        outcome, seconds = say(client)
        assert outcome["status"] == "sent"
        assert seconds < 1
        outcome = client.ack(typing, timeout_seconds=4)
        assert outcome["status"] == "failed"
        assert sum(post.body["type"] == "typing_indicator" for post in hook.dms.received) == 1


def test_typing_waits_for_a_text_the_newest_is_posted_and_one_that_comes_too_late_is_not() -> None:
    with running_hook(gunicorn_command, DMS_READ_TIMEOUT="15") as hook, hook.connect() as client:
        typing = {"type": "typing_indicator", "customer_id": "c1"}
        hook.dms.answer = lambda body: Answer(delay_seconds=0.7) if body["type"] == "text" else None
        text = client.emit("clientMessage", text_message("c1", "one"))
        three = [client.emit("clientMessage", {**typing, "customer_name": f"name {number}"}) for number in range(3)]
        assert client.ack(text)["status"] == "sent"
        assert {client.ack(number)["status"] for number in three} == {"sent"}
        assert [post.body.get("customer_name") for post in hook.dms.received] == ["Kim", "name 2"]

        client.emit("clientMessage", text_message("c1", "two"))
        late = client.emit("clientMessage", typing)
        third = client.emit("clientMessage", text_message("c1", "three"))
        assert client.ack(late)["error"] == "not sent: a message was on its way"
        assert client.ack(third)["status"] == "sent"
        assert [post.body["type"] for post in hook.dms.received] == ["text", "typing_indicator", "text", "text"]
        # Nothing went wrong, so nobody is told that it did.
        assert client.errors == []


def test_typing_that_hangs_takes_no_place_of_anybody_elses_text() -> None:
    with running_hook(gunicorn_command, DMS_READ_TIMEOUT="15") as hook, hook.connect() as client:
        hook.dms.answer = lambda body: Answer(delay_seconds=3.0) if body["type"] == "typing_indicator" else None
        for number in range(40):
            client.emit("clientMessage", {"type": "typing_indicator", "customer_id": f"c{number}"})
        outcomes = [say(client, f"c{number}") for number in range(5)]
        assert {outcome["status"] for outcome, _ in outcomes} == {"sent"}
        assert max(seconds for _, seconds in outcomes) < 1


# Certificates


class Authority:
    """A company's, made years ago: no key identifiers, basic constraints that are not critical, no key usage."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.file = folder, folder / "ca.pem"
        (folder / "ca.cnf").write_text(
            "[req]\ndistinguished_name=n\nx509_extensions=e\nprompt=no\n[n]\nO=Old company\n[e]\nbasicConstraints=CA:TRUE\n"
        )
        (folder / "leaf.ext").write_text(f"subjectAltName=DNS:{NAME},IP:127.0.0.1\n")
        self._openssl("req -x509 -newkey rsa:2048 -nodes -days 30 -config ca.cnf -keyout ca.key -out ca.pem")
        self._openssl("req -newkey rsa:2048 -nodes -subj /CN=dms -keyout leaf.key -out leaf.csr")
        self._openssl(
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile leaf.ext -out leaf.pem"
        )
        # OpenSSL 3 adds identifiers by itself where it can.
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(folder / "leaf.pem", folder / "leaf.key")

    def _openssl(self, command: str) -> None:
        subprocess.run([needs("openssl"), *command.split()], cwd=self._folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


STRICT = ssl.VerifyFlags.VERIFY_X509_STRICT


def as_python_3_13(*args: Any, **options: Any) -> ssl.SSLContext:
    """What `ssl.create_default_context` makes since then, on any Python."""
    context = _create_default_context(*args, **options)
    context.verify_flags |= STRICT | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


_create_default_context = ssl.create_default_context


def test_case_36_a_companys_own_bundle_is_taken_as_it_is(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", as_python_3_13)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    dms = Dms()
    with peer(dms.serve, tls=authority.tls) as address:
        url = f"https://{address}/"
        assert client_for(url).post(b"{}").taken
        found = {each.check: each for each in examine_dms(url, timeout_seconds=2, token_ttl_seconds=300)}
        assert found["certificate"].status == "ok"
        # Chain and name are checked all the same.
        with pytest.raises(DmsError, match="certificate") as caught:
            client_for(url.replace("127.0.0.1", "localhost")).post(b"{}")
        assert not caught.value.possibly_delivered


def test_case_36_an_authority_that_signs_for_the_company_may_be_all_of_the_bundle(
    authority: Authority, tmp_path: Path
) -> None:
    """An issuing authority, or the server's own certificate, without the root above it."""
    context = trusting_context(str(authority.file.parent / "leaf.pem"))
    assert context.verify_flags & ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    with peer(Dms().serve, tls=authority.tls) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as plain:
            context.wrap_socket(plain, server_hostname=host).close()


def test_case_36_without_a_bundle_of_ones_own_python_checks_as_it_does_and_what_is_missing_is_said(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "create_default_context", as_python_3_13)
    assert trusting_context(True).verify_flags & STRICT
    context = as_python_3_13(cafile=str(authority.file))
    with peer(Dms().serve, tls=authority.tls) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as plain, pytest.raises(ssl.SSLError) as caught:
            context.wrap_socket(plain, server_hostname=host)
    assert caught.value.verify_code in STRICT_CODES  # type: ignore[attr-defined]
    assert cause_in_words(caught.value).startswith(("a certificate in its chain", "an authority in its chain"))


def test_each_number_that_openssl_gives_for_what_python_asks_has_words() -> None:
    for code in (*STRICT_CODES, 18, 19, 20, 21, 62):
        error = ssl.SSLCertVerificationError()
        error.verify_code = code
        assert "OpenSSL" not in cause_in_words(error)
    error.verify_code = 12345
    assert "12345" in cause_in_words(error)


def test_a_bundle_that_cannot_be_read_is_said_and_the_message_is_surely_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    with peer(Dms().serve) as address, pytest.raises(DmsError) as caught:
        client_for(f"https://{address}/").post(b"{}")
    assert not caught.value.possibly_delivered
    assert "REQUESTS_CA_BUNDLE" in caught.value.detail


def client_for(url: str, *, connect_seconds: float = 1.0, read_seconds: float = 1.0) -> DmsClient:
    return DmsClient(
        url=url,
        tokens=Tokens(issuer=ISSUER, secret=SECRET, clock=time.time),
        token_ttl_seconds=300,
        connect_timeout_seconds=connect_seconds,
        read_timeout_seconds=read_seconds,
    )


# Proxies


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


class Proxy:
    """Lets CONNECT through to one address, whatever is asked for, and counts tunnels."""

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self._target = host, int(port)
        self.tunnels = 0

    def serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := connection.recv(65536)):
                return
            head += piece
        self.tunnels += 1
        with socket.create_connection(self._target, timeout=10) as upstream:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(upstream, connection), daemon=True)
            back.start()
            pump(connection, upstream)
            back.join(5)


def test_case_42_tunnels_are_kept_for_100_customers_at_once_and_the_log_is_json(certificate: Certificate) -> None:
    dms = Dms(keep=True, delay_seconds=0.5)
    with contextlib.ExitStack() as stack:
        proxy = Proxy(stack.enter_context(peer(dms.serve, tls=certificate.tls)))
        via = stack.enter_context(peer(proxy.serve))
        environment = {"HTTPS_PROXY": f"http://user:hidden@{via}", "REQUESTS_CA_BUNDLE": str(certificate.file)}
        settings = {"LOG_FORMAT": "json", "DMS_READ_TIMEOUT": "10", "DMS_CONNECT_TIMEOUT": "10"}
        server, client = stack.enter_context(lch(f"https://{NAME}/", **environment, **settings))
        second = stack.enter_context(PythonClient(server.url))
        tunnels = []
        for _ in range(3):
            numbers = [
                (each, each.emit("clientMessage", text_message(f"c{start + number}", "Hi")))
                for start, each in ((0, client), (50, second))
                for number in range(50)
            ]
            assert {each.ack(number)["status"] for each, number in numbers} == {"sent"}
            tunnels.append(proxy.tunnels)
        assert len(dms.requests) == 300
        # Those of the first round serve the others.
        assert tunnels[0] <= 100
        assert tunnels[2] <= 105
        for line in server.log.splitlines():
            json.loads(line)
        assert "hidden" not in server.log


def answering(data: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return serve


def keep_silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        pytest.param(answering(b"HTTP/1.1 407 Who\r\n\r\n"), "the proxy answered 407: it wants another user", id="407"),
        pytest.param(answering(b"HTTP/1.1 502 No\r\n\r\n"), "the proxy answered 502", id="502"),
        pytest.param(answering(b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"), "the proxy answered 503", id="503"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\n\r\nno TLS"), "no HTTP", id="200 with a body"),
        pytest.param(answering(b"SSH-2.0\r\n\r\n"), "no HTTP", id="no HTTP"),
        pytest.param(answering(b""), "no HTTP", id="closes"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), "", id="a head without end"),
        pytest.param(keep_silent, "no answer within the time allowed", id="keeps silent"),
    ],
)
def test_case_42_what_a_proxy_does_not_let_through_is_surely_not_sent(
    serve: Callable[[socket.socket], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer(serve) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hidden@{proxy}")
        with pytest.raises(DmsError) as caught:
            client_for(f"https://{NAME}/").post(b"{}")
    assert not caught.value.possibly_delivered
    assert words in caught.value.detail
    assert "hidden" not in caught.value.detail + str(caught.value)


def test_a_proxy_for_http_gets_the_whole_address_and_who_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    dms = Dms(keep=True)
    with peer(dms.serve) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@{proxy}")
        monkeypatch.setenv("http_proxy", f"http://user:pass@{proxy}")
        client = client_for(f"http://{NAME}:8080/messages")
        assert [client.post(b"{}").status for _ in range(2)] == [200, 200]
        client.close()
    assert dms.connections == 1
    for request in dms.requests:
        assert request.startswith(f"POST http://{NAME}:8080/messages HTTP/1.1\r\nHost: {NAME}:8080\r\n".encode())
        assert b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n" in request


def test_one_of_a_proxys_addresses_may_fail(names: Names, certificate: Certificate) -> None:
    dms = Dms()
    with contextlib.ExitStack() as stack:
        proxy = Proxy(stack.enter_context(peer(dms.serve, tls=certificate.tls)))
        port = int(stack.enter_context(peer(proxy.serve)).split(":")[1])
        stack.enter_context(swallowing("127.0.0.2", port))
        names.set("proxy.test", ["127.0.0.2", "127.0.0.1"])
        environment = {"HTTPS_PROXY": f"http://proxy.test:{port}", "REQUESTS_CA_BUNDLE": str(certificate.file)}
        _, client = stack.enter_context(lch(f"https://{NAME}/", names, **environment))
        outcome, seconds = say(client)
        assert outcome["status"] == "sent"
        assert seconds < 1.5


# The doctor


@pytest.mark.parametrize("tls", [False, True], ids=["case-21", "case-21 TLS hangs"])
def test_the_doctor_says_which_addresses_do_not_answer(
    tls: bool, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **options: Any) -> list[Any]:
        addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"] if host == NAME else [host]
        return [info for address in addresses for info in real(address, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(peer(Dms().serve, tls=certificate.tls if tls else None))
        port = int(address.split(":")[1])
        stack.enter_context((accepting if tls else swallowing)("127.0.0.2", port))
        url = f"{'https' if tls else 'http'}://{NAME}:{port}/"
        found = {each.check: each for each in examine_dms(url, timeout_seconds=1.0, token_ttl_seconds=300)}
    assert found["connection"].status == "warning"
    assert "127.0.0.2: no answer within the time allowed; 127.0.0.3: it refused the connection" in found["connection"].says
    assert "127.0.0.1" not in found["connection"].says
    assert found["certificate"].status == ("ok" if tls else "skipped")


# Answers

SAYS = "the connection is switched off"
CODED = {
    "gzip": gzip.compress(SAYS.encode()),
    "deflate": zlib.compress(SAYS.encode()),
    "br": b"\x8b\x0e\x80",
    "gzip, cut": gzip.compress(SAYS.encode())[:-12],
    "gzip, a bomb": gzip.compress(b"0" * 10_000_000),
}


@pytest.mark.parametrize("coding", CODED)
def test_an_answer_that_a_gateway_compressed_is_read_or_else_its_words_are_left_out(coding: str) -> None:
    body = CODED[coding]
    head = f"HTTP/1.1 403 Forbidden\r\nContent-Encoding: {coding.partition(',')[0]}\r\nContent-Length: {len(body)}\r\n\r\n"
    with peer(answering(head.encode() + body)) as address:
        client = client_for(f"http://{address}/")
        answer = client.post(b"{}")
        client.close()
    assert (answer.status, answer.text) == (403, SAYS if coding in ("gzip", "deflate") else "")
