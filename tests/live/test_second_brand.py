"""The sandbox's second brand, as `make demo` starts it: customers log in, in headless Chromium too."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator

import pytest
import requests

from tests.support.clients import PythonClient
from tests.support.servers import Server, free_port
from tests.support.tools import ROOT, needs

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    port = free_port()
    with Server([sys.executable, "-m", "lchook.sandbox"], port) as server:
        yield server


def log_in(demo: Server, customer_id: str) -> str:
    who = {"customer_id": customer_id, "customer_name": "Ada Lindgren"}
    return str(requests.post(f"{demo.url}/second/log-in", json=who, timeout=10).json()["token"])


def test_the_page_logs_in_chats_and_goes_on_after_the_keys_were_rotated(demo: Server) -> None:
    chromium = shutil.which("chromium") or needs("chromium")
    if not (ROOT / "node_modules/socket.io-client/dist/socket.io.min.js").is_file():
        pytest.skip("node_modules/socket.io-client is missing: npm ci brings it")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(f"{demo.url}/second/")
        state, log = page.locator("#state"), page.get_by_role("log")
        page.get_by_role("button", name="Log in").click()
        sync_api.expect(state).to_contain_text("Logged in as Ada Lindgren")
        page.get_by_label("Your message").fill("help")
        page.get_by_role("button", name="Send").click()
        sync_api.expect(log.locator(".theirs").first).to_be_visible(timeout=15_000)
        page.get_by_role("button", name="Rotate keys").click()
        sync_api.expect(state).to_contain_text("From now on key-")
        page.get_by_label("Customer id").fill("customer-2")
        page.get_by_role("button", name="Log in").click()
        sync_api.expect(state).to_contain_text("(customer-2)", timeout=15_000)
        page.get_by_label("Your message").fill("help")
        page.get_by_role("button", name="Send").click()
        sync_api.expect(log.locator(".theirs").first).to_be_visible(timeout=15_000)
        assert problems == []
        browser.close()


def test_both_brands_are_in_one_hook_and_only_the_second_asks_who_one_is(demo: Server) -> None:
    with PythonClient(demo.url, auth={"connection": "default"}) as first:
        assert first.say("customer-9")["status"] == "sent"
    with PythonClient(demo.url, auth={"connection": "second", "token": log_in(demo, "customer-9")}) as second:
        assert second.call("clientMessage", {"type": "text", "text": ["help"], "message_id": "1"})["status"] == "sent"
        second.wait_for_messages(1)
    figures = requests.get(f"{demo.url}/metrics", timeout=10).text
    for name in ("default", "second"):
        assert re.search(rf'lch_messages_to_dms_total\{{connection="{name}",outcome="sent",type="text"\}} [1-9]', figures)


NONSENSE = [None, [], {}, {"customer_id": 1, "customer_name": "x"}, {"customer_id": "", "customer_name": "x"}]


@pytest.mark.parametrize("body", NONSENSE)
def test_nonsense_is_no_log_in(demo: Server, body: object) -> None:
    answer = requests.post(f"{demo.url}/second/log-in", json=body, timeout=10)
    assert answer.status_code == 400
    assert "customer_id" in answer.json()["error"]
