"""deploy/nginx.conf before two instances of LCH on one Redis, all real: polling, WebSocket, webhooks, one instance lost."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
import requests
from requests.adapters import HTTPAdapter

from lchook.sandbox.dms import SandboxDms
from tests.deploy.nginx import Nginx
from tests.support.clients import NodeClient, PythonClient, text_message
from tests.support.hooks import QUICK
from tests.support.jwts import ISSUER, SECRET, mint
from tests.support.redis_server import RedisServer
from tests.support.servers import Server, free_port, gunicorn_command
from tests.support.waiting import wait_until

# Linux takes every 127.x.x.x for this machine: as many clients with addresses of their own as one likes.
ADDRESSES = [f"127.0.1.{number}" for number in range(1, 17)]


@dataclass
class Site:
    """Everything behind one address."""

    nginx: Nginx
    instances: list[Server]
    dms: SandboxDms

    def connected(self, address: str) -> list[int]:
        """How many clients have come to each instance from that address."""
        return [len(re.findall(rf"connected socket='\S+' address='{address}'", server.log)) for server in self.instances]


@contextmanager
def running_site() -> Iterator[Site]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        dms = stack.enter_context(SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False))
        usual = {"DMS_URL": dms.url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET}
        settings = {**QUICK, **usual, "STORE_URL": redis.url, "PROXY_HOPS": "1", "MAILBOX_SIZE": "10000"}
        ports = [free_port(), free_port()]
        instances = [stack.enter_context(Server(gunicorn_command(port), port, **settings)) for port in ports]
        nginx = stack.enter_context(Nginx(ports))
        dms.webhook_url = f"{nginx.url}/webhook"
        yield Site(nginx, instances, dms)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


@pytest.fixture
def short_lived_site() -> Iterator[Site]:
    """One that the test may break."""
    with running_site() as site:
        yield site


class _From(HTTPAdapter):
    """Connections from one of this machine's addresses."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: object, **options: object) -> None:  # type: ignore[override]
        super().init_poolmanager(*args, source_address=(self._address, 0), **options)  # type: ignore[arg-type]


def poll(url: str, address: str, *, rounds: int, **headers: str) -> None:
    """Connect by polling and send a few events, each in a request and a TCP connection of its own."""
    path = f"{url}/socket.io/?EIO=4&transport=polling"
    usual = {"Connection": "close", **headers}
    with requests.Session() as session:
        session.mount("http://", _From(address))
        opened = session.get(path, headers=usual, timeout=10)
        path += "&sid=" + json.loads(opened.text[1:])["sid"]
        for packet in ("40", *['42["serverMessage"]'] * rounds):
            posted = session.post(path, data=packet, headers=usual, timeout=10)
            polled = session.get(path, headers=usual, timeout=10)
            assert (posted.status_code, polled.status_code) == (200, 200), (address, posted.text, polled.text)
            assert polled.text.startswith(("40{", "42[")), polled.text


def test_the_real_client_polls_upgrades_and_talks_both_ways_through_nginx(site: Site, customer: str) -> None:
    with NodeClient(site.nginx.url) as client:
        assert client.transport == "websocket"
        assert client.say(customer)["status"] == "sent"
        assert [post["customer_id"] for post in site.dms.accepted].count(customer) == 1
        assert site.dms.send(customer, "text", text=["Hi"]).status_code == 200
        assert client.wait_for_messages(1)[0]["text"] == ["Hi"]
    assert " 101 " in site.nginx.requests


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_webhooks_reach_the_customer_in_order_whichever_instance_takes_them(
    site: Site, customer: str, transport: str
) -> None:
    with NodeClient(site.nginx.url, transports=[transport]) as client:
        client.say(customer)
        for number in range(12):
            assert site.dms.send(customer, "text", text=[str(number)]).status_code == 200
        assert [message["text"] for message in client.wait_for_messages(12)] == [[str(number)] for number in range(12)]
    assert all("received from DMS" in server.log for server in site.instances), "one instance took all webhooks"


def test_a_polling_client_stays_with_the_instance_that_has_its_session(site: Site) -> None:
    for address in ADDRESSES * 2:
        poll(site.nginx.url, address, rounds=3)

    counts = {address: site.connected(address) for address in ADDRESSES}
    assert all(sorted(count) == [0, 2] for count in counts.values()), counts
    shares = [sum(bool(count[number]) for count in counts.values()) for number in (0, 1)]
    assert min(shares) >= 2, f"the clients are not shared out: {shares}"


def test_lch_sees_the_address_of_the_client_and_not_what_the_client_says(site: Site) -> None:
    poll(site.nginx.url, "127.0.2.7", rounds=0, **{"X-Forwarded-For": "203.0.113.9"})

    assert sum(site.connected("127.0.2.7")) == 1
    assert not any("203.0.113.9" in server.log for server in site.instances)


def test_when_an_instance_stops_webhooks_and_clients_go_to_the_other(short_lived_site: Site, customer: str) -> None:
    site = short_lived_site
    site.instances[0].stop()

    # The first requests still try the instance that is gone.
    for number in range(6):
        assert site.dms.send(customer, "text", text=[str(number)]).status_code == 200
    for address in ADDRESSES:
        poll(site.nginx.url, address, rounds=1)
    with PythonClient(site.nginx.url) as client:
        client.say(customer)
        assert len(client.wait_for_messages(6)) == 6


def test_webhooks_are_kept_while_an_instance_stops_whichever_takes_them(short_lived_site: Site, customer: str) -> None:
    site = short_lived_site
    site.dms.faults.set(dms="hang", delay_seconds=5)
    # Node's client, because the one in Python has a thread for each event that comes: it may note them in another order.
    with PythonClient(site.instances[0].url) as first, NodeClient(site.instances[1].url) as second:
        # A message under way keeps the first instance from ending at once.
        first.emit("clientMessage", text_message("somebody"))
        site.dms.wait_for_posts(1)
        stopping = threading.Thread(target=site.instances[0].stop)
        stopping.start()
        statuses = []
        while stopping.is_alive() or not statuses:
            statuses.append(site.dms.send(customer, "text", text=[str(len(statuses))]).status_code)
        stopping.join()
        assert set(statuses) == {200}
        second.emit("clientMessage", text_message(customer))
        numbers = [message["text"] for message in second.wait_for_messages(len(statuses))]
        assert numbers == [[str(number)] for number in range(len(statuses))]


def test_what_is_too_large_is_refused_by_lch_in_words_and_by_nginx_before_it_fills_anything(site: Site) -> None:
    def post(size: int) -> requests.Response:
        headers = {"Authorization": f"Bearer {mint()}", "Content-Type": "application/json"}
        return requests.post(f"{site.nginx.url}/webhook", data=b'"' + b"x" * size + b'"', headers=headers, timeout=10)

    assert (post(1_000_100).status_code, post(1_000_100).json().keys()) == (413, {"error"})
    refused = post(3_000_000)
    assert refused.status_code == 413
    assert "nginx" in refused.text


def test_the_forged_webhook_is_refused_through_nginx_too(site: Site, customer: str) -> None:
    forged = requests.post(f"{site.nginx.url}/webhook", json={"customer_id": customer, "type": "text"}, timeout=10)
    assert (forged.status_code, forged.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_only_health_is_told_to_the_world(site: Site) -> None:
    statuses = {
        path: requests.get(f"{site.nginx.url}{path}", timeout=10).status_code for path in ("/healthz", "/readyz", "/metrics")
    }
    assert statuses == {"/healthz": 200, "/readyz": 404, "/metrics": 404}


def test_session_ids_are_not_in_the_access_log(site: Site) -> None:
    poll(site.nginx.url, "127.0.2.8", rounds=1)

    wait_until(lambda: "GET /socket.io/ 200" in site.nginx.requests, lambda: site.nginx.requests)
    assert "sid=" not in site.nginx.requests
