"""A name service for one process: which addresses a name has, and whether it answers at all.

A real one would need root. So a `sitecustomize.py` takes getaddrinfo's place below everything, gevent included, before the
process begins; all other names go to the real one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

_SITECUSTOMIZE = """\
import _socket, json, os, socket
from time import sleep

real, file = _socket.getaddrinfo, os.environ["TESTS_NAMES"]


def getaddrinfo(host, *args, **options):
    with open(file) as names:
        known = json.load(names)
    name = host.decode() if isinstance(host, bytes) else host
    if name not in known:
        return real(host, *args, **options)
    with open(file + ".asked", "a") as asked:
        asked.write(name + "\\n")
    if known[name] == "stalls":
        for _ in range(300):
            sleep(0.1)
            with open(file) as names:
                if json.load(names)[name] != "stalls":
                    break
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")
    if known[name] == "fails":
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")
    return [info for address in known[name] for info in real(address, *args, **options)]


_socket.getaddrinfo = getaddrinfo
if hasattr(socket, "getaddrinfo"):
    socket.getaddrinfo = getaddrinfo
"""


class Names:
    """Names and their addresses, as the process with `environment` finds them."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "names.json"
        (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
        self._known: dict[str, list[str] | str] = {}
        self.environment = {"PYTHONPATH": str(folder), "TESTS_NAMES": str(self._file)}
        self._write()

    def set(self, name: str, addresses: list[str] | str) -> None:
        """:param addresses: in this order; "stalls" for no answer, "fails" for that one."""
        self._known[name] = addresses
        self._write()

    def asked(self) -> list[str]:
        """The names of `set` that were asked for up to now."""
        file = Path(f"{self._file}.asked")
        return file.read_text().split() if file.exists() else []

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._known))
        os.replace(new, self._file)
