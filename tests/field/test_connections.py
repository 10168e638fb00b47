"""Connections as they really die and come back: proxies that swallow, networks that change, whole offices, two tabs."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from lchook.sandbox.dms import SandboxDms
from tests.chaos.instance import Instance
from tests.live.conftest import flask_run, gunicorn  # noqa: F401 - fixtures
from tests.support.balancer import Balancer
from tests.support.clients import SCRIPTS, NodeClient, NodeProcess
from tests.support.hooks import QUICK, Hook, running_hook
from tests.support.jwts import ISSUER, SECRET
from tests.support.raw_socket_io import RawPolling, RawWebSocket
from tests.support.redis_server import RedisServer
from tests.support.servers import flask_command, gunicorn_command
from tests.support.tools import needs
from tests.support.upgrade_proxy import Habit, UpgradeProxy
from tests.support.waiting import wait_until

UPGRADE_SECONDS = 10.0
ANSWER_SECONDS = 3.0
# Looked for now and then, on a machine that does other things as well.
LATER_SECONDS = 4.0


@pytest.fixture(params=["gunicorn", "flask_run"])
def either_hook(request: pytest.FixtureRequest) -> Hook:
    hook: Hook = request.getfixturevalue(request.param)
    return hook


# 22: upgrades that lead nowhere


@pytest.mark.parametrize("habit", ["swallows all", "swallows answers"])
def test_row_22_polling_goes_on_until_the_client_has_changed_over(either_hook: Hook, habit: Habit, customer: str) -> None:
    needs("node")
    with UpgradeProxy(either_hook.url, habit) as proxy, NodeClient(proxy.url, wait=False) as client:
        wait_until(lambda: proxy.upgrades, "the handshake")
        upgraded_at = time.monotonic()
        assert client.say(customer)["status"] == "sent"
        polls = proxy.polls
        for number in range(5):
            posted_at = time.monotonic()
            assert either_hook.webhook(customer, f"{number}").status_code == 200
            client.wait_for_messages(number + 1)
            assert time.monotonic() - posted_at < 1.5
            time.sleep(0.3)
        # Each poll that brought something is followed by one; without an end for the poll there are a few more.
        assert proxy.polls - polls < 30
        polls = proxy.polls
        wait_until(lambda: proxy.closed_at, "that the upgrade is given up", timeout_seconds=UPGRADE_SECONDS + LATER_SECONDS)
        assert proxy.closed_at[0] - upgraded_at > UPGRADE_SECONDS - 2
        assert proxy.polls - polls < 40
        assert client.transport == "polling"
        assert client.say(customer)["status"] == "sent"
        either_hook.webhook(customer, "still here")
        client.wait_for_messages(6)


@pytest.mark.parametrize("habit", ["cuts at the probe", "cuts after the answer", "swallows after the answer"])
@pytest.mark.parametrize("command", [gunicorn_command, flask_command])
def test_row_22_what_costs_the_upgrade_or_the_connection_costs_no_message(
    command: Callable[..., list[str]], habit: Habit, customer: str
) -> None:
    """socket.io-client polls no more once it has its answer. Where its WebSocket then fails, only a heartbeat tells it."""
    needs("node")
    options: dict[str, Any] = {"reconnection": True, "reconnectionDelay": 100, "auth": {"customer_id": customer}}
    with (
        running_hook(command, PING_INTERVAL="1", PING_TIMEOUT="1") as hook,
        UpgradeProxy(hook.url, habit) as proxy,
        NodeClient(proxy.url, wait=False, **options) as client,
    ):
        wait_until(lambda: proxy.upgrades, "the handshake")
        for number in range(10):
            hook.webhook(customer, f"{number}")
            time.sleep(0.1)
        # Every upgrade of this client is cut, and each time it is chance whether its new connection still polls when the one
        # before is found dead: mostly seconds, now and then many tries.
        wait_until(lambda: client.messages and client.messages[-1]["text"] == ["9"], "the last one", timeout_seconds=90)
        # What was acknowledged on the WebSocket that swallows comes once more.
        texts = dict.fromkeys(message["text"][0] for message in client.messages)
        assert list(texts) == [f"{number}" for number in range(10)]


def poll(address: str, seconds: float) -> tuple[int, str]:
    """Poll for so long; returns how often, and what came."""
    count, came, until = 0, "", time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(requests.ReadTimeout):
            came += requests.get(address, timeout=max(0.1, until - time.monotonic())).text + " "
        count += 1
    return count, came


def session_of(hook: Hook) -> tuple[str, str]:
    """A session that is connected by polling: its addresses for polls and for the WebSocket."""
    address = f"{hook.url}/socket.io/?EIO=4&transport=polling"
    address += "&sid=" + json.loads(requests.get(address, timeout=5).text[1:])["sid"]
    requests.post(address, data="40", timeout=5)
    requests.get(address, timeout=5)
    return address, address.replace("http", "ws", 1).replace("polling", "websocket")


@pytest.mark.parametrize("packets", [[], ["2probe"]], ids=["silence", "probe-then-silence"])
def test_row_22_who_does_not_go_on_is_closed_and_polls_meanwhile(either_hook: Hook, packets: list[str]) -> None:
    address, ws_address = session_of(either_hook)
    upgrading = websocket.create_connection(ws_address, timeout=UPGRADE_SECONDS + LATER_SECONDS, suppress_origin=True)
    for packet in packets:
        upgrading.send(packet)
        assert upgrading.recv() == "3probe"
    started = time.monotonic()
    requests.post(address, data='42["serverMessage","echo"]', timeout=5)
    count, came = poll(address, 3)
    assert "echo" in came
    assert count < 15
    with contextlib.suppress(websocket.WebSocketException, OSError):
        assert not upgrading.recv()
    assert UPGRADE_SECONDS - 1 < time.monotonic() - started < UPGRADE_SECONDS + LATER_SECONDS
    upgrading.shutdown()
    # Another try is welcome.
    again = websocket.create_connection(ws_address, timeout=5, suppress_origin=True)
    again.send("2probe")
    assert again.recv() == "3probe"
    again.send("5")
    again.send('42["serverMessage","over"]')
    assert wait_until(lambda: [packet for packet in [again.recv()] if "over" in packet], "the echo")
    again.shutdown()


def test_row_22_the_later_of_two_upgrades_may_change_over_and_polls_are_served(either_hook: Hook) -> None:
    address, ws_address = session_of(either_hook)
    first, second = (websocket.create_connection(ws_address, timeout=5, suppress_origin=True) for _ in range(2))
    requests.post(address, data='42["serverMessage","echo"]', timeout=5)
    assert "echo" in poll(address, 1)[1]
    second.send("2probe")
    assert second.recv() == "3probe"
    second.send("5")
    second.send('42["serverMessage","over"]')
    assert wait_until(lambda: [packet for packet in [second.recv()] if "over" in packet], "the echo")
    for each in (first, second):
        each.shutdown()


def test_row_22_an_upgrade_ends_with_its_session(either_hook: Hook) -> None:
    address, ws_address = session_of(either_hook)
    upgrading = websocket.create_connection(ws_address, timeout=UPGRADE_SECONDS + LATER_SECONDS, suppress_origin=True)
    requests.post(address, data="1", timeout=5)
    with contextlib.suppress(websocket.WebSocketException, OSError):
        upgrading.send("2probe")
        assert not upgrading.recv()
    upgrading.shutdown()
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(ws_address, timeout=5, suppress_origin=True)


# 24: the network changes


@contextlib.contextmanager
def network(hook: Hook) -> Iterator[Balancer]:
    with Balancer() as balancer:
        balancer.backends = [int(hook.url.rpartition(":")[2])]
        yield balancer


@pytest.mark.parametrize("comes_back_by", ["speaking", "resuming"])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_row_24_a_dead_connection_holds_nobody_up(
    gunicorn: Hook,  # noqa: F811
    customer: str,
    transport: str,
    comes_back_by: str,
) -> None:
    needs("node")
    auth = {"customer_id": customer} if comes_back_by == "resuming" else {}
    with network(gunicorn) as balancer, NodeClient(balancer.url, transports=(transport,), auth=auth) as old:
        assert old.say(customer)["status"] == "sent"
        gunicorn.webhook(customer, "before")
        old.wait_for_messages(1)
        old.settle()
        balancer.die()
        for number in range(3):
            gunicorn.webhook(customer, f"{number}")
        with NodeClient(gunicorn.url, transports=(transport,), auth=auth) as new:
            came_at = time.monotonic()
            if comes_back_by == "speaking":
                assert new.say(customer)["status"] == "sent"
            gunicorn.webhook(customer, "3")
            messages = new.wait_for_messages(4, timeout_seconds=ANSWER_SECONDS + LATER_SECONDS)
            assert time.monotonic() - came_at < ANSWER_SECONDS + LATER_SECONDS
            new.settle()
            assert [message["text"] for message in messages] == [["0"], ["1"], ["2"], ["3"]]
            assert len(new.messages) == 4


def test_row_24_a_polling_client_that_polls_no_more_counts_as_gone(gunicorn: Hook, customer: str) -> None:  # noqa: F811
    speak = json.dumps({"type": "typing_indicator", "customer_id": customer})
    with RawPolling(gunicorn.url) as old, RawWebSocket(gunicorn.url) as new:
        old.send(f'420["clientMessage",{speak}]')
        old.wait_for("430", 1)
        gunicorn.webhook(customer, "unacknowledged")
        old.wait_for("42", 1)
        new.send(f'420["clientMessage",{speak}]')
        assert "unacknowledged" in new.wait_for("42", 1, timeout_seconds=ANSWER_SECONDS + LATER_SECONDS)[0]


def test_row_24_a_connection_that_lives_keeps_what_it_was_sent(gunicorn: Hook, customer: str) -> None:  # noqa: F811
    speak = json.dumps({"type": "typing_indicator", "customer_id": customer})
    with RawWebSocket(gunicorn.url) as old, RawWebSocket(gunicorn.url) as new:
        old.send(f'420["clientMessage",{speak}]')
        old.wait_for("430", 1)
        gunicorn.webhook(customer, "slow to acknowledge")
        sent = old.wait_for("42", 1)[0]
        new.send(f'420["clientMessage",{speak}]')
        new.wait_for("430", 1)
        gunicorn.webhook(customer, "the next")
        # It answers the ping, and acknowledges when it pleases.
        old._socket.settimeout(ANSWER_SECONDS + LATER_SECONDS)
        with pytest.raises(websocket.WebSocketTimeoutException):
            old.receive()
        old.send("43" + sent[2:].partition("[")[0] + "[]")
        assert "the next" in new.wait_for("42", 1)[0]


def test_row_24_old_connections_that_owe_nothing_are_left_alone(gunicorn: Hook, customer: str) -> None:  # noqa: F811
    """The known client opens a connection at each key stroke, and closes none."""
    speak = json.dumps({"type": "typing_indicator", "customer_id": customer})
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(RawWebSocket(gunicorn.url)) for _ in range(20)]
        for number, each in enumerate(sockets):
            each.send(f'420["clientMessage",{speak}]')
            each.wait_for("430", 1)
            gunicorn.webhook(customer, f"{number}")
            sent = each.wait_for("42", 1)[0]
            each.send("43" + sent[2:].partition("[")[0] + "[]")
            each.send('42["serverMessage","behind it"]')
            each.wait_for("42", 1)
        for each in sockets:
            each._socket.settimeout(0.05)
            with pytest.raises(websocket.WebSocketTimeoutException):
                each._socket.recv()


# 26: a whole office at once


def test_row_26_after_a_restart_all_come_back(dms: SandboxDms) -> None:
    needs("node")
    settings = {"DMS_URL": dms.url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, "CONNECTION_RATE": "12", **QUICK}
    instance, clients = Instance(settings), 300
    told: list[dict[str, int]] = []
    instance.start()
    options = {"reconnectionDelay": 200, "reconnectionDelayMax": 1000}
    crowd = NodeProcess(SCRIPTS / "crowd.mjs", instance.url, str(clients), json.dumps(options), tell=told.append)
    try:
        wait_until(lambda: told and told[-1]["connected"] == clients, lambda: told[-1], timeout_seconds=60)
        instance.terminate()
        wait_until(lambda: told[-1]["connected"] == 0, lambda: told[-1])
        instance.start()
        wait_until(lambda: told[-1]["connected"] == clients, lambda: told[-1], timeout_seconds=60)
        metrics = requests.get(f"{instance.url}/metrics", timeout=5).text
        assert 'reason="connections_too_many"' in metrics, "some were to be refused"
    finally:
        crowd.close()
        instance.stop()


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_row_26_a_client_that_was_refused_for_a_wrong_token_does_not_try_again(transport: str) -> None:
    needs("node")
    with running_hook(gunicorn_command, CUSTOMER_TOKEN_SECRET="s" * 40) as hook:
        options = {"reconnection": True, "reconnectionDelay": 50, "auth": {"token": "wrong"}}
        with NodeClient(hook.url, transports=(transport,), **options) as client:
            assert client.refused
            before = hook.server.log.count("connection refused")
            time.sleep(1)
            assert hook.server.log.count("connection refused") == before == 1


# 29: two tabs


class Tab:
    """A page that says at connect whose it is."""

    def __init__(self, url: str, customer: str, **auth: object) -> None:
        self.client = NodeClient(url, transports=("websocket",), auth={"customer_id": customer, **auth})

    @property
    def texts(self) -> list[str]:
        return [message["text"][0] for message in self.client.messages]


Open = Callable[..., Tab]


@pytest.fixture(params=["one instance", "two instances"])
def hooks(request: pytest.FixtureRequest) -> Iterator[list[Hook]]:
    """The instance of each tab."""
    needs("node")
    with contextlib.ExitStack() as stack:
        if request.param == "one instance":
            hook = stack.enter_context(running_hook(gunicorn_command))
            yield [hook, hook]
            return
        redis = stack.enter_context(RedisServer())
        yield [stack.enter_context(running_hook(gunicorn_command, STORE_URL=redis.url)) for _ in range(2)]


@pytest.fixture
def tabs(hooks: list[Hook], customer: str) -> Iterator[Open]:
    with contextlib.ExitStack() as stack:

        def open_tab(which: int, **auth: object) -> Tab:
            tab = Tab(hooks[which].url, customer, **auth)
            stack.callback(tab.client.close)
            return tab

        yield open_tab


def assert_answers_reach(tab: Tab, other: Tab | None, hooks: list[Hook], customer: str) -> None:
    time.sleep(0.5)
    before = list(other.texts) if other else []
    for number, hook in enumerate(hooks):
        assert hook.webhook(customer, f"answer {number}").status_code == 200
    wait_until(lambda: tab.texts[-2:] == ["answer 0", "answer 1"], lambda: (tab.texts, other and other.texts))
    if other:
        assert other.texts == before


def test_row_29_the_tab_that_spoke_is_answered_after_both_have_come_back(
    tabs: Open, hooks: list[Hook], customer: str
) -> None:
    a, b = tabs(0), tabs(1)
    b.client.say(customer)
    a.client.say(customer)
    assert_answers_reach(a, b, hooks, customer)
    a.client.close()
    b.client.close()
    a, b = tabs(0), tabs(1)
    assert_answers_reach(a, b, hooks, customer)


def test_row_29_a_client_may_say_when_it_spoke_and_then_no_order_matters(
    tabs: Open, hooks: list[Hook], customer: str
) -> None:
    b, a = tabs(1, spoke_seconds_ago=300), tabs(0, spoke_seconds_ago=60)
    assert_answers_reach(a, b, hooks, customer)
    c = tabs(1, spoke_seconds_ago=200)
    assert_answers_reach(a, c, hooks, customer)


def test_row_29_who_only_connects_does_not_take_the_customer_and_who_speaks_does(
    tabs: Open, hooks: list[Hook], customer: str
) -> None:
    a = tabs(0)
    a.client.say(customer)
    b = tabs(1)
    assert_answers_reach(a, b, hooks, customer)
    b.client.say(customer)
    assert_answers_reach(b, a, hooks, customer)


def test_row_29_when_the_tab_that_spoke_is_closed_the_other_one_is_answered(
    tabs: Open, hooks: list[Hook], customer: str
) -> None:
    a, b = tabs(0), tabs(1)
    a.client.say(customer)
    a.client.close()
    assert_answers_reach(b, None, hooks, customer)


def test_row_29_and_when_it_comes_back_it_is_answered_again(tabs: Open, hooks: list[Hook], customer: str) -> None:
    a, b = tabs(0), tabs(1)
    a.client.say(customer)
    a.client.close()
    assert_answers_reach(b, None, hooks, customer)
    a = tabs(0)
    assert_answers_reach(a, b, hooks, customer)


@pytest.mark.parametrize("nonsense", [-1, "1", None, True, 1e300, [], {}])
def test_row_29_nonsense_about_when_it_spoke_is_none_said(gunicorn: Hook, customer: str, nonsense: object) -> None:  # noqa: F811
    needs("node")
    tab = Tab(gunicorn.url, customer, spoke_seconds_ago=nonsense)
    gunicorn.webhook(customer, "hello")
    tab.client.wait_for_messages(1)
    tab.client.close()


# Clients that poll


def test_one_answer_has_no_more_packets_than_pythons_clients_read(gunicorn: Hook) -> None:  # noqa: F811
    """They hang up at the 17th: whoever had said much, under load, lost the connection with the acknowledgements."""
    count = 40
    with contextlib.closing(RawPolling(gunicorn.url)) as client:
        client.send(*(f'42["serverMessage",{number}]' for number in range(count)))
        sizes, echoes = [], 0
        while echoes < count:
            before = len(client.packets)
            client._poll()
            sizes.append(len(client.packets) - before)
            echoes = sum(packet.startswith('42["serverMessage"') for packet in client.packets)
    assert max(sizes) <= 16
    assert [json.loads(packet[2:])[1] for packet in client.packets if packet.startswith("42")] == list(range(count))


# Faults of ours

FAILS_ONCE = """
from lchook.core.authentication import Authenticator

identify, failed = Authenticator.identify, []

def fails_once(*args, **options):
    if not failed:
        failed.append(True)
        raise RuntimeError("a fault")
    return identify(*args, **options)

Authenticator.identify = fails_once
from wsgi import app
"""


@pytest.fixture
def fails_once(tmp_path: Path) -> Iterator[Hook]:
    (tmp_path / "fails_once.py").write_text(FAILS_ONCE)

    def command(port: int) -> list[str]:
        return [*gunicorn_command(port, "--pythonpath", str(tmp_path))[:-1], "fails_once:app"]

    with running_hook(command) as hook:
        yield hook


def test_after_a_fault_at_connect_the_client_comes_again_by_itself(fails_once: Hook, customer: str) -> None:
    """Refused one level higher, socket.io-client would not."""
    needs("node")
    with NodeClient(fails_once.url, reconnection=True, wait=False) as client:
        assert client.say(customer)["status"] == "sent"
        assert fails_once.server.log.count("opening or closing a connection failed event='connect'") == 1


def test_after_a_fault_at_connect_the_client_is_not_told_that_it_is_connected(fails_once: Hook) -> None:
    """It would send at once what it has kept so far, and the connection is about to be closed."""
    with RawWebSocket(fails_once.url, connect=False) as client:
        client.send("40")
        # The engine's word that it is closed, or the end.
        assert client.receive() in ("1", "")
    with RawWebSocket(fails_once.url):
        pass
