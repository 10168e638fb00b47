"""From where LCH fetches a file on somebody else's word: which addresses it may ask at all. No I/O.

What a webhook names as an attachment's address leads LCH's own requests. Only hosts that the operator has named are asked,
and whatever their names resolve to, nothing inside: the connection goes to an address that was judged here, not to a name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?")
# scheme, authority, and all the rest. A backslash, a blank or a control character is in no address that somebody means.
_URL = re.compile(r"(https?)://([^/?#]+)([/?][^#]*)?(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")
_PLAIN = re.compile(r"[!-\[\]-~]+")
MAX_URL_CHARACTERS = 3_500
_PORTS = {"http": 80, "https": 443}
_IPV4_INSIDE = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file is: what to connect to, what to say there, and what to ask for."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """As the header Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class AttachmentHosts:
    """The hosts of ATTACHMENT_HOSTS: `files.example.com`, `*.example.com` (by https, on port 443), or a whole origin such as
    `http://127.0.0.1:5601`. An address inside is asked only where an origin names that very address in numbers."""

    def __init__(self, entries: Iterable[str]) -> None:
        """:raises ValueError: where an entry is none of these."""
        self._names: set[str] = set()
        self._endings: list[str] = []
        self._origins: set[tuple[str, str, int]] = set()
        for entry in entries:
            self._add(entry.strip().lower())

    def _add(self, entry: str) -> None:
        origin = _ORIGIN.fullmatch(entry)
        if origin:
            port = int(origin[3] or _PORTS[origin[1]])
            if not 0 < port < 65536:
                raise ValueError("a port is none")
            self._origins.add((origin[1], _host(origin[2]), port))
        elif entry.startswith("*.") and _NAME.fullmatch(entry[2:]) and "." in entry[2:]:
            self._endings.append(entry[1:])
        elif _NAME.fullmatch(entry) and _literal(entry) is None and not entry.rpartition(".")[2].isdigit():
            self._names.add(entry)
        else:
            raise ValueError("an entry is no host")

    def source(self, url: object) -> Source | None:
        """Where this address leads, if its host is among these; otherwise `None`."""
        if not isinstance(url, str) or len(url) > MAX_URL_CHARACTERS or not _PLAIN.fullmatch(url):
            return None
        parts = _URL.fullmatch(url)
        authority = _AUTHORITY.fullmatch(parts[2]) if parts else None
        if parts is None or authority is None:
            return None
        scheme, host = parts[1].lower(), _host(authority[1].lower())
        port = int(authority[2] or _PORTS[scheme])
        target = parts[3] or "/"
        if not self._is_named(scheme, host, port):
            return None
        return Source(scheme, host, port, target if target[0] == "/" else f"/{target}")

    def _is_named(self, scheme: str, host: str, port: int) -> bool:
        if (scheme, host, port) in self._origins:
            return True
        by_name = host in self._names or any(host.endswith(ending) for ending in self._endings)
        return by_name and scheme == "https" and port == 443 and _NAME.fullmatch(host) is not None

    def may_connect(self, source: Source, address: str) -> bool:
        """May the connection go to this address, to which the source's host resolved?"""
        if _literal(source.host) is not None:
            # It is one of the origins.
            return _literal(source.host) == _literal(address)
        return is_global(address)


def _host(text: str) -> str:
    literal = _literal(text.strip("[]"))
    return text if literal is None else str(literal)


def _literal(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_global(address: str) -> bool:
    """Is it one of the internet's, and none that leads inside: private, loopback, link-local, shared, multicast, reserved,
    or an IPv6 address that holds such an IPv4 one (mapped, compatible, 6to4, Teredo, NAT64)?"""
    parsed = _literal(address)
    if parsed is None:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None or parsed.sixtofour is not None or parsed.teredo is not None or parsed.is_site_local:
            # Nobody serves files from those.
            return False
        inside = parsed.ipv4_mapped
        if inside is None and parsed in _IPV4_INSIDE:
            inside = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inside is not None:
            return is_global(str(inside))
        if int(parsed) >> 32 == 0:
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved
