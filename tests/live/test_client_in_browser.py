"""The client library in Chromium, as its README puts it on a page: from the hook, under a strict policy, in two tabs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lchook.sandbox.faults import Answer
from tests.docs.pages import page as pages
from tests.support.hooks import Hook, running_hook
from tests.support.servers import gunicorn_command
from tests.support.tools import needs
from tests.support.waiting import wait_until

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


class Site:
    """A site of its own origin, with the README's page."""

    def __init__(self) -> None:
        site = self
        self.hook_url = ""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                (html,) = pages("client/README.md").blocks("html")
                script = pages("client/README.md").blocks("js")[0].replace("https://hook.example.com", site.hook_url)
                body, content_type = {"/": (html, "text/html"), "/chat.js": (script, "text/javascript")}.get(
                    self.path, ("", "image/x-icon")
                )
                websocket = site.hook_url.replace("http", "ws", 1)
                self.send_response(200)
                self.send_header("Content-Type", f"{content_type}; charset=utf-8")
                self.send_header("Content-Security-Policy", f"default-src 'self' {site.hook_url} {websocket}")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Chromium has Web Locks only where it trusts the address; it trusts this one.
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def hook(site: Site) -> Iterator[Hook]:
    with running_hook(gunicorn_command, ALLOWED_ORIGIN=site.url, DMS_READ_TIMEOUT="20") as hook:
        site.hook_url = hook.url
        yield hook


@pytest.fixture
def browser() -> Iterator[Any]:
    path = needs("chromium")
    sync_api.expect.set_options(timeout=20_000)
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def test_the_readmes_page_talks_and_its_tabs_take_over_from_each_other_and_never_twice(
    browser: Any, site: Site, hook: Hook
) -> None:
    context = browser.new_context()
    complaints: list[str] = []

    def open_tab() -> Any:
        tab = context.new_page()
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        tab.goto(site.url)
        sync_api.expect(tab.locator("#state")).to_have_text("connected ")
        return tab

    def say(tab: Any, text: str) -> None:
        tab.locator("#text").fill(text)
        tab.locator("button").click()

    first = open_tab()
    say(first, "Hello")
    sync_api.expect(first.locator("li")).to_have_text(["You: Hello (sent)"])
    (customer,) = {post["customer_id"] for post in hook.dms.accepted}
    hook.webhook(customer, "Hi <b>there</b>")
    sync_api.expect(first.locator("li")).to_have_text(["You: Hello (sent)", "Maya Lindqvist: Hi <b>there</b>"])

    hook.dms.answer = lambda _: Answer(delay_seconds=6)
    say(first, "Slowly")
    sync_api.expect(first.locator("li").last).to_contain_text("Slowly (pending)")
    second = open_tab()
    sync_api.expect(second.locator("li")).to_have_count(0)
    assert second.evaluate("Object.keys(localStorage).filter((key) => key.includes('messages')).length") == 1
    first.close()
    sync_api.expect(second.locator("li")).to_have_text(["You: Slowly (sent)"])
    wait_until(
        lambda: second.evaluate("Object.keys(localStorage).filter((key) => key.includes('messages'))") == [],
        "nothing in the storage",
    )
    texts = [post["text"] for post in hook.dms.accepted if post["type"] == "text"]
    assert texts == [["Hello"], ["Slowly"]]
    assert complaints == []
    context.close()
