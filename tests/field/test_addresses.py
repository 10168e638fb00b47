"""Cases 27, 30, 32 and 41: addresses and origins as proxies, containers, platforms and app shells write them."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
import requests

from config import SettingsError, load
from lchook.core.addresses import canonical, client_address, is_public, network
from tests.live.test_origins import polling, websocket_opens
from tests.security.test_visitors_without_a_name import id_at_dms
from tests.support.clients import PythonClient
from tests.support.hooks import Hook, running_hook
from tests.support.servers import Server, environment, free_port, gunicorn_command
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

# Case 27: what is written → what it is; None: nobody's address.
WRITTEN = {
    "203.0.113.7": "203.0.113.7",
    "203.0.113.7:50001": "203.0.113.7",
    " 203.0.113.7 ": "203.0.113.7",
    '"203.0.113.7:443"': "203.0.113.7",
    "2001:db8::1": "2001:db8::1",
    "[2001:db8::1]": "2001:db8::1",
    "[2001:db8::1]:443": "2001:db8::1",
    '"[2001:db8::1]:443"': "2001:db8::1",
    "2001:DB8:0:0:0:0:0:1": "2001:db8::1",
    "2001:0db8::0001": "2001:db8::1",
    "::ffff:203.0.113.7": "203.0.113.7",
    "::FFFF:cb00:7107": "203.0.113.7",
    "[::ffff:203.0.113.7]:50001": "203.0.113.7",
    "fe80::1%eth0": "fe80::1",
    "[fe80::1%25eth0]:80": "fe80::1",
    "::1": "::1",
    "": None,
    "unknown": None,
    "_hidden": None,
    "_SEVKISEK": None,
    "localhost": None,
    "203.0.113": None,
    "203.0.113.300": None,
    "203.0.113.7:port": None,
    "[203.0.113.7": None,
    "for=203.0.113.7": None,
    "2001:db8::1]:443": None,
    "<script>": None,
    "1" * 5000: None,
    "٢٠٣.0.113.7": None,
}


@pytest.mark.parametrize("written", WRITTEN, ids=lambda text: text[:30] or "nothing")
def test_27_an_address_is_one_however_it_is_written(written: str) -> None:
    assert canonical(written) == WRITTEN[written]
    fallen_back = client_address("::ffff:10.0.0.1", written, 1)
    assert fallen_back == (WRITTEN[written] or "10.0.0.1")


@pytest.mark.parametrize(
    ("header", "hops", "address"),
    [
        ("6.6.6.6, 203.0.113.7:1", 0, "10.0.0.1"),
        ("6.6.6.6, 203.0.113.7:1", 1, "203.0.113.7"),
        ("6.6.6.6,203.0.113.7,10.0.0.9", 2, "203.0.113.7"),
        ("203.0.113.7", 2, "203.0.113.7"),
        ("203.0.113.7, 10.0.0.9", 5, "203.0.113.7"),
        ("203.0.113.7, unknown", 1, "10.0.0.1"),
        ("203.0.113.7,", 1, "10.0.0.1"),
        (",,,", 2, "10.0.0.1"),
    ],
)
def test_27_the_entry_that_counts(header: str, hops: int, address: str) -> None:
    assert client_address("10.0.0.1", header, hops) == address


def test_27_an_ipv6_client_has_a_network_and_changes_its_address_in_it() -> None:
    assert network("2001:db8:1:2:3:4:5:6") == network("2001:db8:1:2:aaaa::1") != network("2001:db8:1:3::1")
    assert network("203.0.113.7") != network("203.0.113.8")
    assert network("") == ""
    assert network("rubbish:") == "rubbish:"


@pytest.fixture(scope="module")
def proxied() -> Iterator[Hook]:
    """LCH behind one proxy, with a rate that is soon reached."""
    with running_hook(gunicorn_command, PROXY_HOPS="1", CONNECTION_RATE="0.5") as hook:
        yield hook


def visitor(hook: Hook, forwarded_for: str | None, **auth: object) -> PythonClient:
    headers = {"User-Agent": "one browser", **({} if forwarded_for is None else {"X-Forwarded-For": forwarded_for})}
    return hook.connect(headers=headers, auth=auth or None)


def test_27_ports_make_no_other_visitor(proxied: Hook) -> None:
    ids = set()
    for port in (50001, 50002, 50003):
        with visitor(proxied, f"203.0.113.7:{port}") as client:
            ids.add(id_at_dms(proxied, client))
    assert len(ids) == 1
    assert "address='203.0.113.7'" in proxied.server.log
    assert ":50001" not in proxied.server.log


@pytest.mark.parametrize(
    "client",
    ["203.0.113.8:{number}", "[2001:db8:8::{number}]:{number}", "::ffff:203.0.113.9"],
    ids=["IPv4 with ports", "IPv6 of one network", "IPv4 in IPv6"],
)
def test_27_rates_count_the_client_and_not_how_it_is_written(proxied: Hook, client: str) -> None:
    def refused(number: int) -> bool:
        address = client.format(number=number)
        answer = requests.get(
            f"{proxied.url}/socket.io/?EIO=4&transport=polling", headers={"X-Forwarded-For": address}, timeout=5
        )
        return "too many connections" in answer.text

    assert any(refused(number) for number in range(1, 40))
    other = requests.get(
        f"{proxied.url}/socket.io/?EIO=4&transport=polling", headers={"X-Forwarded-For": "203.0.113.99"}, timeout=5
    )
    assert other.status_code == 200


# Case 32


@pytest.mark.parametrize(
    "address",
    [
        "172.17.0.1",
        "10.1.2.3",
        "192.168.65.1",
        "169.254.1.1",
        "100.64.0.1",
        "127.0.0.1",
        "::1",
        "fd00::1",
        "fe80::1",
        "unknown",
    ],
)
def test_32_strangers_behind_a_gateway_share_nothing(address: str) -> None:
    with running_hook(gunicorn_command, PROXY_HOPS="1") as hook:
        with visitor(hook, address) as one, visitor(hook, address) as two:
            ids = [id_at_dms(hook, one), id_at_dms(hook, two)]
            assert ids[0] != ids[1]
            # Each goes on under the id that it has.
            assert id_at_dms(hook, one) == ids[0]
            hook.webhook(ids[0], "for the first only")
            assert one.wait_for_messages(1)[0]["text"] == ["for the first only"]
            two.settle()
            assert two.messages == []
        assert hook.server.log.count("an address that could be anybody's") == 1


def test_32_a_session_is_who_one_is_behind_a_gateway_too(usual_hook: Hook) -> None:
    ids = []
    for session in ("one", "two", "one"):
        with visitor(usual_hook, "172.17.0.1", session=session) as client:
            ids.append(id_at_dms(usual_hook, client))
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7"])
def test_32_public_addresses_tell_visitors_apart(usual_hook: Hook, address: str) -> None:
    assert is_public(address)
    ids = []
    for number in range(3):
        with visitor(usual_hook, address) as client:
            ids.append(id_at_dms(usual_hook, client))
        assert number < 0 or ids[-1] == ids[0]


@pytest.fixture(scope="module")
def usual_hook() -> Iterator[Hook]:
    with running_hook(gunicorn_command, PROXY_HOPS="1") as hook:
        yield hook


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({}, True),
        ({"Origin": "http://localhost:3000"}, True),
        ({"X-Forwarded-For": "203.0.113.7"}, False),
        ({"Forwarded": "for=203.0.113.7"}, False),
        ({"X-Real-IP": "203.0.113.7"}, False),
        ({"Via": "1.1 proxy"}, False),
        ({"Host": "chat.example.com"}, False),
        ({"Origin": "https://chat.example.com"}, False),
        ({"Referer": "https://chat.example.com/page"}, False),
    ],
    ids=str,
)
def test_32_on_ones_own_machine_a_browser_is_known_again_and_not_behind_a_proxy_there(
    local_hook: Hook, headers: dict[str, str], same: bool
) -> None:
    ids = set()
    for _ in range(2):
        with local_hook.connect(headers={"User-Agent": "one browser", **headers}) as client:
            ids.add(id_at_dms(local_hook, client))
    assert (len(ids) == 1) is same


@pytest.fixture(scope="module")
def local_hook() -> Iterator[Hook]:
    with running_hook(gunicorn_command, ALLOWED_ORIGIN="*") as hook:
        yield hook


# Case 30

REQUIRED = {"DMS_URL": "https://dms.example.com/in", "JWT_ISSUER": "conn-1", "JWT_SECRET": "s" * 32}

# What somebody writes → what their pages send.
ORIGINS = {
    "https://a.example": "https://a.example",
    "https://a.example/": "https://a.example",
    "HTTPS://A.Example:443": "https://a.example",
    "https://a.example:8443": "https://a.example:8443",
    "http://a.example:80": "http://a.example",
    "capacitor://localhost": "capacitor://localhost",
    "ionic://localhost": "ionic://localhost",
    "tauri://localhost": "tauri://localhost",
    "http://tauri.localhost": "http://tauri.localhost",
    "http://localhost:8100": "http://localhost:8100",
    "app://.": "app://.",
    "app://my-app": "app://my-app",
    "chrome-extension://abcdefghijklmnop": "chrome-extension://abcdefghijklmnop",
    "moz-extension://0e8a6a4e-6c5a-4f3c-9d1c-0c7f0a0b1c2d": "moz-extension://0e8a6a4e-6c5a-4f3c-9d1c-0c7f0a0b1c2d",
    "http://[::1]:3000": "http://[::1]:3000",
    "http://[0:0:0:0:0:0:0:1]": "http://[::1]",
    "https://münchen.example": "https://xn--mnchen-3ya.example",
    "https://MÜNCHEN.example/": "https://xn--mnchen-3ya.example",
    "file://": "null",
    "file:///": "file://",
    "null": "null",
}


def test_30_each_kind_of_origin_is_taken_beside_others_and_its_pages_are_let_in() -> None:
    allowed = ",".join(ORIGINS)
    with running_hook(gunicorn_command, ALLOWED_ORIGIN=f"https://first.example, {allowed}") as hook:
        for sent in ORIGINS.values():
            answer = polling(hook, sent)
            assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (200, sent)
        for sent in ("capacitor://localhost", "null", "http://[::1]:3000", "app://."):
            assert websocket_opens(hook, sent), sent
        for foreign in ("capacitor://other", "ionic://", "https://b.example", "http://[::1]:3001", "https://localhost"):
            assert polling(hook, foreign).status_code == 400
            assert not websocket_opens(hook, foreign)
        assert "ALLOWED_ORIGIN lets in pages from files" in hook.server.log


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://a.example, https://*.example.com", "number 2 of these has a *"),
        ("https://a.example,*", "number 2 of these has a *"),
        ("a.example", "this one has no scheme"),
        ("https://a.example, localhost:3000,https://b.example", "number 2 of these has no scheme"),
        ("https://a.example/chat", "this one has a path"),
        ("https://a.example?x", "this one has a path"),
        ("capacitor://localhost/index.html", "this one has a path"),
        ("https://user@a.example", "this one has a user's name"),
        ("https://a.example:99999", "this one has a port that is none"),
        ("https://a.example:0", "this one has a port that is none"),
        ("https://a.example:port", "this one is none"),
        ("https://", "this one is none"),
        ("http://[::1", "this one is none"),
        ("http://[:::1]", "this one is none"),
        ("https://a b.example", "this one is none"),
        ('"https://a.example"', "without the quotation marks around it"),
    ],
)
def test_30_what_is_no_origin_is_named_precisely(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({**REQUIRED, "ALLOWED_ORIGIN": text}, dotenv=None)
    assert says in caught.value.problems["ALLOWED_ORIGIN"]
    assert "example.com" not in caught.value.problems["ALLOWED_ORIGIN"].replace("https://chat.example.com", "")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Origin": "https://chat.example", "Host": "chat.example", "X-Forwarded-Proto": "https"}, True),
        ({"Origin": "https://chat.example", "Host": "chat.example:443", "X-Forwarded-Proto": "https"}, True),
        ({"Origin": "https://chat.example", "Host": "Chat.Example", "X-Forwarded-Proto": "HTTPS, http"}, True),
        (
            {"Origin": "https://chat.example:8443", "X-Forwarded-Host": "chat.example:8443", "X-Forwarded-Proto": "https"},
            True,
        ),
        (
            {
                "Origin": "https://chat.example:8443",
                "X-Forwarded-Host": "chat.example",
                "X-Forwarded-Port": "8443",
                "X-Forwarded-Proto": "https",
            },
            True,
        ),
        ({"Origin": "https://chat.example", "X-Forwarded-Host": "chat.example:443", "X-Forwarded-Proto": "https"}, True),
        ({"Origin": "http://chat.example", "Host": "chat.example:80"}, True),
        ({"Origin": "http://[::1]:7000", "Host": "[::1]:7000"}, True),
        ({"Origin": "https://evil.example", "Host": "chat.example", "X-Forwarded-Proto": "https"}, False),
        ({"Origin": "https://chat.example:8443", "Host": "chat.example", "X-Forwarded-Proto": "https"}, False),
        ({"Origin": "null", "Host": "chat.example"}, False),
    ],
    ids=str,
)
def test_27_the_hooks_own_pages_are_known_by_whatever_port_is_written(
    proxied: Hook, headers: dict[str, str], allowed: bool
) -> None:
    client = {"X-Forwarded-For": f"9.9.{abs(hash(str(headers))) % 256}.1"}
    answer = requests.get(f"{proxied.url}/socket.io/?EIO=4&transport=polling", headers={**client, **headers}, timeout=5)
    assert answer.status_code == (200 if allowed else 400)


# Case 41

without_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")


@pytest.fixture(scope="module")
def on_all_addresses() -> Iterator[Server]:
    """`gunicorn wsgi:app` with PORT, as platforms start it."""
    port = free_port()
    with Server([sys.executable, "-m", "gunicorn", "wsgi:app"], port, STORE_URL="memory:", **REQUIRED) as server:
        yield server


@without_ipv6
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_41_it_answers_on_all_addresses_of_both_kinds(on_all_addresses: Server, host: str) -> None:
    port = int(on_all_addresses.url.rpartition(":")[2])
    connection = HTTPConnection(host, port, timeout=5)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b'{"status":"alive"}\n'
    connection.close()
    written = f"[{host}]" if ":" in host else host
    with PythonClient(f"http://{written}:{port}") as client:
        assert client.is_connected
    wait_until(lambda: f"address='{host}'" in on_all_addresses.log, lambda: on_all_addresses.log)
    assert "::ffff:" not in on_all_addresses.log


@without_ipv6
def test_41_the_doctor_knows_who_is_on_the_port_by_either_kind(on_all_addresses: Server) -> None:
    port = on_all_addresses.url.rpartition(":")[2]
    assert "✓ port: LCH runs here" in doctor(port)

    other = free_port()
    with socket.socket(socket.AF_INET6) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::", other))
        taken.listen()
        assert f"✗ port: port {other} is taken by another program" in doctor(str(other))
    assert f"port {other} is free" in doctor(str(other))


def doctor(port: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "doctor"],
        cwd=ROOT,
        env=environment(
            PORT=port, STORE_URL="memory:", DMS_CONNECT_TIMEOUT="1", **{**REQUIRED, "DMS_URL": "http://127.0.0.1:9/"}
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout


def test_41_without_ipv6_it_listens_by_ipv4() -> None:
    """A kernel without IPv6 is stood in for by a socket module that refuses it."""
    code = (
        "import socket, sys; real = socket.socket\n"
        "class Refusing(real):\n"
        "    def __init__(self, family=-1, *more, **named):\n"
        "        if family == socket.AF_INET6: raise OSError(97, 'Address family not supported by protocol')\n"
        "        super().__init__(family, *more, **named)\n"
        "socket.socket = Refusing\n"
        "from lchook.binds import all_addresses, this_machine; print(all_addresses(5600), this_machine(5600))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert re.search(r"^\[\('0\.0\.0\.0', 5600\)\] \[\('127\.0\.0\.1', 5600\)\]$", ended.stdout, re.MULTILINE)
