"""Why a connection failed, in words that a person can act on. Knows exceptions and nothing else."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator


class NameServiceTimeoutError(TimeoutError):
    """The name service gave no answer in time."""


class BundleError(OSError):
    """The bundle of authorities cannot be read."""


class ProxyRefusedError(OSError):
    """A proxy lets nobody through, and says so."""

    def __init__(self, status: int) -> None:
        """:param status: what it answered to CONNECT."""
        super().__init__(f"the proxy answered {status}")
        self.status = status


# OpenSSL's numbers (x509_vfy.h): Python hands them on without names. From 80 on: what X509_V_FLAG_X509_STRICT asks for,
# which Python sets since 3.13.
_CERTIFICATE_WORDS = {
    2: "the certificate of an authority in its chain is left out, and this machine does not know it",
    7: "a signature in its chain is wrong",
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "its certificate comes from a private authority that this machine does not know",
    20: "its certificate comes from an authority that this machine does not know, or a link of the chain is left out",
    21: "its certificate comes alone: the server leaves out a link of the chain",
    22: "its chain of certificates is too long",
    23: "its certificate has been revoked",
    24: "a certificate in its chain is no authority's",
    25: "its chain is longer than an authority in it permits (path length)",
    26: "its certificate is not for servers (extended key usage)",
    28: "this machine's bundle says not to trust its certificate for servers",
    32: "the certificate of its authority is not for signing certificates (key usage keyCertSign)",
    34: "its chain has a critical extension that nobody here knows",
    47: "an authority in its chain may not issue for that name (name constraints)",
    48: "an authority in its chain may not issue for that name (name constraints)",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
    66: "the key of its certificate is too weak",
    67: "the key of an authority in its chain is too weak",
    68: "an authority in its chain signs with a digest that is too weak, such as MD5 or SHA-1",
    79: "an authority in its chain is not marked as one (basic constraints)",
    80: "a certificate in its chain has a path length and is no authority's",
    81: "an authority in its chain has a path length, and no key usage keyCertSign",
    82: "a certificate in its chain may sign others (key usage keyCertSign), and is no authority's",
    83: "a certificate in its chain does not name its issuer",
    84: "an authority in its chain has no name (subject)",
    85: "a certificate in its chain lacks the extension Authority Key Identifier",
    86: "an authority in its chain lacks the extension Subject Key Identifier",
    87: "a certificate in its chain has an empty Subject Alternative Name",
    88: "a certificate in its chain has no subject, and its Subject Alternative Name is not marked critical",
    89: "an authority in its chain has Basic Constraints that are not marked critical",
    90: "a certificate in its chain has an Authority Key Identifier that is marked critical",
    91: "a certificate in its chain has a Subject Key Identifier that is marked critical",
    92: "an authority in its chain lacks the extension Key Usage",
    93: "a certificate in its chain has extensions and is not of version 3",
    94: "a certificate in its chain has an elliptic curve of its own (explicit parameters)",
}
# Those of X509_V_FLAG_X509_STRICT.
STRICT_CODES = range(80, 95)
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")
_ERRNO_WORDS = {
    errno.ECONNREFUSED: "it refused the connection: nothing listens there",
    errno.ECONNRESET: "it cut the connection",
    errno.EPIPE: "it cut the connection",
    errno.ENETUNREACH: "there is no way to its network",
    errno.EHOSTUNREACH: "there is no way to it",
    errno.EACCES: "this machine does not permit the connection",
    errno.EPERM: "this machine does not permit the connection",
    errno.EMFILE: "this process has too many files open",
}


def cause_in_words(error: BaseException | None) -> str:
    """The first cause that means something to those who run LCH; empty where none does.

    Looks through what libraries wrap errors in. Quotes nothing of the errors' own texts.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            code = cause.verify_code
            return _CERTIFICATE_WORDS.get(code, f"its certificate does not pass the checks (OpenSSL's error {code})")
        if isinstance(cause, ssl.SSLError):
            no_tls = getattr(cause, "reason", "") in _NO_TLS
            return "it speaks no TLS on that port" if no_tls else "the TLS handshake failed"
        if isinstance(cause, socket.gaierror):
            return "its name does not resolve"
        if isinstance(cause, ProxyRefusedError):
            if cause.status == 407:
                return "the proxy answered 407: it wants another user and password in HTTPS_PROXY"
            return f"the proxy answered {cause.status}" if cause.status else "what the proxy answers is no HTTP"
        if isinstance(cause, BundleError):
            return "the bundle of authorities cannot be read: see REQUESTS_CA_BUNDLE"
        if isinstance(cause, NameServiceTimeoutError):
            return "the name service gives no answer"
        if isinstance(cause, TimeoutError):
            return "no answer within the time allowed"
        if isinstance(cause, http.client.HTTPException):
            return "what it answers is no HTTP"
        if isinstance(cause, OSError) and cause.errno in _ERRNO_WORDS:
            return _ERRNO_WORDS[cause.errno]
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from; urllib3 and requests also hide causes in `reason` and in the arguments."""
    todo, seen = [error], set()
    while todo:
        cause = todo.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        todo += [cause.__cause__, getattr(cause, "reason", None), *cause.args[:1], cause.__context__]
