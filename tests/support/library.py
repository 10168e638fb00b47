"""client/lch-client.js in Node, driven by a test. One `Library` is a browser: its tabs share a storage."""

from __future__ import annotations

import itertools
from typing import Any

from tests.support.clients import SCRIPTS, NodeProcess
from tests.support.waiting import wait_until

EVENTS = ("connection", "entry", "status", "history", "typing", "waittime", "error")
_NOTHING: dict[str, Any] = {}


class LibraryError(Exception):
    """What a call of the library threw, as `Name: message`."""


class Library:
    def __init__(self) -> None:
        # Each event that a tab told: {tab, event, detail}.
        self.told: list[dict[str, Any]] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._process = NodeProcess(SCRIPTS / "library.mjs", tell=self._take)

    def start(self, does: str, **fields: Any) -> int:
        """Have something done; returns its number. Does not wait."""
        number = next(self._numbers)
        self._process.command(number=number, does=does, **fields)
        return number

    def result(self, number: int, *, timeout_seconds: float = 15.0) -> Any:
        answer = wait_until(
            lambda: self._answers.get(number, _NOTHING),
            lambda: f"answer {number}: {self.told}",
            timeout_seconds=timeout_seconds,
        )
        if "error" in answer:
            raise LibraryError(answer["error"])
        return answer["result"]

    def do(self, does: str, **fields: Any) -> Any:
        return self.result(self.start(does, **fields))

    def open(self, tab: str, url: str, *, wait_for: str | None = "connected", **options: Any) -> None:
        self.do("open", tab=tab, options={"url": url, **options}, events=EVENTS)
        if wait_for is not None:
            self.wait_for_state(tab, wait_for)

    def call(self, tab: str, method: str, argument: Any = None) -> Any:
        return self.do("call", tab=tab, method=method, argument=argument)

    def say(self, tab: str, text: str) -> int:
        """The number of its outcome."""
        return self.start("call", tab=tab, method="send", argument={"text": text})

    def entries(self, tab: str) -> list[dict[str, Any]]:
        return list(self.do("entries", tab=tab))

    def texts(self, tab: str) -> list[tuple[str, str, str | None]]:
        return [(entry["from"], entry["payload"]["text"][0], entry.get("status")) for entry in self.entries(tab)]

    def events(self, tab: str, event: str) -> list[Any]:
        return [line.get("detail") for line in list(self.told) if line["tab"] == tab and line["event"] == event]

    def wait_for(self, tab: str, event: str, count: int = 1) -> list[Any]:
        wait_until(lambda: len(self.events(tab, event)) >= count, lambda: f"{count} {event}: {self.told}")
        return self.events(tab, event)

    def wait_for_state(self, tab: str, state: str) -> str:
        """Returns the reason, in words."""
        wait_until(lambda: self.do("state", tab=tab)[0] == state, lambda: f"{state}: {self.told}")
        return str(self.do("state", tab=tab)[1])

    def close(self) -> None:
        self._process.close()

    def _take(self, line: dict[str, Any]) -> None:
        if "number" in line:
            self._answers[line["number"]] = line
        else:
            self.told.append(line)
