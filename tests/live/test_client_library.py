"""client/lch-client.js with the real socket.io-client, in Node, against LCH under gunicorn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lchook.core.tokens import CustomerTokens
from lchook.sandbox.bodies import KINDS
from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.faults import Answer
from tests.support import asyncapi
from tests.support.balancer import Balancer
from tests.support.clients import SCRIPTS
from tests.support.hooks import QUICK, Hook, running_hook
from tests.support.jwts import ISSUER, SECRET
from tests.support.library import Library, LibraryError
from tests.support.servers import Server, free_port, gunicorn_command
from tests.support.tools import ROOT, needs
from tests.support.waiting import wait_until

TOKEN_SECRET = "the tests' secret for customers' tokens, long enough"


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with running_hook(gunicorn_command, DMS_READ_TIMEOUT="10") as hook:
        yield hook


@pytest.fixture(autouse=True)
def _dms_takes_everything_again(hook: Hook, talking_hook: Hook) -> Iterator[None]:
    yield
    hook.dms.answer = talking_hook.dms.answer = None


@pytest.fixture(scope="module")
def guarded_hook() -> Iterator[Hook]:
    """One that asks for tokens."""
    with running_hook(gunicorn_command, CUSTOMER_TOKEN_SECRET=TOKEN_SECRET) as hook:
        yield hook


@pytest.fixture(scope="module")
def talking_hook() -> Iterator[Hook]:
    """One that keeps conversations, and shows them without proof."""
    keeps = {"CONVERSATION_TTL": "3600", "CONVERSATION_UNPROVEN": "on", "DMS_READ_TIMEOUT": "10"}
    with running_hook(gunicorn_command, **keeps) as hook:
        yield hook


@pytest.fixture
def bad_network(hook: Hook) -> Iterator[Balancer]:
    with Balancer() as balancer:
        balancer.backends.append(int(hook.url.rpartition(":")[2]))
        yield balancer


@pytest.fixture
def library() -> Iterator[Library]:
    library = Library()
    yield library
    library.close()


def accepted(dms: SandboxDms, customer: str) -> list[dict[str, Any]]:
    return [post for post in dms.accepted if post["customer_id"] == customer]


def token(customer: str, ttl_seconds: int = 60) -> str:
    return CustomerTokens(secret=TOKEN_SECRET, clock=time.time).sign(customer, ttl_seconds=ttl_seconds)


def test_its_rules_hold_without_a_network() -> None:
    """node:test: conversation, repeats, expiry, locks, refusals, nonsense from outside; the clock is turned."""
    command = [needs("node"), "--test", str(SCRIPTS / "library.test.mjs")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_customer_says_reaches_dms_and_its_outcome_the_page(library: Library, hook: Hook, customer: str) -> None:
    library.open("a", hook.url, customerId=customer, customerName="Ada Lindgren", contextData={"page": "offers"})
    assert (
        library.call("a", "send", {"text": "Hello", "attachments": [{"url": "https://files.example/1"}]})["status"] == "sent"
    )
    assert library.call("a", "choose", {"text": "Show me offers", "payload": "offers"})["status"] == "sent"
    hook.webhook(customer, "Here they are")
    library.wait_for("a", "entry", 3)
    assert library.call("a", "endSession")["status"] == "sent"

    text, choice, end = accepted(hook.dms, customer)
    assert (text["text"], text["customer_name"], text["context_data"]) == (["Hello"], "Ada Lindgren", {"page": "offers"})
    assert text["attachments"] == [{"url": "https://files.example/1"}]
    assert (choice["text"], choice["postback"]) == (["Show me offers"], "offers")
    assert end["type"] == "customer_end_session"
    entries = library.entries("a")
    assert [(entry["from"], entry.get("status")) for entry in entries] == [
        ("customer", "sent"),
        ("customer", "sent"),
        ("dms", None),
        ("customer", "sent"),
    ]
    assert len({entry["key"] for entry in entries}) == 4
    assert library.do("stored") == {}, "nothing is kept that has its outcome"


def test_typing_goes_both_ways_and_not_at_each_key_stroke(library: Library, hook: Hook, customer: str) -> None:
    library.open("a", hook.url, customerId=customer)
    for _ in range(5):
        library.call("a", "typing")
    wait_until(lambda: accepted(hook.dms, customer), "a typing indicator")
    hook.dms.send(customer, "typing_indicator")
    hook.dms.send(customer, "wait_time")
    library.wait_for("a", "typing")
    library.wait_for("a", "waittime")

    library.result(library.say("a", "Done"))
    assert [post["type"] for post in accepted(hook.dms, customer)] == ["typing_indicator", "text"]
    assert [entry["from"] for entry in library.entries("a")] == ["customer"]


def test_what_dms_refuses_has_failed_and_can_be_sent_again(library: Library, hook: Hook, customer: str) -> None:
    library.open("a", hook.url, customerId=customer)
    hook.dms.answer = lambda _: Answer(status=400)
    outcome = library.result(library.say("a", "Hello"))
    assert (outcome["status"], outcome["dms_status"]) == ("failed", 400)
    (entry,) = library.entries("a")
    assert (entry["status"], entry["error"]) == ("failed", outcome["error"])

    hook.dms.answer = None
    again = library.call("a", "resend", outcome["message_id"])
    assert again["status"] == "sent"
    assert again["message_id"] != outcome["message_id"], "the first id's outcome is known"
    assert library.texts("a") == [("customer", "Hello", "sent")]
    with pytest.raises(LibraryError, match="RangeError"):
        library.call("a", "resend", again["message_id"])


def test_what_the_hook_rejects_is_told_in_words(library: Library, hook: Hook) -> None:
    library.open("a", hook.url, customerId="x" * 300)
    outcome = library.result(library.say("a", "Hello"))
    assert outcome["status"] == "rejected"
    assert "256 characters" in outcome["error"]


def test_a_message_for_which_the_hook_closes_the_connection_is_given_up_and_the_next_one_sent(
    library: Library, hook: Hook, customer: str
) -> None:
    library.open("a", hook.url, customerId=customer)
    too_large, small = library.say("a", "x" * 1_100_000), library.say("a", "Short")
    assert library.result(too_large, timeout_seconds=30)["status"] == "rejected"
    assert library.result(small)["status"] == "sent"


def test_a_hook_without_a_conversation_and_files_is_no_problem(library: Library, hook: Hook, customer: str) -> None:
    library.open("a", hook.url, customerId=customer)
    with pytest.raises(LibraryError, match="Error: "):
        library.do("upload", tab="a", name="a.txt", type="text/plain", text="Hello")
    hook.webhook(customer, "Still here")
    library.wait_for("a", "entry")


def test_repeats_of_dms_are_shown_once_and_other_words_under_the_same_id_too(
    library: Library, hook: Hook, customer: str
) -> None:
    hook.webhook(customer, "While you were away")
    library.open("a", hook.url, customerId=customer)
    for text in ("One", "One", "Another"):
        hook.webhook(customer, text, message_id="the same")
    library.wait_for("a", "entry", 3)
    assert [text for _, text, _ in library.texts("a")] == ["While you were away", "One", "Another"]
    wait_until(lambda: hook.server.log.count(f"acknowledged customer='{customer}'") == 3, lambda: hook.server.log)


def test_a_message_without_an_outcome_is_repeated_after_a_reconnect(
    library: Library, hook: Hook, bad_network: Balancer, customer: str
) -> None:
    library.open("a", bad_network.url, customerId=customer)
    hook.dms.answer = lambda _: Answer(delay_seconds=1.5)
    outcome = library.say("a", "Is anybody there?")
    wait_until(lambda: f"received from the customer customer='{customer}'" in hook.server.log, lambda: hook.server.log)
    assert bad_network.cut(1.0) >= 1

    assert library.result(outcome)["status"] == "sent"
    assert hook.server.log.count(f"received from the customer customer='{customer}'") == 2
    assert [post["text"] for post in accepted(hook.dms, customer)] == [["Is anybody there?"]]
    assert [change["state"] for change in library.events("a", "connection")] == [
        "connecting",
        "connected",
        "offline",
        "connected",
    ]
    assert library.texts("a") == [("customer", "Is anybody there?", "sent")]


def test_a_message_without_an_outcome_outlives_a_reload(library: Library, hook: Hook, customer: str) -> None:
    library.open("a", hook.url, customerId=customer)
    hook.dms.answer = lambda _: Answer(delay_seconds=1.5)
    library.say("a", "Before the reload")
    wait_until(lambda: f"received from the customer customer='{customer}'" in hook.server.log, lambda: hook.server.log)
    library.do("crash", tab="a")
    assert len(library.do("stored")) == 1

    library.open("b", hook.url, customerId=customer)
    library.wait_for("b", "status")
    assert library.texts("b") == [("customer", "Before the reload", "sent")]
    assert [post["text"] for post in accepted(hook.dms, customer)] == [["Before the reload"]]
    assert library.do("stored") == {}


def test_two_tabs_do_not_send_each_others_messages(
    library: Library, hook: Hook, bad_network: Balancer, customer: str
) -> None:
    way, bad_network.backends[:] = list(bad_network.backends), []
    library.open("a", bad_network.url, customerId=customer, wait_for="offline")
    library.open("stranger", bad_network.url, customerId=f"not {customer}", wait_for="offline")
    # Until a first connection is tried, nobody knows whose messages these are; then they are stored.
    bad_network.backends[:] = way
    library.wait_for_state("a", "connected")
    bad_network.backends[:] = []
    bad_network.cut(1.0)
    library.wait_for_state("a", "offline")
    outcome = library.say("a", "From the first tab")
    wait_until(lambda: library.do("stored"), "the message in the storage")

    bad_network.backends[:] = way
    library.open("b", bad_network.url, customerId=customer)
    assert library.result(outcome)["status"] == "sent"
    assert library.entries("b") == []
    assert library.entries("stranger") == []
    assert [post["text"] for post in accepted(hook.dms, customer)] == [["From the first tab"]]


def test_what_is_said_while_the_hook_is_dead_and_when_it_dies_arrives_once(
    library: Library, tmp_path: Path, customer: str
) -> None:
    port = free_port()
    with SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False) as dms:
        store = f"sqlite:///{tmp_path / 'store.sqlite3'}"
        usual = {
            **QUICK,
            "DMS_URL": dms.url,
            "JWT_ISSUER": ISSUER,
            "JWT_SECRET": SECRET,
            "STORE_URL": store,
            "OUTBOX_TTL": "60",
        }
        with Server(gunicorn_command(port), port, **usual) as server:
            dms.webhook_url = f"{server.url}/webhook"
            library.open("a", server.url, customerId=customer)
            dms.answer = lambda _: Answer(status=503)
            first = library.say("a", "It is stored")
            wait_until(lambda: accepted_or_refused(dms) >= 1, "a first try")
            os.killpg(server._process.pid, signal.SIGKILL)
        second = library.say("a", "It is not")
        library.wait_for_state("a", "offline")
        dms.answer = None
        with Server(gunicorn_command(port), port, **usual):
            assert library.result(first, timeout_seconds=30)["status"] == "sent"
            assert library.result(second)["status"] == "sent"
            assert [post["text"] for post in accepted(dms, customer)] == [["It is stored"], ["It is not"]]
            assert [text for _, text, _ in library.texts("a")] == ["It is stored", "It is not"]


def accepted_or_refused(dms: SandboxDms) -> int:
    return len(dms.received)


def test_a_refusal_is_told_in_words_and_ends_with_a_good_token(library: Library, guarded_hook: Hook, customer: str) -> None:
    library.open("static", guarded_hook.url, wait_for=None, token="garbage", customerId=customer)
    assert "token" in library.wait_for_state("static", "refused")

    library.do("tokens", tokens=["garbage", token(customer)])
    library.open("asks", guarded_hook.url, token="function", customerId=customer)
    assert [change["state"] for change in library.events("asks", "connection")] == ["connecting", "refused", "connected"]
    assert library.result(library.say("asks", "Hello"))["status"] == "sent"


def test_a_fresh_token_is_asked_for_at_each_connect_and_must_be_for_the_same_customer(
    library: Library, guarded_hook: Hook, customer: str
) -> None:
    library.do("tokens", tokens=[token(customer, ttl_seconds=2), token(customer)])
    with Balancer() as network:
        network.backends.append(int(guarded_hook.url.rpartition(":")[2]))
        library.open("a", network.url, token="function", customerId=customer)
        library.open("only a token", network.url, token="function")
        library.wait_for("a", "asked for a token", 2)
        library.wait_for_state("a", "connected")
        assert library.result(library.say("a", "Still me"))["status"] == "sent"

        library.do("tokens", tokens=[token(f"not {customer}")])
        network.cut(1.0)
        assert "another customer" in library.wait_for_state("only a token", "refused")
        library.do("tokens", tokens=[])
        wait_until(lambda: "login is over" in library.do("state", tab="only a token")[1], lambda: str(library.told))


def test_somebody_without_a_name_keeps_their_session(library: Library, hook: Hook) -> None:
    library.open("a", hook.url)
    library.result(library.say("a", "Who am I?"))
    (customer,) = {post["customer_id"] for post in hook.dms.accepted if post.get("text") == ["Who am I?"]}
    library.do("crash", tab="a")
    hook.webhook(customer, "Somebody who comes back")

    library.open("b", hook.url)
    assert library.wait_for("b", "entry")[0]["payload"]["text"] == ["Somebody who comes back"]
    assert [key for key in library.do("stored") if key.endswith(" session")], json.dumps(library.do("stored"))


def test_tabs_reloads_and_reconnects_show_one_conversation(library: Library, talking_hook: Hook, customer: str) -> None:
    hook = talking_hook
    with Balancer() as network:
        network.backends.append(int(hook.url.rpartition(":")[2]))
        library.open("a", network.url, customerId=customer)
        library.result(library.say("a", "One"))
        hook.webhook(customer, "Two")
        library.open("b", hook.url, customerId=customer)
        library.wait_for("b", "history")
        way, network.backends[:] = list(network.backends), []
        network.cut(1.0)
        library.wait_for_state("a", "offline")
        library.result(library.say("b", "Three"))
        hook.webhook(customer, "Four")
        outcome = library.say("a", "Five")
        network.backends[:] = way
        assert library.result(outcome)["status"] == "sent"
    hook.dms.answer = lambda _: Answer(status=400)
    assert library.result(library.say("b", "Six"))["status"] == "failed"
    hook.dms.answer = None
    library.do("crash", tab="a")
    library.open("c", hook.url, customerId=customer)

    said = [
        ("customer", "One", "sent"),
        ("dms", "Two", None),
        ("customer", "Three", "sent"),
        ("dms", "Four", None),
        ("customer", "Five", "sent"),
        ("customer", "Six", "failed"),
    ]
    for tab in ("b", "c"):
        wait_until(lambda tab=tab: library.texts(tab) == said, lambda tab=tab: str(library.texts(tab)))
    assert [entry["cursor"] for entry in library.entries("b")] == [entry["cursor"] for entry in library.entries("c")]
    assert [post["text"][0] for post in accepted(hook.dms, customer)] == ["One", "Three", "Five"]
    assert asyncapi.problems_of_frames(library.do("frames")) == []


def test_what_goes_over_the_wire_is_what_the_asyncapi_document_says(
    library: Library, talking_hook: Hook, guarded_hook: Hook, customer: str
) -> None:
    hook = talking_hook
    hook.webhook(customer, "While you were away")
    library.open("a", hook.url, customerId=customer, customerName="Ada Lindgren", contextData={"page": "offers"})
    library.open("plain", hook.url, customerId=f"plain {customer}", conversation=False)
    library.call("a", "typing")
    library.call("a", "send", {"text": "Hello", "attachments": [{"url": "https://files.example/1"}], "timestamp": 7})
    library.call("a", "choose", {"text": "Show me offers", "payload": "offers"})
    library.result(library.say("plain", "Hello"))
    for kind in KINDS:
        hook.dms.send(customer, kind)
        hook.dms.send(f"plain {customer}", kind)
    hook.dms.answer = lambda _: Answer(status=400)
    library.result(library.say("a", "Refused"))
    hook.dms.answer = None
    library.call("a", "endSession")
    library.open("rejected", hook.url, customerId="x" * 300)
    library.result(library.say("rejected", "Hello"))
    library.open("unnamed", hook.url)
    library.do("tokens", tokens=[token(customer)])
    library.open("named", guarded_hook.url, token="function", customerId=customer)
    library.result(library.say("named", "Hello"))

    frames = library.do("frames")
    too_long = [frame for frame in frames if frame["args"] and "x" * 300 in json.dumps(frame["args"])]
    assert len(too_long) == 2, "at connect, and in the message"
    assert asyncapi.problems_of_frames(too_long)
    assert asyncapi.problems_of_frames([frame for frame in frames if frame not in too_long]) == []
    acknowledged = {"clientMessage", "serverMessage", "conversation", "conversationMessage"}
    names = {frame.get("event") or f"ack of {frame['acknowledges']}" for frame in frames}
    assert names == acknowledged | {f"ack of {name}" for name in acknowledged} | {"connect", "serverError", "messageStatus"}
    posts = accepted(hook.dms, customer)
    # The typing indicator gives way where the text comes at once.
    assert len(posts) >= 3
    assert [problem for post in posts for problem in asyncapi.problems("toDms", [post])] == []
