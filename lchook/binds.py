"""Where to listen for whoever comes by IPv4 or by IPv6. Knows sockets and nothing else."""

from __future__ import annotations

import socket


def all_addresses(port: int) -> list[tuple[str, int]]:
    """All addresses of this machine. On a platform that is IPv6 inside, `0.0.0.0` is none of those that are asked."""
    only_ipv6 = _takes_only_ipv6("::")
    return [*([("0.0.0.0", port)] if only_ipv6 is not False else []), *([("::", port)] if only_ipv6 is not None else [])]  # noqa: S104


def this_machine(port: int) -> list[tuple[str, int]]:
    """Those that only this machine can ask: `localhost` may be either."""
    return [("127.0.0.1", port), *([("::1", port)] if _takes_only_ipv6("::1") is not None else [])]


def written(host: str, port: int) -> str:
    """As gunicorn and addresses in browsers have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _takes_only_ipv6(host: str) -> bool | None:
    """Would a socket that listens there leave IPv4 out? None where it cannot listen: no IPv6, or it is switched off."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((host, 0))
            return bool(probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    except OSError:
        return None
