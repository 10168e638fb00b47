"""Conversations over real connections: two tabs, reloads, and instances that are killed amid a stream both ways."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio

from lchook.core.tokens import CustomerTokens
from tests.chaos.instance import Instance
from tests.support.clients import PythonClient, WebSockets, text_message
from tests.support.jwts import ISSUER, SECRET, mint
from tests.support.liberal_dms import LiberalDms
from tests.support.redis_server import RedisServer
from tests.support.servers import gunicorn_command, run_to_its_end
from tests.support.waiting import wait_until

TOKEN_SECRET = "the secret of the site's own backend"


class Tab:
    """A page that follows its customer's conversation. It keeps what it has beyond a reload, and connects to wherever."""

    def __init__(self, auth: dict[str, Any], *, acknowledges: bool = True) -> None:
        self.auth = auth
        self.acknowledges = acknowledges
        # Each entry's cursor, in the order in which it came, and its payload and status.
        self.cursors: list[str] = []
        self.entries: dict[str, dict[str, Any]] = {}
        self.pages: list[dict[str, Any]] = []
        self.live: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.outcomes: list[Any] = []
        self._client: socketio.Client | None = None
        self._session, self._websockets = requests.Session(), WebSockets()

    def connect(self, url: str) -> bool:
        """From what it has on."""
        self.close()
        client = self._client = self._new_client()
        is_mine = lambda: self._client is client  # noqa: E731
        client.on("conversation", lambda page: self._take(page, "pages") if is_mine() else None)
        client.on("conversationMessage", lambda entry: self._take(entry, "live") if is_mine() else None)
        client.on("serverMessage", self.messages.append)
        client.on("messageStatus", self._status)
        conversation = {"after": self.cursors[-1]} if self.cursors else {}
        try:
            client.connect(url, auth={**self.auth, "conversation": conversation}, transports=["websocket"], wait_timeout=5)
        except (socketio.exceptions.ConnectionError, ValueError, OSError):
            return False
        return True

    def say(self, customer_id: str, text: str, **fields: Any) -> None:
        assert self._client is not None
        message = text_message(customer_id, text, **fields)
        with contextlib.suppress(socketio.exceptions.SocketIOError):
            self._client.emit("clientMessage", message, callback=lambda outcome: self.outcomes.append(outcome))

    @property
    def is_connected(self) -> bool:
        return self._client is not None and bool(self._client.connected)

    def texts(self) -> list[str]:
        return [str(self.entries[cursor]["payload"]["text"][0]) for cursor in self.cursors]

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
        self._websockets.close()
        self._session.close()

    def _new_client(self) -> socketio.Client:
        self._session, self._websockets = requests.Session(), WebSockets()
        options = {"suppress_origin": True, "class_": self._websockets}
        return socketio.Client(reconnection=False, http_session=self._session, websocket_extra_options=options)

    def wait_for(self, *texts: str) -> None:
        wait_until(lambda: self.texts() == list(texts), lambda: f"{list(texts)}; there is {self.texts()}")

    def _take(self, what: dict[str, Any], kind: str) -> None:
        getattr(self, kind).append(what)
        for entry in what.get("messages", []) if kind == "pages" else [what]:
            assert not self.cursors or entry["cursor"] > self.cursors[-1], "an entry came twice, or out of order"
            self.cursors.append(entry["cursor"])
            self.entries[entry["cursor"]] = entry

    def _status(self, status: dict[str, Any]) -> None:
        self.statuses.append(status)
        if status.get("cursor") in self.entries:
            self.entries[status["cursor"]]["status"] = status["status"]


def settings(dms: LiberalDms, store_url: str, **more: str) -> dict[str, str]:
    return {
        "DMS_URL": dms.url,
        "JWT_ISSUER": ISSUER,
        "JWT_SECRET": SECRET,
        "STORE_URL": store_url,
        "CONVERSATION_TTL": "3600",
        "CUSTOMER_RATE": "0",
        **more,
    }


def webhook(url: str, customer_id: str, text: str, *, again: bool = False, **fields: Any) -> None:
    """Until it is taken, as DMS would."""
    payload = {"type": "text", "customer_id": customer_id, "message_id": f"m-{text}", "text": [text], **fields}
    headers = {"Authorization": f"Bearer {mint()}"}
    assert requests.post(f"{url}/webhook", json=payload, headers=headers, timeout=5).status_code == 200 or again


@pytest.fixture(scope="module")
def dms() -> Iterator[LiberalDms]:
    with LiberalDms() as dms:
        yield dms


@pytest.fixture(scope="module")
def hook(dms: LiberalDms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance with a file; customers prove nothing."""
    folder = tmp_path_factory.mktemp("conversation")
    instance = Instance(settings(dms, f"sqlite://{folder}/lchook.sqlite3"), command=gunicorn_command)
    instance.start()
    yield instance
    instance.stop()


@pytest.fixture
def tabs() -> Iterator[list[Tab]]:
    made: list[Tab] = []
    yield made
    for tab in made:
        tab.close()


def test_both_sides_of_it_in_all_tabs_and_after_a_reload(hook: Instance, tabs: list[Tab], dms: LiberalDms) -> None:
    tabs += [Tab({"customer_id": "", "session": "a session"}) for _ in range(3)]
    one, other, later = tabs
    assert one.connect(hook.url)
    assert other.connect(hook.url)
    wait_until(lambda: one.pages and other.pages, "a page")
    assert one.pages == [{"messages": [], "complete": True}]
    one.say("", "hello")
    one.wait_for("hello")
    customer_id = one.entries[one.cursors[0]]["payload"]["customer_id"]
    wait_until(lambda: one.statuses, "its status")
    assert {name: one.statuses[0][name] for name in ("status", "dms_status", "cursor")} == {
        "status": "sent",
        "dms_status": 200,
        "cursor": one.cursors[0],
    }
    webhook(hook.url, customer_id, "welcome")
    webhook(hook.url, customer_id, "welcome")
    requests.post(
        f"{hook.url}/webhook",
        json={"type": "typing_indicator", "customer_id": customer_id},
        headers={"Authorization": f"Bearer {mint()}"},
        timeout=5,
    )
    other.say("", "thanks", postback="thanks")
    for tab in (one, other):
        tab.wait_for("hello", "welcome", "thanks")
        wait_until(lambda tab=tab: tab.messages, "what is not kept")
        assert [message["type"] for message in tab.messages] == ["typing_indicator"]
        assert [entry["from"] for entry in tab.live] == ["customer", "dms", "customer"]
    one.close()
    webhook(hook.url, customer_id, "are you there?")
    assert one.connect(hook.url)
    assert later.connect(hook.url)
    for tab in tabs:
        tab.wait_for("hello", "welcome", "thanks", "are you there?")
    wait_until(lambda: {each.get("status") for each in later.entries.values()} == {"sent", None} or later.statuses, "it")
    assert later.pages[-1]["complete"]
    # All of it is out of the mailbox: one that does not follow gets nothing of it.
    with PythonClient(hook.url, auth={"customer_id": "", "session": "a session"}) as plain:
        plain.settle()
        assert plain.messages == []


def test_those_who_do_not_follow_notice_nothing(hook: Instance, tabs: list[Tab]) -> None:
    tabs += [Tab({"customer_id": "", "session": "another"})]
    with PythonClient(hook.url, auth={"customer_id": "", "session": "another"}) as plain:
        assert plain.say("")["status"] == "sent"
        assert tabs[0].connect(hook.url)
        tabs[0].wait_for("Hello")
        tabs[0].say("", "over the other")
        tabs[0].wait_for("Hello", "over the other")
        customer_id = tabs[0].entries[tabs[0].cursors[0]]["payload"]["customer_id"]
        webhook(hook.url, customer_id, "answer")
        tabs[0].wait_for("Hello", "over the other", "answer")
        assert [message["text"] for message in plain.wait_for_messages(1)] == [["answer"]]
        plain.settle()
        assert len(plain.messages) == 1
        assert plain.statuses == []
        assert tabs[0].messages == []


@pytest.mark.parametrize(
    ("auth", "conversation", "error"),
    [
        ({"customer_id": "kim"}, {}, "with a token"),
        ({}, {}, "say whose conversation"),
        ({"customer_id": "", "session": "s"}, {"after": "nonsense"}, "cursor"),
        ({"customer_id": "", "session": "s"}, True, "cursor"),
    ],
)
def test_nobody_reads_without_proof_and_all_go_on_as_before(
    hook: Instance, auth: dict[str, Any], conversation: Any, error: str
) -> None:
    pages: list[Any] = []
    client = socketio.Client(reconnection=False, websocket_extra_options={"suppress_origin": True})
    client.on("conversation", pages.append)
    got: list[Any] = []
    client.on("serverMessage", got.append)
    client.connect(hook.url, auth={**auth, "conversation": conversation}, transports=["websocket"])
    try:
        wait_until(lambda: pages, "an answer")
        assert list(pages[0]) == ["error"]
        assert error in pages[0]["error"]
        client.call("clientMessage", text_message(f"kim {conversation} {error}"))
        webhook(hook.url, f"kim {conversation} {error}", "answer")
        wait_until(lambda: got, "an answer of DMS")
    finally:
        client.disconnect()


@pytest.mark.parametrize("seed", [int(seed) for seed in os.environ.get("SEEDS", "7").split()])
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_killed_amid_a_stream_both_ways_all_tabs_show_the_same(
    dms: LiberalDms, kind: str, seed: int, tmp_path: Path
) -> None:
    """Two tabs with reloads, on two instances (one with SQLite) that are killed in turn; a third tab, opened at the end."""
    if kind == "redis":
        with RedisServer() as server:
            stream(dms, server.url, 2, random.Random(seed))
    else:
        stream(dms, f"sqlite://{tmp_path}/lchook.sqlite3", 1, random.Random(seed))


def stream(dms: LiberalDms, store_url: str, size: int, chance: random.Random) -> None:
    customer_id = f"kim {uuid.uuid4()}"
    token = CustomerTokens(secret=TOKEN_SECRET, clock=time.time).sign(customer_id, ttl_seconds=600)
    count = 30
    more = {"CUSTOMER_TOKEN_SECRET": TOKEN_SECRET}
    instances = [Instance(settings(dms, store_url, **more), command=gunicorn_command) for _ in range(size)]
    tabs = [Tab({"token": token}) for _ in range(2)]
    alive: set[int] = set()
    stopping = threading.Event()

    def up() -> str:
        return instances[chance.choice(sorted(alive))].url

    def dms_speaks() -> None:
        for number in range(count):
            while True:
                with contextlib.suppress(requests.RequestException, AssertionError, IndexError):
                    webhook(up(), customer_id, f"d{number}")
                    break

    def customer_speaks(tab: Tab, name: str) -> None:
        """Each until its outcome is known, as the protocol asks."""
        for number in range(count):
            before = len(tab.outcomes)
            said = 0.0
            while len(tab.outcomes) == before:
                if not tab.is_connected or chance.random() < 0.03:
                    with contextlib.suppress(IndexError):
                        tab.connect(up())
                    said = 0.0
                elif time.monotonic() - said > 3:
                    said = time.monotonic()
                    tab.say(customer_id, f"{name}{number}", message_id=f"{name}{number}")
                stopping.wait(0.02)

    try:
        for number, instance in enumerate(instances):
            instance.start()
            alive.add(number)
        threads = [threading.Thread(target=dms_speaks, daemon=True)]
        threads += [
            threading.Thread(target=customer_speaks, args=(tab, name), daemon=True)
            for tab, name in zip(tabs, ("a", "b"), strict=True)
        ]
        for thread in threads:
            thread.start()
        for life, number in enumerate((0, size - 1)):
            wait_until(lambda life=life: len(tabs[0].cursors) > 20 * (life + 1), "some of it", timeout_seconds=60)
            alive.discard(number)
            instances[number].kill()
            instances[number].start()
            alive.add(number)
        for thread in threads:
            thread.join(90)
            assert not thread.is_alive(), "the stream does not end"
        tabs.append(Tab({"token": token}))
        for tab in tabs:
            assert tab.connect(instances[0].url)
        everything = {f"{name}{number}" for name in "abd" for number in range(count)}
        wait_until(
            lambda: all(set(tab.texts()) >= everything for tab in tabs),
            lambda: [sorted(everything - set(tab.texts())) for tab in tabs],
            timeout_seconds=30,
        )
        for tab in tabs:
            assert tab.texts() == tabs[-1].texts()
            assert len(tab.texts()) == len(everything)
        wait_until(
            lambda: all({each.get("status") for each in tab.entries.values()} <= {"sent", "failed", None} for tab in tabs),
            "an outcome of each",
            timeout_seconds=30,
        )
        assert all(
            tab.entries[cursor].get("status") == tabs[-1].entries[cursor].get("status")
            for tab in tabs
            for cursor in tab.cursors
        )
    finally:
        stopping.set()
        for tab in tabs:
            tab.close()
        for instance in instances:
            instance.stop()


def test_forgetting_a_customer_from_the_command_line(hook: Instance, tabs: list[Tab], dms: LiberalDms) -> None:
    tabs += [Tab({"customer_id": "", "session": "to be forgotten"}) for _ in range(2)]
    assert tabs[0].connect(hook.url)
    tabs[0].say("", "a secret")
    tabs[0].wait_for("a secret")
    wait_until(lambda: tabs[0].statuses, "its outcome")
    customer_id = tabs[0].entries[tabs[0].cursors[0]]["payload"]["customer_id"]
    environment = hook._settings
    done = run_to_its_end([sys.executable, "-m", "lchook", "forget", customer_id], **environment)
    assert done.returncode == 0, done.stdout
    assert f"Removed of {customer_id}: 0 waiting messages, 0 on their way to DMS, 1 outcomes, 1 entries" in done.stdout
    assert tabs[1].connect(hook.url)
    wait_until(lambda: tabs[1].pages, "a page")
    assert tabs[1].pages[0]["messages"] == []
    folder = Path(environment["STORE_URL"].removeprefix("sqlite://")).parent
    assert not any(b"a secret" in file.read_bytes() for file in folder.glob("lchook.sqlite3*"))
    memory = run_to_its_end([sys.executable, "-m", "lchook", "forget", "x"], **{**environment, "STORE_URL": "memory:"})
    assert (memory.returncode, "STORE_URL=memory:" in memory.stdout) == (1, True)
