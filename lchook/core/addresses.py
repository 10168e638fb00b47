"""Network addresses as proxies write them, made one and the same for one client. No I/O.

Of the headers in which proxies say whom they serve, only `X-Forwarded-For` is read, and of that only what the configured
proxies wrote.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Any

# A host's name or address, with a port or without: `203.0.113.7:50001`, `[2001:db8::1]:443`, `"[::1]"`.
_WITH_PORT = re.compile(r"([0-9.]+):\d{1,5}|\[([^\[\]]+)\](?::\d{1,5})?")
# What an IPv6 client has for itself: it takes a new address in there every now and then.
_NETWORK_BITS = 64
# Where gateways and machines inside have their addresses: private, shared by carriers, link-local, loopback.
_HIDDEN = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
        *("::/127", "fc00::/7", "fe80::/10", "fec0::/10"),
    )
]
# What only a proxy adds to a request.
_FROM_PROXIES = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA", "HTTP_X_FORWARDED_HOST")


@functools.lru_cache(maxsize=4096)
def canonical(text: str) -> str | None:
    """An address in the one way that LCH writes it: without port, brackets and zone, IPv4 never inside of IPv6.

    `None` where it is none: `unknown`, `_hidden`, a name, rubbish.
    """
    bare = text.strip().strip('"')
    parted = _WITH_PORT.fullmatch(bare)
    if parted:
        bare = parted[1] or parted[2]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def client_address(peer: str, forwarded_for: str, hops: int) -> str:
    """The address of the client.

    :param peer: who is at the other end of the connection.
    :param forwarded_for: the header `X-Forwarded-For`; empty where there is none.
    :param hops: the proxies before LCH; each added one entry, the nearest the last. Where there are fewer entries, the
        client came by fewer of them, and the first entry is theirs.
    """
    known = canonical(peer) or peer
    entries = forwarded_for.split(",") if hops and forwarded_for else []
    if not entries:
        return known
    return canonical(entries[-min(hops, len(entries))]) or known


@functools.lru_cache(maxsize=4096)
def network(address: str) -> str:
    """What counts as one visitor's where connections are counted: an IPv4 address, or the network of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, _NETWORK_BITS), strict=False))
    except ValueError:
        return address


@functools.lru_cache(maxsize=4096)
def is_public(address: str) -> bool:
    """Is it one of the internet's, and so one household's or office's? Behind others anybody may be."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(parsed in network for network in _HIDDEN)


def is_this_machine(environ: dict[str, Any]) -> bool:
    """Does the request come from somebody who sits at this very machine? Not from a proxy that runs here: that shows in what
    it adds, in the name that was asked for, or in the page that asks."""
    return (
        _is_loopback(environ.get("REMOTE_ADDR") or "")
        and not any(name in environ for name in _FROM_PROXIES)
        and _is_local_name(f"//{environ.get('HTTP_HOST') or ''}")
        and all(_is_local_name(environ[name]) for name in ("HTTP_ORIGIN", "HTTP_REFERER") if environ.get(name))
    )


@functools.lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


_LOCAL_NAME = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?//(?:localhost|[\w-]+\.localhost|127\.[0-9.]+|\[::1\])(?::\d+)?(?:/.*)?", re.I
)


@functools.lru_cache(maxsize=1024)
def _is_local_name(url: str) -> bool:
    return _LOCAL_NAME.fullmatch(url) is not None
