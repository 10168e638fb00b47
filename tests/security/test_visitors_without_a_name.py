"""`customer_id: ""`: who shares a conversation with whom, and who cannot get into another's."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest

from tests.support.clients import PythonClient, text_message
from tests.support.hooks import Hook, running_hook
from tests.support.servers import gunicorn_command

CHROME, FIREFOX = "Chrome of the tests", "Firefox of the tests"


def visitor(hook: Hook, *, address: str, browser: str = CHROME, session: str | None = None) -> PythonClient:
    """A client without a name, as it looks behind one proxy."""
    auth = {} if session is None else {"session": session}
    return hook.connect(headers={"X-Forwarded-For": address, "User-Agent": browser}, auth=auth)


def id_at_dms(hook: Hook, client: PythonClient) -> str:
    """Under which id DMS hears this client."""
    text = f"who am I? {uuid.uuid4()}"
    assert client.say("", text)["status"] == "sent"
    [body] = hook.dms.wait_for(lambda body: body.get("text") == [text])
    return str(body["customer_id"])


@pytest.fixture
def address(customer: str) -> str:
    """An address that no other test comes from."""
    digits = customer.replace("-", "")[-8:]
    return ".".join(["9", *(str(int(digits[at : at + 2], 16)) for at in range(0, 6, 2))])


def test_visitors_of_different_sessions_never_hear_each_other_from_one_browser_and_address(
    usual: Hook, address: str
) -> None:
    with (
        visitor(usual, address=address, session="one") as one,
        visitor(usual, address=address, session="two") as two,
    ):
        ids = [id_at_dms(usual, one), id_at_dms(usual, two)]
        assert ids[0] != ids[1]
        for customer_id in ids:
            assert usual.webhook(customer_id, customer_id).status_code == 200
        assert [message["text"] for message in one.wait_for_messages(1)] == [[ids[0]]]
        assert [message["text"] for message in two.wait_for_messages(1)] == [[ids[1]]]
        one.settle()
        two.settle()
        assert (len(one.messages), len(two.messages)) == (1, 1)


def test_without_sessions_visitors_of_another_address_or_another_browser_are_others(usual: Hook, address: str) -> None:
    ids = set()
    for from_address, browser in ((address, CHROME), (address, FIREFOX), ("192.0.2.7", CHROME)):
        with visitor(usual, address=from_address, browser=browser) as client:
            ids.add(id_at_dms(usual, client))
    assert len(ids) == 3


def test_all_sockets_of_one_browser_share_its_conversation_and_the_newest_hears(usual: Hook, address: str) -> None:
    sockets = [visitor(usual, address=address) for _ in range(12)]
    try:
        ids = {id_at_dms(usual, socket) for socket in sockets}
        assert len(ids) == 1
        usual.webhook(ids.pop(), "for the newest")
        assert sockets[-1].wait_for_messages(1)[0]["text"] == ["for the newest"]
        for socket in sockets[:-1]:
            socket.settle()
            assert socket.messages == []
    finally:
        for socket in sockets:
            socket.close()


def test_a_visitor_comes_back_with_their_session_and_hears_what_was_said_meanwhile(usual: Hook, address: str) -> None:
    auth = {"customer_id": "", "session": f"session of {address}"}
    with usual.connect(auth=auth) as client:
        customer_id = id_at_dms(usual, client)
    usual.webhook(customer_id, "said meanwhile")
    # From elsewhere, with another browser: only the session counts.
    with usual.connect(auth=auth, headers={"X-Forwarded-For": "192.0.2.8", "User-Agent": FIREFOX}) as client:
        assert client.wait_for_messages(1)[0]["text"] == ["said meanwhile"]


def test_without_a_session_nobody_hears_anything_before_they_speak(usual: Hook, address: str) -> None:
    with visitor(usual, address=address) as first:
        customer_id = id_at_dms(usual, first)
    usual.webhook(customer_id, "for the first visitor")
    # Perhaps it is the first one's neighbour, behind the same address with the same browser.
    with visitor(usual, address=address) as second:
        second.settle()
        assert second.messages == []


def test_an_unnamed_visitors_id_says_nothing_about_them_and_cannot_be_guessed(usual: Hook, address: str) -> None:
    with visitor(usual, address=address, session="my session") as client:
        customer_id = id_at_dms(usual, client)
    # 120 bits, of a keyed hash.
    assert re.fullmatch(r"anon-[a-z2-7]{24}", customer_id)
    assert "my session" not in usual.server.log


@pytest.mark.parametrize("session", ["", "x" * 257, 17, None, ["one"], {"a": 1}])
def test_a_session_that_is_none_counts_as_none(usual: Hook, address: str, session: object) -> None:
    with (
        visitor(usual, address=address) as plain,
        usual.connect(auth={"session": session}, headers={"X-Forwarded-For": address, "User-Agent": CHROME}) as odd,
    ):
        assert id_at_dms(usual, plain) == id_at_dms(usual, odd)


@pytest.fixture(scope="module")
def shared() -> Iterator[Hook]:
    with running_hook(gunicorn_command, ANONYMOUS_CUSTOMERS="shared") as hook:
        yield hook


@pytest.fixture(scope="module")
def rejecting() -> Iterator[Hook]:
    with running_hook(gunicorn_command, ANONYMOUS_CUSTOMERS="reject") as hook:
        yield hook


def test_shared_is_one_conversation_for_all_under_the_empty_id(shared: Hook) -> None:
    with shared.connect(headers={"User-Agent": CHROME}) as one, shared.connect(auth={"session": "two"}) as two:
        assert id_at_dms(shared, one) == id_at_dms(shared, two) == ""
        shared.webhook("", "for whoever spoke last")
        assert two.wait_for_messages(1)[0]["text"] == ["for whoever spoke last"]


def test_reject_tells_visitors_without_a_name_so_and_serves_the_others(rejecting: Hook, customer: str) -> None:
    with rejecting.connect(auth={"session": "one", "customer_id": ""}) as client:
        acknowledgement = client.call("clientMessage", text_message(""))
        assert acknowledgement["status"] == "rejected"
        assert "customer_id must not be empty" in acknowledgement["error"]
        assert client.say(customer)["status"] == "sent"


# Proxies


@pytest.mark.parametrize(
    ("hops", "chains", "same"),
    [
        # A proxy that LCH is not told of hides everybody, and strangers do not share a conversation.
        pytest.param(0, ["198.51.100.1", "198.51.100.1", "1.1.1.1, 198.51.100.1"], False, id="no proxy: it may be made up"),
        pytest.param(1, ["6.6.6.6, 198.51.100.1", "7.7.7.7,198.51.100.1", "198.51.100.1"], True, id="one: its entry counts"),
        pytest.param(1, ["198.51.100.1", "198.51.100.2"], False, id="one: different clients"),
        pytest.param(2, ["6.6.6.6, 198.51.100.1, 10.0.0.1", "198.51.100.1, 10.0.0.2"], True, id="two: the first's entry"),
        pytest.param(2, ["198.51.100.1, 10.0.0.1", "198.51.100.2, 10.0.0.1"], False, id="two: different clients"),
    ],
)
def test_the_address_is_what_the_trusted_proxies_say_and_cannot_be_forged(
    hooks_behind: dict[int, Hook], hops: int, chains: list[str], same: bool
) -> None:
    hook = hooks_behind[hops]
    ids = set()
    for chain in chains:
        with visitor(hook, address=chain) as client:
            ids.add(id_at_dms(hook, client))
    assert len(ids) == (1 if same else len(chains))


@pytest.fixture(scope="module")
def hooks_behind(usual: Hook) -> Iterator[dict[int, Hook]]:
    """LCH behind 0, 1 and 2 proxies."""
    with running_hook(gunicorn_command) as none, running_hook(gunicorn_command, PROXY_HOPS="2") as two:
        yield {0: none, 1: usual, 2: two}
