"""The README and the pages under docs/ say what is true: settings, metrics, links, commands."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

import config
from lchook.sandbox.identity_provider import IdentityProvider
from tests.docs.commands import NOT_RUN, RUN_BY
from tests.docs.pages import Page, all_pages, page
from tests.support.hooks import Hook, running_hook
from tests.support.raw_socket_io import RawWebSocket
from tests.support.servers import gunicorn_command
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

PAGES = all_pages()


def rows(of: Page, columns: int) -> Iterator[list[str]]:
    """The rows of a page's tables that have so many columns."""
    for line in of.text.splitlines():
        if line.startswith("| "):
            cells = line.split("|")[1:-1]
            if len(cells) == columns:
                yield [cell.strip() for cell in cells]


# Settings


def default_in_words(variable: str) -> str:
    if variable in config._REQUIRED:
        return "required"
    name = config._FIELDS.get(variable, variable.lower())
    (field,) = (field for field in dataclasses.fields(config.Settings) if field.name == name)
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if default is None:
        return "same origin only"
    if default in ("", ()):
        return "not set"
    if isinstance(default, dict):
        return f"`{default[''].lower()}`"
    return f"`{default:.15g}`" if isinstance(default, float) else f"`{default}`"


def test_the_readmes_settings_are_those_of_config() -> None:
    table = {cells[0].strip("`"): cells[1:] for cells in rows(page("README.md"), 4) if re.fullmatch(r"`[A-Z_]+`", cells[0])}

    assert list(table) == [name for name, _, _ in config._VARIABLES], "the rows, in config.py's order"
    for name, _, should_be in config._VARIABLES:
        default, in_words, meaning = table[name]
        assert (default, in_words) == (default_in_words(name), should_be), name
        assert meaning.endswith((".", ")")), name


# Metrics


@pytest.fixture(scope="module")
def busy_hook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hook]:
    """One to which everything has happened that makes a metric appear."""
    with contextlib.ExitStack() as running:
        provider = running.enter_context(IdentityProvider())
        keys = {
            "CUSTOMER_TOKEN_JWKS_URL": provider.keys_url,
            "CUSTOMER_TOKEN_ISSUER": provider.issuer,
            "CUSTOMER_TOKEN_AUDIENCE": provider.audience,
        }
        files = {"FILES_URL": f"file://{tmp_path_factory.mktemp('files')}", "PUBLIC_URL": "http://127.0.0.1:{port}"}
        hook = running.enter_context(running_hook(gunicorn_command, **keys, **files, CONVERSATION_TTL="60"))
        auth = {"token": provider.token("somebody")}
        with hook.connect(auth=auth) as client, RawWebSocket(hook.url, auth=auth) as rubbish:
            client.say("somebody")
            client.call("fileRequest", {"customer_id": "somebody", "size": 1})
            hook.webhook("somebody")
            client.wait_for_messages(1)
            rubbish.send("4rubbish")
            rubbish.wait_for('42["serverError"', 1)
            wait_until(lambda: 'outcome="delivered"' in metrics_of(hook), lambda: metrics_of(hook))
        yield hook


def metrics_of(hook: Hook) -> str:
    return requests.get(f"{hook.url}/metrics", timeout=10).text


def test_the_metrics_in_operations_are_the_real_ones(busy_hook: Hook) -> None:
    real = {}
    for family in text_string_to_metric_families(metrics_of(busy_hook)):
        if family.name.endswith("_created"):
            # prometheus-client's own: since when a histogram counts.
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        real[name] = (family.type, {label for sample in family.samples for label in sample.labels})
    described = {
        name.strip("`"): (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels, _ in rows(page("docs/operations.md"), 4)
        if name.startswith("`lch_")
    }
    assert described == real


@pytest.mark.parametrize(
    ("metric", "sources"),
    [
        ("lch_deliveries_total", ["flows/to_customer.py", "flows/deliveries.py", "flows/mailbox_calls.py"]),
        ("lch_clients_total", ["web/chat.py", "web/clients.py"]),
        ("lch_refusals_total", ["transport/guard.py"]),
        ("lch_files_total", ["files/uploads.py", "files/agent_files.py", "files/files.py", "web/files.py"]),
        ("lch_conversation_events_total", ["flows/conversations.py"]),
    ],
)
def test_each_outcome_that_is_counted_is_described(metric: str, sources: list[str]) -> None:
    text = "".join((ROOT / "lchook" / source).read_text() for source in sources)
    counted = set(re.findall(r'(?:counts|_own)\["(\w+)"\]|\.count\("(\w+)"\)', text))
    of, described = "", set()
    for label, value, _ in rows(page("docs/operations.md"), 3):
        of = label or of
        if of.endswith(f"`{metric}`"):
            described.add(value.strip("`"))
    assert described == {one or other for one, other in counted}


# Links


@pytest.mark.parametrize("of", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(of: Page) -> None:
    lost = []
    for link in of.links():
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (of.path.parent / path).resolve() if path else of.path
        if not target.exists() or (anchor and anchor not in Page(target).anchors()):
            lost.append(link)
    assert lost == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, to_read = set(), [page("README.md")]
    while to_read:
        here = to_read.pop()
        if here in reached:
            continue
        reached.add(here)
        targets = {(here.path.parent / link.partition("#")[0]).resolve() for link in here.links() if "://" not in link}
        to_read += [Page(path) for path in targets if path.suffix == ".md" and path.exists()]
    assert {of.name for of in PAGES} - {of.name for of in reached} == set()


def test_decisions_are_all_in_their_list() -> None:
    folder = ROOT / "docs" / "decisions"
    files = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert re.findall(r"\]\((\d{4}[\w-]+\.md)\)", (folder / "README.md").read_text()) == files
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))


# Commands


def test_every_command_of_the_pages_is_run_by_something() -> None:
    shown = {command: of.name for of in PAGES for command in of.commands()}
    known = RUN_BY.keys() | NOT_RUN.keys()
    assert {command: where for command, where in shown.items() if command not in known} == {}
    assert known - shown.keys() == set(), "no page shows these any more"
    assert RUN_BY.keys() & NOT_RUN.keys() == set()


@pytest.mark.parametrize("runner", sorted(set(RUN_BY.values())))
def test_what_runs_a_command_is_there(runner: str) -> None:
    path, _, test = runner.partition("::")
    text = (ROOT / path).read_text()
    assert f"def {test}(" in text if test else text.startswith("#!")


@pytest.mark.parametrize("command", [command for command, by in RUN_BY.items() if by.startswith(".ci/")])
def test_what_ci_runs_is_in_its_script(command: str) -> None:
    words = [command.split()[0].rpartition("/")[2], *command.split()[1:]]
    lines = (ROOT / RUN_BY[command]).read_text().splitlines()
    # With options in between, such as the quiet ones.
    assert any(all(word in line for word in words) for line in lines), f"{command} is not in {RUN_BY[command]}"
