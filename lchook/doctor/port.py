"""Who is on the port of this machine that LCH serves on?"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from lchook.binds import all_addresses, family, this_machine, written
from lchook.doctor.asking import HERE, WEBHOOK_PATH, HookAnswer, ask_hook, why
from lchook.doctor.findings import Finding


def examine_port(port: int) -> Iterator[Finding]:
    """Who is on the port of this machine that LCH serves on."""
    try:
        answer = _ask(port)
    except OSError as error:
        refusal = _listening_refused(port)
        if refusal is None:
            yield Finding("port", "skipped", f"port {port} is free: no LCH runs here now")
        elif refusal == errno.EADDRINUSE:
            yield Finding("port", "problem", f"port {port} is taken by another program: {why(error)}", _PORT_ADVICE)
        else:
            yield Finding(
                "port",
                "problem",
                f"this user may not listen on port {port} ({os.strerror(refusal)})",
                "Set a PORT above 1023, and let a proxy have the well-known one.",
            )
        return
    if answer.status == 200 and answer.text.startswith(HERE):
        yield Finding("port", "ok", f"LCH runs here, on port {port}")
    elif answer.status == 503 and "stopping" in answer.text:
        yield Finding("port", "warning", f"an LCH on port {port} is about to stop", "Wait until it has.")
    else:
        says = f"port {port} is taken by another program, which answers {answer.status} to GET {WEBHOOK_PATH}"
        yield Finding("port", "problem", says, _PORT_ADVICE)


_PORT_ADVICE = "LCH cannot start there. Stop that program (`ss -ltnp` shows it), or set another PORT."


def _listening_refused(port: int) -> int | None:
    """Why LCH could not listen there, as an `errno`; None where it could."""
    for host, _ in all_addresses(port):
        with socket.socket(family(host)) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                return error.errno or errno.EADDRINUSE
    return None


def _ask(port: int) -> HookAnswer:
    """Whoever answers, by IPv4 or by IPv6."""
    refusals: list[OSError] = []
    for address in this_machine(port):
        try:
            return ask_hook("GET", f"http://{written(*address)}{WEBHOOK_PATH}", trust_environment=False)
        except OSError as error:
            refusals.append(error)
    raise refusals[0]
