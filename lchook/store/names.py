"""Redis's name, looked up with a bound on the time: a name service that stalls must not hold up callers one after the other.

Under gevent each lookup takes one of a few threads that all share. Here one is under way at a time, whoever waits for it.
"""

from __future__ import annotations

import ipaddress
import socket
import threading

import redis

_SECONDS = 2.0
_lock = threading.Lock()
_under_way: dict[str, threading.Event] = {}


class _KnownName:
    """For a connection class of redis-py (8.1.0), whose own lookup knows no bound. It comes just after this one."""

    host: str

    def _connect(self) -> socket.socket:
        _wait_for_name(self.host)
        return super()._connect()  # type: ignore[misc, no-any-return]


class Connection(_KnownName, redis.Connection):
    """By TCP."""


class TlsConnection(_KnownName, redis.SSLConnection):
    """By TLS."""


def _wait_for_name(host: str) -> None:
    """Returns when the name service has answered, whatever it said.

    :raises redis.TimeoutError: where it does not.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return
    with _lock:
        answered = _under_way.get(host)
        if answered is None:
            answered = _under_way[host] = threading.Event()
            threading.Thread(target=_ask, args=(host, answered), daemon=True).start()
    if not answered.wait(_SECONDS):
        raise redis.TimeoutError(f"the name service did not answer for {host} within {_SECONDS:g} s")


def _ask(host: str, answered: threading.Event) -> None:
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        # Whoever connects is told.
        pass
    finally:
        with _lock:
            del _under_way[host]
        answered.set()
