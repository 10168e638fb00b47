"""The sandbox's page in headless Chromium, served by the real demo: hook, sandbox DMS and page in one gunicorn.

The chat on it has tests of its own (test_chat_element.py); here is what the page makes of it. Every test chats as a
customer of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from lchook.sandbox.bodies import KINDS
from lchook.sandbox.faults import DMS_FAULTS, WEBHOOK_FAULTS
from tests.support.chromium import DEADLINE_SECONDS, Pages, tab_until_at
from tests.support.demo import Demo

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Locator, Page, expect = sync_api.Locator, sync_api.Page, sync_api.expect


class Chat:
    """A customer at the page."""

    def __init__(self, page: Page, demo: Demo, customer_id: str) -> None:
        self.page, self.demo, self.customer_id = page, demo, customer_id
        self.log = page.get_by_role("log", name="Conversation")
        self.box = page.get_by_label("Your message")
        self.connection = page.locator("lch-chat .connection")

    def open(self, customer_name: str = "Ada Lindgren") -> Chat:
        self.page.goto(f"{self.demo.url}/#customer={quote(self.customer_id)}&name={quote(customer_name)}")
        expect(self.connection).to_have_attribute("data-state", "connected")
        return self

    def say(self, text: str) -> Locator:
        """Says it, and gives the message as it is shown."""
        self.box.fill(text)
        self.box.press("Enter")
        return self.log.locator(".ours").last

    def helped(self) -> Chat:
        """Says something and waits for all of the bot's answer, which takes its time."""
        self.say("help")
        expect(self.log).to_contain_text("Anything else I repeat.")
        return self

    def hears_from_agent(self, kind: str, **body: Any) -> Locator:
        """The sandbox's agent says it; gives the message as it is shown."""
        before = self.log.locator(".theirs, .announcement").count()
        body = {"customer_id": self.customer_id, "kind": kind, **body}
        answer = requests.post(f"{self.demo.url}/sandbox/say", json=body, timeout=DEADLINE_SECONDS)
        assert answer.json() == {"status": 200}
        shown = self.log.locator(".theirs, .announcement").nth(before)
        expect(shown).to_be_visible()
        return shown

    def rows(self, kind: str, text: str) -> Locator:
        """This customer's rows beside the chat, of this kind (event, post or webhook), that contain the text."""
        return self.page.locator(f".wire-row[data-kind={kind}]:has(.wire-customer:empty)").filter(has_text=text)

    def json_of(self, row: Locator) -> Any:
        row.locator("summary").click()
        shown = row.locator("pre")
        expect(shown).to_contain_text("}")
        return json.loads(shown.inner_text())


_numbers = itertools.count(1)


@pytest.fixture
def new_chat(demo: Demo, pages: Pages) -> Iterator[Callable[..., Chat]]:
    demo.faults()
    yield lambda **options: Chat(pages.open(**options), demo, f"page-{next(_numbers)}").open()
    demo.faults()


@pytest.fixture
def chat(new_chat: Callable[..., Chat], pages: Pages) -> Iterator[Chat]:
    """A connected customer at a page that must not complain."""
    yield new_chat()
    assert pages.complaints == []


def test_the_page_connects_once_and_as_the_customer(pages: Pages, demo: Demo) -> None:
    page, handshakes = pages.open(), []
    page.on(
        "request",
        lambda request: "/socket.io/?" in request.url and "sid=" not in request.url and handshakes.append(request.url),
    )
    Chat(page, demo, f"page-{next(_numbers)}").open().helped()
    assert len(handshakes) == 1


# What DMS sends, on the screen


def test_an_image_is_shown_and_another_file_is_a_link_with_name_and_size(chat: Chat) -> None:
    message = chat.hears_from_agent("attachments")
    image = message.get_by_role("img", name="harbour.svg")
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0
    link = message.get_by_role("link", name="opening-hours.txt")
    expect(link).to_have_attribute("href", re.compile(re.escape(f"{chat.demo.url}/sandbox/files/opening-hours.txt?")))
    expect(message).to_contain_text("opening-hours.txt 61 bytes")


def test_a_file_without_type_and_size_is_told_by_its_name(chat: Chat) -> None:
    chat.demo.faults(link_seconds=3600)
    with_type = chat.hears_from_agent("attachments")
    url = with_type.get_by_role("img").get_attribute("src")
    attachments = [{"url": url}, {"url": url, "size": "many"}]
    chat.demo.dms_says(chat.customer_id, type="text", text="Bare", attachments=attachments)
    message = chat.log.locator(".theirs").last
    expect(message).to_contain_text("Bare")
    expect(message.get_by_role("img", name="harbour.svg")).to_have_count(2)


def test_an_image_whose_link_is_dead_is_told_in_words(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat()
    chat.demo.faults(webhook="dead_links")
    message = chat.hears_from_agent("attachments")
    expect(message).to_contain_text("can no longer be shown")
    with chat.page.expect_popup() as opened:
        message.get_by_role("link", name="opening-hours.txt").click()
    expect(opened.value.locator("body")).to_contain_text("Request has expired")


def test_a_menu_choice_is_shown_as_its_text_and_posted_back_as_its_payload(chat: Chat) -> None:
    chat.say("hello")
    chat.log.get_by_role("button", name="A link, please").click()
    expect(chat.log.locator(".ours").last).to_contain_text("A link, please")
    expect(chat.log.get_by_role("link", name="Open Pega's documentation")).to_be_visible()
    ((_, facts),) = chat.json_of(chat.rows("post", "text").last).items()
    body = facts["request"]["body"]
    assert (body["type"], body["text"], body["postback"]) == ("text", ["A link, please"], "link")


def test_a_carousel_shows_its_cards_and_posts_a_choice_back(chat: Chat) -> None:
    chat.say("carousel")
    cards = chat.log.locator(".card")
    expect(cards).to_have_count(3)
    expect(cards.first).to_contain_text("For one person")
    expect(cards.first.locator("img").first).to_be_visible()
    cards.nth(1).get_by_role("button", name="Choose Medium").click()
    expect(chat.log).to_contain_text("You chose: choose medium")


# What the customer does


def test_a_file_can_be_attached_by_its_address_and_only_by_a_web_address(chat: Chat) -> None:
    chat.page.get_by_text("Attach a file…").click()
    address = chat.page.get_by_label("Address of a file to attach")
    address.fill("javascript:alert(1)")
    address.press("Enter")
    expect(chat.log.locator(".ours")).to_have_count(0)
    address.fill("https://example.com/photo.pdf")
    address.press("Enter")
    expect(chat.log.locator(".ours").get_by_role("link", name="photo.pdf")).to_be_visible()
    row = chat.rows("event", "clientMessage text").last
    assert chat.json_of(row)["arguments"][0]["attachments"] == [{"url": "https://example.com/photo.pdf"}]


def test_the_agent_ends_the_conversation(chat: Chat) -> None:
    chat.say("bye")
    expect(chat.page.get_by_text("This conversation has ended.")).to_be_visible()
    chat.page.get_by_role("button", name="Start a new conversation").click()
    expect(chat.box).to_be_visible()


def test_a_failed_message_says_why_and_can_be_sent_again(chat: Chat) -> None:
    chat.helped().demo.faults(dms="400")
    message = chat.say("Can you hear me?")
    expect(message).to_contain_text("Not sent")
    expect(message).to_contain_text("400")
    expect(chat.rows("event", "serverError").first).to_be_attached()
    chat.demo.faults()
    message.get_by_role("button", name="Send again").click()
    expect(chat.log.locator(".ours").last).to_contain_text("✓Sent")
    expect(chat.log).to_contain_text("You said: “Can you hear me?”")
    ids = [chat.json_of(row)["arguments"][0]["message_id"] for row in chat.rows("event", "clientMessage text").all()[-2:]]
    assert ids[0] != ids[1]


def test_somebody_without_a_name_can_chat(chat: Chat) -> None:
    chat.page.get_by_label("Customer", exact=True).select_option(label="Unauthenticated person")
    expect(chat.connection).to_have_attribute("data-state", "connected")
    chat.say("hello")
    expect(chat.log).to_contain_text("I am Robin")
    row = chat.rows("event", "clientMessage text").last
    assert chat.json_of(row)["arguments"][0]["customer_id"] == ""


def test_another_customer_has_another_conversation_and_the_first_one_is_kept(chat: Chat) -> None:
    chat.helped()
    choice = chat.page.get_by_label("Customer", exact=True)
    choice.select_option(label="Somebody else…")
    dialog = chat.page.get_by_role("dialog")
    other = f"page-{next(_numbers)}"
    dialog.get_by_label("Customer id").fill(other)
    dialog.get_by_label("Name", exact=True).fill("Grace Hopper")
    dialog.get_by_role("button", name="Chat").click()
    expect(chat.page.get_by_role("heading", level=2, name="Grace Hopper")).to_be_visible()
    expect(chat.log.locator(".message")).to_have_count(0)
    assert other in chat.page.url
    expect(chat.rows("event", "disconnected: io client disconnect")).to_have_count(1)
    chat.say("hello")
    expect(chat.log).to_contain_text("Hello, Grace Hopper!")
    choice.select_option(label=f"Ada Lindgren ({chat.customer_id})")
    expect(chat.log).to_contain_text("Anything else I repeat.")
    expect(chat.log).not_to_contain_text("Grace Hopper")


def test_a_whole_conversation_needs_only_the_keyboard(chat: Chat) -> None:
    press = chat.page.keyboard.press

    tab_to = partial(tab_until_at, chat.page, at_most=60)
    tab_to(chat.box)
    chat.page.keyboard.type("hello")
    press("Enter")
    offers = chat.log.get_by_role("button", name="Show me some offers")
    expect(offers).to_be_visible()
    tab_to(offers, "Shift+Tab")
    press("Enter")
    expect(chat.log.locator(".card")).to_have_count(3)
    row = chat.rows("post", "text").last
    tab_to(chat.page.locator(".wire-row summary").last)
    tab_to(row.locator("summary"), "ArrowUp")
    press("Enter")
    expect(row.locator("pre")).to_be_visible()
    tab_to(chat.page.get_by_role("button", name="End chat"), "Shift+Tab")
    press("Space")
    press("Enter")
    start = chat.page.get_by_role("button", name="Start a new conversation")
    expect(start).to_be_focused()
    press("Enter")
    expect(chat.box).to_be_focused()


def test_the_page_says_what_is_missing_where_it_stands_alone(demo: Demo, pages: Pages) -> None:
    page = pages.open()
    page.route(re.compile("/sandbox/(wire|faults|say|config.json)"), lambda route: route.fulfill(status=404))
    chat = Chat(page, demo, f"page-{next(_numbers)}").open()
    expect(page.get_by_role("alert")).to_contain_text("settings could not be read")
    expect(page.locator("#wire-notice")).to_contain_text("cannot be shown at the moment")
    chat.say("hello")
    expect(chat.log).to_contain_text("I am Robin")


def test_a_customer_whose_id_is_a_number_speaks_with_the_number(chat: Chat) -> None:
    chat.page.get_by_label("Customer", exact=True).select_option(label="Dana Weiss (200)")
    expect(chat.page.get_by_role("heading", level=2, name="Dana Weiss")).to_be_visible()
    chat.say("hello")
    expect(chat.log.locator(".theirs").last).to_be_visible()
    # The address, after which the customer is known again, has no types.
    chat.page.reload()
    chat.say("help")
    expect(chat.log).to_contain_text("Anything else I repeat.")
    for row in chat.rows("event", "clientMessage text").all():
        assert chat.json_of(row)["arguments"][0]["customer_id"] == 200


def test_the_wire_names_what_the_hook_ignored(chat: Chat) -> None:
    chat.page.evaluate("document.querySelector('lch-chat').client.send({ text: 'hello', timestamp: 1, mood: 'fine' })")
    expect(chat.rows("event", "clientMessage text")).to_contain_text("ack sent, ignored: timestamp, mood")


def test_the_shop_has_the_chat_and_two_tabs_are_in_step(demo: Demo, pages: Pages) -> None:
    demo.faults(webhook="silence")
    one = pages.open()
    other = pages.also_in(one.context)
    for page in (one, other):
        page.goto(f"{demo.url}/shop")
        page.get_by_role("button", name="Open the chat").click()
        expect(page.locator("lch-chat .connection")).to_have_attribute("data-state", "connected")
    for page, text in ((one, "Is the Harbour roast in?"), (other, "And ground?")):
        page.get_by_label("Your message").fill(text)
        page.keyboard.press("Enter")
        for tab in (one, other):
            expect(tab.locator("lch-chat .ours").last).to_contain_text(text)
            expect(tab.locator("lch-chat .ours").last).to_contain_text("✓Sent")
    expect(one.locator("lch-chat .ours")).to_have_count(2)
    assert pages.complaints == []


# Beside the chat


def test_the_wire_shows_events_posts_and_webhooks_with_status_and_duration(chat: Chat) -> None:
    chat.helped()
    event = chat.rows("event", "clientMessage text").last
    expect(event).to_contain_text(re.compile(r"to_dms.*ack sent.*\d (ms|s)"))
    post = chat.rows("post", "text").last
    expect(post).to_contain_text(re.compile(r"to_dms.*200.*\d (ms|s)"))
    webhook = chat.rows("webhook", "text").last
    expect(webhook).to_contain_text(re.compile(r"to_customer.*200.*\d (ms|s)"))
    ((address, facts),) = chat.json_of(post).items()
    assert address.startswith("POST http://")
    assert facts["request"]["body"]["text"] == ["help"]
    shown = post.locator("pre").inner_text()
    assert '\n  "POST' in shown
    assert "Bearer ey" not in shown


def test_the_wire_can_be_narrowed_to_a_kind_and_cleared(chat: Chat) -> None:
    chat.helped()
    chat.page.get_by_role("button", name="Webhooks").click()
    expect(chat.rows("event", "clientMessage").first).to_be_hidden()
    expect(chat.rows("webhook", "text").first).to_be_visible()
    chat.page.get_by_role("button", name="Clear").click()
    expect(chat.page.locator(".wire-row")).to_have_count(0)


def test_faults_are_set_in_plain_words_and_taken_back(chat: Chat) -> None:
    chat.page.locator("#faults > summary").click()
    chat.page.get_by_label("When LCH posts a message, DMS…").select_option("has an error (500)")
    # Two posts: that the customer types is one, too.
    chat.page.get_by_label("For how many posts").fill("2")
    chat.page.get_by_role("button", name="Apply").click()
    badge = chat.page.locator("#faults-badge")
    expect(badge).to_contain_text("has an error (500), 2 more")
    chat.box.fill("one")
    # An indicator that is overtaken by its message is not posted.
    expect(badge).to_contain_text("1 more")
    chat.box.press("Enter")
    expect(chat.log.locator(".ours").last).to_contain_text(re.compile("Not sent: .*500"))
    expect(badge).to_have_text("none")
    expect(chat.say("two")).to_contain_text("✓Sent")


def test_the_panels_offer_all_that_the_sandbox_can_do(chat: Chat) -> None:
    def values(name: str) -> list[str]:
        found: list[str] = chat.page.locator(f"select[name={name}] option").evaluate_all(
            "all => all.map((one) => one.value)"
        )
        return found

    assert sorted(values("dms")) == sorted(DMS_FAULTS)
    assert sorted(values("webhook")) == sorted(WEBHOOK_FAULTS)
    chat.page.get_by_text("The agent says…").click()
    for button in chat.page.locator("#say-kinds button").all():
        chat.page.locator("#say-status").evaluate("node => { node.textContent = ''; }")
        button.click()
        expect(chat.page.locator("#say-status")).to_contain_text("200")
    # All kinds but "text", which has a field of its own.
    assert chat.page.locator("#say-kinds button").count() == len(KINDS) - 1


def test_faults_of_dms_are_set_and_seen_at_the_page(chat: Chat) -> None:
    chat.page.locator("#faults > summary").click()
    chat.page.get_by_label("When DMS answers, it…").select_option("uses each message_id again")
    chat.page.get_by_label("Links to files die after").fill("2")
    chat.page.get_by_role("button", name="Apply").click()
    expect(chat.page.locator("#faults-badge")).to_have_text("DMS uses each message_id again; links die after 2 s")
    chat.say("help")
    expect(chat.log.get_by_text("Anything else I repeat")).to_have_count(1)
    expect(chat.log.get_by_text("the message_id of the one before")).to_have_count(2)
    chat.page.get_by_role("button", name="No faults").click()
    expect(chat.page.locator("#faults-badge")).to_have_text("none")


def test_the_agent_can_be_made_to_say_something(chat: Chat) -> None:
    chat.page.get_by_text("The agent says…").click()
    chat.page.get_by_label("What the agent says").fill("A word from me")
    chat.page.keyboard.press("Enter")
    expect(chat.log).to_contain_text("A word from me")
    expect(chat.page.locator("#say-status")).to_contain_text("200")
    chat.page.get_by_role("button", name="Carousel").click()
    expect(chat.log.locator(".card").first).to_be_visible()


# How it looks


def test_a_phone_shows_one_thing_at_a_time_and_never_scrolls_sideways(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat(viewport={"width": 360, "height": 740}, has_touch=True)
    no_sideways = "document.documentElement.scrollWidth <= window.innerWidth"
    chat.say("hello")
    expect(chat.log.get_by_role("button", name="Show me some offers")).to_be_visible()
    chat.say("carousel")
    expect(chat.log.locator(".card")).to_have_count(3)
    chat.demo.dms_says(chat.customer_id, type="text", text=["W" * 500, "https://example.com/" + "x" * 300])
    expect(chat.log).to_contain_text("WWW")
    assert chat.page.evaluate(no_sideways)
    expect(chat.page.locator("#wire-title")).to_be_hidden()
    chat.page.get_by_role("button", name="Behind the scenes").click()
    expect(chat.box).to_be_hidden()
    chat.json_of(chat.rows("post", "text").last)
    chat.page.locator("#faults > summary").click()
    assert chat.page.evaluate(no_sideways)


def test_every_control_has_a_name_for_screen_readers(chat: Chat) -> None:
    chat.say("carousel")
    expect(chat.log.locator(".card")).to_have_count(3)
    nameless = chat.page.evaluate(
        """[...document.querySelectorAll("button, input, select, textarea, a, summary")]
             .filter((node) => !(node.labels?.length || node.ariaLabel || node.textContent.trim()))
             .map((node) => node.outerHTML)"""
    )
    assert nameless == []
    assert chat.log.get_attribute("aria-live") == "polite"


def test_a_screenshot_for_the_readme(chat: Chat) -> None:
    """Writes chat.png to the folder LCH_SCREENSHOTS; without it, only checks that there is something to show."""
    chat.page.get_by_label("Customer", exact=True).select_option(label="Ada Lindgren (customer-1)")
    expect(chat.connection).to_have_attribute("data-state", "connected")
    chat.page.get_by_role("button", name="Clear").click()
    chat.say("hello")
    chat.log.get_by_role("button", name="Show me some offers").click()
    expect(chat.log.locator(".card")).to_have_count(3)
    expect(chat.rows("event", "conversationMessage carousel").last).to_be_visible()
    folder = os.environ.get("LCH_SCREENSHOTS")
    picture = chat.page.screenshot(animations="disabled")
    assert len(picture) > 20_000
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "chat.png").write_bytes(picture)
