"""The chat page in headless Chromium, served by the real demo: hook, sandbox DMS and page in one gunicorn.

Every test chats as a customer of its own. What DMS says beyond the sandbox's script is posted as a signed webhook.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from lchook.core.tokens import Tokens
from lchook.sandbox.bodies import KINDS
from lchook.sandbox.faults import DMS_FAULTS, WEBHOOK_FAULTS

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Browser, BrowserContext, Locator, Page, expect = (
    sync_api.Browser,
    sync_api.BrowserContext,
    sync_api.Locator,
    sync_api.Page,
    sync_api.expect,
)

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DEADLINE_SECONDS = 20
ISSUER, SECRET = "chat-page-tests", "a secret of the tests, long enough for HS256"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(
        not (ROOT / "node_modules/socket.io-client/dist/socket.io.min.js").is_file(),
        reason="node_modules/socket.io-client is missing: npm ci brings it",
    ),
]
expect.set_options(timeout=DEADLINE_SECONDS * 1000)


class Demo:
    """The demo server, a process of its own, always on the same port."""

    def __init__(self, log: Path) -> None:
        self.port, self._dms_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {
            name: text for name, text in os.environ.items() if name not in ("FLASK_RUN_FROM_CLI", "GUNICORN_CMD_ARGS")
        }
        environ.update(
            PORT=str(self.port),
            DMS_URL=f"http://127.0.0.1:{self._dms_port}/dms",
            JWT_ISSUER=ISSUER,
            JWT_SECRET=SECRET,
            ALLOWED_ORIGIN=self.url,
            STORE_URL=f"sqlite:///{self._log.with_name('mailboxes.sqlite')}",
        )
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "--bind", f"127.0.0.1:{self.port}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "lchook.sandbox.demo:app"], cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"the demo does not start:\n{self._log.read_text()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/sandbox/config.json", timeout=1).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """Ends it as a crash would: master and worker at once, with nobody told."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(DEADLINE_SECONDS)
            self._process = None

    def faults(self, **faults: Any) -> None:
        assert requests.put(f"{self.url}/sandbox/faults", json=faults, timeout=DEADLINE_SECONDS).ok

    def dms_says(self, customer_id: str, **body: Any) -> None:
        headers = {
            "Authorization": f"Bearer {Tokens(issuer=ISSUER, secret=SECRET, clock=time.time).sign(ttl_seconds=30)}",
            "connection_id": ISSUER,
        }
        body = {"customer_id": customer_id, "message_id": str(uuid.uuid4()), "csr_name": "Kim", **body}
        answer = requests.post(f"{self.url}/webhook", json=body, headers=headers, timeout=DEADLINE_SECONDS)
        assert answer.status_code == 200


class Chat:
    """A customer at the page."""

    def __init__(self, page: Page, demo: Demo, customer_id: str) -> None:
        self.page, self.demo, self.customer_id = page, demo, customer_id
        self.log = page.get_by_role("log", name="Conversation")
        self.box = page.get_by_label("Your message")
        self.connection = page.locator("#connection")

    def open(self, customer_name: str = "Ada Lindgren") -> Chat:
        self.page.goto(f"{self.demo.url}/#customer={quote(self.customer_id)}&name={quote(customer_name)}")
        expect(self.connection).to_contain_text("Connected")
        return self

    def say(self, text: str) -> Locator:
        """Says it, and gives the message as it is shown."""
        self.box.fill(text)
        self.box.press("Enter")
        return self.log.locator(".ours").last

    def met(self) -> Chat:
        """Begins to type, so that the hook knows where the customer is. The bot does not answer that."""
        # The page says nothing of typing while the connection changes over.
        expect(self.connection).to_contain_text("websocket")
        self.box.press_sequentially("x")
        expect(self.rows("post", "typing_indicator").first).to_be_attached()
        self.box.fill("")
        return self

    def helped(self) -> Chat:
        """Says something and waits for all of the bot's answer, which takes its time."""
        self.say("help")
        expect(self.log).to_contain_text("Anything else I repeat.")
        return self

    def hears(self, **body: Any) -> Locator:
        """DMS says it; gives the message as it is shown."""
        before = self.log.locator(".theirs, .announcement").count()
        self.demo.dms_says(self.customer_id, **body)
        shown = self.log.locator(".theirs, .announcement").nth(before)
        expect(shown).to_be_visible()
        return shown

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    server = Demo(tmp_path_factory.mktemp("demo") / "log")
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the page complained about: errors, and what the Content-Security-Policy stopped."""
    return []


@pytest.fixture
def open_page(browser: Browser, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    contexts: list[BrowserContext] = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def new_chat(demo: Demo, open_page: Callable[..., Page]) -> Iterator[Callable[..., Chat]]:
    demo.faults()
    yield lambda **options: Chat(open_page(**options), demo, f"page-{next(_numbers)}").open()
    demo.faults()


@pytest.fixture
def chat(new_chat: Callable[..., Chat], complaints: list[str]) -> Iterator[Chat]:
    """A connected customer at a page that must not complain."""
    yield new_chat()
    assert complaints == []


# What DMS sends, on the screen


def test_a_text_is_shown_with_all_its_strings_and_who_said_it(chat: Chat) -> None:
    message = chat.met().hears(type="text", text=["First line\nsecond line", "Another string"])
    expect(message.locator(".text")).to_have_text(["First line\nsecond line", "Another string"])
    expect(message).to_contain_text("Kim")


def test_an_image_is_shown_and_another_file_is_a_link_with_name_and_size(chat: Chat) -> None:
    message = chat.met().hears_from_agent("attachments")
    image = message.get_by_role("img", name="harbour.svg")
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0
    link = message.get_by_role("link", name="opening-hours.txt")
    expect(link).to_have_attribute("href", re.compile(re.escape(f"{chat.demo.url}/sandbox/files/opening-hours.txt?")))
    expect(message).to_contain_text("text/plain, 61 bytes")


def test_a_file_without_type_and_size_is_told_by_its_name(chat: Chat) -> None:
    chat.met().demo.faults(link_seconds=3600)
    with_type = chat.hears_from_agent("attachments")
    url = with_type.get_by_role("img").get_attribute("src")
    message = chat.hears(type="text", text="Bare", attachments=[{"url": url}, {"url": url, "size": "many"}])
    expect(message.get_by_role("img", name="harbour.svg")).to_have_count(2)
    other = chat.hears(type="text", attachments={"url": "https://example.com/a%20b.pdf?X-Amz-Expires=900"})
    expect(other.get_by_role("link", name="a b.pdf")).to_be_visible()


def test_an_image_whose_link_is_dead_is_told_in_words(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().met()
    chat.demo.faults(webhook="dead_links")
    message = chat.hears_from_agent("attachments")
    expect(message).to_contain_text("links to files die after 15 minutes")
    with chat.page.expect_popup() as opened:
        message.get_by_role("link", name="opening-hours.txt").click()
    expect(opened.value.locator("body")).to_contain_text("Request has expired")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"text": "One plain string"}, "One plain string"),
        ({"text": ["One", "two"], "author": {"odd": 1}}, "two"),
        ({"text": "", "attachments": []}, "Message of type “text”"),
        ({"text": 5, "csr_name": 7}, "5"),
        ({"text": ["Extra fields"], "waitTime": 1, "nested": {"a": [1]}}, "Extra fields"),
    ],
    ids=str,
)
def test_case_17_a_text_is_shown_however_it_is_written(chat: Chat, body: dict[str, Any], shown: str) -> None:
    message = chat.met().hears(type="text", **body)
    expect(message).to_contain_text(shown)
    expect(message).not_to_contain_text("[object")


def test_a_menu_choice_is_shown_as_its_text_and_posted_back_as_its_payload(chat: Chat) -> None:
    chat.say("hello")
    chat.log.get_by_role("button", name="A link, please").click()
    expect(chat.log.locator(".ours").last).to_contain_text("A link, please")
    expect(chat.log.get_by_role("link", name="Open Pega's documentation")).to_be_visible()
    body = chat.json_of(chat.rows("post", "text").last)[f"POST {chat_dms_url(chat)}"]["request"]["body"]
    assert body["type"] == "text"
    assert body["text"] == ["link"]
    assert body["postback"] == "link"
    assert isinstance(body["message_id"], int)


def chat_dms_url(chat: Chat) -> str:
    url: str = requests.get(f"{chat.demo.url}/sandbox/config.json", timeout=DEADLINE_SECONDS).json()["dms_url"]
    return url


def test_a_carousel_shows_its_cards_and_posts_a_choice_back(chat: Chat) -> None:
    chat.met().say("carousel")
    cards = chat.log.locator(".card")
    expect(cards).to_have_count(3)
    expect(cards.first).to_contain_text("For one person")
    expect(cards.first.locator("img").first).to_be_visible()
    cards.nth(1).get_by_role("button", name="Choose Medium").click()
    expect(chat.log).to_contain_text("You chose: choose medium")


def test_a_link_button_is_a_link_that_gives_nothing_away(chat: Chat) -> None:
    message = chat.met().hears(type="link_button", title="Our terms", label="Read them", url="https://example.com/terms")
    expect(message).to_contain_text("Our terms")
    link = message.get_by_role("link", name="Read them")
    expect(link).to_have_attribute("href", "https://example.com/terms")
    expect(link).to_have_attribute("rel", re.compile("noopener"))


def test_somebody_typing_is_shown_until_their_message_comes(chat: Chat) -> None:
    chat.met()
    typing = chat.page.locator("#typing")
    chat.demo.dms_says(chat.customer_id, type="typing_indicator")
    expect(typing).to_contain_text("is typing")
    chat.hears(type="text", text=["Here it is"])
    expect(typing).to_have_text("")


def test_the_waiting_time_is_shown_as_it_came(chat: Chat) -> None:
    expect(chat.met().hears(type="wait_time", waitTime="3 minutes")).to_contain_text("3 minutes")


def test_an_unknown_type_is_shown_as_json_on_request(chat: Chat) -> None:
    message = chat.met().hears(type="hologram", beam=[1, 2])
    expect(message.locator("summary")).to_contain_text("hologram")
    expect(message.locator("pre")).to_be_hidden()
    message.locator("summary").click()
    assert json.loads(message.locator("pre").inner_text())["beam"] == [1, 2]


@pytest.mark.parametrize(
    "body",
    [
        {"type": "menu", "title": {"a": 1}, "items": "none"},
        {"type": "menu", "items": [None, 7, {"text": None}]},
        {"type": "carousel", "items": [{"items": {}}, None, {"title": ["x"]}]},
        {"type": "text", "text": None, "attachments": [None, "x", {}]},
        {"type": "link_button"},
        {"type": ["text"], "csr_name": {}},
        {"type": "constructor"},
    ],
    ids=str,
)
def test_a_malformed_message_does_not_stop_the_chat(chat: Chat, body: dict[str, Any]) -> None:
    chat.met().hears(**body)
    expect(chat.hears(type="text", text=["Still here"])).to_contain_text("Still here")


def test_nothing_from_outside_becomes_html_or_runs(chat: Chat) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    bad_url = "java\tscript:alert(3)"
    chat.met()
    texts = chat.hears(type="text", text=[hostile], csr_name=hostile)
    expect(texts.locator(".text")).to_have_text(hostile)
    chat.hears(type="menu", title=hostile, items=[{"text": hostile, "payload": hostile, "image_url": bad_url}])
    chat.hears(type="carousel", items=[{"title": hostile, "sub_title": hostile, "title_image_url": bad_url, "items": []}])
    chat.hears(type="link_button", title=hostile, label="Press me", url="javascript:alert(4)")
    attachment = {"url": bad_url, "content_type": "image/png", "file_name": hostile, "size": 1}
    chat.hears(
        type="text",
        text=["file"],
        attachments=[attachment, {**attachment, "url": "data:text/html,<script>alert(5)</script>"}],
    )
    chat.hears(type=hostile)
    expect(chat.hears(type="text", text=["The end"])).to_contain_text("The end")
    assert chat.log.locator("img, script").count() == 0
    assert chat.log.locator("a").count() == 0
    expect(chat.log).to_contain_text("not a web address: no link")
    for row in chat.rows("event", "serverMessage").all()[-3:]:
        chat.json_of(row)
    assert chat.page.locator("main img, main script").count() == 0


def test_a_message_that_comes_twice_is_shown_once_however_it_is_written(chat: Chat) -> None:
    chat.met()
    body = {"type": "text", "text": ["Only once"], "message_id": "the-same", "nested": {"a": 1, "b": [{"c": 2, "d": 3}]}}
    again = {**dict(reversed(body.items())), "nested": {"b": [{"d": 3, "c": 2}], "a": 1}}
    for each in (body, again):
        chat.demo.dms_says(chat.customer_id, **each)
    chat.hears(type="text", text=["Afterwards"])
    expect(chat.log).to_contain_text("Afterwards")
    expect(chat.log.get_by_text("Only once")).to_have_count(1)


def test_messages_that_use_an_id_again_are_all_shown(chat: Chat) -> None:
    chat.met()
    for text in ("One", "Two", "Three"):
        chat.hears(type="text", text=[text], message_id=1)
    chat.hears(type="menu", title="Four", items=[], message_id=1)
    chat.page.reload()
    expect(chat.log.locator(".theirs")).to_have_count(4)


# A menu is answered once


MENU = {
    "type": "menu",
    "title": "Which one?",
    "items": [{"text": "First", "payload": "1st"}, {"text": "Second", "payload": "2nd"}],
}
CAROUSEL = {
    "type": "carousel",
    "items": [{"title": "One", "items": MENU["items"]}, {"title": "Two", "items": [{"text": "Third", "payload": "3rd"}]}],
}


def posted_once(chat: Chat, text: str) -> None:
    """Of all that was clicked, DMS got one post."""
    chat.say("and now a text")
    posts = chat.rows("post", " text")
    expect(chat.log.locator(".ours").last).to_contain_text("✓Sent")
    expect(posts).to_have_count(2)
    ((_, facts),) = chat.json_of(posts.first).items()
    assert facts["request"]["body"]["postback"] == text


@pytest.mark.parametrize("body", [MENU, CAROUSEL], ids=["case-13 menu", "case-13 carousel"])
def test_a_menu_is_answered_once(chat: Chat, body: dict[str, Any]) -> None:
    message = chat.met().hears(**body)
    buttons = message.locator("button.choice")
    buttons.nth(1).click()
    expect(message.locator("button.choice:enabled")).to_have_count(0)
    expect(message.locator("button.choice.chosen")).to_have_text("Second")
    # A script is faster than any person: two clicks in one turn, on two buttons, enabled or not.
    buttons.evaluate_all("buttons => buttons.forEach((button) => button.click())")
    posted_once(chat, "2nd")


@pytest.mark.parametrize("how", ["dblclick", "two buttons", "held Enter", "Enter and Space"])
def test_case_13_no_way_of_pressing_answers_twice(chat: Chat, how: str) -> None:
    chat.demo.faults(dms="slow", delay_seconds=0.3)
    message = chat.met().hears(**MENU)
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
    posted_once(chat, "1st")


def test_case_13_a_menu_stays_answered_after_a_reload(chat: Chat) -> None:
    message = chat.met().hears(**MENU)
    message.get_by_role("button", name="First").click()
    expect(chat.log.locator(".ours").last).to_contain_text("✓Sent")
    chat.page.reload()
    expect(chat.connection).to_contain_text("Connected")
    expect(chat.log.locator("button.choice")).to_have_count(2)
    expect(chat.log.locator("button.choice:enabled")).to_have_count(0)
    expect(chat.log.locator("button.choice.chosen")).to_have_text("First")


def test_each_menu_is_answered_for_itself_and_words_do_not_answer_it(chat: Chat) -> None:
    chat.met()
    older, newer = chat.hears(**MENU), chat.hears(**MENU)
    newer.get_by_role("button", name="First").click()
    expect(newer.locator("button.choice:enabled")).to_have_count(0)
    expect(older.locator("button.choice:enabled")).to_have_count(2)
    chat.say("the second, please")
    expect(older.locator("button.choice:enabled")).to_have_count(2)
    older.get_by_role("button", name="Second").click()
    expect(older.locator("button.choice:enabled")).to_have_count(0)


@pytest.mark.parametrize("ended_by", ["agent", "customer"])
def test_case_13_nothing_is_chosen_or_said_again_after_the_end(chat: Chat, ended_by: str) -> None:
    menu, cards = chat.met().hears(**MENU), chat.hears(**CAROUSEL)
    link = chat.hears(type="link_button", title="Terms", label="Read them", url="https://example.com/terms")
    chat.demo.faults(dms="400", times=1)
    failed = chat.say("Is this still there?")
    expect(failed).to_contain_text("Not sent")
    if ended_by == "agent":
        chat.hears(type="csr_end_session")
    else:
        chat.page.get_by_role("button", name="End chat").click()
    expect(chat.box).to_be_hidden()
    for message in (menu, cards):
        expect(message.locator("button.choice:enabled")).to_have_count(0)
    expect(failed.get_by_role("button", name="Send again")).to_be_disabled()
    expect(link.get_by_role("link", name="Read them")).to_be_visible()
    late = chat.hears(**MENU)
    expect(late.locator("button.choice:enabled")).to_have_count(0)
    chat.page.reload()
    expect(chat.log.locator("button.choice")).to_have_count(7)
    expect(chat.log.locator("button.choice:enabled")).to_have_count(0)


def test_an_end_that_failed_leaves_the_menus_alive(chat: Chat) -> None:
    menu = chat.met().hears(**MENU)
    chat.demo.faults(dms="400", times=1)
    chat.page.get_by_role("button", name="End chat").click()
    expect(chat.log.locator(".announcement")).to_contain_text("Not sent")
    expect(chat.box).to_be_visible()
    expect(menu.locator("button.choice:enabled")).to_have_count(2)


@pytest.mark.parametrize("then", ["the same", "another", "send again"])
def test_case_13_a_choice_that_failed_can_be_chosen_again(chat: Chat, then: str) -> None:
    menu = chat.met().hears(**MENU)
    first, second = (menu.get_by_role("button", name=name) for name in ("First", "Second"))
    chat.demo.faults(dms="400", times=1)
    first.click()
    expect(chat.log.locator(".ours")).to_contain_text("Not sent")
    expect(menu.locator("button.choice:enabled")).to_have_count(2)
    expect(menu.locator("button.choice.chosen")).to_have_count(0)
    if then == "send again":
        chat.log.get_by_role("button", name="Send again").click()
    else:
        (first if then == "the same" else second).click()
    # What failed has made way: only one "Send again" could ever answer the menu.
    expect(chat.log.locator(".ours")).to_have_count(1)
    expect(chat.log.locator(".ours")).to_contain_text("✓Sent")
    expect(menu.locator("button.choice:enabled")).to_have_count(0)
    expect(menu.locator("button.choice.chosen")).to_have_text("Second" if then == "another" else "First")


def test_a_choice_without_a_connection_waits_and_is_made_once(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().met()
    menu = chat.hears(**MENU)
    chat.page.context.set_offline(True)
    expect(chat.connection).to_contain_text("Reconnecting")
    menu.get_by_role("button", name="First").click()
    expect(chat.log.locator(".ours")).to_contain_text("Waiting for the connection")
    expect(menu.locator("button.choice:enabled")).to_have_count(0)
    chat.page.context.set_offline(False)
    expect(chat.log.locator(".ours")).to_contain_text("✓Sent")
    posted_once(chat, "1st")


def fake_hook(page: Page, script: str) -> None:
    """Puts a hook of our own in the place of LCH: `(message, acknowledge, told) => …`, in JavaScript."""
    page.add_init_script(
        """window.io = () => {
          const handlers = {};
          const told = (name, ...args) => (handlers[name] ?? []).forEach((handler) => handler(...args));
          const socket = {
            connected: false, active: true, sendBuffer: [], id: "fake",
            io: { engine: { transport: { name: "fake" }, once() {} } },
            on: (name, handler) => (handlers[name] ??= []).push(handler),
            timeout: () => socket, disconnect() {}, connect() {},
            emit: (event, message, answered) => (EMIT)(message, (...answer) => answered(null, ...answer), told),
          };
          socket.volatile = socket;
          setTimeout(() => { socket.connected = true; told("connect"); });
          window.fakeTold = told;
          return socket;
        };
        Object.defineProperty(window, "io", { value: window.io, writable: false });""".replace("EMIT", script)
    )


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            "(message, acknowledge, told) => told('serverError', 'Error forwarding request to external API')",
            "Error forwarding",
        ),
        (
            "(message, acknowledge, told) => { acknowledge();"
            " told('serverError', 'Error forwarding request to external API'); }",
            "Error forwarding",
        ),
        (
            "(message, acknowledge, told) => told('serverError', 'Error forwarding request to external API',"
            " { status: 'failed', message_id: message.message_id, dms_status: 400, error: 'Refused' })",
            "Refused",
        ),
        ("(message, acknowledge) => acknowledge({ status: 'rejected', error: 'too many' })", "too many"),
    ],
    ids=["no acknowledgement", "an empty one, then serverError", "serverError that names it", "rejected"],
)
def test_case_13_whatever_hook_says_that_a_choice_failed_makes_it_choosable(
    demo: Demo, open_page: Callable[..., Page], complaints: list[str], script: str, says: str
) -> None:
    page = open_page()
    fake_hook(page, script)
    chat = Chat(page, demo, f"page-{next(_numbers)}").open()
    page.evaluate("body => fakeTold('serverMessage', body)", MENU)
    chat.log.get_by_role("button", name="First").click()
    expect(chat.log.locator(".ours")).to_contain_text(f"Not sent: {says}")
    expect(chat.log.locator("button.choice:enabled")).to_have_count(2)


def test_the_wire_log_names_what_the_hook_ignored(demo: Demo, open_page: Callable[..., Page]) -> None:
    page = open_page()
    fake_hook(page, "(message, acknowledge) => acknowledge({ status: 'sent', ignored: ['timestamp', 'mood'] })")
    chat = Chat(page, demo, f"page-{next(_numbers)}").open()
    chat.say("hello")
    expect(chat.rows("event", "clientMessage text")).to_contain_text("ack sent, ignored: timestamp, mood")


# What the customer does


def test_typing_is_told_to_dms_now_and_then_and_not_at_every_key(chat: Chat) -> None:
    chat.box.press_sequentially("I am typing this")
    expect(chat.rows("post", "typing_indicator")).to_have_count(1)
    chat.box.press("Enter")
    expect(chat.log).to_contain_text("Say help")
    assert chat.rows("event", "clientMessage typing_indicator").count() == 1


def test_a_file_can_be_attached_by_its_address_and_only_by_a_web_address(chat: Chat) -> None:
    chat.page.get_by_role("button", name="Attach a file by its address").click()
    address = chat.page.get_by_label("Address of a file to attach")
    address.fill("javascript:alert(1)")
    chat.say("look")
    expect(chat.log.locator(".ours")).to_have_count(0)
    address.fill("https://example.com/photo.png")
    chat.box.press("Enter")
    expect(chat.log.locator(".ours")).to_contain_text("https://example.com/photo.png")
    row = chat.rows("event", "clientMessage text").last
    assert chat.json_of(row)["arguments"][0]["attachments"] == [{"url": "https://example.com/photo.png"}]


def test_a_held_key_ends_the_conversation_and_does_not_start_another(chat: Chat) -> None:
    chat.met().hears(type="text", text=["Still to be read"])
    chat.page.get_by_role("button", name="End chat").focus()
    for _ in range(3):
        chat.page.keyboard.down("Enter")
    expect(chat.page.get_by_role("button", name="Start a new conversation")).to_be_focused()
    expect(chat.log).to_contain_text("Still to be read")


def test_the_customer_ends_the_conversation_and_starts_another(chat: Chat) -> None:
    chat.met()
    chat.page.get_by_role("button", name="End chat").click()
    expect(chat.page.get_by_text("You ended this conversation.")).to_be_visible()
    expect(chat.box).to_be_hidden()
    expect(chat.rows("post", "customer_end_session")).to_have_count(1)
    sent = chat.json_of(chat.rows("event", "customer_end_session"))["arguments"][0]
    assert sent["text"] == [None]
    chat.page.get_by_role("button", name="Start a new conversation").click()
    chat.say("hello again")
    expect(chat.log).to_contain_text("I am Robin")


def test_the_agent_ends_the_conversation(chat: Chat) -> None:
    chat.met().say("bye")
    expect(chat.page.get_by_text("This conversation has ended.")).to_be_visible()
    chat.page.get_by_role("button", name="Start a new conversation").click()
    expect(chat.box).to_be_visible()


def test_a_failed_message_says_why_and_can_be_sent_again(chat: Chat) -> None:
    chat.helped().demo.faults(dms="400")
    message = chat.say("Can you hear me?")
    expect(message).to_contain_text("Not sent")
    expect(message).to_contain_text("400")
    expect(chat.page.get_by_role("alert")).to_contain_text("Error forwarding request to external API")
    chat.demo.faults()
    message.get_by_role("button", name="Send again").click()
    expect(chat.log.locator(".ours").last).to_contain_text("✓Sent")
    expect(chat.log).to_contain_text("You said: “Can you hear me?”")
    ids = [chat.json_of(row)["arguments"][0]["message_id"] for row in chat.rows("event", "clientMessage text").all()[-2:]]
    assert ids[0] != ids[1]


def test_somebody_without_a_name_can_chat(chat: Chat) -> None:
    chat.page.get_by_label("Customer", exact=True).select_option(label="Unauthenticated person")
    expect(chat.connection).to_contain_text("Connected")
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
    expect(chat.page.get_by_role("heading", level=1)).to_have_text("Grace Hopper")
    expect(chat.log.locator(".message")).to_have_count(0)
    assert other in chat.page.url
    expect(chat.rows("event", "disconnected: io client disconnect")).to_have_count(1)
    chat.say("hello")
    expect(chat.log).to_contain_text("Hello, Grace Hopper!")
    choice.select_option(label=f"Ada Lindgren ({chat.customer_id})")
    expect(chat.log).to_contain_text("Anything else I repeat.")
    expect(chat.log).not_to_contain_text("Grace Hopper")


def test_a_reload_keeps_the_customer_and_the_conversation(chat: Chat) -> None:
    chat.helped()
    chat.page.reload()
    expect(chat.page.get_by_role("heading", level=1)).to_have_text("Ada Lindgren")
    expect(chat.log).to_contain_text("Anything else I repeat.")
    expect(chat.log.locator(".ours")).to_contain_text("✓Sent")


def test_a_whole_conversation_needs_only_the_keyboard(chat: Chat) -> None:
    press = chat.page.keyboard.press

    def tab_to(target: Locator, key: str = "Tab") -> None:
        for _ in range(60):
            if target.evaluate("node => node === document.activeElement"):
                return
            press(key)
        pytest.fail("no number of Tabs leads there")

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
    end = chat.page.get_by_role("button", name="End chat")
    tab_to(end, "Shift+Tab")
    press("Space")
    start = chat.page.get_by_role("button", name="Start a new conversation")
    expect(start).to_be_focused()
    press("Enter")
    expect(chat.box).to_be_focused()


# The connection


def test_a_message_written_while_the_server_is_away_arrives_when_it_is_back(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().met()
    chat.demo.kill()
    try:
        expect(chat.connection).to_contain_text("Reconnecting")
        message = chat.say("Is anybody there?")
        expect(message).to_contain_text("Waiting for the connection")
    finally:
        chat.demo.start()
    expect(chat.connection).to_contain_text("Connected")
    expect(message).to_contain_text("✓Sent")
    expect(chat.log).to_contain_text("I am Robin")
    # The feed behind the wire log is back, too, although its numbers start anew.
    expect(chat.rows("post", "text").last).to_contain_text("200")


def test_a_message_whose_acknowledgement_was_lost_is_repeated_with_its_id(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat().met()
    chat.demo.faults(dms="slow", delay_seconds=2, times=2)
    message = chat.say("Slow going")
    expect(message).to_contain_text("Sending…")
    chat.page.context.set_offline(True)
    expect(message).to_contain_text("Waiting for the connection")
    chat.page.context.set_offline(False)
    expect(message).to_contain_text("✓Sent")
    rows = chat.rows("event", "clientMessage text").all()[-2:]
    ids = [chat.json_of(row)["arguments"][0]["message_id"] for row in rows]
    assert ids[0] == ids[1]


def test_the_page_says_what_is_missing_where_it_stands_alone(
    new_chat: Callable[..., Chat], open_page: Callable[..., Page]
) -> None:
    demo = new_chat().demo
    page = open_page()
    page.route(re.compile("/sandbox/(wire|faults|say|config.json)"), lambda route: route.fulfill(status=404))
    chat = Chat(page, demo, f"page-{next(_numbers)}").open()
    expect(page.get_by_role("alert")).to_contain_text("settings could not be read")
    expect(page.locator("#wire-notice")).to_contain_text("cannot be shown at the moment")
    chat.say("hello")
    expect(chat.log).to_contain_text("I am Robin")


def test_a_customer_whose_id_is_a_number_speaks_with_the_number(demo: Demo, open_page: Callable[..., Page]) -> None:
    page = open_page()
    fake_hook(page, "(message, acknowledge) => acknowledge({ status: 'sent', dms_status: 200 })")
    chat = Chat(page, demo, "customer-1").open()
    page.get_by_label("Customer", exact=True).select_option(label="Dana Weiss (200)")
    for _ in range(2):
        chat.say("hello")
        assert chat.json_of(chat.rows("event", "clientMessage text").last)["arguments"][0]["customer_id"] == 200
        page.evaluate("fakeTold('serverMessage', { type: 'text', customer_id: '200', text: 'Answered' })")
        expect(chat.log.locator(".theirs").last).to_contain_text("Answered")
        # The address, after which the customer is known again, has no types.
        page.reload()
    expect(chat.log.locator(".message")).to_have_count(4)


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
    expect(badge).to_contain_text("has an error (500)")
    expect(chat.say("one")).to_contain_text("Not sent: DMS answered 500")
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
    chat.met().page.get_by_text("The agent says…").click()
    for button in chat.page.locator("#say-kinds button").all():
        chat.page.locator("#say-status").evaluate("node => { node.textContent = ''; }")
        button.click()
        expect(chat.page.locator("#say-status")).to_contain_text("200")
    # All kinds but "text", which has a field of its own.
    assert chat.page.locator("#say-kinds button").count() == len(KINDS) - 1


def test_faults_of_dms_are_set_and_seen_at_the_page(chat: Chat) -> None:
    chat.met().page.locator("#faults > summary").click()
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
    chat.met().page.get_by_text("The agent says…").click()
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
    chat.hears(type="text", text=["W" * 500, "https://example.com/" + "x" * 300])
    assert chat.page.evaluate(no_sideways)
    expect(chat.page.locator("#wire-title")).to_be_hidden()
    chat.page.get_by_role("button", name="Behind the scenes").click()
    expect(chat.box).to_be_hidden()
    chat.json_of(chat.rows("post", "text").last)
    chat.page.locator("#faults > summary").click()
    assert chat.page.evaluate(no_sideways)


def test_every_control_has_a_name_for_screen_readers(chat: Chat) -> None:
    chat.met().say("carousel")
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
    expect(chat.connection).to_contain_text("Connected")
    chat.page.get_by_role("button", name="Clear").click()
    chat.say("hello")
    chat.log.get_by_role("button", name="Show me some offers").click()
    expect(chat.log.locator(".card")).to_have_count(3)
    expect(chat.rows("event", "serverMessage carousel").last).to_be_visible()
    folder = os.environ.get("LCH_SCREENSHOTS")
    picture = chat.page.screenshot(animations="disabled")
    assert len(picture) > 20_000
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "chat.png").write_bytes(picture)
