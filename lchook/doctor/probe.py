"""One real post to DMS, and what its answer means here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from config import Settings
from lchook.core.tokens import Tokens
from lchook.dms.client import DmsAnswer, DmsClient, DmsError
from lchook.doctor.findings import Finding, quoted
from lchook.doctor.settings import without_secrets

CUSTOMER_ID = "lch-doctor"

_COMPARE = "copy JWT_ISSUER and JWT_SECRET again from Pega, both from the same connection, without spaces or quotation marks"
# Status: what to change.
_ADVICE = {
    400: "DMS_URL may be of another kind of channel, or of another version: it must be the address that Pega shows for the "
    "connection's digital messaging.",
    401: f"Compare the clocks (above) first. If they agree, {_COMPARE}; in Pega, look whether the secret was made anew.",
    403: "In Pega, look whether the connection is switched on and belongs to this DMS_URL, and whether a list of allowed "
    "addresses lacks this machine's; a gateway or proxy on the way may say 403 too.",
    404: "DMS_URL's path is wrong: copy the whole address again from Pega.",
    407: "Put user and password into HTTPS_PROXY: http://user:password@host:port.",
    413: "Ask those who run DMS: the probe has a few bytes.",
    429: "LCH repeats such posts within OUTBOX_TTL. If it stays: ask those who run DMS for the connection's limit.",
}
_NOT_DMS = "DMS_URL may be the address of something else: copy it again from Pega."
_TROUBLE = (
    "Nothing to change in LCH: ask those who run DMS. LCH repeats 502, 503 and 504 within OUTBOX_TTL; 500 not, since DMS "
    "may have taken the message."
)


def probe(settings: Settings) -> Iterator[Finding]:
    """Post a typing indicator for a customer who does not exist, once, as LCH posts."""
    tokens = Tokens(issuer=settings.jwt_issuer, secret=settings.jwt_secret, clock=time.time)
    dms = DmsClient(
        url=settings.dms_url,
        tokens=tokens,
        token_ttl_seconds=settings.jwt_ttl_seconds,
        connect_timeout_seconds=settings.dms_connect_timeout_seconds,
        read_timeout_seconds=settings.dms_read_timeout_seconds,
    )
    try:
        answer = dms.post(json.dumps({"type": "typing_indicator", "customer_id": CUSTOMER_ID}).encode())
    except DmsError as error:
        words = f"{error}: {error.detail}" if error.detail else str(error)
        advice = "See the checks of name, connection and certificate."
        if error.possibly_delivered:
            advice = "What listens at DMS_URL may be no DMS, or it is slow: LCH waits for DMS_READ_TIMEOUT."
        yield Finding("probe", "problem", f"no answer to a typing indicator: {words}", advice)
        return
    finally:
        dms.close()
    yield explained(answer, secrets=(settings.jwt_secret, settings.jwt_secret_previous))


def explained(answer: DmsAnswer, *, secrets: tuple[str, ...] = ()) -> Finding:
    """What DMS's answer to the probe means.

    :param secrets: not to be shown, even if the answer has them.
    """
    status = answer.status
    if answer.taken:
        return Finding("probe", "ok", f"DMS took a typing indicator for {CUSTOMER_ID!r} and answered {status}")
    if 300 <= status < 400:
        target = f": to {quoted(without_secrets(answer.location))}" if answer.location else ""
        advice = "If you trust the target, put it into DMS_URL."
        return Finding("probe", "problem", f"DMS answered {status}: {answer.meaning}{target}", advice)
    words = answer.text.strip()
    for secret in filter(None, secrets):
        words = words.replace(secret, "(a secret)")
    said = f". It says {quoted(words)}" if words else ""
    advice = _TROUBLE if status >= 500 else _ADVICE.get(status, _NOT_DMS)
    return Finding("probe", "problem", f"DMS answered {status}: {answer.meaning}{said}", advice)
