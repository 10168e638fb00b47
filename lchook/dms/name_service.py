"""Where a host is: its addresses, as the name service told them, in the order in which they are to be tried.

The name service may fail or stall for half a minute. What it told before is then believed, and at most one question about a
host is under way: under gevent each takes one of a few threads, which others need too. Connects to nothing.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lchook.core import events
from lchook.dms.failures import NameServiceTimeoutError, cause_in_words
from lchook.logs import Log

log = Log(__name__)

# How long addresses are believed without asking again. To ask holds up everybody for a moment.
FRESH_SECONDS = 10.0
# How long they are believed where the name service gives no answer.
_STALE_SECONDS = 86_400.0
# How long an answer is waited for where older addresses are at hand.
_PATIENCE_SECONDS = 0.25
# How long an address that did not answer is tried after the others.
_AVOIDED_SECONDS = 60.0

# As `getaddrinfo` has them: family, kind, protocol, name, address.
AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


@dataclass(slots=True, eq=False)
class _Lookup:
    started: float
    done: threading.Event = field(default_factory=threading.Event)
    found: list[AddressInfo] = field(default_factory=list)
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class _Host:
    addresses: list[AddressInfo] = field(default_factory=list)
    told_at: float = 0.0
    fresh_until: float = 0.0
    # None of the addresses answered: the name service is asked before they are tried again.
    doubted: bool = False
    lookup: _Lookup | None = None
    failing: bool = False


class NameService:
    """Remembers what it was told. Call from anywhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        """:param quiet: whether nothing is logged of what fails while something else works."""
        self._quiet = quiet
        self._hosts: dict[tuple[str, int], _Host] = {}
        self._lock = threading.Lock()
        # Until when an address is tried after the others.
        self._avoided: dict[tuple[Any, ...], float] = {}

    def addresses(self, host: str, port: int, *, within_seconds: float) -> list[AddressInfo]:
        """Those that answered last time first; IPv6 and IPv4 in turn.

        :raises OSError: where the name does not resolve (`NameServiceTimeoutError`: in time), and never did.
        """
        known = self._hosts.get((host, port))
        if known is None:
            if numeric := _numeric(host, port):
                return numeric
            known = self._hosts.setdefault((host, port), _Host())
        now = time.monotonic()
        if now < known.fresh_until:
            return self._in_order(known.addresses, now)
        lookup = self._lookup(host, port, known, now)
        old = known.addresses if now - known.told_at < _STALE_SECONDS else []
        patience = within_seconds
        if old:
            patience = within_seconds / 2 if known.doubted else min(patience, lookup.started + _PATIENCE_SECONDS - now)
        answered = lookup.done.wait(max(0.0, patience))
        if answered and lookup.error is None:
            return self._in_order(lookup.found, now)
        if old:
            self._say_that_it_fails(host, known, lookup)
            return self._in_order(old, now)
        if lookup.error is not None:
            raise OSError("the name does not resolve") from lookup.error
        raise NameServiceTimeoutError("the name service gave no answer in time")

    def answered(self, host: str, info: AddressInfo, failed: Iterable[tuple[AddressInfo, Exception | None]]) -> None:
        """One of a host's addresses answered, and others did not: they are tried after it for a while.

        :param failed: None for an error where an address kept silent.
        """
        address, until = info[4], time.monotonic() + _AVOIDED_SECONDS
        self._avoided.pop(address, None)
        for other, error in failed:
            # Without a way to IPv6 that is how it should be.
            expected = isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL)
            if other[4] not in self._avoided and not expected and not self._quiet:
                reason = cause_in_words(error) or "it keeps silent"
                log.warning(events.DMS_ADDRESS_FAILS, host=host, address=other[4][0], reason=reason)
            self._avoided[other[4]] = until

    def none_answered(self, host: str, port: int) -> None:
        """Ask anew: the host may have moved."""
        known = self._hosts.get((host, port))
        if known is not None:
            known.fresh_until, known.doubted = 0.0, True

    def _in_order(self, addresses: list[AddressInfo], now: float) -> list[AddressInfo]:
        if not self._avoided:
            return addresses
        for address, until in list(self._avoided.items()):
            # One that fails again meanwhile is no news.
            if until <= now - _AVOIDED_SECONDS:
                self._avoided.pop(address, None)
        avoided = self._avoided
        return sorted(addresses, key=lambda info: until if (until := avoided.get(info[4], 0.0)) > now else 0.0)

    def _lookup(self, host: str, port: int, known: _Host, now: float) -> _Lookup:
        """The question that is under way, or a new one."""
        with self._lock:
            lookup = known.lookup
            if lookup is None:
                lookup = known.lookup = _Lookup(now)
                threading.Thread(target=self._ask, args=(host, port, known, lookup), daemon=True).start()
        return lookup

    def _ask(self, host: str, port: int, known: _Host, lookup: _Lookup) -> None:
        try:
            lookup.found = _in_turn(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # UnicodeError and others for names that cannot be one
            lookup.error = error
        now = time.monotonic()
        with self._lock:
            known.lookup = None
            if lookup.error is None:
                known.addresses, known.told_at, known.doubted = lookup.found, now, False
                known.fresh_until = now + FRESH_SECONDS
                if known.failing:
                    known.failing = False
                    log.info(events.NAME_SERVICE_BACK, host=host)
            elif now - known.told_at < _STALE_SECONDS and known.addresses and not known.doubted:
                known.fresh_until = now + FRESH_SECONDS
        lookup.done.set()

    def _say_that_it_fails(self, host: str, known: _Host, lookup: _Lookup) -> None:
        if not known.failing and not self._quiet:
            known.failing = True
            reason = "it fails" if lookup.error is not None else "it is slow"
            log.warning(events.NAME_SERVICE_FAILS, host=host, reason=reason)


def _numeric(host: str, port: int) -> list[AddressInfo]:
    """The address that a host is already; empty for a name. Nobody needs to be asked."""
    for family, rest in ((socket.AF_INET, ()), (socket.AF_INET6, (0, 0))):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, *rest))]
    return []


def _in_turn(found: list[Any]) -> list[AddressInfo]:
    """The first address's family and the others in turn (RFC 8305, 4), each once: one family may lead nowhere."""
    by_family: dict[Any, list[AddressInfo]] = {}
    for info in dict.fromkeys(found):
        by_family.setdefault(info[0], []).append(info)
    mixed = []
    while any(by_family.values()):
        mixed += [infos.pop(0) for infos in by_family.values() if infos]
    return mixed
