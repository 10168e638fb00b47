"""python-socketio's list of connected sockets, without a room for each of them.

Its own manager (5.18.1) keeps a room for every socket, and looks through all rooms when one disconnects, which takes the
longer, the more there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from socketio import Manager


class LeanManager(Manager):  # type: ignore[misc]  # python-socketio has no types
    """For servers that send to single sockets, or to all of a namespace, and use no other rooms."""

    def __init__(self) -> None:
        super().__init__()
        # Grows with each connect.
        self._numbers = itertools.count()
        self._number_of: dict[str, int] = {}

    def is_older(self, sid: str, other: str, namespace: str) -> bool:
        """Has this socket connected before that one? Both must be connected."""
        are_connected = self.is_connected(sid, namespace) and self.is_connected(other, namespace)
        return are_connected and self._number_of[sid] < self._number_of[other]

    def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        sid: str | None = super().pre_connect(eio_sid, namespace)
        if sid is not None:
            self._number_of[sid] = next(self._numbers)
        return sid

    def basic_enter_room(self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None) -> None:
        if room != sid:
            super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        sockets = self.rooms.get(namespace, {}).get(None)
        eio_sid = sockets.get(room) if sockets is not None and isinstance(room, str) else None
        if eio_sid is not None:
            yield room, eio_sid
        else:
            yield from super().get_participants(namespace, room)

    def basic_disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        self.basic_leave_room(sid, namespace, None)
        self.callbacks.pop(sid, None)
        self._number_of.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):
            sids = pending.get(namespace)
            if sids is not None and sid in sids:
                sids.remove(sid)
                if not sids:
                    del pending[namespace]

    def trigger_callback(self, sid: str, id: int | None, data: Any) -> None:  # noqa: A002  # the base class's name
        """A client acknowledges. Of what it was not sent, that is nothing: python-socketio would log each, and for number 0
        it would take its own counter for a callback, and send this client nothing more that asks for an acknowledgement."""
        callback = self.callbacks.get(sid, {}).pop(id, None) if id else None
        if callback is not None:
            callback(*(data or ()))
