"""Acknowledgements that clients owe: asked for with an event, and kept with the engine's socket until they come.

python-socketio (5.18.1) finds them by way of three tables; with thousands of clients none of that is in the processor's
cache. Here one look at the socket, which is at hand, is enough. Numbers are never used again in a process.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

# An acknowledgement in the default namespace.
_ACKNOWLEDGEMENT = re.compile(r"3(\d{1,15})\[")
_numbers = itertools.count(1)


def ask_for(eio_socket: Any, acknowledged: Callable[[], object]) -> int:
    """The number under which the client is to acknowledge; `acknowledged` is called when it does, once."""
    number = next(_numbers)
    owed = getattr(eio_socket, "owed", None)
    if owed is None:
        owed = eio_socket.owed = {}
    owed[number] = acknowledged
    return number


def take(eio_socket: Any, data: str) -> bool:
    """Is this Socket.IO packet one that the client owes? Then hand it on; what the client says with it is of no interest.

    There are no more of those than were asked for: all others count as any packet does.
    """
    match = _ACKNOWLEDGEMENT.match(data)
    owed = getattr(eio_socket, "owed", None)
    if match is None or not owed:
        return False
    acknowledged = owed.pop(int(match[1]), None)
    if acknowledged is None:
        return False
    acknowledged()
    return True
