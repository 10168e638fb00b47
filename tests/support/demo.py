"""The demo, a process of its own: hook, sandbox DMS and pages in one gunicorn. What the tests in Chromium work with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import requests

from lchook.core.tokens import Tokens
from tests.support.servers import free_port
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

DEADLINE_SECONDS = 20
ISSUER, SECRET = "chat-page-tests", "a secret of the tests, long enough for HS256"


class Demo:
    """Always on the same port, however often it is killed."""

    def __init__(self, log: Path, *origins: str, **settings: str) -> None:
        """:param origins: of other sites that may connect. :param settings: with `{url}` for its address."""
        self.port, self._dms_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Of a site that a test starts itself.
        self.guest_port = free_port()
        self._log = log
        self._settings = {
            "ALLOWED_ORIGIN": ",".join((self.url, f"http://127.0.0.1:{self.guest_port}", *origins)),
            **{name: text.replace("{url}", self.url) for name, text in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {
            name: text for name, text in os.environ.items() if name not in ("FLASK_RUN_FROM_CLI", "GUNICORN_CMD_ARGS")
        }
        environ.update(
            PORT=str(self.port),
            DMS_URL=f"http://127.0.0.1:{self._dms_port}/dms",
            JWT_ISSUER=ISSUER,
            JWT_SECRET=SECRET,
            CONVERSATION_TTL="3600",
            CONVERSATION_UNPROVEN="on",
            LCH_SANDBOX="1",
            STORE_URL=f"sqlite:///{self._log.with_name('mailboxes.sqlite')}",
            **self._settings,
        )
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "--bind", f"127.0.0.1:{self.port}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "lchook.sandbox.demo:app"], cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(self._answers, self._log.read_text, timeout_seconds=DEADLINE_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            return requests.get(f"{self.url}/sandbox/config.json", timeout=1).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """Ends it as a crash would: master and worker at once, with nobody told."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(DEADLINE_SECONDS)
            self._process = None

    def faults(self, **faults: Any) -> None:
        assert requests.put(f"{self.url}/sandbox/faults", json=faults, timeout=DEADLINE_SECONDS).ok

    def dms_says(self, customer_id: str, **body: Any) -> None:
        headers = {
            "Authorization": f"Bearer {Tokens(issuer=ISSUER, secret=SECRET, clock=time.time).sign(ttl_seconds=30)}",
            "connection_id": ISSUER,
        }
        body = {"customer_id": customer_id, "message_id": str(uuid.uuid4()), "csr_name": "Kim", **body}
        answer = requests.post(f"{self.url}/webhook", json=body, headers=headers, timeout=DEADLINE_SECONDS)
        assert answer.status_code == 200

    def posts(self, customer_id: str, until: str) -> list[dict[str, Any]]:
        """What DMS took of this customer that is no typing, up to the text `until`, which is waited for."""
        bodies: list[dict[str, Any]] = []
        with requests.get(f"{self.url}/sandbox/wire?after=0", stream=True, timeout=DEADLINE_SECONDS) as answer:
            for line in answer.iter_lines(chunk_size=1):
                if not line.startswith(b"data: "):
                    continue
                entry = json.loads(line[6:])
                if entry["direction"] != "to_dms" or str(entry["customer_id"]) != customer_id:
                    continue
                body = entry["request"]["body"]
                if body["type"] == "typing_indicator" or entry["status"] != 200:
                    continue
                bodies.append(body)
                if body.get("text") == [until]:
                    return bodies
        raise AssertionError(f"the text {until!r} was not posted")
