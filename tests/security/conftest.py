"""Servers for attacks: one of each kind for the whole session. Whatever a test did, a bystander must not have noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.attacker import Process
from tests.support.hooks import Hook, running_hook
from tests.support.servers import gunicorn_command

# Half-open connections are noticed after PING_INTERVAL and twice PING_TIMEOUT.
IMPATIENT = {"PING_INTERVAL": "1", "PING_TIMEOUT": "1", "CONNECT_TIMEOUT": "1", "CONNECTION_RATE": "0"}
CUSTOMER_SECRET = "what the site's backend and LCH know, and nobody else"


@pytest.fixture(scope="session")
def impatient() -> Iterator[Hook]:
    """LCH with patience of a second or two for everything."""
    configuration = str(Path(__file__).parent / "quick_gunicorn.py")
    with running_hook(gunicorn_command, "--config", configuration, **IMPATIENT) as hook:
        yield hook


@pytest.fixture
def attacked(impatient: Hook, customer: str) -> Iterator[Hook]:
    """LCH under attack. The same process still serves others afterwards, and has no more files open than before."""
    process = Process(impatient)
    open_files = process.open_files
    yield impatient
    assert impatient.works_for(f"bystander-{customer}")
    assert process.is_the_same
    # A client of the test before may still have been closing.
    process.wait_for_open_files(open_files + 2)


@pytest.fixture(scope="session")
def strict() -> Iterator[Hook]:
    """LCH that believes nobody without a token, with half a second between its looks at the clock."""
    with running_hook(gunicorn_command, CUSTOMER_TOKEN_SECRET=CUSTOMER_SECRET) as hook:
        yield hook


@pytest.fixture(scope="session")
def usual() -> Iterator[Hook]:
    """LCH with no setting but those it must have, behind one proxy."""
    with running_hook(
        gunicorn_command, PROXY_HOPS="1", ALLOWED_ORIGIN="https://chat.example.com,http://localhost:3000"
    ) as hook:
        yield hook
