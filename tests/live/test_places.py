"""As many connections as there are places, and no more; whoever leaves makes room."""

from __future__ import annotations

from tests.security.attacker import Connection, Process
from tests.support.hooks import running_hook
from tests.support.servers import gunicorn_command
from tests.support.waiting import wait_until

PLACES = 5


def test_who_finds_no_place_waits_until_one_is_free_and_costs_nothing_meanwhile() -> None:
    with running_hook(gunicorn_command, "--worker-connections", str(PLACES)) as hook:
        process = Process(hook)
        for _ in range(3):
            clients = [Connection(hook).open_websocket() for _ in range(PLACES)]
            late = Connection(hook).request("GET", "/healthz", Connection="close")
            cpu_seconds = process.cpu_seconds
            assert late.hears_nothing_for(0.5)
            assert process.cpu_seconds < cpu_seconds + 0.2
            wait_until(lambda: "hardly any connections are left" in hook.server.log, "the warning")

            clients.pop().close()
            assert b'"alive"' in late.receive_all()
            for client in [late, *clients]:
                client.close()
        assert hook.works_for("somebody after them")
