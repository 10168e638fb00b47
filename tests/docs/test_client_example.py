"""The small client of docs/client-protocol.md, taken from the page and run by Node against a live LCH."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lchook.sandbox.faults import Answer
from tests.docs.pages import page
from tests.support.balancer import Balancer
from tests.support.clients import NodeProcess
from tests.support.hooks import Hook, running_hook
from tests.support.servers import gunicorn_command
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

# Lets the test speak to the client by JSON lines.
DRIVER = """
import { createInterface } from "node:readline";
import { openChat } from "./client.mjs";
const [hook, customer] = process.argv.slice(2);
const tell = (line) => console.log(JSON.stringify(line));
const delayed = (message) => tell({ delayed: message });
const chat = openChat(hook, JSON.parse(customer), (payload) => tell({ shown: payload }), delayed);
createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { does, argument } = JSON.parse(line);
    tell({ outcome: await chat[does](argument) });
  })
  .on("close", () => chat.close());
"""


class Example:
    """The client of the page, running."""

    def __init__(self, folder: Path, url: str, customer_id: str) -> None:
        self.told: list[dict[str, Any]] = []
        (code,) = page("docs/client-protocol.md").blocks("js")
        (folder / "client.mjs").write_text(code)
        (folder / "driver.mjs").write_text(DRIVER)
        (folder / "node_modules").symlink_to(ROOT / "node_modules")
        customer = f'{{"customer_id": "{customer_id}", "customer_name": "Ada Lindgren"}}'
        self._process = NodeProcess(folder / "driver.mjs", url, customer, tell=self.told.append)

    def does(self, what: str, argument: Any = None) -> None:
        self._process.command(does=what, argument=argument)

    def wait_for(self, kind: str, count: int) -> list[Any]:
        def found() -> list[Any]:
            return [line[kind] for line in self.told if kind in line]

        wait_until(lambda: len(found()) >= count, lambda: f"{count} of {kind}, not {self.told}")
        return found()

    def close(self) -> None:
        self._process.close()


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with running_hook(gunicorn_command, DMS_READ_TIMEOUT="10") as hook:
        yield hook


@pytest.fixture
def bad_network(hook: Hook) -> Iterator[Balancer]:
    with Balancer() as balancer:
        balancer.backends.append(int(hook.url.rpartition(":")[2]))
        yield balancer


@pytest.fixture
def example(tmp_path: Path, bad_network: Balancer, customer: str, hook: Hook) -> Iterator[Example]:
    """A client to whom something was said before it came."""
    hook.webhook(customer, "Said while you were away")
    example = Example(tmp_path, bad_network.url, customer)
    yield example
    example.close()
    hook.dms.answer = None


def accepted(hook: Hook, customer: str) -> list[dict[str, Any]]:
    return [post for post in hook.dms.accepted if post["customer_id"] == customer]


def test_the_example_resumes_talks_and_tells_outcomes(example: Example, hook: Hook, customer: str) -> None:
    assert example.wait_for("shown", 1)[0]["text"] == ["Said while you were away"]

    example.does("say", "Hello")
    example.does("choose", {"text": "Show me offers", "payload": "offers"})
    example.does("end")

    assert [outcome["status"] for outcome in example.wait_for("outcome", 3)] == ["sent"] * 3
    text, choice, end = accepted(hook, customer)
    assert (text["type"], text["text"], text["customer_name"]) == ("text", ["Hello"], "Ada Lindgren")
    assert (choice["type"], choice["text"], choice["postback"]) == ("text", ["Show me offers"], "offers")
    assert end["type"] == "customer_end_session"


def test_the_example_shows_a_repeat_once_and_acknowledges_everything(example: Example, hook: Hook, customer: str) -> None:
    example.wait_for("shown", 1)
    for text in ("One", "One", "Another with the same id"):
        hook.webhook(customer, text, message_id="the same")
    hook.webhook(customer, "Two")

    told = ["Said while you were away", "One", "Another with the same id", "Two"]
    assert [payload["text"][0] for payload in example.wait_for("shown", 4)] == told
    wait_until(lambda: hook.server.log.count(f"acknowledged customer='{customer}'") == 4, lambda: hook.server.log)


def test_the_example_is_reached_though_another_page_comes_back_first(
    example: Example, bad_network: Balancer, hook: Hook, customer: str
) -> None:
    example.does("say", "Here")
    example.wait_for("outcome", 1)
    way, bad_network.backends[:] = list(bad_network.backends), []
    assert bad_network.cut(1.0) >= 1
    gone = f"mapping removed: the socket is closed customer='{customer}'"
    wait_until(lambda: gone in hook.server.log, lambda: hook.server.log)
    with hook.connect(auth={"customer_id": customer, "spoke_seconds_ago": 100}) as other:
        bad_network.backends[:] = way
        wait_until(lambda: hook.server.log.count(f"resumes customer='{customer}'") == 3, lambda: hook.server.log)
        hook.webhook(customer, "To where you spoke")
        assert example.wait_for("shown", 2)[1]["text"] == ["To where you spoke"]
        assert other.messages == []


def test_the_example_sends_again_what_had_no_outcome_when_the_connection_died(
    example: Example, bad_network: Balancer, hook: Hook, customer: str
) -> None:
    example.wait_for("shown", 1)
    hook.dms.answer = lambda _: Answer(delay_seconds=2.0)
    before = len(hook.dms.received)

    example.does("say", "Is anybody there?")
    hook.dms.wait_for_posts(before + 1)
    assert bad_network.cut(1.0) >= 1

    assert example.wait_for("outcome", 1)[0]["status"] == "sent"
    assert hook.server.log.count(f"received from the customer customer='{customer}'") == 2
    assert [post["text"] for post in accepted(hook, customer)] == [["Is anybody there?"]]


def test_the_example_says_what_is_delayed_and_takes_a_later_outcome(example: Example, hook: Hook, customer: str) -> None:
    hook.dms.answer = lambda _: Answer(delay_seconds=7.0)
    example.does("say", "Slowly")
    assert example.wait_for("delayed", 1)[0]["text"] == ["Slowly"]
    assert example.wait_for("outcome", 1)[0]["status"] == "sent"
