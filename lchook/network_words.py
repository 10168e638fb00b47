"""Why a connection failed, in words that a person can act on. Knows exceptions and nothing else."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator

# OpenSSL's numbers (x509_vfy.h): Python hands them on without names.
_CERTIFICATE_WORDS = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "its certificate comes from a private authority that this machine does not know",
    20: "its certificate comes from an authority that this machine does not know, or a link of the chain is left out",
    21: "its certificate comes alone: the server leaves out a link of the chain",
    23: "its certificate has been revoked",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}
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
            return _CERTIFICATE_WORDS.get(cause.verify_code, "its certificate does not pass the checks")
        if isinstance(cause, ssl.SSLError):
            no_tls = getattr(cause, "reason", "") in _NO_TLS
            return "it speaks no TLS on that port" if no_tls else "the TLS handshake failed"
        if isinstance(cause, socket.gaierror):
            return "its name does not resolve"
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
