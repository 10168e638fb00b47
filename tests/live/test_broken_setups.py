"""docs/troubleshooting.md, Broken set-ups: every phrase that it quotes is what log, doctor and client really say.

Each row has a scenario here that breaks a real LCH in that way. The phrases are read from the document.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from lchook.sandbox.dms import SandboxDms
from tests.support.certificates import self_signed
from tests.support.clients import NodeClient
from tests.support.hooks import QUICK
from tests.support.jwts import ISSUER, SECRET, mint
from tests.support.peers import peer
from tests.support.servers import Server, free_port, gunicorn_command, run_to_its_end
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

DOCUMENT = ROOT / "docs" / "troubleshooting.md"
OTHER_SECRET = "another secret, as long as the right one is"
CUSTOMER = "customer-of-a-broken-setup"
GOOD = {"JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, **QUICK}


@dataclass
class Scene:
    """What three parties say about a broken set-up; the log may say it a moment later."""

    log: Callable[[], str]
    doctor: str
    client: str


def rows() -> dict[str, tuple[list[str], ...]]:
    """The phrases that the table quotes, by its first column: of the log, the doctor and the client."""
    text = DOCUMENT.read_text().partition("## Broken set-ups")[2].partition("\n## ")[0]
    table = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")][2:]
    return {cells[0].strip(): tuple(re.findall(r"`([^`]+)`", cell) for cell in cells[1:]) for cells in table}


# --- the scenarios ---


def chat(url: str, **options: object) -> str:
    """What a client sees that connects and says something: why it cannot, or what it is told of its message."""
    with NodeClient(url, wait=False, **options) as client:
        wait_until(lambda: client.transport or client.refused, "the client's connection, or its refusal")
        if client.refused:
            return f"connect_error: {client.refused}"
        told = [client.say(CUSTOMER)]
        if told[0]["status"] != "sent":
            told += client.wait_for_errors(1)
        return "\n".join(json.dumps(each, separators=(",", ":")) for each in told)


def ask_the_doctor(*arguments: str, wrapper: Sequence[str] = (), **settings: str) -> str:
    command = [*wrapper, sys.executable, "-m", "flask", "--app", "wsgi", "doctor", *arguments]
    ended = run_to_its_end(command, **settings)
    assert ended.returncode in (0, 1, 3), ended.stdout
    # What LCH logs while it starts goes to the same terminal, and is not what the doctor says.
    return "\n".join(line for line in ended.stdout.splitlines() if not re.match(r"\d{4}-\d\d-\d\d ", line))


@contextmanager
def broken(
    *,
    wrapper: Sequence[str] = (),
    then: Callable[[Server], object] = lambda _: None,
    client: dict[str, object] | None = None,
    **settings: str,
) -> Iterator[Scene]:
    """A running LCH with these settings, a chat with it, what is to happen then, and the doctor beside it."""
    port = free_port()
    all_settings = {**GOOD, "PORT": str(port), **settings}
    with Server(
        [*wrapper, *gunicorn_command(port)], port, **{k: v for k, v in all_settings.items() if k != "PORT"}
    ) as server:
        said = chat(server.url, **(client or {}))
        then(server)
        doctor = ask_the_doctor("--probe", "--public-url", server.url, wrapper=wrapper, **all_settings)
        yield Scene(lambda: server.log, doctor, said)


@contextmanager
def with_a_dms(clock: Callable[[], float] = time.time, **changed: str) -> Iterator[Scene]:
    with SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False, clock=clock) as dms:

        def webhook(server: Server) -> None:
            dms.webhook_url = f"{server.url}/webhook"
            dms.send(CUSTOMER)

        with broken(then=webhook, DMS_URL=dms.url, **changed) as scene:
            yield scene


def answer_nothing_but_its_date(connection: socket.socket) -> None:
    """As any HTTP server would; only the doctor gets as far as this, and sends no body."""
    if b"\r\n\r\n" in connection.recv(65536):
        connection.sendall(f"HTTP/1.1 401 Unauthorized\r\nDate: {formatdate(usegmt=True)}\r\n\r\n".encode())


@contextmanager
def wrong_certificate(folder: Path) -> Iterator[Scene]:
    with (
        peer(answer_nothing_but_its_date, tls=self_signed(folder).tls) as address,
        broken(DMS_URL=f"https://{address}/dms") as scene,
    ):
        yield scene


@contextmanager
def redis_down() -> Iterator[Scene]:
    with with_a_dms(STORE_URL=f"redis://127.0.0.1:{free_port()}/0") as scene:
        yield scene


@contextmanager
def full_disk(folder: Path) -> Iterator[Scene]:
    """A disk of its own, where the kernel lets us have one; otherwise no file may grow, which looks the same to LCH."""
    fill = f"mount -t tmpfs -o size=64k none {folder} && head -c 61440 /dev/zero >{folder}/fill"
    wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{fill} && exec "$@"', "sh"]
    try:
        subprocess.run([*wrapper, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        wrapper = ["sh", "-c", 'ulimit -f 16 && exec "$@"', "sh"]
    with SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False) as dms:

        def webhook(server: Server) -> None:
            dms.webhook_url = f"{server.url}/webhook"
            assert dms.send(CUSTOMER).status_code == 503

        store = f"sqlite://{folder}/lchook.sqlite3"
        with broken(wrapper=wrapper, then=webhook, DMS_URL=dms.url, STORE_URL=store) as scene:
            yield scene


@contextmanager
def port_taken() -> Iterator[Scene]:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        port = other.server_port
        settings = {**GOOD, "DMS_URL": f"http://127.0.0.1:{free_port()}/", "PORT": str(port)}
        with ThreadPoolExecutor() as beside:
            # gunicorn tries for 5 s.
            ending = beside.submit(run_to_its_end, gunicorn_command(port), **settings)
            client, doctor = chat(f"http://127.0.0.1:{port}"), ask_the_doctor(**settings)
            ended = ending.result()
        assert ended.returncode != 0
        yield Scene(lambda: ended.stdout, doctor, client)
        other.shutdown()


@contextmanager
def missing_settings() -> Iterator[Scene]:
    port = free_port()
    ended = run_to_its_end(gunicorn_command(port), JWT_ISSUER=ISSUER)
    assert ended.returncode != 0
    yield Scene(lambda: ended.stdout, ask_the_doctor(JWT_ISSUER=ISSUER), chat(f"http://127.0.0.1:{port}"))


@contextmanager
def other_webhook_secret() -> Iterator[Scene]:
    with (
        SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False) as dms,
        SandboxDms(issuer=ISSUER, secret=OTHER_SECRET, scripted=False) as other,
    ):

        def webhook(server: Server) -> None:
            other.webhook_url = f"{server.url}/webhook"
            assert other.send(CUSTOMER).status_code == 401

        with broken(then=webhook, DMS_URL=dms.url) as scene:
            yield scene


@contextmanager
def other_customer_secret() -> Iterator[Scene]:
    settings = {"CUSTOMER_TOKEN_SECRET": "a secret for the customers' tokens"}
    token = mint(secret=OTHER_SECRET, without=("iss",), sub=CUSTOMER, exp=int(time.time()) + 30)
    with SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False) as dms:
        settings["DMS_URL"] = dms.url
        with broken(client={"auth": {"token": token}}, **settings) as scene:
            command = [sys.executable, "-m", "flask", "--app", "wsgi", "token", "explain", token]
            scene.doctor += run_to_its_end(command, **{**GOOD, **settings}).stdout
            yield scene


SCENARIOS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Scene]]] = {
    "JWT_SECRET is wrong": lambda _: with_a_dms(JWT_SECRET=OTHER_SECRET),
    "JWT_ISSUER is wrong": lambda _: with_a_dms(JWT_ISSUER="another-connection"),
    "Clock 10 minutes slow": lambda _: with_a_dms(clock=lambda: time.time() + 600),
    "DMS is down": lambda _: broken(DMS_URL=f"http://127.0.0.1:{free_port()}/dms"),
    "DMS's name does not resolve": lambda _: broken(DMS_URL="https://dms.invalid/dms"),
    "DMS's certificate is wrong": wrong_certificate,
    "The page's origin is not allowed": lambda _: with_a_foreign_page(),
    "Redis is down": lambda _: redis_down(),
    "Disk full": full_disk,
    "Store file cannot be written": lambda folder: with_a_dms(STORE_URL=f"sqlite://{folder}"),
    "Port taken": lambda _: port_taken(),
    "Settings missing": lambda _: missing_settings(),
    "DMS signs webhooks with another secret": lambda _: other_webhook_secret(),
    "Backend signs customers' tokens with another secret": lambda _: other_customer_secret(),
}


@contextmanager
def with_a_foreign_page() -> Iterator[Scene]:
    page = {"extraHeaders": {"Origin": "https://shop.example.com"}}
    with (
        SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False) as dms,
        broken(client=page, DMS_URL=dms.url, ALLOWED_ORIGIN="https://chat.example.com") as scene,
    ):
        yield scene


# --- the tests ---


def test_each_row_of_the_document_has_a_scenario_and_each_scenario_a_row() -> None:
    assert list(rows()) == list(SCENARIOS)
    for name, cells in rows().items():
        assert len(cells) == 3, name
        assert all(cells), f"a party of {name!r} says nothing"


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_the_document_quotes_is_what_log_doctor_and_client_say(name: str, tmp_path: Path) -> None:
    in_log, in_doctor, in_client = rows()[name]
    with SCENARIOS[name](tmp_path) as scene:
        for phrase in in_log:
            wait_until(lambda phrase=phrase: phrase in scene.log(), lambda phrase=phrase: f"{phrase!r} in {scene.log()}")
        log = scene.log()
    for phrases, said in ((in_doctor, scene.doctor), (in_client, scene.client)):
        for phrase in phrases:
            assert phrase in said, said

    for said in (log, scene.doctor, scene.client):
        assert "Traceback" not in said
        for hidden in (SECRET, OTHER_SECRET, "eyJ"):
            assert hidden not in said
