"""A customer at a chat of client/lch-chat.js, on a site as strict as a bank's."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.chromium import Pages
from tests.support.demo import Demo
from tests.support.sites import Site

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

_numbers = itertools.count(1)

MENU = {
    "type": "menu",
    "title": "Which one?",
    "items": [{"text": "First", "payload": "1st"}, {"text": "Second", "payload": "2nd"}],
}
CAROUSEL = {
    "type": "carousel",
    "items": [
        {"title": "Blue card", "sub_title": "For one person", "items": MENU["items"]},
        {"title": "Gold card", "items": [{"text": "Third", "payload": "3rd", "description": "99 a year"}]},
    ],
}


class Chat:
    """One tab of one customer. Locators of playwright look into the element's shadow."""

    def __init__(self, page: Any, demo: Demo, site: Site, customer_id: str) -> None:
        self.page, self.demo, self.site, self.customer_id = page, demo, site, customer_id
        self.element = page.locator("lch-chat")
        self.log = page.locator("lch-chat .log")
        self.box = page.locator("lch-chat textarea")
        self.ours = self.log.locator(".ours")
        # A waiting time goes when somebody answers.
        self.wait_time = self.log.locator("[data-type=wait_time]")
        self.theirs = self.log.locator(".theirs, .announcement:not([data-type=wait_time])")
        self.connection = page.locator("lch-chat .connection")
        self.launcher = page.locator("lch-chat .launcher")

    def open(self, **attributes: str) -> Chat:
        """Opens the site's page, with the chat open and connected unless the attributes say otherwise."""
        self.visit(**{"open": "", **attributes})
        self.is_connected()
        return self

    def visit(self, **attributes: str) -> Chat:
        query = {"customer-id": self.customer_id, "customer-name": "Ada Lindgren"}
        query.update((name.replace("_", "-"), value) for name, value in attributes.items())
        self.page.goto(f"{self.site.url}/?{urlencode(query)}")
        return self

    def is_connected(self) -> None:
        expect(self.connection).to_have_attribute("data-state", "connected")

    def say(self, text: str) -> Any:
        """Says it, and gives the message as it is shown."""
        self.box.fill(text)
        self.box.press("Enter")
        return self.log.locator(".ours").last

    def hears(self, **body: Any) -> Any:
        """DMS says it; gives the message as it is shown."""
        before = self.theirs.count()
        self.demo.dms_says(self.customer_id, **body)
        shown = self.wait_time if body["type"] == "wait_time" else self.theirs.nth(before)
        shown.wait_for(state="attached")
        return shown

    def posted_once(self, postback: str) -> None:
        """Of all that was pressed, DMS got one choice."""
        self.say("and now a text")
        choices = [body["postback"] for body in self.demo.posts(self.customer_id, "and now a text") if "postback" in body]
        assert choices == [postback]


def new_chat(pages: Pages, demo: Demo, site: Site, **options: Any) -> Chat:
    return Chat(pages.open(**options), demo, site, f"element-{next(_numbers)}")
