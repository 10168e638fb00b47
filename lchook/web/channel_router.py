"""Which channel a client and a webhook belong to. What becomes of them is that channel's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import jwt

from lchook.core import events
from lchook.core.tokens import TokenError
from lchook.logs import Log
from lchook.transport.namespace import Acknowledge, Namespace, Refused

if TYPE_CHECKING:
    from lchook.channel import Channel

log = Log("lchook.chat")

# In a connection's environ: the names of the channels that its origin may connect to. It outlives the header.
ALLOWED = "lch.connections"
_MAX_REMEMBERED = 500


class ChatRouter(Namespace):
    """The default namespace, where there are several channels: hands each client's events to the chat of its channel."""

    def __init__(
        self, channels: Callable[[], dict[str, Channel]], allowing: Callable[[dict[str, Any]], Iterable[str]]
    ) -> None:
        """:param allowing: the names of the channels that a request's origin may connect to."""
        super().__init__("/")
        self._channels = channels
        self._allowing = allowing
        self._of: dict[str, Channel] = {}

    def connected(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        if ALLOWED not in environ:
            environ[ALLOWED] = frozenset(self._allowing(environ))
        channel = self._choose(sid, environ, auth)
        self._of[sid] = channel
        try:
            channel.scope.bound(channel.chat.connected)(sid, environ, auth)
        except BaseException:
            del self._of[sid]
            raise

    def ready(self, sid: str) -> None:
        channel = self._of.get(sid)
        if channel is not None:
            channel.scope.bound(channel.chat.ready)(sid)

    def disconnected(self, sid: str, reason: str) -> None:
        channel = self._of.pop(sid, None)
        if channel is not None:
            channel.scope.bound(channel.chat.disconnected)(sid, reason)

    def receive(self, sid: str, event: str, args: list[Any], acknowledge: Acknowledge) -> None:
        channel = self._of.get(sid)
        if channel is None:
            acknowledge({"status": "rejected", "error": "this connection is closed"})
        else:
            channel.scope.bound(channel.chat.receive)(sid, event, args, acknowledge)

    def sockets(self) -> int:
        """How many clients are connected."""
        return len(self._of)

    def _choose(self, sid: str, environ: dict[str, Any], auth: Any) -> Channel:
        wanted = auth.get("connection") if isinstance(auth, dict) else None
        channels, allowed = self._channels(), environ[ALLOWED]
        if wanted is not None:
            channel = channels.get(wanted) if isinstance(wanted, str) else None
            if channel is None:
                self._refuse(sid, environ, "there is no connection of that name: auth.connection must be one of this hook's")
            elif wanted not in allowed:
                self._refuse(sid, environ, "pages of this origin may not use that connection (auth.connection)")
            else:
                return channel
        for name, each in channels.items():
            if name in allowed:
                return each
        return self._refuse(sid, environ, "pages of this origin may use none of this hook's connections")

    def _refuse(self, sid: str, environ: dict[str, Any], reason: str) -> NoReturn:
        log.warning(events.CONNECTION_REFUSED, socket=sid, address=environ.get("REMOTE_ADDR") or "", reason=reason)
        raise Refused(reason)


class WebhookRouter:
    """As `Webhook`, where there are several channels."""

    def __init__(self, channels: Callable[[], dict[str, Channel]], *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._channels = channels
        # The channel's name by the header: whoever posts much sends one token many times.
        self._known: dict[str, str] = {}

    def receive(self, authorization: str | None, read: Callable[[], bytes | None], **options: Any) -> tuple[int, str | None]:
        """See `Webhook`. A token that is no channel's is refused by the first, in its words."""
        channel = self._choose(authorization)
        status, error = channel.scope.bound(channel.webhook.receive)(authorization, read, **options)
        return status, error

    def forget(self) -> None:
        """The channels are not what they were."""
        self._known.clear()

    def _choose(self, authorization: str | None) -> Channel:
        channels = self._channels()
        known = channels.get(self._known.get(authorization or "", ""))
        if known is not None:
            return known
        first = next(iter(channels.values()))
        issuer = _issuer(authorization)
        named = [(name, each) for name, each in channels.items() if each.settings.jwt_issuer == issuer]
        for name, channel in named:
            try:
                channel.webhook.verify(authorization)
            except TokenError:
                continue
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[authorization or ""] = name
            return channel
        # It says whose it is and does not prove it: that one says what is wrong.
        return named[0][1] if named else first


def _issuer(authorization: str | None) -> str | None:
    """Whom a token names. Nothing of it is proven."""
    token = (authorization or "").partition(" ")[2].strip()
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None
    return issuer if isinstance(issuer, str) else None
