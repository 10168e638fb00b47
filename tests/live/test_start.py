"""How LCH starts, and how it does not; what gunicorn is set to; what it logs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

from lchook.binds import all_addresses, written
from tests.support.hooks import Hook
from tests.support.jwts import SECRET
from tests.support.servers import flask_command, free_port, gunicorn_command, run_to_its_end
from tests.support.waiting import wait_until

GOOD = {"DMS_URL": "https://dms.invalid/in", "JWT_ISSUER": "conn-1", "JWT_SECRET": SECRET, "STORE_URL": "memory:"}


def start(command: Callable[..., list[str]], *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_its_end(command(free_port(), *arguments), **settings)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        pytest.param(gunicorn_command, (), id="gunicorn"),
        pytest.param(flask_command, (), id="flask run"),
        pytest.param(flask_command, ("--debug",), id="flask run --debug"),
    ],
)
@pytest.mark.parametrize(
    ("settings", "at_fault"),
    [
        pytest.param({}, {"DMS_URL", "JWT_ISSUER", "JWT_SECRET"}, id="nothing set"),
        pytest.param(
            {"DMS_URL": "dms.hidden.com", "JWT_SECRET": "hidden", "PORT": "hidden", "ALLOWED_ORIGIN": "hidden"},
            {"DMS_URL", "JWT_ISSUER", "PORT", "ALLOWED_ORIGIN"},
            id="missing and wrong ones",
        ),
    ],
)
def test_with_missing_or_wrong_settings_it_does_not_start_and_names_them_all(
    command: Callable[..., list[str]], arguments: tuple[str, ...], settings: dict[str, str], at_fault: set[str]
) -> None:
    ended = start(command, *arguments, **settings)

    assert ended.returncode != 0
    named = re.findall(r"^  (\w+): is (missing|wrong): it should be \S", ended.stdout, re.MULTILINE)
    assert {name for name, _ in named} == at_fault
    assert len(named) == len(at_fault)
    assert "hidden" not in ended.stdout
    assert "Traceback" not in ended.stdout


@pytest.fixture(scope="module")
def gunicorn_settings() -> dict[str, str]:
    """What gunicorn says that it is set to, in the environment of a platform that would have it otherwise."""
    command = gunicorn_command(0, "--print-config")
    del command[command.index("--bind") : command.index("--graceful-timeout") + 2]
    ended = run_to_its_end(command, PORT="12345", WEB_CONCURRENCY="4", **GOOD)
    assert ended.returncode == 0, ended.stdout
    return dict(re.findall(r"^(\w+)\s+= (.*)$", ended.stdout, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # A polling client's requests must all reach the process that has its session.
        ("workers", "1"),
        ("worker_class", "lchook.transport.worker.Worker"),
        # Preloading would patch too late.
        ("preload_app", "False"),
        # Instances of one user would take it from each other.
        ("control_socket_disable", "True"),
        ("bind", str([written(*address) for address in all_addresses(12345)])),
        ("reuse_port", "False"),
    ],
)
def test_gunicorn_is_set_as_lch_needs_it(gunicorn_settings: dict[str, str], name: str, value: str) -> None:
    assert gunicorn_settings[name] == value


def test_gunicorn_has_room_for_clients_and_time_to_stop(gunicorn_settings: dict[str, str]) -> None:
    assert int(gunicorn_settings["worker_connections"]) >= 10_000
    # Platforms such as Render kill 30 s after SIGTERM.
    assert 5 <= int(gunicorn_settings["graceful_timeout"]) <= 25
    assert int(gunicorn_settings["timeout"]) >= 30


def test_one_worker_serves_and_the_log_holds_no_complaint(hook: Hook, customer: str) -> None:
    assert hook.works_for(customer)

    assert hook.server.log.count("Booting worker") == 1
    assert "MonkeyPatchWarning" not in hook.server.log
    _, *traces = hook.server.log.split("Traceback")
    assert [trace[:3000] for trace in traces] == []


def test_gunicorns_access_log_has_webhooks_and_polls(open_gunicorn: Hook, customer: str) -> None:
    with open_gunicorn.connect("polling") as client:
        client.say(customer)
        open_gunicorn.webhook(customer)

    for request in (r'"POST /webhook HTTP/1\.1" 200', r'"(GET|POST) /socket\.io/\?.*transport=polling.* HTTP/1\.1" 200'):
        wait_until(
            lambda pattern=request: re.search(pattern, open_gunicorn.server.log),
            lambda: f"the access log, in {open_gunicorn.server.log}",
        )
