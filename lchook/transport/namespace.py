"""A Socket.IO namespace: what the application derives its own from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask_socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from lchook.core import events
from lchook.logs import Log

__all__ = ["Acknowledge", "ConnectFailedError", "Namespace", "Refused"]

log = Log(__name__)

Acknowledge = Callable[..., None]


class ConnectFailedError(Exception):
    """A client could not be connected through a fault of ours. It is logged."""


class Namespace(flask_socketio.Namespace):  # type: ignore[misc]  # Flask-SocketIO has no types
    """Connects and disconnects go to `connected` and `disconnected`, and all other events to `receive`.

    None of them runs in a Flask context, which would cost more than most of them do.
    """

    def connected(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        """A client asks to connect. Raise `Refused(reason)` to refuse it."""

    def ready(self, sid: str) -> None:
        """The client has been told that it is connected, and may be sent events."""

    def disconnected(self, sid: str, reason: str) -> None:
        """A connection is closed, by whomever."""

    def receive(self, sid: str, event: str, args: list[Any], acknowledge: Acknowledge) -> None:
        """Take one event. Must return soon; `acknowledge(*args)` may be called later, once, from anywhere.

        It does nothing where the client asked for no acknowledgement or is gone.
        """
        raise NotImplementedError

    def trigger_event(self, event: str, sid: str, *args: Any) -> None:
        """What python-socketio calls, now only for connect (environ, auth) and disconnect (reason).

        :raises Refused: see `connected`.
        :raises ConnectFailedError: where `connected` raises anything else.
        """
        try:
            if event == "connect":
                self.connected(sid, args[0], args[1] if len(args) > 1 else None)
            elif event == "disconnect":
                self.disconnected(sid, args[0] if args else "")
        except Refused:
            raise
        except Exception:
            log.exception(events.CONNECTION_FAILED, event=event, socket=sid)
            if event == "connect":
                raise ConnectFailedError from None
