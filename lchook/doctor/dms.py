"""Can DMS be reached as LCH reaches it: its name, the connection, the certificate, the clock. Posts nothing."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

from lchook.core.tokens import CLOCK_SKEW_SECONDS, MAX_AGE_SECONDS
from lchook.dms.failures import cause_in_words
from lchook.dms.first_to_connect import first_to_connect
from lchook.dms.name_service import AddressInfo, NameService
from lchook.doctor.certificates import examine_certificate
from lchook.doctor.findings import Finding, in_words, quoted, within
from lchook.doctor.line import Line
from lchook.doctor.settings import without_secrets

# Below this nobody notices, and `Date` says whole seconds.
_FINE_SKEW_SECONDS = 5.0


def examine_dms(url: str, *, timeout_seconds: float, token_ttl_seconds: int) -> Iterator[Finding]:
    """From the name to the clock; what cannot be tried is said to be skipped.

    :param timeout_seconds: for each step.
    """
    line = Line.to(url, timeout_seconds=timeout_seconds)
    if line.proxy:
        yield Finding("proxy", "ok", f"posts to DMS go through {without_secrets(line.proxy)}, as the environment says")
    else:
        yield Finding("proxy", "ok", "none: LCH connects to DMS directly")

    named = _name(line)
    yield named
    if named.status == "problem":
        yield from _skipped("its name does not resolve", "connection", "certificate", "clock")
        return
    connected = _connection(line)
    yield connected
    if connected.status == "problem":
        yield from _skipped("there is no connection", "certificate", "clock")
        return
    trusted = True
    if line.scheme == "https":
        certified = examine_certificate(line)
        yield certified
        trusted = certified.status != "problem"
    else:
        yield from _skipped("DMS_URL is http", "certificate")
    yield _clock(line, trusted=trusted, token_ttl_seconds=token_ttl_seconds)


def _skipped(reason: str, *checks: str) -> Iterator[Finding]:
    for check in checks:
        yield Finding(check, "skipped", f"not tried: {reason}")


def _name(line: Line) -> Finding:
    host, port = line.first_hop
    whose = "the proxy's name" if line.proxy else "DMS's name"
    try:
        # Python's resolver knows no timeout.
        found = within(line.timeout_seconds, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except TimeoutError:
        return Finding(
            "name",
            "problem",
            f"{whose}, {host}, did not resolve within {line.timeout_seconds:g} s",
            "Look at this machine's DNS (/etc/resolv.conf), and whether it may reach its name servers.",
        )
    except (OSError, UnicodeError):
        return Finding(
            "name",
            "problem",
            f"{whose}, {host}, does not resolve",
            "Compare DMS_URL with what Pega shows, letter by letter; then look at this machine's DNS."
            if not line.proxy
            else "Correct the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY.",
        )
    addresses = sorted({str(address[4][0]) for address in found})
    return Finding("name", "ok", f"{host} is {', '.join(addresses[:4])}{' and others' if len(addresses) > 4 else ''}")


def _connection(line: Line) -> Finding:
    host, port = line.first_hop
    started = time.monotonic()
    try:
        within(2 * line.timeout_seconds, lambda: line.open().close())
    except (OSError, http.client.HTTPException) as error:
        words = cause_in_words(error) or quoted(error)
        to = f"the proxy at {host}, port {port}, for {line.host}" if line.proxy else f"{host}, port {port}"
        return Finding(
            "connection",
            "problem",
            f"no connection to {to}: {words}",
            "See that DMS runs there and that a firewall lets this machine out to it; where the way out is a proxy, "
            "name it in HTTPS_PROXY, and exceptions in NO_PROXY.",
        )
    says = f"{host}, port {port}, in {(time.monotonic() - started) * 1000:.0f} ms"
    failing = _failing_addresses(line)
    if failing:
        return Finding(
            "connection",
            "warning",
            f"{says}, but not by each of its addresses: {'; '.join(failing)}",
            "LCH goes on to the next address after a fraction of a second, and remembers it for a minute. Ask those who run "
            f"{'the proxy' if line.proxy else 'DMS'}, and see that a firewall lets this machine out to all of them.",
        )
    return Finding("connection", "ok", says)


def _failing_addresses(line: Line) -> list[str]:
    """Those by which there is no connection, each with the reason; all are tried at once."""
    host, port = line.first_hop
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    # The certificate is looked at later. But an address at which TLS hangs is of no use.
    context = anybody if line.scheme == "https" else None

    def reason(info: AddressInfo) -> str | None:
        try:
            attempt = first_to_connect(
                [info], lambda it: line.route.attempt(it, context), within_seconds=line.timeout_seconds
            )
            attempt.connection.close()
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL):
                # No way to IPv6: so it is in most places.
                return None
            return f"{info[4][0]}: {cause_in_words(error) or quoted(error)}"
        return None

    try:
        infos = NameService().addresses(host, port, within_seconds=line.timeout_seconds)
    except OSError:
        return []
    if len(infos) < 2:
        return []
    with ThreadPoolExecutor(max_workers=min(len(infos), 20)) as threads:
        return [words for words in threads.map(reason, infos) if words]


def _clock(line: Line, *, trusted: bool, token_ttl_seconds: int) -> Finding:
    context = None
    if line.scheme == "https":
        context = line.trusting_context()
        if not trusted:
            # No token goes over it. A clock that is wrong may be why the certificate does not pass.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    before = time.time()
    try:
        answer = within(2 * line.timeout_seconds, lambda: line.request("HEAD", context))
    except (OSError, http.client.HTTPException) as error:
        words = cause_in_words(error) or quoted(error)
        return Finding(
            "clock",
            "warning",
            f"DMS gives no answer to take the time from: {words}",
            "See that DMS_URL is DMS's address: what answers there does not behave like it.",
        )
    after = time.time()
    try:
        date = parsedate_to_datetime(answer.getheader("Date") or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return Finding("clock", "warning", "what answers at DMS_URL names no time (Date), so the clocks cannot be compared")
    # `Date` leaves out the fraction of its second.
    return compared_clocks(date + 0.5 - (before + after) / 2, token_ttl_seconds=token_ttl_seconds)


def compared_clocks(ahead_seconds: float, *, token_ttl_seconds: int) -> Finding:
    """:param ahead_seconds: how far DMS's clock is ahead of ours."""
    if abs(ahead_seconds) <= _FINE_SKEW_SECONDS:
        return Finding("clock", "ok", "this machine's clock and DMS's agree")
    broken = []
    if ahead_seconds > 0:
        says = f"this machine's clock is {in_words(ahead_seconds)} behind DMS's"
        if ahead_seconds >= min(token_ttl_seconds, MAX_AGE_SECONDS):
            broken.append(f"LCH's tokens (JWT_TTL: {token_ttl_seconds} s) are over when they reach DMS, which answers 401.")
            if ahead_seconds < MAX_AGE_SECONDS:
                broken.append(f"JWT_TTL={MAX_AGE_SECONDS} allows for more.")
        if ahead_seconds > CLOCK_SKEW_SECONDS:
            broken.append("DMS's webhooks get 401: they seem to come from the future.")
    else:
        says = f"this machine's clock is {in_words(ahead_seconds)} ahead of DMS's"
        if -ahead_seconds > CLOCK_SKEW_SECONDS:
            broken.append("LCH's tokens come from the future for DMS, which answers 401.")
            broken.append(f"DMS's webhooks get 401: their tokens seem to be older than {MAX_AGE_SECONDS} s.")
    breaks = " ".join(broken) or "More of it, and tokens are refused."
    advice = f"{breaks} Let the time be synchronised (timedatectl, chrony)."
    return Finding("clock", "problem" if broken else "warning", says, advice)
