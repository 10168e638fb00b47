"""The way to DMS as the field has it: clocks, addresses, name services, proxies, companies' certificates, typing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lchook.sandbox.dms import SandboxDms
from tests.support.clients import PythonClient
from tests.support.hooks import QUICK, Hook, running_hook
from tests.support.jwts import ISSUER, SECRET, mint
from tests.support.servers import Server, free_port, gunicorn_command

# Clocks


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with running_hook(gunicorn_command) as it:
        yield it


@pytest.mark.parametrize("ahead_seconds", [45, 290, -290], ids=["case-10", "case-10 fast by minutes", "case-10 slow by minutes"])
def test_a_dms_whose_clock_differs_by_minutes_takes_our_messages(ahead_seconds: float) -> None:
    clock = lambda: time.time() + ahead_seconds  # noqa: E731
    with SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False, clock=clock) as dms:
        port = free_port()
        settings = {**QUICK, "DMS_URL": dms.url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET}
        with Server(gunicorn_command(port), port, **settings) as server, PythonClient(server.url) as client:
            assert client.say("c1")["status"] == "sent"


def ahead(seconds: float, **claims: object) -> str:
    """A token that was made just now by somebody whose clock is ahead of ours by so much."""
    now = int(time.time() + seconds)
    lasting = claims.pop("lasting", 30)
    return mint(iat=now, **({"exp": now + lasting} if lasting else {}), without=() if lasting else ("exp",), **claims)


@pytest.mark.parametrize(
    ("token", "status"),
    [
        pytest.param(lambda: ahead(60), 200, id="case-11"),
        pytest.param(lambda: ahead(295), 200, id="case-11 minutes"),
        pytest.param(lambda: ahead(295, lasting=0), 200, id="case-11 without exp"),
        pytest.param(lambda: ahead(60.5, nbf=time.time() + 60), 200, id="case-11 with nbf"),
        pytest.param(lambda: ahead(-60), 200, id="case-11 slow, and signs for 30 s"),
        pytest.param(lambda: ahead(-295, lasting=0), 200, id="case-11 slow by minutes"),
        pytest.param(lambda: mint(iat=time.time() + 60, exp=time.time() + 90), 200, id="case-11 a fraction of a second"),
        pytest.param(lambda: mint(exp=(time.time() + 30) * 1000), 200, id="case-11 exp in milliseconds"),
        pytest.param(lambda: ahead(310), 401, id="case-11 too fast"),
        pytest.param(lambda: ahead(-310, lasting=3600), 401, id="case-11 too slow"),
        pytest.param(lambda: mint(nbf=time.time() + 310), 401, id="case-11 nbf too far"),
        pytest.param(lambda: mint(exp=int(time.time()) - 1), 401, id="case-11 over before it was made"),
        pytest.param(lambda: mint(nbf="soon"), 401, id="case-11 nbf in words"),
    ],
)
def test_a_webhook_counts_for_five_minutes_either_way(hook: Hook, token: object, status: int) -> None:
    response = hook.post_raw(b'{"type":"text","customer_id":"c1","text":["Hi"]}', token=token())  # type: ignore[operator]

    assert response.status_code == status, response.text
