"""Acknowledgements that a client is to send: each is asked for with an event, and awaited by the session.

python-socketio (5.18.1) finds them by way of three tables; with thousands of clients none of that is in the processor's
cache. Here one look at the session, which is at hand, is enough. Numbers are never used again in a process.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

# An acknowledgement in the default namespace.
_ACKNOWLEDGEMENT = re.compile(r"3(\d{1,15})\[")
_numbers = itertools.count(1)


class PendingAcks:
    """Those of one session."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[int, Callable[[], object]] = {}

    def register(self, acknowledged: Callable[[], object]) -> int:
        """The number under which the client is to acknowledge; `acknowledged` is called when it does, once."""
        number = next(_numbers)
        self._pending[number] = acknowledged
        return number

    def resolve(self, data: str) -> bool:
        """Is this Socket.IO packet one that is awaited? Then hand it on; what the client says with it is of no interest.

        There are no more of those than were asked for: all others count as any packet does.
        """
        match = _ACKNOWLEDGEMENT.match(data) if self._pending else None
        acknowledged = self._pending.pop(int(match[1]), None) if match else None
        if acknowledged is None:
            return False
        acknowledged()
        return True
