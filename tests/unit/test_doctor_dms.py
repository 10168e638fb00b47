"""The doctor's checks of DMS: name, connection, certificate, clock, proxies; against real sockets and certificates."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from lchook.doctor.dms import compared_clocks, examine_dms
from lchook.doctor.findings import Finding, as_json
from lchook.sandbox.dms import SandboxDms
from tests.support.certificates import self_signed
from tests.support.http_answers import answering, dated, read_to_the_end
from tests.support.peers import peer
from tests.support.servers import free_port


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def dms_findings(url: str) -> dict[str, Finding]:
    return {found.check: found for found in examine_dms(url, timeout_seconds=2.0, token_ttl_seconds=30)}


# --- DMS ---


def test_a_dms_that_is_there_passes_all_checks(dms: SandboxDms) -> None:
    found = dms_findings(dms.url)

    assert {name: each.status for name, each in found.items()} == {
        "proxy": "ok",
        "name": "ok",
        "connection": "ok",
        "certificate": "skipped",
        "clock": "ok",
    }
    assert [post.method for post in dms.received] == ["HEAD"]
    assert "Authorization" not in dms.received[0].headers


def test_a_refused_connection_is_said_and_the_rest_is_skipped() -> None:
    found = dms_findings(f"https://127.0.0.1:{free_port()}/")

    assert found["connection"].status == "problem"
    assert "refused" in found["connection"].says
    assert (found["certificate"].status, found["clock"].status) == ("skipped", "skipped")


def test_a_name_that_does_not_resolve_is_said() -> None:
    found = dms_findings("https://dms.invalid/")
    assert found["name"].status == "problem"
    assert "dms.invalid, does not resolve" in found["name"].says


def test_a_dms_that_accepts_and_never_speaks_does_not_hold_up_the_doctor() -> None:
    started = time.monotonic()
    with peer(read_to_the_end) as address:
        found = {each.check: each for each in examine_dms(f"https://{address}/", timeout_seconds=0.3, token_ttl_seconds=30)}
    assert found["certificate"].status == "problem"
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("ahead", "status", "words"),
    [
        (0.0, "ok", "agree"),
        (4.0, "ok", "agree"),
        (12.0, "warning", "12 s behind"),
        (-12.0, "warning", "12 s ahead"),
        (31.0, "problem", "31 s behind"),
        (-31.0, "warning", "31 s ahead"),
        (-301.0, "problem", "5.0 minutes ahead"),
        (600.0, "problem", "10.0 minutes behind"),
        (-90_000.0, "problem", "25.0 hours ahead"),
    ],
)
def test_how_far_the_clocks_are_apart_is_said_and_what_it_breaks(ahead: float, status: str, words: str) -> None:
    found = compared_clocks(ahead, token_ttl_seconds=30)
    assert found.status == status
    assert words in found.says
    assert ("401" in found.advice) is (status == "problem")


@pytest.mark.parametrize(("offset", "words"), [(0, "agree"), (600, "10.0 minutes behind"), (-600, "10.0 minutes ahead")])
def test_the_clock_is_compared_with_dms_s_date(offset: float, words: str) -> None:
    with peer(dated(offset)) as address:
        assert words in dms_findings(f"http://{address}/")["clock"].says


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nDate: today\r\n\r\n", b"no\r\n\r\n"]
)
def test_without_a_date_the_clocks_are_not_compared(head: bytes) -> None:
    with peer(answering(head)) as address:
        assert dms_findings(f"http://{address}/")["clock"].status == "warning"


# --- certificates ---


def test_a_good_certificate_says_who_issued_it_and_for_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path, days=90)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
    with peer(dated(), tls=certificate.tls) as address:
        found = dms_findings(f"https://{address}/")
    assert (found["certificate"].status, found["clock"].status) == ("ok", "ok")
    assert "another 90.0 days, issued by 'Tests of LCH'" in found["certificate"].says


def test_one_that_ends_soon_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path, days=5)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
    with peer(dated(), tls=certificate.tls) as address:
        found = dms_findings(f"https://{address}/")["certificate"]
    assert found.status == "warning"
    assert "another 5.0 days" in found.says


def test_a_self_signed_one_is_a_problem_and_says_what_it_is(tmp_path: Path) -> None:
    with peer(dated(-600), tls=self_signed(tmp_path).tls) as address:
        found = dms_findings(f"https://{address}/")
    assert found["certificate"].status == "problem"
    for words in ("self-signed", "127.0.0.1, localhost", "Tests of LCH", "valid from"):
        assert words in found["certificate"].says
    assert "REQUESTS_CA_BUNDLE" in found["certificate"].advice
    # A clock that is wrong may be why a certificate does not pass: it is compared all the same.
    assert "10.0 minutes ahead" in found["clock"].says


def test_one_for_another_name_is_a_problem_and_names_those_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path, names="DNS:other.example.com")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
    with peer(dated(), tls=certificate.tls) as address:
        port = address.split(":")[1]
        by_name = dms_findings(f"https://localhost:{port}/")["certificate"]
        by_number = dms_findings(f"https://{address}/")["certificate"]
    assert "for another name" in by_name.says
    assert "for another address" in by_number.says
    for found in (by_name, by_number):
        assert found.status == "problem"
        assert "other.example.com" in found.says
        assert "DMS_URL" in found.advice


@pytest.mark.parametrize(
    ("valid", "words"),
    [
        (("20200101000000Z", "20200111000000Z"), "has expired"),
        (("20900101000000Z", "20900111000000Z"), "not valid yet"),
    ],
)
def test_one_out_of_its_time_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valid: tuple[str, str], words: str
) -> None:
    certificate = self_signed(tmp_path, valid=valid)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
    with peer(dated(), tls=certificate.tls) as address:
        found = dms_findings(f"https://{address}/")["certificate"]
    assert found.status == "problem"
    assert words in found.says
    assert valid[1][:4] in found.says


def test_a_port_without_tls_is_said(dms: SandboxDms) -> None:
    found = dms_findings(dms.url.replace("http:", "https:"))["certificate"]
    assert found.status == "problem"
    assert "no TLS" in found.says


# --- proxies ---


def tunnel_to(target: tuple[str, int], seen: list[bytes]) -> Callable[[socket.socket], None]:
    """A proxy that lets CONNECT through, whatever address is asked for."""

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        seen.append(head)
        with socket.create_connection(target) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join(5)

    return serve


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_a_proxy_is_honoured_and_its_password_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path, names="DNS:dms.invalid")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
    seen: list[bytes] = []
    with peer(dated(), tls=certificate.tls) as dms_address:
        host, port = dms_address.split(":")
        with peer(tunnel_to((host, int(port)), seen)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:hidden@{proxy}")
            # A name that only the proxy knows.
            found = dms_findings("https://dms.invalid/")

    assert {name: each.status for name, each in found.items()} == dict.fromkeys(found, "ok")
    assert proxy in found["proxy"].says
    assert "hidden" not in as_json([*found.values()])
    assert all(head.startswith(b"CONNECT dms.invalid:443 ") for head in seen)
    assert all(b"Proxy-Authorization: Basic dXNlcjpoaWRkZW4=" in head for head in seen)


def test_a_proxy_that_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with peer(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
        found = dms_findings("https://dms.invalid/")["connection"]
    assert found.status == "problem"
    assert "407" in found.says
