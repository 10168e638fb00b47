"""ClamAV's daemon: the real one where it is installed, and a stand-in that speaks INSTREAM and knows one virus."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lchook.files.scanner import Clamd
from tests.support.peers import peer
from tests.support.servers import free_port
from tests.support.waiting import wait_until

# The test file of the European Institute for Computer Antivirus Research, in two halves: scanners read sources, too.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-" + rb"ANTIVIRUS-TEST-FILE!$H+H*"
# Its name, kind of file (any), where (anywhere), and the bytes: ClamAV's own signatures are 200 MB, and of another maker.
_SIGNATURE = f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n"


class StandIn:
    """Answers as the daemon does. Tests set what it does wrong."""

    def __init__(self) -> None:
        self.url = ""
        self.answer: bytes | None = None
        self.scanned = 0

    def serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as read:
            command = b""
            while not command.endswith(b"\0"):
                command += read.read(1)
            if command == b"zPING\0":
                connection.sendall(b"PONG\0")
                return
            content = b""
            while length := struct.unpack("!L", read.read(4))[0]:
                content += read.read(length)
            self.scanned += 1
            found = b"stream: Eicar-Test-Signature FOUND\0" if EICAR in content else b"stream: OK\0"
            connection.sendall(found if self.answer is None else self.answer)


@contextmanager
def stand_in() -> Iterator[StandIn]:
    it = StandIn()
    with peer(it.serve) as address:
        it.url = f"tcp://{address}"
        yield it


@contextmanager
def running_clamd(program: str) -> Iterator[str]:
    """The real daemon, with one signature; yields its address."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="lch-clamd-") as name:
        folder = Path(name)
        (folder / "eicar.ndb").write_text(_SIGNATURE)
        configuration = folder / "clamd.conf"
        lines = [f"TCPSocket {port}", "TCPAddr 127.0.0.1", f"DatabaseDirectory {folder}", "Foreground yes", "User root"]
        if os.geteuid():
            lines.pop()
        configuration.write_text("\n".join(lines) + "\n")
        process = subprocess.Popen(
            [program, "--config-file", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            url = f"tcp://127.0.0.1:{port}"

            def answers() -> bool:
                with contextlib.suppress(Exception):
                    Clamd(url).ping()
                    return True
                return False

            wait_until(answers, "an answer of clamd", timeout_seconds=20)
            yield url
        finally:
            process.kill()
            process.wait()
