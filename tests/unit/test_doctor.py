"""The doctor's checks of this side: settings, store, port, public address; what a probe means; how all is shown."""

from __future__ import annotations

import json
import ssl
import time
from pathlib import Path

import click
import pytest
import requests

from config import Settings
from lchook.dms.client import DmsAnswer
from lchook.dms.failures import cause_in_words
from lchook.doctor import examine
from lchook.doctor.findings import Finding, as_json, in_words, quoted, shown, within
from lchook.doctor.port import examine_port
from lchook.doctor.probe import explained
from lchook.doctor.public_address import examine_public_address, webhook_address
from lchook.doctor.settings import examine_settings, without_secrets
from lchook.doctor.store import examine_store
from lchook.sandbox.dms import SandboxDms
from tests.support.http_answers import answering
from tests.support.jwts import ISSUER, SECRET, mint
from tests.support.peers import peer
from tests.support.servers import free_port


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def settings(**changed: object) -> Settings:
    usual = {"dms_url": "https://dms.example.com/in", "jwt_issuer": ISSUER, "jwt_secret": SECRET, "store_url": "memory:"}
    return Settings(**{**usual, **changed})  # type: ignore[arg-type]


# --- settings ---


def test_sound_settings_are_no_problem_and_no_secret_is_shown() -> None:
    said = [*examine_settings(settings(dms_url="https://user:hidden@dms.example.com/in?key=hidden"))]

    assert {found.status for found in said} == {"ok"}
    assert "dms.example.com/in" in said[0].says
    for hidden in ("hidden", SECRET):
        assert hidden not in as_json(said)


@pytest.mark.parametrize(
    ("changed", "status", "words"),
    [
        ({"webhook_auth": "off"}, "problem", "WEBHOOK_AUTH is off"),
        ({"customer_token_secret": SECRET}, "problem", "the same as JWT_SECRET"),
        ({"jwt_secret": "short"}, "warning", "shorter than 32 bytes"),
        ({"jwt_secret": f'"{SECRET}"'}, "warning", "JWT_SECRET begins and ends with a quotation mark"),
        ({"dms_url": "http://dms.example.com/"}, "warning", "in the clear"),
        ({"jwt_secret_previous": "old"}, "warning", "JWT_SECRET_PREVIOUS"),
        ({"allowed_origins": "*"}, "warning", "pages of any site"),
        ({"allowed_origins": ("https://chat.example.com",)}, "ok", "only pages of https://chat.example.com"),
        ({"allowed_origins": ("app://.", "null")}, "warning", "in a sandboxed frame"),
    ],
)
def test_odd_settings_are_named(changed: dict[str, object], status: str, words: str) -> None:
    assert any(found.status == status and words in found.says for found in examine_settings(settings(**changed)))


# --- probe ---


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_probe_that_dms_takes_is_fine(status: int) -> None:
    assert explained(DmsAnswer(status, None, "")).status == "ok"


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [
        (400, "does not take the message", "DMS_URL"),
        (401, "does not believe the token", "JWT_SECRET"),
        (403, "may not post", "allowed addresses"),
        (404, "nothing is at DMS_URL's path", "path is wrong"),
        (405, "takes no posts", "DMS_URL"),
        (429, "asked too often", "OUTBOX_TTL"),
        (500, "in trouble", "Nothing to change in LCH"),
        (503, "in trouble", "Nothing to change in LCH"),
        (418, "which nobody expects", "DMS_URL"),
    ],
)
def test_what_an_answer_means_and_what_to_change_is_said(status: int, words: str, advice: str) -> None:
    found = explained(DmsAnswer(status, None, "why\nnot"))
    assert found.status == "problem"
    assert f"DMS answered {status}: " in found.says
    assert words in found.says
    assert advice in found.advice
    assert r"'why\nnot'" in found.says


def test_a_redirects_target_is_shown_without_its_query() -> None:
    found = explained(DmsAnswer(302, None, "", "https://login.example.com/in?ticket=hidden"))
    assert "https://login.example.com/in" in found.says
    assert "hidden" not in found.says


def test_an_answer_that_repeats_token_or_secret_is_not_repeated() -> None:
    found = explained(DmsAnswer(401, None, f"bad token {mint()} for {SECRET}"), secrets=(SECRET, ""))
    assert "eyJ" not in found.says
    assert SECRET not in found.says


# --- store ---


def test_a_store_file_keeps_and_forgets_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "kept.sqlite3"
    [found] = examine_store(settings(store_url=f"sqlite://{file}"), folder=tmp_path)
    assert found.status == "ok"
    assert str(file) in found.says
    assert b"lch-doctor" not in file.read_bytes()


def test_a_store_in_memory_is_a_warning(tmp_path: Path) -> None:
    [found] = examine_store(settings(), folder=tmp_path)
    assert found.status == "warning"


def test_a_store_that_cannot_be_written_is_a_problem_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for url in (f"sqlite://{tmp_path}", f"sqlite://{tmp_path}/file/kept.sqlite3", f"sqlite://{tmp_path}/file"):
        [found] = examine_store(settings(store_url=url), folder=tmp_path)
        assert found.status == "problem", url
        assert found.advice


def test_a_redis_that_is_away_is_a_problem_and_its_password_not_shown(tmp_path: Path) -> None:
    [found] = examine_store(settings(store_url=f"redis://user:hidden@127.0.0.1:{free_port()}/0"), folder=tmp_path)
    assert found.status == "problem"
    assert "Connection refused" in found.says
    assert "hidden" not in found.says + found.advice


# --- port and public address ---


def test_a_free_port_is_said() -> None:
    [found] = examine_port(free_port())
    assert (found.status, "is free" in found.says) == ("skipped", True)


def test_a_port_of_another_program_is_a_problem(dms: SandboxDms) -> None:
    [found] = examine_port(int(dms.url.split(":")[2].split("/")[0]))
    assert found.status == "problem"
    assert "taken by another program, which answers 405" in found.says


def test_a_port_where_nobody_speaks_http_is_a_problem() -> None:
    with peer(lambda connection: None) as address:
        [found] = examine_port(int(address.split(":")[1]))
    assert found.status == "problem"


@pytest.mark.parametrize(
    ("url", "webhook"),
    [
        ("https://h.example.com", "https://h.example.com/webhook"),
        ("https://h.example.com/", "https://h.example.com/webhook"),
        ("https://h.example.com/webhook", "https://h.example.com/webhook"),
        ("https://h.example.com/webhook/", "https://h.example.com/webhook"),
        ("https://h.example.com/chat/", "https://h.example.com/chat/webhook"),
        ("https://h.example.com/chat/webhook//", "https://h.example.com/chat/webhook"),
    ],
)
def test_the_webhooks_path_may_be_given_or_not(url: str, webhook: str) -> None:
    assert webhook_address(url) == webhook


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"HTTP/1.1 301 Moved\r\nLocation: https://h.example.com/webhook\r\nContent-Length: 0\r\n\r\n", "a redirect to"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "a proxy is there, and no LCH behind it"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello", "not as LCH does: 'Hello'"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nHello", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
)
def test_an_address_that_does_not_lead_to_lch_is_a_problem(head: bytes, words: str) -> None:
    with peer(answering(head)) as address:
        reached, *rest = examine_public_address(f"http://{address}", settings())
    assert reached.status == "problem"
    assert words in reached.says
    assert {found.status for found in rest} == {"skipped"}


# --- showing ---


def test_a_finding_is_one_line_and_its_advice_another() -> None:
    text = shown(Finding("clock", "problem", "it is late", "Hurry."))
    assert click.unstyle(text).splitlines() == ["✗ clock: it is late", "  → Hurry."]


def test_an_output_that_knows_only_ascii_gets_ascii() -> None:
    for status in ("ok", "problem", "warning", "skipped"):
        assert shown(Finding("x", status, "y", "z"), encoding="ascii").isascii()


def test_json_says_whether_there_are_problems() -> None:
    fine, bad = Finding("a", "warning", "x"), Finding("b", "problem", "y", "z")
    assert json.loads(as_json([fine]))["status"] == "ok"
    said = json.loads(as_json([fine, bad]))
    assert said["status"] == "problems"
    assert said["findings"][1] == {"check": "b", "status": "problem", "says": "y", "advice": "z"}


def test_what_comes_from_outside_is_cut_short_on_one_line_and_without_tokens() -> None:
    said = quoted(f"x\n{mint()}\x1b{'y' * 1000}")
    assert said.isprintable()
    assert len(said) < 250
    assert "eyJ" not in said


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (119, "119 s"), (600, "10.0 minutes"), (-7200, "2.0 hours"), (864_000, "10.0 days")]
)
def test_spans_of_time_are_said_in_a_unit_that_fits(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_what_takes_too_long_is_not_waited_for() -> None:
    with pytest.raises(TimeoutError):
        within(0.05, lambda: time.sleep(0.5))
    with pytest.raises(ZeroDivisionError):
        within(1, lambda: 1 // 0)
    assert within(1, lambda: "done") == "done"


def test_a_check_that_breaks_does_not_end_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("lchook.doctor.examine_dms", broken)
    findings = [*examine(settings(port=free_port()), folder=tmp_path, with_probe=False, public_url=None)]
    assert any(found.check == "dms" and "RuntimeError" in found.says for found in findings)
    assert findings[-1].check == "webhook"
    assert SECRET not in as_json(findings)


# --- words ---


def test_a_cause_is_found_in_what_libraries_wrap_it_in() -> None:
    with pytest.raises(requests.ConnectionError) as refused:
        requests.get(f"http://127.0.0.1:{free_port()}/", timeout=1)
    assert "refused the connection" in cause_in_words(refused.value)
    with pytest.raises(requests.ConnectionError) as unknown:
        requests.get("http://dms.invalid/", timeout=1)
    assert cause_in_words(unknown.value) == "its name does not resolve"


def test_what_means_nothing_to_anybody_gives_no_words() -> None:
    assert cause_in_words(None) == ""
    assert cause_in_words(RuntimeError("x")) == ""
    assert cause_in_words(ssl.SSLError("x")) == "the TLS handshake failed"


def test_an_address_is_shown_without_user_password_and_query() -> None:
    assert without_secrets("https://u:p@h.example.com:8443/x?y=z#w") == "https://h.example.com:8443/x"
