"""Chromium for the live tests, headless, and what its pages complain about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.tools import needs

DEADLINE_SECONDS = 20


@contextmanager
def running_chromium() -> Iterator[Any]:
    """A playwright Browser. Skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = needs("chromium")
    needs("node")  # and with it socket.io-client
    sync_api.expect.set_options(timeout=DEADLINE_SECONDS * 1000)
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Pages:
    """Pages, each in a context of its own, and in `complaints` what they complained about: errors, and what the
    Content-Security-Policy stopped."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.complaints: list[str] = []

    def open(self, **options: Any) -> Any:
        context = self._browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self._contexts.append(context)
        return self.also_in(context)

    def also_in(self, context: Any) -> Any:
        """Another tab of the same person."""
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._said)
        page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _said(self, message: Any) -> None:
        # A poll that the change to WebSocket overtook is answered 400; the client is past it.
        if message.type == "error" and "transport=polling" not in message.location.get("url", ""):
            self.complaints.append(message.text)


def tab_until_at(page: Any, target: Any, key: str = "Tab", *, at_most: int) -> None:
    """Press the key until the element has the focus, so often at most."""
    for _ in range(at_most):
        if target.evaluate("node => node === node.getRootNode().activeElement"):
            return
        page.keyboard.press(key)
    pytest.fail("no number of Tabs leads there")
