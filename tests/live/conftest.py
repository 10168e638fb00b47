"""Servers that run for the whole session, one of each kind. Tests speak for customers of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chromium import Pages, running_chromium
from tests.support.demo import Demo
from tests.support.hooks import Hook, running_hook
from tests.support.servers import flask_command, gunicorn_command
from tests.support.sites import Site, running_site

ALLOWED_ORIGINS = "https://chat.example.com, http://localhost:3000"


@pytest.fixture(scope="session")
def gunicorn() -> Iterator[Hook]:
    with running_hook(gunicorn_command, ALLOWED_ORIGIN=ALLOWED_ORIGINS) as hook:
        yield hook


@pytest.fixture(scope="session")
def open_gunicorn() -> Iterator[Hook]:
    """One that believes every webhook and every origin, with an access log."""
    arguments = ("--access-logfile", "-")
    with running_hook(gunicorn_command, *arguments, WEBHOOK_AUTH="off", ALLOWED_ORIGIN="*") as hook:
        yield hook


@pytest.fixture(scope="session")
def flask_run() -> Iterator[Hook]:
    with running_hook(flask_command) as hook:
        yield hook


@pytest.fixture(scope="session")
def flask_run_debug() -> Iterator[Hook]:
    with running_hook(flask_command, "--debug") as hook:
        yield hook


@pytest.fixture
def hook(gunicorn: Hook) -> Iterator[Hook]:
    """LCH as in production, with a DMS that takes everything until the test says otherwise."""
    yield gunicorn
    gunicorn.dms.faults.clear()
    gunicorn.dms.answer = None


@pytest.fixture(params=["gunicorn", "flask_run", "flask_run_debug"])
def any_hook(request: pytest.FixtureRequest) -> Hook:
    """LCH in each way to run it."""
    hook: Hook = request.getfixturevalue(request.param)
    return hook


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


@pytest.fixture(scope="session")
def demo(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo, which the site's pages may use too."""
    server = Demo(tmp_path_factory.mktemp("demo") / "log", site.url)
    site.hook = server.url
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def pages(browser: Any) -> Iterator[Pages]:
    pages = Pages(browser)
    yield pages
    pages.close()
