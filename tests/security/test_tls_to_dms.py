"""Whom LCH takes for DMS: a chain and a name that are right, through whatever proxy the environment names."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lchook.core.tokens import Tokens
from lchook.dms.client import DmsAnswer, DmsClient, DmsError
from tests.support.clients import PythonClient
from tests.support.jwts import ISSUER, SECRET, read
from tests.support.peers import peer, read_request
from tests.support.servers import Server, free_port, gunicorn_command
from tests.support.tools import needs

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Authority:
    """A certificate authority of our own, made with the openssl command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "ca.pem"
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=CA of the tests",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                      "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip

    def issue(self, name: str, *, names: str, days: str = "10") -> tuple[Path, Path]:
        """Certificate and key of a server. `days` may be negative: over before it began."""
        (self._folder / "names").write_text(f"subjectAltName={names}\n")
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", days, "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
        return self._folder / f"{name}.pem", self._folder / f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run([needs("openssl"), *arguments], cwd=self._folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


class Dms:
    """Takes every post, and counts them."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def serve(self, connection: socket.socket) -> None:
        if request := read_request(connection):
            self.requests.append(request)
            connection.sendall(OK)


def tls_with(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    return tls


def post(url: str) -> DmsAnswer:
    """One post as LCH makes it, without LCH around it."""
    tokens = Tokens(issuer=ISSUER, secret=SECRET, clock=time.time)
    return DmsClient(url=url, tokens=tokens, token_ttl_seconds=30, connect_timeout_seconds=2, read_timeout_seconds=2).post(
        b"{}"
    )


@contextlib.contextmanager
def talking_to(url: str, **environment: str) -> Iterator[PythonClient]:
    """A client of a live LCH whose DMS is there."""
    settings = {"DMS_URL": url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, "STORE_URL": "memory:", "OUTBOX_TTL": "0"}
    port = free_port()
    with (
        Server(gunicorn_command(port), port, **{**settings, "DMS_CONNECT_TIMEOUT": "2", **environment}) as server,
        PythonClient(server.url) as client,
    ):
        yield client


def test_a_live_lch_believes_a_dms_as_long_as_chain_and_name_are_right(
    authority: Authority, customer: str, tmp_path: Path
) -> None:
    good = authority.issue("good", names="IP:127.0.0.1")
    bad = {
        "wrong name": authority.issue("wrong", names="DNS:dms.example.com,IP:127.0.0.2"),
        "expired": authority.issue("expired", names="IP:127.0.0.1", days="-1"),
        "unknown authority": Authority(tmp_path).issue("unknown", names="IP:127.0.0.1"),
    }
    dms = Dms()
    tls = tls_with(good)
    with (
        peer(dms.serve, tls=tls) as address,
        talking_to(f"https://{address}/", REQUESTS_CA_BUNDLE=str(authority.file)) as client,
    ):
        assert client.say(customer)["status"] == "sent"
        for kind, certificate in bad.items():
            tls.load_cert_chain(*certificate)
            acknowledgement = client.say(customer)
            assert acknowledgement["status"] == "failed", kind
            assert acknowledgement["dms_status"] is None
            assert "certificate" in acknowledgement["error"], kind
            assert len(dms.requests) == 1, kind
        tls.load_cert_chain(*good)
        assert client.say(customer)["status"] == "sent"
    assert len(dms.requests) == 2


def test_https_is_spoken_with_nobody_who_does_not() -> None:
    dms = Dms()
    with peer(dms.serve) as address, pytest.raises(DmsError):
        post(f"https://{address}/")
    assert not any(b"earer" in request for request in dms.requests)


def test_without_a_bundle_of_ones_own_only_public_authorities_count(authority: Authority) -> None:
    dms = Dms()
    with (
        peer(dms.serve, tls=tls_with(authority.issue("own", names="IP:127.0.0.1"))) as address,
        pytest.raises(DmsError, match="certificate") as caught,
    ):
        post(f"https://{address}/")
    assert not caught.value.possibly_delivered
    assert dms.requests == []


def test_a_proxy_for_https_only_sees_where_to_and_the_chain_is_still_verified(
    authority: Authority, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def connect(connection: socket.socket) -> None:
        """A proxy: CONNECT, and bytes there and back."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        asked.append(head)
        host, _, port = head.split()[1].decode().partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as upstream:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(upstream, connection))
            back.start()
            pump(connection, upstream)
            back.join(5)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    dms = Dms()
    good = authority.issue("good2", names="IP:127.0.0.1")
    tls = tls_with(good)
    with peer(connect) as proxy, peer(dms.serve, tls=tls) as address:
        environment = {"HTTPS_PROXY": f"http://user:pass@{proxy}", "REQUESTS_CA_BUNDLE": str(authority.file)}
        with talking_to(f"https://{address}/", **environment) as client:
            assert client.say(customer)["status"] == "sent"
            tls.load_cert_chain(*authority.issue("bad2", names="DNS:elsewhere.example.com"))
            assert "certificate" in client.say(customer)["error"]
        tls.load_cert_chain(*good)
        for name, value in {**environment, "NO_PROXY": "127.0.0.1"}.items():
            monkeypatch.setenv(name, value)
        assert post(f"https://{address}/").taken
    assert len(asked) == 2
    assert all(head.startswith(b"CONNECT 127.0.0.1:") for head in asked)
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in asked[0]
    assert b"Bearer" not in asked[0]
    # The proxy's password is the proxy's alone, and DMS's token DMS's.
    assert len(dms.requests) == 2
    for request in dms.requests:
        assert b"proxy-authorization" not in request.lower()
        bearer = request.lower().split(b"authorization: bearer ")[1].split(b"\r\n")[0]
        start = request.lower().index(bearer)
        read(request[start : start + len(bearer)].decode())


def test_a_proxy_that_is_not_there_fails_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(DmsError, match="proxy"):
        post("https://dms.example.com/")


def test_a_redirect_is_followed_neither_over_tls_nor_to_a_place_without(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    thief = Dms()

    def redirect(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(
            f"HTTP/1.1 307 Moved\r\nLocation: http://{target}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    tls = tls_with(authority.issue("moved", names="IP:127.0.0.1"))
    with peer(thief.serve) as target, peer(redirect, tls=tls) as address:
        answer = post(f"https://{address}/")
    assert (answer.status, answer.taken) == (307, False)
    assert thief.requests == []


def test_a_netrc_file_does_not_replace_the_token(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login thief password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    dms = Dms()
    with peer(dms.serve) as address:
        assert post(f"http://{address}/").taken
    assert b"Bearer" in dms.requests[0]
    assert b"Basic" not in dms.requests[0]
