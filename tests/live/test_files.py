"""Files, both ways, through LCH as it runs: DMS fetches what a customer sends, what an agent sends outlives its link."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.clients import PythonClient
from tests.support.hooks import Hook, running_hook
from tests.support.peers import peer, read_request
from tests.support.servers import flask_command, free_port, gunicorn_command
from tests.support.waiting import wait_until

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
ORIGIN = "https://chat.example.com"


class Source:
    """A host of attachments, on an address that ATTACHMENT_HOSTS names in numbers."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        # Set: answers may go out.
        self.open = threading.Event()
        self.open.set()
        self.url = ""

    def serve(self, connection: socket.socket) -> None:
        head = read_request(connection)
        if not head:
            return
        target = head.split(b" ")[1].decode()
        self.asked.append(target)
        self.open.wait(10)
        answer = self.answers.get(target, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        connection.sendall(answer)

    def has(self, target: str, content: bytes) -> str:
        self.answers[target] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content
        return self.url + target


@contextmanager
def source() -> Iterator[Source]:
    it = Source()
    with peer(it.serve) as address:
        it.url = f"http://{address}"
        yield it


@contextmanager
def hook_with_files(
    folder: Path, command: Callable[..., list[str]] = gunicorn_command, **settings: str
) -> Iterator[tuple[Hook, Source]]:
    with source() as agents:
        usual = {
            "FILES_URL": f"file://{folder}",
            "PUBLIC_URL": "http://127.0.0.1:{port}",
            "ATTACHMENT_HOSTS": agents.url,
            "ALLOWED_ORIGIN": ORIGIN,
        }
        with running_hook(command, **{**usual, **settings}) as hook:
            yield hook, agents


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[tuple[Hook, Source]]:
    with hook_with_files(folder) as running:
        yield running


@pytest.fixture
def hook(running: tuple[Hook, Source]) -> Hook:
    return running[0]


@pytest.fixture
def agents(running: tuple[Hook, Source]) -> Source:
    return running[1]


@pytest.fixture
def client(hook: Hook) -> Iterator[PythonClient]:
    with hook.connect() as client:
        yield client


def ask(client: PythonClient, customer: str, content: bytes, name: str = "photo.png", **fields: Any) -> dict[str, Any]:
    asked = {"customer_id": customer, "name": name, "type": "image/png", "size": len(content), **fields}
    answer: dict[str, Any] = client.call("fileRequest", asked)
    return answer


def put(answer: dict[str, Any], content: Any, **headers: str) -> requests.Response:
    upload = answer["upload"]
    return requests.request(
        upload["method"], upload["url"], data=content, headers={**upload["headers"], "Origin": ORIGIN, **headers}, timeout=20
    )


def put_slowly(answer: dict[str, Any], sent: bytes, promised: int) -> socket.socket:
    """Begin an upload, and go no further."""
    upload = answer["upload"]
    host, _, path = upload["url"].removeprefix("http://").partition("/")
    address, _, port = host.partition(":")
    connection = socket.create_connection((address, int(port)))
    lines = [f"PUT /{path} HTTP/1.1", f"Host: {host}", f"Content-Length: {promised}"]
    lines += [f"{name}: {value}" for name, value in upload["headers"].items()]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + sent)
    return connection


def test_what_a_customer_sends_is_fetched_by_dms(hook: Hook, client: PythonClient, customer: str) -> None:
    hook.dms.fetches = True
    answer = ask(client, customer, PNG, "holiday photo.png")
    stored = put(answer, PNG)
    sent = client.say(customer, "See this", attachments=[answer["attachment"]])

    assert (stored.status_code, sent["status"]) == (201, "sent")
    assert stored.headers["Access-Control-Allow-Origin"] == ORIGIN
    (body,) = hook.dms.wait_for(lambda body: body.get("attachments") and body["customer_id"] == customer)
    by_dms = wait_until(
        lambda: [one for one in hook.dms.attachments.fetched if one.customer_id == customer], "DMS to fetch it"
    )
    assert (by_dms[0].status, by_dms[0].content_type, by_dms[0].size) == (200, "image/png", len(PNG))
    # Without a cookie, and from nowhere near the site.
    fetched = requests.get(body["attachments"][0]["url"], timeout=10)
    assert (fetched.status_code, fetched.content) == (200, PNG)
    assert fetched.headers["Content-Type"] == "image/png"
    assert fetched.headers["Content-Disposition"].startswith('inline; filename="holiday photo.png"')
    assert fetched.headers["X-Content-Type-Options"] == "nosniff"
    assert fetched.headers["Content-Security-Policy"].startswith("sandbox;")
    assert "Set-Cookie" not in fetched.headers
    head = requests.head(body["attachments"][0]["url"], timeout=10)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(PNG)))


def test_a_browser_may_upload_from_an_allowed_page_only(client: PythonClient, customer: str) -> None:
    url = ask(client, customer, PNG)["upload"]["url"]
    asks = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,content-type"}

    ours = requests.options(url, headers={"Origin": ORIGIN, **asks}, timeout=10)
    others = requests.options(url, headers={"Origin": "https://evil.example", **asks}, timeout=10)

    assert ours.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "authorization" in ours.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Origin" not in others.headers


def test_more_than_the_largest_message_is_taken_without_holding_it(client: PythonClient, customer: str) -> None:
    large = PNG + bytes(5_000_000)

    answer = ask(client, customer, large)

    assert put(answer, large).status_code == 201
    assert requests.get(answer["attachment"]["url"], timeout=10).content == large


def test_other_requests_are_as_bounded_as_ever(hook: Hook, client: PythonClient) -> None:
    assert requests.post(f"{hook.url}/webhook", data=bytes(2_000_000), timeout=10).status_code in (401, 413)
    assert requests.post(f"{hook.url}/files/x/y", data=bytes(2_000_000), timeout=10).status_code == 405


@pytest.mark.parametrize(
    ("content", "length", "status"),
    [
        (PNG, len(PNG) - 1, 400),
        (PNG, len(PNG) + 1, 400),
        (b"<!DOCTYPE html><script>alert(1)</script>", None, 415),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", None, 415),
        (b"MZ" + bytes(200), None, 415),
    ],
    ids=["longer", "shorter", "html", "svg", "program"],
)
def test_what_is_not_what_it_says_is_refused(
    client: PythonClient, customer: str, content: bytes, length: int | None, status: int
) -> None:
    answer = ask(client, customer, content, size=length or len(content))

    refused = put(answer, content, **{"Content-Length": str(len(content))})

    assert refused.status_code == status
    assert refused.json()["error"]
    assert requests.get(answer["attachment"]["url"], timeout=10).status_code == 404


def test_nobody_uploads_for_another_or_twice(client: PythonClient, customer: str) -> None:
    mine, others = ask(client, customer, PNG), ask(client, f"other-{customer}", PNG)
    theirs = {**others["upload"], "headers": mine["upload"]["headers"]}

    assert put({"upload": theirs}, PNG).status_code == 403
    assert put(mine, PNG, Authorization="Bearer rubbish").status_code == 403
    assert put(mine, PNG, Authorization="").status_code == 403
    assert put(mine, PNG).status_code == 201
    other = PNG[:-1] + b"!"
    again = put(mine, other)
    assert (again.status_code, again.json()["repeated"]) == (200, True)
    assert requests.get(mine["attachment"]["url"], timeout=10).content == PNG


def test_an_upload_that_breaks_off_leaves_nothing(folder: Path, client: PythonClient, customer: str) -> None:
    answer = ask(client, customer, PNG)
    connection = put_slowly(answer, PNG[:100], len(PNG))
    wait_until(lambda: list((folder / ".incoming").glob("*.part")), "an upload under way")
    connection.close()

    wait_until(lambda: not list((folder / ".incoming").glob("*.part")), "its end")
    assert requests.get(answer["attachment"]["url"], timeout=10).status_code == 404
    assert put(answer, PNG).status_code == 201


def test_requests_for_nonsense_are_answered_in_words(client: PythonClient, customer: str) -> None:
    for asked in (None, [], "file", 7, {}, {"customer_id": []}):
        assert "takes one object" in client.call("fileRequest", asked)["error"]
    for size in (0, -1, "5", 1.5, True, None, 10_000_001, 10**30):
        assert client.call("fileRequest", {"customer_id": customer, "size": size})["error"]


def test_links_to_nothing_say_so(hook: Hook) -> None:
    there_never_was = f"{hook.url}/files/{'a' * 16}/9999999999-c-{'a' * 26}/x.png"
    over = f"{hook.url}/files/{'a' * 16}/1000000000-c-{'a' * 26}/x.png"

    assert requests.get(there_never_was, timeout=10).status_code == 404
    assert requests.get(over, timeout=10).status_code == 410
    for path in ("..%2f..%2fetc/passwd/x", "a/b/c", f"{'a' * 16}/..%2f9999999999-c-{'a' * 26}/x"):
        assert requests.get(f"{hook.url}/files/{path}", timeout=10).status_code == 404


def test_what_an_agent_sends_outlives_its_link(hook: Hook, agents: Source, client: PythonClient, customer: str) -> None:
    client.say(customer)
    original = agents.has("/hours.txt?X-Amz-Signature=abc", b"Monday to Friday")
    attachment = {"url": original, "content_type": "text/plain", "file_name": "hours.txt", "size": 16, "more": [1]}

    assert hook.webhook(customer, "See", attachments=[attachment]).status_code == 200

    (received,) = client.wait_for_messages(1)[0]["attachments"]
    assert received == {**attachment, "url": received["url"], "source_url": original}
    assert received["url"].startswith(f"{hook.url}/files/")
    wait_until(lambda: agents.asked.count("/hours.txt?X-Amz-Signature=abc"), "LCH to fetch it")
    agents.answers.clear()
    fetched = requests.get(received["url"], timeout=10)
    assert (fetched.status_code, fetched.content) == (200, b"Monday to Friday")
    assert fetched.headers["Content-Disposition"].startswith("attachment;")


def test_a_slow_source_holds_up_nothing_and_who_looks_waits(
    hook: Hook, agents: Source, client: PythonClient, customer: str
) -> None:
    client.say(customer)
    original = agents.has(f"/slow/{customer}", PNG)
    agents.open.clear()
    try:
        hook.webhook(customer, "first", attachments=[{"url": original, "file_name": "p.png"}])
        hook.webhook(customer, "second")
        first, second = client.wait_for_messages(2)
        assert (first["text"], second["text"]) == (["first"], ["second"])
        found: list[requests.Response] = []
        looking = threading.Thread(target=lambda: found.append(requests.get(first["attachments"][0]["url"], timeout=20)))
        looking.start()
        wait_until(lambda: f"/slow/{customer}" in agents.asked, "the question")
    finally:
        agents.open.set()
    looking.join(10)
    assert (found[0].status_code, found[0].content) == (200, PNG)


def test_what_cannot_be_had_leads_to_the_original(hook: Hook, agents: Source, client: PythonClient, customer: str) -> None:
    client.say(customer)
    dead, foreign = f"{agents.url}/dead", "https://files.evil.example/x"
    hook.webhook(customer, attachments=[{"url": dead}, {"url": foreign, "size": 3}, {"url": 7}, "x"])

    first, *others = client.wait_for_messages(1)[0]["attachments"]

    assert others == [{"url": foreign, "size": 3}, {"url": 7}, "x"]
    led_on = requests.get(first["url"], timeout=20, allow_redirects=False)
    assert (led_on.status_code, led_on.headers["Location"]) == (302, dead)
    # Nobody makes LCH send people elsewhere, or fetch something.
    assert requests.get(first["url"][:-4] + "AAAA", timeout=10, allow_redirects=False).status_code == 404


def test_a_repeated_webhook_is_fetched_once(hook: Hook, agents: Source, client: PythonClient, customer: str) -> None:
    client.say(customer)
    original = agents.has(f"/once/{customer}", b"once")
    for _ in range(2):
        hook.webhook(customer, message_id="m", attachments=[{"url": original}])
    client.settle()

    assert len(client.messages) == 1
    assert requests.get(client.messages[0]["attachments"][0]["url"], timeout=10).content == b"once"
    assert agents.asked.count(f"/once/{customer}") == 1


def test_kill_9_leaves_no_link_to_nothing(tmp_path: Path, customer: str) -> None:
    with source() as agents:
        settings = {"ATTACHMENT_HOSTS": agents.url, "STORE_URL": f"sqlite://{tmp_path}/lch.sqlite3"}
        original = agents.has("/slow.png", PNG)
        agents.open.clear()
        settings["PUBLIC_URL"] = f"http://127.0.0.1:{free_port()}"
        with hook_with_files(tmp_path / "files", **settings) as (hook, _):
            with hook.connect() as client:
                upload = ask(client, "uploader", PNG)
                upload["upload"]["url"] = upload["upload"]["url"].replace(settings["PUBLIC_URL"], hook.url)
                put_slowly(upload, PNG[:100], len(PNG)).close()
                half = put_slowly(upload, PNG[:100], len(PNG))
                wait_until(lambda: list((tmp_path / "files" / ".incoming").glob("*.part")), "an upload under way")
            assert hook.webhook(customer, attachments=[{"url": original}]).status_code == 200
            wait_until(lambda: agents.asked == ["/slow.png"], "the first process to ask for it")
            hook.server.kill()
            half.close()
        agents.open.set()
        with hook_with_files(tmp_path / "files", **settings) as (hook, _):
            # Nobody has looked yet.
            wait_until(lambda: agents.asked.count("/slow.png") > 1, "the next process to fetch it")
            agents.answers.clear()
            with hook.connect() as client:
                client.say(customer)
                url = client.wait_for_messages(1)[0]["attachments"][0]["url"]
            path = url.removeprefix(settings["PUBLIC_URL"])
            assert requests.get(hook.url + path, timeout=20).content == PNG
            wait_until(lambda: not list((tmp_path / "files").glob("*/*.pending")), "the note to go")


def test_files_under_flask_run(tmp_path: Path, customer: str) -> None:
    with hook_with_files(tmp_path / "files", flask_command) as (hook, agents), hook.connect() as client:
        answer = ask(client, customer, PNG)
        assert put(answer, PNG).status_code == 201
        assert requests.get(answer["attachment"]["url"], timeout=10).content == PNG
        hook.webhook(customer, attachments=[{"url": agents.has("/a", b"some text")}])
        client.say(customer)
        assert requests.get(client.wait_for_messages(1)[0]["attachments"][0]["url"], timeout=10).content == b"some text"
