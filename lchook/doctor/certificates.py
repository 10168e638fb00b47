"""DMS's certificate: who issued it, for which names, for how long, and what is wrong with it."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable
from typing import Any

from lchook.dms.failures import cause_in_words
from lchook.doctor.findings import Finding, in_words, quoted, within
from lchook.doctor.line import Line

# Those who renew by machine do so 30 days before the end; by then something is stuck.
_SOON_SECONDS = 14 * 86_400
# X509_V_FLAG_NO_CHECK_TIME: Python has no name for it.
_NO_CHECK_TIME = 0x200000
_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS, _REVOKED = 9, 10, 62, 64, 23

_KNOW_THE_AUTHORITY = (
    "If it is really DMS (ask those who run it): put the authority's certificate into a file and name that in "
    "REQUESTS_CA_BUNDLE. A company's proxy that opens TLS shows such certificates too."
)
_ADVICE = {
    _NOT_YET: "Compare the clocks (below): a clock that is slow makes good certificates look too new.",
    _EXPIRED: "Compare the clocks (below). If they agree, those who run DMS must renew it.",
    _OTHER_NAME: "DMS_URL must have one of the certificate's names: copy it again from Pega. "
    "Or the name leads to another server.",
    _OTHER_ADDRESS: "DMS_URL must have one of the certificate's names: copy it again from Pega, with a name and no number.",
    _REVOKED: "Those who run DMS must replace it.",
}


def examine_certificate(line: Line, *, clock: Callable[[], float] = time.time) -> Finding:
    """Check it as LCH's posts do, and say what it is like either way."""
    try:
        certificate = within(3 * line.timeout_seconds, lambda: _trusted(line))
    except ssl.SSLCertVerificationError as error:
        advice = _ADVICE.get(error.verify_code, _KNOW_THE_AUTHORITY)
        return Finding("certificate", "problem", f"not accepted: {cause_in_words(error)}{_presented_words(line)}", advice)
    except (OSError, http.client.HTTPException) as error:
        return Finding(
            "certificate",
            "problem",
            f"TLS cannot begin: {cause_in_words(error) or quoted(error)}",
            "See that DMS_URL has the right port, and that what listens there speaks TLS 1.2 or newer.",
        )
    left_seconds = ssl.cert_time_to_seconds(certificate["notAfter"]) - clock()
    says = f"good for another {in_words(left_seconds)}, issued by {_name_in(certificate.get('issuer', ()))}"
    if left_seconds < _SOON_SECONDS:
        return Finding("certificate", "warning", says, "Those who run DMS should renew it: afterwards nothing reaches DMS.")
    return Finding("certificate", "ok", says)


def _trusted(line: Line) -> dict[str, Any]:
    with line.secured(line.trusting_context()) as connection:
        return dict(connection.getpeercert() or {})


def _presented_words(line: Line) -> str:
    """What the certificate says of itself, whoever vouches for it; empty where it cannot be read."""
    try:
        certificate = within(4 * line.timeout_seconds, lambda: _presented(line))
    except (OSError, http.client.HTTPException, ValueError):
        return ""
    names = [str(value) for _, value in certificate.get("subjectAltName", ())] or [_name_in(certificate.get("subject", ()))]
    return (
        f". It is for {quoted(', '.join(names[:5]))}, issued by {_name_in(certificate.get('issuer', ()))}, "
        f"valid from {certificate.get('notBefore')} to {certificate.get('notAfter')}"
    )


def _presented(line: Line) -> dict[str, Any]:
    """Python reads only certificates that it has accepted, so this one is accepted as its own authority. Nothing is sent."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    with line.secured(anybody) as connection:
        encoded = connection.getpeercert(binary_form=True) or b""
    exactly_this = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    exactly_this.check_hostname = False
    exactly_this.load_verify_locations(cadata=encoded)
    exactly_this.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    with line.secured(exactly_this) as connection:
        return dict(connection.getpeercert() or {})


def _name_in(distinguished_name: Any) -> str:
    fields = {key: value for pair in distinguished_name for key, value in pair}
    name = fields.get("organizationName") or fields.get("commonName")
    return quoted(name) if name else "nobody by name"
