"""Case 35: a container whose user nobody knows, in group 0, as on OpenShift. The image itself is not built here: the folder
has its rights, and the process such a user."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import requests

from lchook.sandbox.dms import SandboxDms
from tests.support.jwts import ISSUER, SECRET
from tests.support.servers import Server, free_port, gunicorn_command
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="to become another user takes root and setpriv"
)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """/app, as the Dockerfile makes it."""
    text = (ROOT / "Dockerfile").read_text()
    folder = tmp_path / "app"
    folder.mkdir()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, folder)
    assert "chmod -R a+rX ." in text
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    owner, group, mode = re.search(r"install -d -o lch -g (\d+) -m (\d+) instance", text).expand(r"10001 \1 \2").split()  # type: ignore[union-attr]
    (folder / "instance").mkdir()
    os.chown(folder / "instance", int(owner), int(group))
    (folder / "instance").chmod(int(mode, 8))
    for parent in folder.parents:
        if parent.is_relative_to("/tmp/") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o555)
    return folder


def as_user(uid: int, gid: int) -> list[str]:
    """A user without a name, home or rights, who may at least read this machine's Python."""
    read = "-all,+dac_read_search"
    return [
        *("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", f"--inh-caps={read}", f"--ambient-caps={read}"),
        *("env", "-u", "HOME", "PYTHONDONTWRITEBYTECODE=1"),
    ]


def served(app: Path, dms: SandboxDms, uid: int, gid: int = 0, **settings: str) -> Server:
    port = free_port()
    command = [*as_user(uid, gid), *gunicorn_command(port)]
    server = Server(command, port, folder=app, DMS_URL=dms.url, JWT_ISSUER=ISSUER, JWT_SECRET=SECRET, **settings)
    dms.webhook_url = f"{server.url}/webhook"
    return server


def test_35_it_starts_ready_and_so_does_the_next_one_that_is_another_user(app: Path, dms: SandboxDms) -> None:
    for uid in (1000650000, 12345):
        with served(app, dms, uid) as server:
            assert requests.get(f"{server.url}/readyz", timeout=5).status_code == 200
            assert dms.send("somebody").status_code == 200
            assert "Traceback" not in server.log
            assert "rror" not in server.log
    kept = {path.name for path in (app / "instance").iterdir()}
    assert "lchook.sqlite3" in kept
    assert {path.stat().st_mode & 0o777 for path in (app / "instance").iterdir()} == {0o660}


def test_35_where_the_folder_cannot_be_written_it_says_who_may_not(app: Path, dms: SandboxDms) -> None:
    with served(app, dms, 12345, gid=12345) as server:
        assert requests.get(f"{server.url}/readyz", timeout=5).status_code == 503
        assert dms.send("somebody").status_code == 503
        wait_until(lambda: "user 12345, group 12345 may not write to its folder" in server.log, lambda: server.log)
        assert "Traceback" not in server.log
