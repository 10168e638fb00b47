"""Several connections to Pega in one hook: what belongs to one never reaches another, SIGHUP changes only what changed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.identity_provider import IdentityProvider
from tests.chaos.instance import Running
from tests.security.test_customer_tokens import refusal
from tests.support.clients import PythonClient
from tests.support.hooks import QUICK
from tests.support.jwts import mint
from tests.support.raw_socket_io import RawWebSocket
from tests.support.servers import free_port, gunicorn_command
from tests.support.waiting import wait_until

ORIGINS = {"north": "https://north.example", "south": "https://south.example"}


class Channels:
    """A hook with a DMS for each of its connections."""

    def __init__(self, folder: Path, server: Running, each: dict[str, SandboxDms]) -> None:
        self.file = folder / "connections.toml"
        self.server = server
        self.each = each

    def connect(self, name: str | None = None, *, origin: str | None = None, **auth: Any) -> PythonClient:
        named = {} if name is None else {"connection": name}
        headers = {} if origin is None else {"Origin": origin}
        return PythonClient(self.server.url, transports=("websocket",), auth={**named, **auth}, headers=headers)

    def write(self, *entries: str) -> None:
        self.file.write_text("".join(entries), encoding="utf-8")

    def reload(self, *entries: str, says: str) -> None:
        """Change the file, send SIGHUP, and wait for what the log says of it."""
        before = self.server.log.count(says)
        self.write(*entries)
        os.kill(self.server.pid, signal.SIGHUP)
        wait_until(lambda: self.server.log.count(says) > before, lambda: f"{says}:\n{self.server.log[-2000:]}")


def entry(name: str, dms: SandboxDms, **more: str) -> str:
    keys = {
        "name": name,
        "dms_url": dms.url,
        "jwt_issuer": f"connection-{name}",
        "jwt_secret": secret_of(name),
        "allowed_origin": ORIGINS.get(name, ""),
        **more,
    }
    return "[[connection]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def secret_of(name: str) -> str:
    return f"the secret of {name}, which is longer than 32 bytes"


@contextlib.contextmanager
def running(folder: Path, **settings: str) -> Iterator[Channels]:
    with contextlib.ExitStack() as stack:
        each = {
            name: stack.enter_context(
                SandboxDms(issuer=f"connection-{name}", secret=secret_of(name), scripted=False, webhook_url=None)
            )
            for name in ORIGINS
        }
        file = folder / "connections.toml"
        file.write_text("".join(entry(name, dms) for name, dms in each.items()))
        port = free_port()
        server = Running(gunicorn_command(port), port, **{**QUICK, "CONNECTIONS": str(file), **settings})
        stack.enter_context(server)
        for dms in each.values():
            dms.webhook_url = f"{server.url}/webhook"
        yield Channels(folder, server, each)


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channels]:
    folder = tmp_path_factory.mktemp("channels")
    kept = {"STORE_URL": f"sqlite://{folder}/lch.sqlite3", "CONVERSATION_TTL": "60", "CONVERSATION_UNPROVEN": "on"}
    with running(folder, **kept, CONSOLE_TOKEN="of the operators only") as both:
        yield both


def test_customers_with_equal_ids_are_two_and_hear_only_their_own(channels: Channels, customer: str) -> None:
    with channels.connect("north") as north, channels.connect("south") as south:
        for name, client in (("north", north), ("south", south)):
            assert client.say(customer, f"from {name}", message_id=1)["status"] == "sent"
        for name, dms in channels.each.items():
            said = [post.body["text"] for post in dms.received if post.body.get("customer_id") == customer]
            assert said == [[f"from {name}"]]
            # The same message_id and the same words are no repeat across connections.
            assert dms.send(customer, "text", text=["hello"], message_id="m1").status_code == 200
        for client in (north, south):
            client.wait_for_messages(1)
        assert channels.each["south"].send(customer, "text", text=["to south"]).status_code == 200
        south.wait_for_messages(2)
        north.settle()
        assert [message["text"] for message in north.messages] == [["hello"]]


def test_what_waits_for_one_is_fetched_by_the_one(channels: Channels, customer: str) -> None:
    assert channels.each["south"].send(customer, "text", text=["kept"]).status_code == 200
    with channels.connect("north", customer_id=customer) as north:
        north.settle()
        assert north.messages == []
    with channels.connect("south", customer_id=customer) as south:
        assert south.wait_for_messages(1)[0]["text"] == ["kept"]
    assert sorted(path.name for path in channels.file.parent.glob("*.sqlite3")) == ["lch@north.sqlite3", "lch@south.sqlite3"]


def test_a_conversation_is_one_brands(channels: Channels, customer: str) -> None:
    with channels.connect("north") as north, channels.connect("south") as south:
        north.say(customer, "a secret of north")
        south.say(customer, "a secret of south")
    for name, other in (("north", "south"), ("south", "north")):
        auth = {"connection": name, "customer_id": customer, "conversation": {}}
        with RawWebSocket(channels.server.url, auth=auth) as page:
            said = page.receive()
            assert '["conversation",' in said
            assert f"a secret of {name}" in said
            assert other not in said


def test_an_origin_leads_to_its_connection_and_to_no_other(channels: Channels, customer: str) -> None:
    with channels.connect(origin=ORIGINS["south"]) as client:
        client.say(customer)
    assert [post for post in channels.each["south"].received if post.body.get("customer_id") == customer]
    with channels.connect(origin=ORIGINS["south"], name="south") as client:
        assert client.say(customer)["status"] == "sent"
    # Without an origin, and without a name: the first.
    with channels.connect() as client:
        client.say(f"{customer}-2")
    assert [post for post in channels.each["north"].received if post.body.get("customer_id") == f"{customer}-2"]
    assert "no connection of that name" in refusal(channels.server.url, {"connection": "nowhere"})
    assert "no connection of that name" in refusal(channels.server.url, {"connection": ["north"]})


def test_a_page_cannot_join_again_under_another_name(channels: Channels) -> None:
    with RawWebSocket(channels.server.url, connect=False, headers={"Origin": ORIGINS["south"]}) as page:
        for _ in range(2):
            page.send('40{"connection":"north"}')
            assert "pages of this origin may not use" in page.receive()
            page.send('40{"connection":"south"}')
            assert page.receive().startswith("40{")
            page.send("41")


def test_a_webhook_is_the_connections_whose_secret_signed_it(channels: Channels, customer: str) -> None:
    url = f"{channels.server.url}/webhook"
    body = {"type": "text", "customer_id": customer, "text": ["x"], "message_id": "1"}

    def post(token: str | None) -> int:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.post(url, json=body, headers=headers, timeout=10).status_code

    assert post(mint(iss="connection-south", secret=secret_of("south"))) == 200
    for wrong in (
        mint(iss="connection-south", secret=secret_of("north")),
        mint(iss="connection-north", secret=secret_of("south")),
        mint(iss="connection-nowhere", secret=secret_of("south")),
        mint(iss="connection-south", secret=secret_of("south"), algorithm="none"),
        "rubbish",
        None,
    ):
        assert post(wrong) == 401
    with channels.connect("north", customer_id=customer) as north:
        north.settle()
        assert north.messages == []


def test_figures_and_lines_say_whose_they_are(channels: Channels, customer: str) -> None:
    with channels.connect("south") as client:
        client.say(customer)
        channels.each["south"].send(customer, "text", text=["x"])
        client.wait_for_messages(1)
        figures = requests.get(f"{channels.server.url}/metrics", timeout=10).text
        assert 'lch_connections{connection="south"} 1.0' in figures
        assert 'lch_connections{connection="north"} 0.0' in figures
        assert 'lch_messages_to_dms_total{connection="south",outcome="sent",type="text"}' in figures
        assert 'lch_dms_seconds_bucket{connection="south",le="0.005"}' in figures
        assert "lch_misdirected_posts_total 0.0" in figures

    def lines_of_customer() -> list[str]:
        return [line for line in channels.server.log.splitlines() if f"customer='{customer}'" in line]

    wait_until(lambda: any(" acknowledged " in line for line in lines_of_customer()), lines_of_customer)
    lines = lines_of_customer()
    assert len(lines) >= 5
    assert all("connection='south'" in line for line in lines), lines
    assert requests.get(f"{channels.server.url}/readyz", timeout=10).status_code == 200


def test_sighup_changes_what_changed_and_closes_nobody_else(channels: Channels, customer: str) -> None:
    north, south = channels.each["north"], channels.each["south"]
    process = channels.server.worker_pid
    with channels.connect("north") as there, channels.connect("south") as here:
        assert there.say(customer)["status"] == here.say(customer)["status"] == "sent"
        # Another secret: clients stay, DMS is believed by the new one only.
        changed = entry("south", south, jwt_secret="a secret that south did not have before")
        channels.reload(entry("north", north), changed, says="goes on with new settings: south")
        assert south.send(customer, "text", text=["old"]).status_code == 401
        token = mint(iss="connection-south", secret="a secret that south did not have before")
        assert south.send(customer, "text", text=["new"], token=token).status_code == 200
        here.wait_for_messages(1)
        # A mistake: all stays as it is, and its connection is named.
        says = "connection south, dms_url is wrong"
        channels.reload(entry("north", north), changed.replace("http://", "ftp://"), says=says)
        assert south.send(customer, "text", text=["new"], token=token).status_code == 200
        here.wait_for_messages(2)
        # A third one, and an identity provider for south: only south's clients have to come again.
        with contextlib.ExitStack() as more:
            third = more.enter_context(SandboxDms(issuer="connection-third", secret=secret_of("third"), scripted=False))
            idp = more.enter_context(IdentityProvider())
            third.webhook_url = f"{channels.server.url}/webhook"
            keys = {"customer_token_jwks_url": idp.keys_url, "customer_token_issuer": idp.issuer}
            proven = entry("south", south, **keys, customer_token_audience=idp.audience)
            channels.reload(entry("north", north), proven, entry("third", third), says="is new: third")
            assert "a token is required" in refusal(channels.server.url, {"connection": "south"})
            with channels.connect("south", token=idp.token(customer)) as client:
                assert client.say(customer)["status"] == "sent"
            with channels.connect("third") as client:
                assert client.say(customer)["status"] == "sent"
                assert third.send(customer, "text", text=["third"]).status_code == 200
                client.wait_for_messages(1)
            channels.reload(entry("north", north), entry("south", south), says="its clients are closed: third")
        assert "no connection of that name" in refusal(channels.server.url, {"connection": "third"})
        # North has noticed nothing of it all.
        assert there.say(customer, "still here")["status"] == "sent"
        assert north.send(customer, "text", text=["still"]).status_code == 200
        assert there.wait_for_messages(1)[0]["text"] == ["still"]
    assert channels.server.worker_pid == process
    assert channels.server.log.count("Booting worker") == 1
