"""client/lch-chat.js in headless Chromium, on a page of another origin whose policy is `default-src 'self'` and the hook.

Every test chats as a customer of its own, with a bot that says nothing. What DMS says is posted as a signed webhook.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.live.chat_element import CAROUSEL, MENU, Chat
from tests.live.chat_element import new_chat as make_chat
from tests.support.chromium import Pages, tab_until_at
from tests.support.demo import Demo
from tests.support.sites import Site
from tests.support.tools import ROOT, npm_package
from tests.support.waiting import wait_until

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

LANGUAGES = ("en", "nl", "de", "fr", "es")


@pytest.fixture
def new_chat(pages: Pages, demo: Demo, site: Site) -> Iterator[Callable[..., Chat]]:
    demo.faults(webhook="silence")
    yield lambda **options: make_chat(pages, demo, site, **options)
    demo.faults()


@pytest.fixture
def chat(new_chat: Callable[..., Chat], pages: Pages) -> Iterator[Chat]:
    """A connected customer at a page that must not complain."""
    yield new_chat().open()
    assert pages.complaints == []


# What DMS sends, on the screen


def test_each_type_is_shown_for_what_it_is(chat: Chat) -> None:
    message = chat.hears(type="text", text=["First line\nsecond line", "Another string"])
    expect(message.locator(".text")).to_have_text(["First line\nsecond line", "Another string"])
    expect(message).to_contain_text("Kim")
    expect(chat.hears(type="text", text="One plain string", author="bot")).to_contain_text("One plain string")
    expect(chat.hears(type="text", text=5, csr_name=7)).to_contain_text("5")
    expect(chat.hears(type="text", text=["Extra"], waitTime=1, nested={"a": [1]})).to_contain_text("Extra")
    expect(chat.hears(type="text", text=["See https://example.com/a?b=1."]).get_by_role("link")).to_have_attribute(
        "href", "https://example.com/a?b=1"
    )
    expect(chat.hears(type="wait_time", waitTime="3 minutes")).to_contain_text("Estimated waiting time: 3 minutes")
    menu = chat.hears(**MENU)
    expect(menu.get_by_role("list", name="Which one?").get_by_role("button")).to_have_text(["First", "Second"])
    cards = chat.hears(**CAROUSEL).locator(".card")
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("For one person")
    expect(cards.nth(1).get_by_role("button")).to_contain_text("99 a year")
    link_button = chat.hears(type="link_button", title="Our terms", label="Read them", url="https://example.com/terms")
    expect(link_button).to_contain_text("Our terms")
    link = link_button.get_by_role("link", name="Read them")
    expect(link).to_have_attribute("href", "https://example.com/terms")
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    for address in ("mailto:help@example.com", "tel:+46123456"):
        shown = chat.hears(type="link_button", label="Call us", url=address).get_by_role("link", name="Call us")
        expect(shown).to_have_attribute("href", address)
    files = [{"url": "https://example.com/a%20b.pdf?X-Amz-Expires=900"}, {"url": "https://example.com/x", "size": 61_000}]
    message = chat.hears(type="text", attachments=files)
    expect(message.get_by_role("link", name="a b.pdf")).to_be_visible()
    expect(message).to_contain_text("61 kB")
    unknown = chat.hears(type="hologram", beam=[1, 2])
    expect(unknown.locator("pre")).to_be_hidden()
    unknown.locator("summary").click()
    assert json.loads(unknown.locator("pre").inner_text())["beam"] == [1, 2]
    expect(chat.log).not_to_contain_text("[object")


def test_somebody_typing_is_shown_until_their_message_comes(chat: Chat) -> None:
    chat.hears(type="text", text=["Hello"])
    chat.demo.dms_says(chat.customer_id, type="typing_indicator", csr_name=None)
    typing = chat.page.locator("lch-chat .typing")
    expect(typing).to_have_text("Kim is typing…")
    chat.hears(type="text", text=["Here it is"])
    expect(typing).to_have_text("")


def test_a_malformed_message_does_not_stop_the_chat(chat: Chat) -> None:
    bodies: list[dict[str, Any]] = [
        {"type": "menu", "title": {"a": 1}, "items": "none"},
        {"type": "menu", "items": [None, 7, {"text": None}]},
        {"type": "carousel", "items": [{"items": {}}, None, {"title": ["x"]}]},
        {"type": "text", "text": None, "attachments": [None, "x", {}]},
        {"type": "text", "text": "", "attachments": []},
        {"type": "text", "text": ["One", "two"], "author": {"odd": 1}},
        {"type": "link_button"},
        {"type": ["text"], "csr_name": {}},
        {"type": "constructor"},
    ]
    for body in bodies:
        chat.hears(**body)
    expect(chat.hears(type="text", text=["Still here"])).to_contain_text("Still here")


def test_nothing_from_outside_becomes_html_or_runs(chat: Chat) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    bad_url = "java\tscript:alert(3)"
    texts = chat.hears(type="text", text=[hostile], csr_name=hostile)
    expect(texts.locator(".text")).to_have_text(hostile)
    chat.hears(type="menu", title=hostile, items=[{"text": hostile, "payload": hostile, "image_url": bad_url}])
    chat.hears(type="carousel", items=[{"title": hostile, "sub_title": hostile, "title_image_url": bad_url, "items": []}])
    chat.hears(type="link_button", title=hostile, label="Press me", url="javascript:alert(4)")
    chat.hears(type="link_button", label="Press me", url="data:text/html,<script>alert(6)</script>")
    attachment = {"url": bad_url, "content_type": "image/png", "file_name": hostile, "size": 1}
    chat.hears(
        type="text",
        text=["file"],
        attachments=[attachment, {**attachment, "url": "data:text/html,<script>alert(5)</script>"}],
    )
    chat.hears(type="link_button", label="Press me", url="/logout")
    chat.hears(type=hostile)
    expect(chat.say(hostile)).to_contain_text("<script>")
    expect(chat.hears(type="text", text=["The end"])).to_contain_text("The end")
    assert chat.log.locator("img, script, a").count() == 0
    expect(chat.log).to_contain_text("not a web address: no link")


def test_a_repeat_is_shown_once_and_an_id_used_again_is_another_message(chat: Chat) -> None:
    body = {"type": "text", "text": ["Only once"], "message_id": "the-same", "nested": {"a": 1, "b": [{"c": 2, "d": 3}]}}
    again = {**dict(reversed(body.items())), "nested": {"b": [{"d": 3, "c": 2}], "a": 1}}
    for each in (body, again):
        chat.demo.dms_says(chat.customer_id, **each)
    for text in ("One", "Two"):
        chat.demo.dms_says(chat.customer_id, type="text", text=[text], message_id=1)
    expect(chat.log.locator(".text")).to_have_text(["Only once", "One", "Two"])
    chat.page.reload()
    expect(chat.log.locator(".text")).to_have_text(["Only once", "One", "Two"])


# A menu is answered once


@pytest.mark.parametrize("body", [MENU, CAROUSEL], ids=["menu", "carousel"])
def test_a_menu_is_answered_once_also_after_a_reload(chat: Chat, body: dict[str, Any]) -> None:
    message = chat.hears(**body)
    buttons = message.locator("button.choice")
    buttons.nth(1).click()
    expect(message.locator("button.choice:enabled")).to_have_count(0)
    expect(message.locator("button.choice.chosen")).to_have_text("Second")
    expect(chat.ours).to_contain_text("Second")
    # A script is faster than any person: clicks in one turn, on all buttons, enabled or not.
    buttons.evaluate_all("buttons => buttons.forEach((button) => button.click())")
    chat.posted_once("2nd")
    chat.page.reload()
    chat.is_connected()
    expect(chat.log.locator("button.choice.chosen")).to_have_text("Second")
    expect(chat.log.locator("button.choice:enabled")).to_have_count(0)


@pytest.mark.parametrize("how", ["dblclick", "two buttons", "held Enter", "Enter and Space"])
def test_no_way_of_pressing_answers_twice(chat: Chat, how: str) -> None:
    chat.demo.faults(dms="slow", delay_seconds=0.2, webhook="silence")
    message = chat.hears(**MENU)
    first = message.get_by_role("button", name="First")
    keyboard = chat.page.keyboard
    if how == "dblclick":
        first.dblclick()
    elif how == "two buttons":
        message.locator("button.choice").evaluate_all("all => all.forEach((button) => button.click())")
    else:
        first.focus()
        keyboard.down("Enter")
        if how == "held Enter":
            keyboard.down("Enter")
            keyboard.down("Enter")
        keyboard.up("Enter")
        keyboard.press("Space")
        chat.box.fill("")
    chat.posted_once("1st")


def test_each_menu_is_answered_for_itself_and_words_do_not_answer_it(chat: Chat) -> None:
    older, newer = chat.hears(**MENU), chat.hears(**MENU)
    older.get_by_role("button", name="Second").click()
    expect(older.locator("button.choice:enabled")).to_have_count(0)
    chat.say("the first, please")
    expect(newer.locator("button.choice:enabled")).to_have_count(2)
    newer.get_by_role("button", name="First").click()
    expect(newer.locator("button.choice:enabled")).to_have_count(0)
    expect(chat.log.locator("button.choice.chosen")).to_have_text(["Second", "First"])


@pytest.mark.parametrize("then", ["the same", "another", "send again"])
def test_a_choice_that_failed_can_be_made_again(chat: Chat, then: str) -> None:
    menu = chat.hears(**MENU)
    first, second = (menu.get_by_role("button", name=name) for name in ("First", "Second"))
    chat.demo.faults(dms="400", times=1, webhook="silence")
    first.click()
    expect(chat.ours).to_contain_text("Not sent")
    expect(menu.locator("button.choice:enabled")).to_have_count(2)
    expect(menu.locator("button.choice.chosen")).to_have_count(0)
    if then == "send again":
        chat.log.get_by_role("button", name="Send again").click()
    else:
        (first if then == "the same" else second).click()
    # What failed has made way: only one "Send again" could ever answer the menu.
    expect(chat.ours).to_have_count(1)
    expect(chat.ours).to_contain_text("✓Sent")
    expect(menu.locator("button.choice:enabled")).to_have_count(0)
    expect(menu.locator("button.choice.chosen")).to_have_text("Second" if then == "another" else "First")


@pytest.mark.parametrize("ended_by", ["agent", "customer"])
def test_nothing_is_chosen_or_said_again_after_the_end(chat: Chat, ended_by: str) -> None:
    menu, cards = chat.hears(**MENU), chat.hears(**CAROUSEL)
    chat.demo.faults(dms="400", webhook="silence")
    failed = chat.say("Is this still there?")
    expect(failed).to_contain_text("Not sent")
    chat.demo.faults(webhook="silence")
    if ended_by == "agent":
        chat.hears(type="csr_end_session")
    else:
        end(chat)
    expect(chat.box).to_be_hidden()
    for message in (menu, cards):
        expect(message.locator("button.choice:enabled")).to_have_count(0)
    expect(failed.get_by_role("button", name="Send again")).to_be_disabled()
    late = chat.hears(**MENU)
    expect(late.locator("button.choice:enabled")).to_have_count(0)
    chat.page.reload()
    expect(chat.log.locator("button.choice")).to_have_count(7)
    expect(chat.log.locator("button.choice:enabled")).to_have_count(0)
    chat.page.get_by_role("button", name="Start a new conversation").click()
    expect(chat.say("hello again")).to_contain_text("✓Sent")
    expect(chat.hears(**MENU).locator("button.choice:enabled")).to_have_count(2)
    expect(chat.log.locator("button.choice:enabled")).to_have_count(2)


def test_an_end_that_failed_leaves_the_menus_alive(chat: Chat) -> None:
    menu = chat.hears(**MENU)
    chat.demo.faults(dms="400", times=1, webhook="silence")
    end(chat)
    expect(chat.log.locator(".announcement")).to_contain_text("Not sent")
    expect(chat.box).to_be_visible()
    expect(menu.locator("button.choice:enabled")).to_have_count(2)


def end(chat: Chat) -> None:
    chat.page.get_by_role("button", name="End chat").click()
    chat.page.get_by_role("group", name="End this conversation?").get_by_role("button", name="End chat").click()


# What the customer says


def test_a_failed_message_can_be_sent_again_under_another_id(chat: Chat) -> None:
    chat.demo.faults(dms="400", webhook="silence")
    message = chat.say("Can you hear me?")
    expect(message).to_contain_text("Not sent")
    expect(chat.page.locator("lch-chat .announcer")).to_have_text("Not sent")
    first = chat.page.evaluate("document.querySelector('lch-chat').client.entries[0].payload.message_id")
    chat.demo.faults(webhook="silence")
    message.get_by_role("button", name="Send again").click()
    expect(chat.ours).to_have_count(1)
    expect(chat.ours).to_contain_text("✓Sent")
    (body,) = chat.demo.posts(chat.customer_id, "Can you hear me?")[-1:]
    assert body["message_id"] != first


def test_a_message_that_dms_does_not_take_for_now_says_that_it_waits(chat: Chat) -> None:
    chat.demo.faults(dms="503", webhook="silence", retry_after_seconds=6)
    message = chat.say("Any news?")
    expect(message).to_contain_text("Waiting to be delivered")
    chat.demo.faults(webhook="silence")
    expect(message).to_contain_text("✓Sent")


def test_what_is_said_and_chosen_without_a_network_is_sent_once_in_order(chat: Chat) -> None:
    menu = chat.hears(**MENU)
    chat.page.context.set_offline(True)
    expect(chat.connection).to_contain_text("Reconnecting")
    menu.get_by_role("button", name="First").click()
    expect(menu.locator("button.choice:enabled")).to_have_count(0)
    expect(chat.say("and some words")).to_contain_text("Waiting for the connection")
    chat.page.context.set_offline(False)
    expect(chat.ours.last).to_contain_text("✓Sent")
    bodies = chat.demo.posts(chat.customer_id, "and some words")
    assert [body["text"] for body in bodies] == [["First"], ["and some words"]]


def test_typing_is_told_to_dms_now_and_then_and_not_at_every_key(chat: Chat) -> None:
    emitted = chat.page.evaluate_handle(
        """() => {
          const said = [];
          const { client } = document.querySelector("lch-chat");
          const typing = client.typing.bind(client);
          client.typing = () => { said.push(1); typing(); };
          return said;
        }"""
    )
    chat.box.press_sequentially("Hi")
    assert emitted.evaluate("said => said.length") == 2
    chat.box.fill("")
    chat.box.press("Enter")
    expect(chat.ours).to_have_count(0)


# Files


FAKE_UPLOADS = """() => {
  const { client } = document.querySelector("lch-chat");
  window.uploads = [];
  client.upload = (file, { signal, onProgress }) => new Promise((resolve, reject) => {
    window.uploads.push({ file, signal, onProgress, resolve, reject });
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}"""


def picture() -> bytes:
    """A PNG of one red pixel."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def choose(chat: Chat, name: str, content: bytes = b"text", content_type: str = "text/plain") -> Any:
    chat.page.locator("lch-chat [data-picker=files]").set_input_files(
        {"name": name, "mimeType": content_type, "buffer": content}
    )
    return chat.page.locator("lch-chat .file-chip").last


def test_files_are_shown_on_their_way_and_travel_with_the_message(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().open(files="")
    chat.page.evaluate(FAKE_UPLOADS)
    shown = choose(chat, "card.png", picture(), "image/png")
    expect(shown.locator("canvas")).to_be_visible()
    chat.page.evaluate("uploads[0].onProgress(0.42)")
    expect(shown).to_contain_text("42 %")
    cancelled = choose(chat, "wrong.pdf")
    cancelled.get_by_role("button", name="Remove wrong.pdf").click()
    assert chat.page.evaluate("uploads[1].signal.aborted")
    # Pasted, and dropped.
    chat.page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["x"], "pasted.txt", { type: "text/plain" }));
          const root = document.querySelector("lch-chat").shadowRoot;
          const usual = { bubbles: true, cancelable: true };
          root.querySelector("textarea").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, ...usual }));
          for (const type of ["dragover", "drop"]) {
            root.querySelector(".log").dispatchEvent(new DragEvent(type, { dataTransfer: data, ...usual }));
          }
        }"""
    )
    chips = chat.page.locator("lch-chat .file-chip")
    expect(chips).to_have_count(3)
    chat.page.evaluate("uploads[2].reject(new Error('too large: at most 10 MB'))")
    expect(chips.nth(1)).to_contain_text("Not uploaded: too large: at most 10 MB")
    chips.nth(1).get_by_role("button").click()
    # The message waits for what is still on its way.
    chat.say("Here it is")
    expect(chat.ours).to_have_count(0)
    chat.page.evaluate("uploads[0].resolve({ url: 'https://example.com/card.png' })")
    chat.page.evaluate("uploads[3].resolve({ url: 'https://example.com/pasted.txt' })")
    expect(chat.ours).to_contain_text("✓Sent")
    expect(chips).to_have_count(0)
    (body,) = chat.demo.posts(chat.customer_id, "Here it is")
    assert body["attachments"] == [{"url": "https://example.com/card.png"}, {"url": "https://example.com/pasted.txt"}]
    expect(chat.ours.get_by_role("link", name="pasted.txt")).to_be_visible()


def test_where_the_hook_takes_no_files_there_is_no_button_for_them(chat: Chat) -> None:
    expect(chat.page.locator("lch-chat .attach")).to_be_hidden()


# Who sees it, and when


def test_who_does_not_open_it_costs_no_connection(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().visit()
    expect(chat.launcher).to_be_visible()
    expect(chat.launcher).to_have_accessible_name("Open the chat")
    assert chat.page.evaluate("document.querySelector('lch-chat').client") is None
    chat.launcher.click()
    chat.is_connected()
    expect(chat.box).to_be_focused()


def test_what_comes_while_it_is_closed_is_counted_until_it_is_read_in_any_tab(
    new_chat: Callable[..., Chat], pages: Pages
) -> None:
    chat = new_chat().open()
    expect(chat.say("hello")).to_contain_text("✓Sent")
    chat.box.press("Escape")
    expect(chat.launcher).to_be_focused()
    counts = chat.page.evaluate_handle(
        """() => {
          const all = [];
          document.querySelector("lch-chat").addEventListener("unread", ({ detail }) => all.push(detail.count));
          return all;
        }"""
    )
    for text in ("One", "Two"):
        chat.demo.dms_says(chat.customer_id, type="text", text=[text])
    badge = chat.page.locator("lch-chat .badge")
    expect(badge).to_have_text("2")
    expect(chat.launcher).to_have_accessible_name("Open the chat (2 unread)")
    assert counts.json_value() == [1, 2]
    # Closed it stays on the next page, and the count with it.
    chat.page.reload()
    expect(badge).to_have_text("2")
    chat.launcher.click()
    expect(badge).to_be_hidden()
    expect(chat.log).to_contain_text("Two")
    assert pages.complaints == []


def test_it_stays_open_from_page_to_page_and_what_was_said_stays(chat: Chat) -> None:
    chat.say("hello")
    chat.hears(type="text", text=["Hello yourself"])
    chat.visit(open="")
    expect(chat.log.locator(".text")).to_have_text(["hello", "Hello yourself"])
    expect(chat.ours).to_contain_text("✓Sent")


def test_where_the_hook_keeps_nothing_the_tab_remembers_what_was_said(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat()
    client = """async (hook) => {
      const chat = document.querySelector("lch-chat");
      const { LchClient } = await import(`${hook}/client/lch-client.js`);
      chat.client = new LchClient({ url: hook, customerId: chat.getAttribute("customer-id"), conversation: false });
      chat.client.connect();
      chat.open();
    }"""

    def start() -> None:
        # The element's own client gets nowhere.
        chat.visit(hook="http://127.0.0.1:9")
        chat.page.evaluate(client, chat.demo.url)
        chat.is_connected()

    start()
    menu = chat.hears(**MENU)
    menu.get_by_role("button", name="Second").click()
    expect(chat.ours).to_contain_text("✓Sent")
    chat.demo.faults(dms="400", webhook="silence")
    expect(chat.say("not now")).to_contain_text("Not sent")
    chat.demo.faults(webhook="silence")
    start()
    expect(chat.log.locator(".text")).to_have_text(["Which one?", "Second", "not now"])
    expect(chat.log.locator("button.choice.chosen")).to_have_text("Second")
    expect(chat.log.locator("button.choice:enabled")).to_have_count(0)
    chat.log.get_by_role("button", name="Send again").click()
    expect(chat.ours.last).to_contain_text("✓Sent")
    expect(chat.ours).to_have_count(2)


def test_the_page_can_open_it_give_it_a_client_and_replace_texts(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().visit()
    events = chat.page.evaluate(
        """async (hook) => {
          const chat = document.querySelector("lch-chat");
          const events = [];
          for (const name of ["open", "close", "entry"]) chat.addEventListener(name, () => events.push(name));
          const { LchClient } = await import(`${hook}/client/lch-client.js`);
          const client = new LchClient({ url: hook, customerId: chat.getAttribute("customer-id") });
          chat.texts = { placeholder: "Ask the bank" };
          chat.client = client;
          chat.open();
          await client.connect();
          await new Promise((done) => client.addEventListener("connection", done, { once: true }));
          await client.send({ text: "from the page" });
          chat.close();
          // Moved, it is the same chat; removed, it leaves a client that is the page's own alone.
          document.querySelector("main").append(chat);
          await Promise.resolve();
          chat.open();
          if (chat.client !== client) events.push("another client");
          return events;
        }""",
        chat.demo.url,
    )
    assert events == ["open", "entry", "close", "open"]
    expect(chat.ours).to_contain_text("from the page")
    expect(chat.box).to_have_attribute("placeholder", "Ask the bank")


def test_a_customer_at_the_same_browser_sees_nothing_of_the_one_before(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().open()
    expect(chat.say("my secret")).to_contain_text("✓Sent")
    chat.page.evaluate("document.querySelector('lch-chat').setAttribute('customer-id', 'somebody-else')")
    expect(chat.log.locator(".ours")).to_have_count(0)
    chat.is_connected()
    chat.page.reload()
    chat.page.evaluate("document.querySelector('lch-chat').setAttribute('customer-id', 'somebody-else')")
    expect(chat.ours).to_have_count(0)


# For everybody


def test_all_of_it_needs_only_the_keyboard(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().visit()
    press = chat.page.keyboard.press

    tab_to = partial(tab_until_at, chat.page, at_most=40)
    tab_to(chat.launcher)
    press("Enter")
    expect(chat.box).to_be_focused()
    chat.is_connected()
    chat.page.keyboard.type("hello")
    press("Enter")
    expect(chat.ours).to_contain_text("✓Sent")
    menu = chat.hears(**MENU)
    tab_to(menu.get_by_role("button", name="Second"), "Shift+Tab")
    press("Space")
    expect(chat.box).to_be_focused()
    expect(chat.ours.last).to_contain_text("Second")
    press("Escape")
    expect(chat.launcher).to_be_focused()
    press("Enter")
    tab_to(chat.page.get_by_role("button", name="End chat"), "Shift+Tab")
    press("Enter")
    press("Escape")
    expect(chat.page.get_by_role("button", name="End chat")).to_be_focused()
    press("Enter")
    press("Enter")
    start = chat.page.get_by_role("button", name="Start a new conversation")
    expect(start).to_be_focused()
    press("Enter")
    expect(chat.box).to_be_focused()


def test_on_a_phone_it_fills_the_screen_and_keeps_the_focus(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat(viewport={"width": 320, "height": 640}, has_touch=True).visit(open="")
    # Unasked, it does not cover the page.
    chat.launcher.click()
    chat.is_connected()
    panel = chat.page.get_by_role("dialog")
    whole = {"x": 0, "y": 0, "width": 320, "height": 640}
    # It moves in.
    wait_until(lambda: panel.bounding_box() == whole, panel.bounding_box)
    expect(panel).to_have_attribute("aria-modal", "true")
    chat.hears(type="text", text=["W" * 300, "https://example.com/" + "x" * 200])
    chat.hears(**CAROUSEL)
    assert chat.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # Below 16 px iOS zooms into a field that gets the focus.
    assert chat.box.evaluate("node => parseFloat(getComputedStyle(node).fontSize)") >= 16
    for _ in range(20):
        chat.page.keyboard.press("Tab")
        assert chat.page.evaluate("document.activeElement.localName") == "lch-chat"
    small = chat.page.evaluate(
        """[...document.querySelector("lch-chat").shadowRoot.querySelectorAll("button, summary, textarea")]
             .filter((node) => node.checkVisibility()).map((node) => [node.className, node.getBoundingClientRect()])
             .filter(([, { width, height }]) => width < 24 || height < 24).map(([name]) => name)"""
    )
    assert small == []


def test_no_state_of_it_keeps_anybody_out(new_chat: Callable[..., Chat], tmp_path: Path) -> None:
    """axe-core in each state. Writes a picture of each to the folder LCH_SCREENSHOTS, or a temporary one."""
    folder = Path(os.environ.get("LCH_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    axe = (npm_package("axe-core") / "axe.min.js").read_text()
    chat = new_chat(viewport={"width": 1000, "height": 800}).visit(files="")
    page = chat.page
    found: list[str] = []

    def look(name: str) -> None:
        page.screenshot(path=folder / f"element-{name}.png", animations="disabled")
        if not page.evaluate("typeof axe === 'object'"):
            page.evaluate(axe)
        violations = page.evaluate("axe.run('lch-chat', { resultTypes: ['violations'] }).then((all) => all.violations)")
        found.extend(
            f"{name}: {each['id']}: {node['target']} {node['failureSummary']}"
            for each in violations
            for node in each["nodes"]
        )

    def schemes(name: str) -> None:
        look(name)
        page.emulate_media(color_scheme="dark")
        look(f"{name}-dark")
        page.emulate_media(color_scheme="light")

    look("closed")
    chat.launcher.click()
    chat.is_connected()
    schemes("empty")
    chat.hears(type="text", text=["Good morning. I am Robin.", "What can I do for you?"], csr_name="Robin", author="bot")
    menu = chat.hears(**MENU, csr_name="Robin")
    menu.get_by_role("button", name="First").click()
    expect(chat.ours).to_contain_text("✓Sent")
    chat.hears(**CAROUSEL)
    schemes("cards")
    chat.hears(type="link_button", title="Our terms", label="Read them", url="https://example.com/terms")
    chat.say("Thank you. And the form, where is that?")
    chat.hears(type="text", text=["Here."], attachments=[{"url": "https://example.com/form.pdf", "size": 61_000}])
    chat.hears(type="hologram")
    chat.hears(type="wait_time", waitTime="3 minutes")
    chat.demo.dms_says(chat.customer_id, type="typing_indicator")
    expect(page.locator("lch-chat .dots")).to_be_visible()
    schemes("talk")
    page.evaluate(FAKE_UPLOADS)
    chat.box.fill("Here is the form, and a picture of the card")
    choose(chat, "card.png", picture(), "image/png")
    choose(chat, "a form with quite a long name that does not fit.pdf")
    choose(chat, "notes.txt")
    page.evaluate(
        "uploads[0].resolve({}); uploads[1].onProgress(0.42); uploads[2].reject(new Error('too large: at most 10 MB'))"
    )
    expect(page.locator("lch-chat .file-chip").last).to_contain_text("too large")
    schemes("files")
    for chip in page.locator("lch-chat .file-chip").all()[::-1]:
        chip.get_by_role("button").click()
    chat.demo.faults(dms="400", webhook="silence")
    expect(chat.say("This one fails")).to_contain_text("Not sent")
    chat.demo.faults(webhook="silence")
    schemes("failed")
    page.context.set_offline(True)
    expect(chat.connection).to_contain_text("Reconnecting")
    chat.say("And this one waits")
    schemes("offline")
    page.context.set_offline(False)
    expect(chat.ours.last).to_contain_text("✓Sent")
    page.get_by_role("button", name="End chat").click()
    look("question")
    page.get_by_role("button", name="Keep chatting").click()
    page.set_viewport_size({"width": 320, "height": 640})
    look("phone")
    page.set_viewport_size({"width": 1000, "height": 800})
    page.evaluate("document.documentElement.dir = 'rtl'")
    page.evaluate("document.querySelector('lch-chat').lang = 'fr'")
    expect(chat.log).to_contain_text("Envoyé")
    look("rtl")
    chat.hears(type="csr_end_session")
    schemes("ended")
    page.evaluate("document.querySelector('lch-chat').close()")
    chat.hears(type="text", text=["One more thing"])
    expect(page.locator("lch-chat .badge")).to_have_text("1")
    schemes("unread")
    assert found == []


def test_every_language_has_every_text_and_the_page_says_which(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().open(lang="nl-BE", dir="rtl")
    expect(chat.box).to_have_attribute("placeholder", "Schrijf een bericht…")
    expect(chat.page.locator("lch-chat .panel")).to_have_attribute("lang", "nl")
    box, launcher = chat.page.get_by_role("dialog").bounding_box(), chat.launcher.bounding_box()
    assert box["x"] < 40
    assert launcher["x"] < 40
    names = chat.page.evaluate(
        """async (hook) => {
          const { LANGUAGES } = await import(`${hook}/client/chat/texts.js`);
          const values = (text) => text.match(/\\{\\w+\\}/g) ?? [];
          const shape = (texts) => Object.entries(texts).map(([name, text]) => [name, ...values(text)].join(" "));
          return Object.fromEntries(Object.entries(LANGUAGES).map(([name, texts]) => [name, shape(texts)]));
        }""",
        chat.demo.url,
    )
    assert sorted(names) == sorted(LANGUAGES)
    assert [language for language in LANGUAGES if names[language] != names["en"]] == []


# Tabs in step


def seeds() -> list[int]:
    """Two; LCH_CHAT_SEEDS=100-120 for those."""
    first, _, last = os.environ.get("LCH_CHAT_SEEDS", "1-2").partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.parametrize("seed", seeds())
def test_two_tabs_and_a_third_show_the_same_whatever_happened(
    new_chat: Callable[..., Chat], pages: Pages, seed: int
) -> None:
    """Messages both ways, while tabs reload, the network is cut and the hook is killed."""
    random = Random(seed)
    one = new_chat().open()
    other = Chat(pages.also_in(one.page.context), one.demo, one.site, one.customer_id).open()
    demo = one.demo
    said: list[str] = []
    disturbances = ["reload", "cut", "kill", "reload", "cut"]
    random.shuffle(disturbances)

    def talk(is_up: bool = True) -> None:
        for _ in range(random.randint(1, 3)):
            who = random.choice([one, other, None] if is_up else [one, other])
            said.append(f"{'d' if who is None else 'c'}{len(said)}")
            if who is None:
                demo.dms_says(one.customer_id, type="text", text=[said[-1]])
            else:
                who.say(said[-1])

    for disturbance in disturbances:
        talk()
        if disturbance == "reload":
            tab = random.choice([one, other])
            tab.page.reload()
            expect(tab.box).to_be_visible()
        elif disturbance == "cut":
            one.page.context.set_offline(True)
            talk()
            one.page.context.set_offline(False)
        else:
            demo.kill()
            try:
                talk(is_up=False)
            finally:
                demo.start()
            demo.faults(webhook="silence")
        talk()

    third = Chat(pages.also_in(one.page.context), demo, one.site, one.customer_id).open()
    ours = re.compile(r"[cd]\d+")

    def shown(chat: Chat) -> list[str]:
        return [text for text in chat.log.locator(".text").all_inner_texts() if ours.fullmatch(text)]

    tabs = (one, other, third)
    is_open = "client => client.entries.some(({ status }) => status === 'pending' || status === 'delayed')"
    for tab in tabs:
        tab.is_connected()
        client = tab.page.evaluate_handle("document.querySelector('lch-chat').client")
        wait_until(lambda client=client: not client.evaluate(is_open), "outcomes", timeout_seconds=40)  # type: ignore[misc]
    wait_until(
        lambda: all(sorted(shown(tab)) == sorted(said) for tab in tabs),
        lambda: f"{said} in {[shown(tab) for tab in tabs]}",
        timeout_seconds=30,
    )
    assert shown(one) == shown(other) == shown(third)


def test_the_page_of_the_documentation_talks(demo: Demo, pages: Pages, tmp_path: Path) -> None:
    text = (ROOT / "docs/put-the-chat-on-your-site.md").read_text()
    html = re.search(r"```html\n(<!doctype html>.*?)```", text, re.S)
    assert html
    (tmp_path / "index.html").write_text(html[1].replace("http://127.0.0.1:5600", demo.url))
    command = [sys.executable, "-m", "http.server", str(demo.guest_port), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            page = pages.open()
            wait_until(lambda: is_there(demo.guest_port), "the site")
            page.goto(f"http://127.0.0.1:{demo.guest_port}/")
            page.get_by_role("button", name="Open the chat").click()
            page.get_by_label("Your message").fill("hello")
            page.keyboard.press("Enter")
            expect(page.get_by_role("log")).to_contain_text("I am Robin")
        finally:
            server.terminate()


def is_there(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_stays_small() -> None:
    files = [ROOT / "client" / "lch-chat.js", *(ROOT / "client" / "chat").glob("*.js")]
    assert sum(len(gzip.compress(file.read_bytes(), 6)) for file in files) <= 30_000
