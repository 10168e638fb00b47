"""`flask --app wsgi doctor` and `token` as somebody at a terminal uses them, beside a running LCH."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from config import Settings
from lchook import create_app
from lchook.doctor.probe import probe
from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.faults import Answer
from tests.support.hooks import QUICK, Hook, running_hook
from tests.support.jwts import ISSUER, SECRET, mint, read
from tests.support.servers import environment, gunicorn_command
from tests.support.tools import ROOT

CUSTOMER_SECRET = "a secret for the customers' tokens"


def flask(*arguments: str, said: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command with settings for a DMS that does not exist, unless they say otherwise."""
    usual = {"DMS_URL": "http://127.0.0.1:9/", "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, **QUICK}
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
        cwd=ROOT,
        env=environment(**{**usual, **settings}),
        input=said,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="module")
def own_hook() -> Iterator[Hook]:
    """One whose port the doctor knows from its settings."""
    with running_hook(gunicorn_command) as hook:
        yield hook


def examine(hook: Hook, *arguments: str, **settings: str) -> tuple[subprocess.CompletedProcess[str], dict[str, list[str]]]:
    """Let the doctor look at a running hook; returns also the status of each check."""
    port = hook.url.rpartition(":")[2]
    ended = flask("doctor", "--json", *arguments, **{"DMS_URL": hook.dms.url, "PORT": port, **settings})
    statuses: dict[str, list[str]] = {}
    for finding in json.loads(ended.stdout)["findings"]:
        statuses.setdefault(finding["check"], []).append(finding["status"])
    return ended, statuses


def test_where_all_is_well_it_says_so_and_ends_with_0(own_hook: Hook) -> None:
    ended, statuses = examine(own_hook, "--probe", "--public-url", own_hook.url)

    assert ended.returncode == 0
    assert statuses == {
        "settings": ["ok"],
        "origins": ["ok"],
        "customers": ["ok"],
        "visitors": ["ok"],
        "proxy": ["ok"],
        "name": ["ok"],
        "connection": ["ok"],
        "certificate": ["skipped"],
        "clock": ["ok"],
        "probe": ["ok"],
        "store": ["warning"],
        "files": ["skipped"],
        "port": ["ok"],
        "webhook": ["ok"],
        "signature": ["ok", "ok"],
        "websocket": ["ok"],
    }
    assert own_hook.dms.accepted[-1] == {"type": "typing_indicator", "customer_id": "lch-doctor"}
    assert SECRET not in ended.stdout + ended.stderr
    assert "eyJ" not in ended.stdout + ended.stderr


def test_without_options_it_posts_nothing_to_dms(own_hook: Hook) -> None:
    own_hook.dms.clear()
    _, statuses = examine(own_hook)
    assert (statuses["probe"], statuses["webhook"]) == (["skipped"], ["skipped"])
    assert {post.method for post in own_hook.dms.received} == {"HEAD"}


def test_a_hook_that_runs_with_another_secret_is_found(own_hook: Hook) -> None:
    ended, statuses = examine(
        own_hook, "--public-url", f"{own_hook.url}/webhook", JWT_SECRET="quite another secret than the hook has"
    )
    assert ended.returncode == 1
    assert statuses["signature"] == ["problem", "ok"]
    assert "runs with other settings" in ended.stdout


def test_a_hook_that_believes_everybody_is_found(open_gunicorn: Hook) -> None:
    ended, statuses = examine(open_gunicorn, "--public-url", open_gunicorn.url)
    assert ended.returncode == 1
    assert statuses["signature"] == ["ok", "problem"]
    assert "WEBHOOK_AUTH is off there" in ended.stdout


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_the_probe_explains_what_dms_answers(own_hook: Hook, status: int) -> None:
    # In this process: flask's start would be paid for each.
    own_hook.dms.answer = lambda message: Answer(status=status)
    try:
        [found] = probe(Settings(dms_url=own_hook.dms.url, jwt_issuer=ISSUER, jwt_secret=SECRET))
    finally:
        own_hook.dms.answer = None
    assert found.status == "problem"
    assert f"DMS answered {status}: " in found.says
    assert found.advice


def test_lines_are_for_people_and_without_colours_where_there_is_no_terminal() -> None:
    ended = flask("doctor")

    assert ended.returncode == 1
    assert "\x1b" not in ended.stdout
    *lines, last = ended.stdout.splitlines()
    assert last == "Problems: 1."
    for line in lines:
        assert re.match(r"([✓✗!–] [a-z]+: \S)|(  → \S)", line), line  # noqa: RUF001 - a dash is meant
    assert "✗ connection: no connection to 127.0.0.1, port 9: it refused the connection" in ended.stdout


def test_where_the_output_knows_only_ascii_it_works_too() -> None:
    ended = flask("doctor", PYTHONIOENCODING="ascii:backslashreplace")
    assert "x connection: no connection" in ended.stdout


def test_missing_settings_are_said_in_words_and_with_a_status_of_their_own() -> None:
    ended = flask("doctor", "--json", DMS_URL="", PORT="many")
    assert ended.returncode == 3
    assert ended.stdout == ""
    assert "LCH cannot start, because of these settings:\n  DMS_URL: is missing" in ended.stderr
    assert "  PORT: is wrong: it should be a port number" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("url", ["chat.example.com", "ftp://chat.example.com", "https://", "https://x:y/", "https://x/?a=b"])
def test_an_address_that_is_none_cannot_be_tried(url: str) -> None:
    app = create_app(Settings(dms_url="http://127.0.0.1:9/", jwt_issuer=ISSUER, jwt_secret=SECRET, store_url="memory:"))
    ended = CliRunner().invoke(app.cli.commands["doctor"], ["--public-url", url])
    assert ended.exit_code == 2
    assert "it should be https://" in ended.output


# --- token ---


def test_token_prints_a_token_and_nothing_else() -> None:
    ended = flask("token")
    assert ended.returncode == 0
    header, claims = read(ended.stdout.removesuffix("\n"))
    assert header == {"typ": "JWT", "alg": "HS256"}
    assert (claims["iss"], claims["exp"] - claims["iat"]) == (ISSUER, 300)


def test_its_time_to_live_can_be_chosen() -> None:
    ended = flask("token", "--ttl", "400")
    _, claims = read(ended.stdout.strip())
    assert claims["exp"] - claims["iat"] == 400
    assert "DMS accepts no token that is older than 300 s" in ended.stderr
    assert flask("token", "--ttl", "0").returncode == 2


def test_a_customers_token_lets_a_client_in() -> None:
    with running_hook(gunicorn_command, CUSTOMER_TOKEN_SECRET=CUSTOMER_SECRET) as hook:
        ended = flask("token", "--customer", "c1", CUSTOMER_TOKEN_SECRET=CUSTOMER_SECRET)
        with hook.connect(auth={"token": ended.stdout.strip()}) as client:
            assert client.say("c1")["status"] == "sent"


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (("--customer", "c1"), {}, "CUSTOMER_TOKEN_SECRET is not set"),
        (("--customer", "c1", "--header"), {"CUSTOMER_TOKEN_SECRET": CUSTOMER_SECRET}, "auth: {token}"),
    ],
)
def test_a_customers_token_that_cannot_be_is_refused_in_words(
    arguments: tuple[str, ...], settings: dict[str, str], words: str
) -> None:
    ended = flask("token", *arguments, **settings)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr


def test_the_headers_are_ready_for_curl() -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    with SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False) as dms:
        headers = flask("token", "--header").stdout
        command = [curl, "--silent", "--noproxy", "*", "-H", "@-", "-H", "Content-Type: application/json"]
        command += ["-d", '{"type":"typing_indicator","customer_id":"c1"}', dms.url]
        ended = subprocess.run(command, input=headers, capture_output=True, text=True, timeout=20, check=True)
    assert json.loads(ended.stdout) == {"status": "ok"}


def test_explain_reads_a_token_from_standard_input_and_never_shows_it() -> None:
    token = mint()
    for arguments in ((), ("-",)):
        ended = flask("token", "explain", *arguments, said=f"Authorization: Bearer {token}\n")
        assert ended.returncode == 0, ended.stdout
        assert "✓ verdict: LCH accepts it from DMS at the webhook" in ended.stdout
        assert token not in ended.stdout + ended.stderr


def test_explain_ends_with_1_where_lch_refuses_the_token() -> None:
    ended = flask("token", "explain", "--json", mint(iss="another", secret="another"))
    assert ended.returncode == 1
    said = json.loads(ended.stdout)
    assert [found["check"] for found in said["findings"] if found["status"] == "problem"] == [
        "signature",
        "issuer",
        "verdict",
    ]
