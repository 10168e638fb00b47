"""The operators' console: who may look, what they are told, and the page in headless Chromium. With real servers."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import requests
import socketio

from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.web import create_app
from tests.support.clients import PythonClient, WebSockets
from tests.support.hooks import Hook, running_hook
from tests.support.jwts import SECRET, mint
from tests.support.servers import flask_command, gunicorn_command
from tests.support.tools import needs
from tests.support.waiting import wait_until

TOKEN = "the operators' token"
CONNECT_TIMEOUT_SECONDS = 1.0
CANARY = "canary-4921"
ORIGINS = "https://chat.example.com"

_addresses = (f"192.0.2.{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def console_hook() -> Iterator[Hook]:
    """LCH with a console, behind a proxy that says where clients come from, for a chat page on another site."""
    with running_hook(
        gunicorn_command,
        CONSOLE_TOKEN=TOKEN,
        CONNECT_TIMEOUT=str(CONNECT_TIMEOUT_SECONDS),
        PROXY_HOPS="1",
        ALLOWED_ORIGIN=ORIGINS,
    ) as hook:
        yield hook


@pytest.fixture
def hook(console_hook: Hook) -> Iterator[Hook]:
    yield console_hook
    console_hook.dms.faults.clear()


class Console:
    """A console without a page. Each comes from an address of its own, unless told otherwise."""

    def __init__(self, hook: Hook, auth: Any = "right", *, address: str = "", origin: str = "") -> None:
        self.told: list[tuple[str, Any]] = []
        self.refused: Any = None
        self._session = requests.Session()
        self._websockets = WebSockets()
        options = {"suppress_origin": True, "class_": self._websockets}
        self._client = socketio.Client(reconnection=False, http_session=self._session, websocket_extra_options=options)
        for name in ("state", "news"):
            self._client.on(name, lambda data, name=name: self.told.append((name, data)), namespace="/console")
        self._client.on("connect_error", lambda reason: setattr(self, "refused", reason), namespace="/console")
        headers = {"X-Forwarded-For": address or next(_addresses)} | ({"Origin": origin} if origin else {})
        with contextlib.suppress(socketio.exceptions.ConnectionError):
            self._client.connect(
                hook.url,
                namespaces=["/console"],
                auth={"token": TOKEN} if auth == "right" else auth,
                headers=headers,
                transports=["polling"] if origin else ["websocket"],
                wait_timeout=10,
            )

    @property
    def is_connected(self) -> bool:
        return "/console" in self._client.namespaces

    @property
    def reason(self) -> str:
        """Why it was refused."""
        return str(self.refused["message"] if isinstance(self.refused, dict) else self.refused)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for _, data in list(self.told) for event in data.get("events", ())]

    def latest(self, name: str) -> Any:
        """The latest word of `now`, `waiting`, …"""
        return next((data[name] for _, data in reversed(self.told) if data.get(name)), None)

    def wait_for_event(self, text: str, **fields: Any) -> dict[str, Any]:
        return wait_until(
            lambda: next(
                (event for event in self.events if event["text"].startswith(text) and fields.items() <= event.items()), None
            ),
            lambda: f"{text} {fields} among {[(event['text'], event['customer']) for event in self.events]}",
        )

    def ask(self, **wanted: Any) -> Any:
        return self._client.call("events", wanted, namespace="/console", timeout=10)

    def close(self) -> None:
        self._client.disconnect()
        self._websockets.close()
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


# Who may look


def test_there_is_no_console_unless_there_is_a_token(gunicorn: Hook) -> None:
    for path in ("/console", "/console/static/console.js", "/console/shared/base.css"):
        assert requests.get(gunicorn.url + path, timeout=10).status_code == 404
    with Console(gunicorn) as console:
        assert not console.is_connected


@pytest.mark.parametrize(
    ("auth", "reason"),
    [
        (None, "a token is required"),
        ({}, "a token is required"),
        ({"token": ""}, "a token is required"),
        ({"token": 17}, "a token is required"),
        ({"token": [TOKEN]}, "a token is required"),
        ([TOKEN], "a token is required"),
        ({"token": TOKEN[:-1]}, "this is not the token"),
        ({"token": TOKEN + " "}, "this is not the token"),
        ({"token": "å\ud800"}, "this is not the token"),
    ],
)
def test_a_console_without_the_right_token_is_refused_in_words(hook: Hook, auth: Any, reason: str) -> None:
    with Console(hook, auth) as console:
        assert not console.is_connected
        assert reason in console.reason
        assert not console.told
    assert hook.works_for(reason)


def test_attempts_from_one_address_are_limited_and_those_from_others_are_not(hook: Hook) -> None:
    address = next(_addresses)
    reasons = []
    for _ in range(15):
        with Console(hook, {"token": "a guess"}, address=address) as console:
            reasons.append(console.reason)
    assert "this is not the token" in reasons[0]
    assert "too many attempts" in reasons[-1]
    with Console(hook, address=address) as console:
        assert "too many attempts" in console.reason
    with Console(hook) as console:
        assert console.is_connected


def test_consoles_that_come_again_and_again_with_the_right_token_are_let_in(hook: Hook) -> None:
    address = next(_addresses)
    for _ in range(15):
        with Console(hook, address=address) as console:
            assert console.is_connected


def test_the_page_is_the_same_for_all_and_holds_no_secret(hook: Hook) -> None:
    response = requests.get(f"{hook.url}/console", timeout=10)
    assert response.status_code == 200
    assert TOKEN not in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", response.text)


def test_the_hooks_own_page_may_connect_besides_the_sites_that_are_allowed(hook: Hook) -> None:
    with Console(hook, origin=hook.url) as console:
        assert console.is_connected
    for origin in ("https://evil.example.com", hook.url + ".evil.example.com", "null", "://"):
        with Console(hook, origin=origin) as console:
            assert not console.is_connected


def test_a_console_stays_though_it_is_no_chat_client_and_counts_as_none(hook: Hook) -> None:
    with Console(hook) as console, Console(hook, {"token": "a guess"}):
        deadline = time.monotonic() + 3 * CONNECT_TIMEOUT_SECONDS
        wait_until(lambda: time.monotonic() > deadline, "time to pass")
        with hook.connect() as client:
            client.say("passes by")
            console.wait_for_event("received from the customer", customer="passes by")
            assert console.latest("now")["connections"] == 1
        assert console.is_connected


# What they are told


def test_what_happens_is_told_live_with_its_flow_and_outcome(hook: Hook, customer: str) -> None:
    with Console(hook) as console, hook.connect() as client:
        client.say(customer, message_id=17)
        hook.webhook(customer, message_id="m1")
        client.wait_for_messages(1)
        sent = console.wait_for_event("to DMS: sent", customer=customer)
        assert (sent["flow"], sent["outcome"], sent["message"], sent["fields"]["dms_status"]) == ("to_dms", "done", 17, 200)
        done = console.wait_for_event("acknowledged", customer=customer)
        assert (done["flow"], done["outcome"], done["message"]) == ("to_customer", "done", "m1")
        hook.dms.faults.set(dms="500")
        client.say(customer)
        assert console.wait_for_event("to DMS: refused", customer=customer)["level"] == "error"


def test_connections_rates_and_what_waits_are_told_live(hook: Hook, customer: str) -> None:
    with Console(hook) as console, hook.connect() as client:
        client.say(customer)
        hook.webhook(f"{customer}-away", "one")
        hook.webhook(f"{customer}-away", "two")
        wait_until(lambda: (console.latest("now") or {}).get("customers", 0) >= 1, "a customer")
        [row] = wait_until(
            lambda: [row for row in (console.latest("waiting") or {}).get("list", ()) if row[0] == f"{customer}-away"],
            lambda: f"the customer who is away in {console.latest('waiting')}",
        )
        assert (row[1], row[3], row[4]) == (2, False, 0)
        samples = wait_until(lambda: console.latest("samples"), "a row of figures")
        wait_until(lambda: any(row[3] > 0 for _, data in console.told for row in data.get("samples", ())), "messages to DMS")
        wait_until(lambda: any(row[7] for _, data in console.told for row in data.get("samples", ())), "DMS's times")
        assert len(samples[0]) == 9


def test_a_console_that_comes_later_is_told_what_was_before(hook: Hook, customer: str) -> None:
    with hook.connect() as client:
        client.say(customer)
    with Console(hook) as console:
        console.wait_for_event("to DMS: sent", customer=customer)


def test_questions_find_what_the_filter_names(hook: Hook, customer: str) -> None:
    with hook.connect() as client, Console(hook) as console:
        client.say(customer)
        client.call("clientMessage", {"type": "text", "customer_id": None})
        hook.dms.faults.set(dms="500")
        client.say(f"{customer}-2")
        timeline = console.ask(customer=customer, exact=True)
        assert [event["text"] for event in timeline["events"]] == ["received from the customer", "to DMS: sent"]
        assert timeline["complete"]
        both = console.ask(customer=customer.upper(), flow="to_dms", outcome="under_way")["events"]
        assert [event["customer"] for event in both] == [customer, f"{customer}-2"]
        [failed] = console.ask(customer=customer, level="error")["events"]
        assert failed["text"] == "to DMS: refused"
        assert console.ask(outcome="lost", level="warning")["events"][-1]["customer"] == f"{customer}-2"
        assert console.ask(customer="nobody like this")["events"] == []


def test_questions_are_limited_and_anything_else_is_answered_in_words(hook: Hook) -> None:
    with Console(hook) as console:
        assert "unknown event" in console._client.call("clientMessage", {}, namespace="/console")["error"]
        answers = [console.ask() for _ in range(30)]
        assert "error" not in answers[0]
        assert "too many questions" in answers[-1]["error"]
        assert console.is_connected


def everything_with_a_canary(hook: Hook, customer: str) -> str:
    """Says it both ways, in order and out of order; what a console then was told, whole."""
    with Console(hook) as console, hook.connect() as client:
        client.say(customer, CANARY)
        client.call("clientMessage", {"type": "text", "customer_id": customer, "text": CANARY})
        client.call(CANARY, CANARY)
        hook.webhook(customer, CANARY, csr_name=CANARY)
        client.wait_for_messages(1)
        hook.webhook(f"{customer}-away", CANARY)
        hook.post_raw(json.dumps({"customer_id": customer, "text": CANARY}).encode(), token=mint())
        hook.post_raw(json.dumps({"type": CANARY}).encode(), token=mint())
        hook.dms.faults.set(dms="400")
        client.say(customer, CANARY)
        console.wait_for_event("to DMS: refused", customer=customer)
        console.wait_for_event("kept until the customer comes", customer=f"{customer}-away")
        wait_until(lambda: console.latest("waiting"), "what waits")
        return json.dumps([console.told, console.ask()])


def test_what_people_say_is_told_as_its_length_only(hook: Hook, customer: str) -> None:
    told = everything_with_a_canary(hook, customer)
    assert CANARY not in told
    assert f"({len(CANARY)} characters)" in told


def test_with_log_text_it_is_told(customer: str) -> None:
    with running_hook(gunicorn_command, CONSOLE_TOKEN=TOKEN, LOG_TEXT="on") as hook:
        assert CANARY in everything_with_a_canary(hook, customer)


def test_secrets_and_tokens_are_never_told_even_where_a_client_sends_them(hook: Hook) -> None:
    with Console(hook) as console, hook.connect() as client:
        client.say(f"secret {SECRET}")
        client.say(f"console {TOKEN}")
        client.say(mint())
        hook.webhook(f"waits {SECRET}")
        console.wait_for_event("to DMS: sent", customer="(token)")
        console.wait_for_event("to DMS: sent", customer="console (secret)")
        wait_until(lambda: "waits (secret)" in json.dumps(console.latest("waiting")), "who waits")
        told = json.dumps([console.told, console.ask()])
    assert SECRET not in told
    assert TOKEN not in told
    assert mint().split(".")[0] not in told


def test_it_works_under_flask_run(customer: str) -> None:
    with running_hook(flask_command, CONSOLE_TOKEN=TOKEN) as hook, Console(hook) as console, hook.connect() as client:
        client.say(customer)
        console.wait_for_event("to DMS: sent", customer=customer)
        assert requests.get(f"{hook.url}/console", timeout=10).ok


def test_the_sandboxs_page_leads_to_its_console_where_there_is_one(dms: SandboxDms) -> None:
    with_console = create_app(dms, "", console_url=f"/console#token={TOKEN}").test_client()
    assert 'href="/console#token=' in with_console.get("/").text
    assert "/console" not in create_app(dms, "").test_client().get("/").text


# The page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium, _ = needs("chromium"), needs("node")
    sync_api.expect.set_options(timeout=20_000)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def expect(browser: Any) -> Any:
    return pytest.importorskip("playwright.sync_api").expect


OpenConsole = Callable[..., Any]


@pytest.fixture
def open_console(browser: Any, hook: Hook) -> Iterator[OpenConsole]:
    """Opens the page with this fragment. It must not complain."""
    contexts, complaints = [], []

    def open_console(fragment: str = "#token=" + TOKEN.replace(" ", "%20"), **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        # A session that is closed while a poll of it is under way ends that poll with 400.
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if said.type == "error" and "/socket.io/?" not in said.location["url"] else None
            ),
        )
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.requests_seen = []
        page.on("request", lambda request: page.requests_seen.append(request))
        page.goto(f"{hook.url}/console{fragment}")
        return page

    yield open_console
    for context in contexts:
        context.close()
    assert complaints == []


def rows_of(page: Any, customer: str) -> Any:
    return page.locator("#events tr", has_text=customer)


def test_the_page_asks_for_the_token_and_says_why_it_is_refused(open_console: OpenConsole, expect: Any) -> None:
    page = open_console("")
    expect(page.get_by_label("Token")).to_be_focused()
    expect(page.locator("main")).to_be_hidden()
    page.get_by_label("Token").fill("a guess")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("this is not the token")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("Live")
    page.reload()
    expect(page.locator("#connection")).to_have_text("Live")
    page.get_by_role("button", name="Lock").click()
    expect(page.locator("main")).to_be_hidden()
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()


def test_a_token_in_the_address_opens_the_page_and_leaves_the_address(
    open_console: OpenConsole, expect: Any, hook: Hook
) -> None:
    page = open_console()
    expect(page.locator("#connection")).to_have_text("Live")
    assert page.url == f"{hook.url}/console"
    assert all("token=" not in json.dumps([request.url, request.headers]) for request in page.requests_seen)


def test_the_page_shows_events_figures_and_who_waits_live(
    open_console: OpenConsole, expect: Any, hook: Hook, customer: str
) -> None:
    page = open_console()
    expect(page.locator("#connection")).to_have_text("Live")
    with hook.connect() as client:
        client.say(customer, message_id=4711)
        hook.webhook(f"{customer}-away")
        expect(rows_of(page, customer).filter(has_text="to DMS: sent")).to_contain_text("4711")
        expect(page.locator("[data-figure=connections]")).to_have_text("1")
        row = page.locator("#waiting-rows tr", has_text=f"{customer}-away")
        expect(row).to_contain_text("not here")
        plot = page.get_by_role("img", name="Messages a second")
        expect(plot).to_have_attribute("aria-label", re.compile(r"To DMS [\d.]+ now, [\d.]+ at most"))
        expect(plot.locator("path").first).to_have_attribute("d", re.compile("^M"))


def test_filters_narrow_the_list_and_go_on_live(open_console: OpenConsole, expect: Any, hook: Hook, customer: str) -> None:
    page = open_console()
    with hook.connect() as client:
        client.say(customer)
        client.say(f"{customer}-2")
        hook.webhook(customer)
        page.get_by_role("searchbox", name="Customer").fill(f"{customer}-2")
        expect(page.locator("#events tr")).to_have_count(2)
        page.get_by_role("searchbox", name="Customer").fill(customer)
        expect(page.locator("#events tr").filter(has_text="acknowledged")).to_have_count(1)
        page.get_by_role("button", name="To DMS").click()
        expect(page.locator("#events tr")).to_have_count(4)
        page.get_by_label("Outcome").select_option("Failed")
        expect(page.get_by_text("No event like that is remembered.")).to_be_visible()
        hook.dms.faults.set(dms="500")
        client.say(customer)
        expect(page.locator("#events tr")).to_have_count(1)
        expect(page.locator("#events tr")).to_contain_text("error")
        page.get_by_role("button", name="Pause").click()
        client.say(customer)
        expect(page.locator("#events-note")).to_have_text("Paused. 1 more meanwhile.")
        expect(page.locator("#events tr")).to_have_count(1)
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("#events tr")).to_have_count(2)


def test_a_customers_timeline_tells_each_messages_steps_with_the_time_between(
    open_console: OpenConsole, expect: Any, hook: Hook, customer: str
) -> None:
    page = open_console()
    with hook.connect() as client:
        hook.webhook(customer, message_id="early")
        client.say(customer, message_id=4711)
        client.wait_for_messages(1)
        rows_of(page, customer).first.get_by_role("button").click()
        timeline = page.get_by_role("region", name=customer, exact=True).first
        messages = timeline.locator(".message")
        expect(messages).to_have_count(2)
        expect(messages.first.locator(".step-what")).to_have_text(
            [
                re.compile("received from DMS"),
                re.compile("kept until the customer comes"),
                re.compile("sent to the customer"),
                re.compile("acknowledged"),
            ]
        )
        expect(messages.first).to_contain_text("early")
        expect(messages.last).to_contain_text(re.compile(r"4711\s*done in [\d.]+ ms"))
        expect(messages.last.locator(".step-time").last).to_have_text(re.compile(r"^\+[\d.]+ ms$"))
        # It goes on live, and tells messages without an id apart.
        for _ in range(2):
            hook.dms.send(customer, "typing_indicator")
        expect(messages).to_have_count(4)
        expect(messages.last).to_contain_text("done in")
        expect(page.locator("#timeline-summary")).to_have_text("4 messages")
        page.keyboard.press("Escape")
        expect(timeline).to_be_hidden()


def test_hostile_ids_and_types_are_shown_as_text(open_console: OpenConsole, expect: Any, hook: Hook, customer: str) -> None:
    hostile = f"<img src=x onerror=alert(1)>{customer}"
    page = open_console()
    with hook.connect() as client:
        client.say(hostile, type="<script>alert(2)</script>", message_id="<b>bold</b>")
        hook.dms.send(f"{hostile}-away", "__proto__", message_id="constructor")
        row = rows_of(page, hostile).filter(has_text="received from the customer")
        expect(row).to_contain_text("<script>alert(2)</script>")
        expect(row).to_contain_text("<b>bold</b>")
        row.get_by_role("button").click()
        expect(page.locator("#timeline-title")).to_have_text(hostile)
        expect(page.locator(".message")).to_contain_text("<b>bold</b>")
        page.locator("#timeline-close").click()
        page.locator("#waiting-rows tr", has_text=hostile).get_by_role("button").click()
        expect(page.locator(".message")).to_contain_text("constructor")
    assert page.locator("main img, main script, main b:not(.key b)").count() == 0


def test_plots_are_read_with_the_arrow_keys(open_console: OpenConsole, expect: Any) -> None:
    page = open_console()
    plot = page.get_by_role("img", name="Clients")
    expect(plot.locator("path").first).to_have_attribute("d", re.compile("L"))
    plot.focus()
    page.keyboard.press("ArrowLeft")
    times = page.locator(".plot-axis span:last-child")
    expect(times.first).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    # They share one cursor.
    assert len(set(times.all_inner_texts())) == 1
    page.keyboard.press("Escape")
    expect(times.first).to_have_text("now")


@pytest.mark.parametrize("width", [375, 800])
def test_the_page_fits_a_narrow_screen(open_console: OpenConsole, expect: Any, hook: Hook, width: int) -> None:
    hook.webhook("w" * 256)
    page = open_console(viewport={"width": width, "height": 800})
    expect(page.locator("#waiting-rows tr", has_text="w" * 256)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_restarted_hook_is_found_again(browser: Any, expect: Any) -> None:
    with running_hook(gunicorn_command, CONSOLE_TOKEN=TOKEN) as hook:
        page = browser.new_page()
        page.goto(f"{hook.url}/console#token={TOKEN}")
        expect(page.locator("#connection")).to_have_text("Live")
        hook.server.stop()
        expect(page.locator("#connection")).to_contain_text("trying again")
        page.close()


def test_lively_conversations_for_the_picture_in_the_documentation(
    open_console: OpenConsole, expect: Any, hook: Hook
) -> None:
    """Writes console.png to the folder LCH_SCREENSHOTS; without it, the conversations are short and nothing is written."""
    folder = os.environ.get("LCH_SCREENSHOTS")
    page = open_console()
    customers = ("ada.lindgren", "bjorn.nilsson", "chiara.rossi", "customer-4711")
    clients: dict[str, PythonClient] = {customer: hook.connect() for customer in customers}
    deadline = time.monotonic() + (45 if folder else 2)
    for turn in itertools.count():
        customer = customers[(turn * 7) % 4 if turn % 3 else 0]
        if turn % 23 == 11:
            hook.dms.faults.set(dms="500", times=1)
        elif turn % 31 == 17:
            hook.dms.faults.set(dms="slow", delay_seconds=0.2, times=1)
        clients[customer].say(customer, "Where is my order, please?")
        hook.dms.send(customer, "typing_indicator")
        hook.webhook(customer, "Let me have a look.")
        if turn % 8 == 0:
            hook.webhook("dana.berg", "Are you still there?")
        if time.monotonic() > deadline:
            break
        # The pace of the picture's curves.
        time.sleep(0.08 + 0.3 * (turn % 5 == 0) + 0.15 * (turn // 40 % 2))
    rows_of(page, "bjorn.nilsson").first.get_by_role("button").click()
    expect(page.locator(".message").last).to_contain_text("done in")
    page.locator("#events-scroller").evaluate("scroller => { scroller.scrollTop = 0 }")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / "console.png")
    for client in clients.values():
        client.close()
