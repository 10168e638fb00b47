"""Cases 38 and 39: LCH under another configuration than its own works, or says what to do and ends. Nothing in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import requests

from tests.support.hooks import running_hook
from tests.support.jwts import SECRET
from tests.support.servers import free_port, gunicorn_command, run_to_its_end
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

GOOD = {"DMS_URL": "https://dms.invalid/in", "JWT_ISSUER": "conn-1", "JWT_SECRET": SECRET, "STORE_URL": "memory:"}
GUNICORN = (sys.executable, "-m", "gunicorn")


def ends(command: Sequence[str], *, folder: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """Run what must end by itself, in a folder."""
    return run_to_its_end(command, folder=folder, PORT=str(free_port()), **GOOD, **more)


def foreign(folder: Path, text: str) -> str:
    """A configuration that somebody else wrote."""
    path = folder / "foreign.py"
    path.write_text(text)
    return str(path)


PATCH = "from gevent import monkey; monkey.patch_all()\n"
OURS = "worker_class = 'lchook.transport.worker.Worker'\n"
START = f"gunicorn -c {ROOT / 'gunicorn.conf.py'} wsgi:app"

# What somebody writes on the command line, in GUNICORN_CMD_ARGS and in a configuration of their own → what LCH says.
REFUSED: dict[str, tuple[Sequence[str], Mapping[str, str], str | None, str]] = {
    "38 another configuration": ((), {}, "threads = 2", START),
    "38 another configuration, sync": ((), {}, "worker_class = 'sync'", START),
    "38 -k sync": (("-k", "sync"), {}, None, START),
    "38 -k gthread": (("-k", "gthread", "--threads", "8"), {}, None, START),
    "38 -k gevent": (("-k", "gevent"), {}, None, START),
    "38 -k gevent in a configuration that patches": (("-k", "gevent"), {}, PATCH, START),
    "38 gevent-websocket's": (("-k", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"), {}, PATCH, START),
    "38 -k from the environment": ((), {"GUNICORN_CMD_ARGS": "-k gthread"}, None, START),
    "38 our worker, not patched": ((), {}, OURS, "begin gunicorn's configuration with `from gevent import monkey"),
    "39 -w 4": (("-w", "4"), {}, None, "Set gunicorn's workers to 1"),
    "39 --workers=2": (("--workers=2",), {}, None, "Set gunicorn's workers to 1"),
    "39 -w 0": (("-w", "0"), {}, None, "Set gunicorn's workers to 1"),
    "39 -w 4 from the environment": ((), {"GUNICORN_CMD_ARGS": "-w 4"}, None, "Set gunicorn's workers to 1"),
    "39 WEB_CONCURRENCY": ((), {"WEB_CONCURRENCY": "3"}, PATCH + OURS, "Set gunicorn's workers to 1"),
    "39 four in a configuration": ((), {}, PATCH + OURS + "workers = 4", "Set gunicorn's workers to 1"),
    "39 --preload": (("--preload",), {}, None, "without --preload"),
    "39 --preload in a configuration": ((), {}, PATCH + OURS + "preload_app = True", "without --preload"),
}


@pytest.mark.parametrize("app", ["wsgi:app", "lchook:create_app()"])
@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_in_words_and_ends(case: str, app: str, tmp_path: Path) -> None:
    arguments, variables, configuration, says = REFUSED[case]
    own = [] if configuration is None else ["-c", foreign(tmp_path, configuration)]
    ended = ends([*GUNICORN, *own, "-b", f"127.0.0.1:{free_port()}", *arguments, app], **variables)
    assert ended.returncode in (1, 3), "for good, as systemd's unit has it"
    assert says in ended.stdout
    if app == "wsgi:app":
        assert "Traceback" not in ended.stdout
        assert "Warning" not in ended.stdout
        # Several workers may say it, each for itself.
        assert len({line for line in ended.stdout.splitlines() if "LCH " in line}) == 1, ended.stdout


def test_38_from_another_folder(tmp_path: Path) -> None:
    ended = ends([*GUNICORN, "-b", f"127.0.0.1:{free_port()}", "wsgi:app"], folder=tmp_path, PYTHONPATH=str(ROOT))
    assert ended.returncode == 3
    assert START in ended.stdout


@pytest.mark.parametrize("module", ["waitress", "uwsgi", "uvicorn"])
def test_38_under_another_server(module: str) -> None:
    """Those that are not installed here are stood in for by their names: what counts is that they are loaded."""
    code = f"import sys, types; sys.modules[{module!r}] = types.ModuleType({module!r}); import wsgi"
    ended = ends([sys.executable, "-c", code])
    assert ended.returncode == 3
    assert f"LCH cannot run under {module}" in ended.stdout
    assert "start it with `gunicorn wsgi:app`" in ended.stdout


# What may be set all the same.
WORKS: dict[str, tuple[Sequence[str], Mapping[str, str], str | None]] = {
    "--threads 4": (("--threads", "4"), {}, None),
    "--max-requests 1": (("--max-requests", "1"), {}, None),
    "--reuse-port": (("--reuse-port",), {}, None),
    "-w 1": (("-w", "1"), {}, None),
    "WEB_CONCURRENCY": ((), {"WEB_CONCURRENCY": "4"}, None),
    "a configuration with our worker": ((), {}, PATCH + OURS),
}


@pytest.mark.parametrize("case", WORKS)
def test_39_what_can_work_works(case: str, tmp_path: Path) -> None:
    arguments, variables, configuration = WORKS[case]
    own = [] if configuration is None else ["-c", foreign(tmp_path, configuration)]
    with running_hook(gunicorn_command, *own, *arguments, **variables) as hook:
        for transport in ("websocket", "polling"):
            with hook.connect(transport) as client:
                assert client.say(transport)["status"] == "sent"
                assert hook.webhook(transport).status_code == 200
                client.wait_for_messages(1)
        assert hook.server.log.count("Booting worker") == 1


@pytest.mark.parametrize("named", [True, False], ids=["with -c", "without"])
def test_38_from_another_folder_with_chdir(named: bool, tmp_path: Path) -> None:
    """gunicorn looks for its configuration before it changes folders."""
    if not named:
        ended = ends([*GUNICORN, "-b", f"127.0.0.1:{free_port()}", "--chdir", str(ROOT), "wsgi:app"], folder=tmp_path)
        assert ended.returncode == 3
        assert START in ended.stdout
        return

    def command(port: int, *arguments: str) -> list[str]:
        return ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(tmp_path), *gunicorn_command(port, *arguments)]

    with running_hook(command, "--chdir", str(ROOT), "-c", str(ROOT / "gunicorn.conf.py")) as hook:
        assert hook.works_for("somebody")


def test_39_a_signal_that_asks_for_more_processes_gets_none() -> None:
    with running_hook(gunicorn_command) as hook:
        os.kill(hook.server._process.pid, signal.SIGTTIN)
        wait_until(lambda: "LCH stays one process" in hook.server.log, lambda: hook.server.log)
        for _ in range(10):
            assert requests.get(f"{hook.url}/healthz", timeout=5).ok
        assert hook.works_for("somebody")
        assert hook.server.log.count("Booting worker") == 1
