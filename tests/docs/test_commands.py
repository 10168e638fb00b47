"""Commands of the README and the pages, run as they stand there; only ports and folders are the test's own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from dotenv import dotenv_values

from lchook.store.from_url import DEFAULT_FILE
from tests.docs.pages import page
from tests.support.clients import PythonClient
from tests.support.hooks import Hook, running_hook
from tests.support.servers import environment, free_port, gunicorn_command
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

START_SECONDS = 30.0


@contextmanager
def running(command: list[str], log: Path, **settings: str) -> Iterator[None]:
    """A process and its children, in the background, with a log."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def environment_folder(tmp_path: Path) -> Path:
    """What `make` takes for its .venv: everything is installed in it, namely what these tests run with."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name, module in (("python", ""), ("gunicorn", "-m gunicorn"), ("pytest", "-m pytest"), ("pip", "-m pip")):
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        program.chmod(0o755)
    for stamp in ("python", "runtime", "dev"):
        (folder / stamp).touch()
    return folder


def make(folder: Path, *arguments: str) -> list[str]:
    """`make` with that environment, which must not touch node_modules either."""
    return ["make", "--no-print-directory", "--old-file=node_modules/.done", *arguments, f"VENV={folder}"]


def chat(url: str, log: Path) -> list[str]:
    """Say hello to LCH at that address; returns the types of what comes."""
    with PythonClient(url) as client:
        assert client.say("customer-1", "hello")["status"] == "sent", log.read_text()
        return [message["type"] for message in client.wait_for_messages(2, timeout_seconds=START_SECONDS)]


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def test_make_demo_prints_an_address_where_one_can_chat(environment_folder: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with running(make(environment_folder, "demo", f"PORT={port}"), log):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), log.read_text, timeout_seconds=START_SECONDS)
        assert f"http://127.0.0.1:{port}/" in log.read_text()
        assert "<title>" in requests.get(f"http://127.0.0.1:{port}/", timeout=10).text
        assert "text" in chat(f"http://127.0.0.1:{port}", log)


def test_hook_and_sandbox_of_the_example_settings_find_each_other(tmp_path: Path) -> None:
    """As CONTRIBUTING.md says; the example's ports are replaced, so that nothing else is in the way."""
    hook, page_port, dms = free_port(), free_port(), free_port()
    example = dotenv_values(ROOT / ".env.example")
    assert example["DMS_URL"] == "http://127.0.0.1:5602/dms"
    assert example["ALLOWED_ORIGIN"] == "http://127.0.0.1:5601"
    # Where `flask sandbox` looks for LCH. `flask run` alone would be on port 5000.
    assert "flask --app wsgi run --debug --port 5600\n" in page("CONTRIBUTING.md").text
    settings = {
        **{name: value or "" for name, value in example.items()},
        "PORT": str(hook),
        "DMS_URL": f"http://127.0.0.1:{dms}/dms",
        "ALLOWED_ORIGIN": f"http://127.0.0.1:{page_port}",
        "STORE_URL": "memory:",
    }
    flask = [sys.executable, "-m", "flask", "--app", "wsgi"]
    log = tmp_path / "log"
    with (
        running([*flask, "run", "--debug", "--port", str(hook)], log, **settings),
        running([*flask, "sandbox", "--port", str(page_port), "--dms-port", str(dms)], log, **settings),
    ):
        for url in (f"http://127.0.0.1:{hook}/webhook", f"http://127.0.0.1:{page_port}/"):
            wait_until(lambda url=url: answers(url), log.read_text, timeout_seconds=START_SECONDS)
        config_of_page = requests.get(f"http://127.0.0.1:{page_port}/sandbox/config.json", timeout=10).json()
        assert config_of_page["hook"] == f"http://127.0.0.1:{hook}"
        assert "text" in chat(config_of_page["hook"], log)


def test_make_knows_what_the_pages_name(environment_folder: Path) -> None:
    named = {name for of in ("README.md", "CONTRIBUTING.md") for name in re.findall(r"make ([a-z]+)", page(of).text)}
    targets = {"demo", "test", "help", "lint", "format", "requirements"}
    assert targets <= named
    for target in targets:
        planned = subprocess.run(
            make(environment_folder, "--dry-run", target), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert planned.returncode == 0, planned.stderr
        assert planned.stdout.strip(), target


def test_make_help_lists_the_commands_of_the_pages(environment_folder: Path) -> None:
    listed = subprocess.run(
        make(environment_folder), cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    for target in ("demo", "test", "install", "run", "lint"):
        assert re.search(rf"^  make {target} +\w", listed, re.MULTILINE), listed


def test_make_hands_arguments_on_to_pytest(environment_folder: Path) -> None:
    command = make(environment_folder, "--dry-run", "test", "ARGS=tests/unit -x")
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert planned.splitlines()[-1].endswith("bin/pytest tests/unit -x")


def test_readiness_can_be_asked_with_curl() -> None:
    (command,) = [command for command in page("docs/operations.md").commands() if command.startswith("curl ")]
    with running_hook(gunicorn_command) as hook:
        asked = command.replace("http://127.0.0.1:5600", hook.url).split()
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, '{"status":"ready"}')


def test_a_store_in_use_can_be_copied(tmp_path: Path, customer: str) -> None:
    (command,) = [command for command in page("docs/operations.md").commands() if "sqlite3" in command]
    original, copy = tmp_path / DEFAULT_FILE, tmp_path / "copy.sqlite3"
    assert f"instance/{DEFAULT_FILE} {copy.name}" in command
    with running_hook(gunicorn_command, STORE_URL=f"sqlite://{original}") as hook:
        hook.webhook(customer, "Kept")
        in_place = command.replace(f"instance/{DEFAULT_FILE}", str(original)).replace(copy.name, str(copy))
        subprocess.run(["sh", "-c", in_place], check=True, timeout=20)
    with contextlib.closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT customer FROM letters").fetchall() == [(customer,)]
    with running_hook(gunicorn_command, STORE_URL=f"sqlite://{copy}") as restored:
        assert received_by(restored, customer) == [["Kept"]]


def received_by(hook: Hook, customer: str) -> list[list[str]]:
    with hook.connect(auth={"customer_id": customer}) as client:
        return [message["text"] for message in client.wait_for_messages(1)]
