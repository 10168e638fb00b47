"""Does the public address lead to this hook, does it check signatures, and do WebSockets get through?"""

from __future__ import annotations

import http.client
import json
import secrets
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

from config import Settings
from lchook.core.tokens import Tokens
from lchook.doctor.asking import CONNECT_SECONDS, HERE, MAX_SECONDS, WEBHOOK_PATH, HookAnswer, ask_hook, why
from lchook.doctor.findings import Finding, quoted, within
from lchook.doctor.line import Line


def webhook_address(public_url: str) -> str:
    """The webhook's whole address, whether or not its path was given, and with or without a slash at the end."""
    address = public_url.rstrip("/")
    return address if urlsplit(address).path.endswith(WEBHOOK_PATH) else address + WEBHOOK_PATH


def examine_public_address(public_url: str, settings: Settings) -> Iterator[Finding]:
    """Does the public address lead to this hook, does it check signatures, and do WebSockets get through?"""
    address = webhook_address(public_url)
    reached = _reached(address)
    yield reached
    if reached.status == "problem":
        for check in ("signature", "websocket"):
            yield Finding(check, "skipped", "not tried: the webhook was not reached")
        return
    yield _good_signature(address, settings)
    yield _bad_signature(address, settings)
    yield _web_socket(address.removesuffix(WEBHOOK_PATH) + "/socket.io/?EIO=4&transport=websocket")


def _reached(address: str) -> Finding:
    try:
        answer = ask_hook("GET", address)
    except OSError as error:
        return Finding(
            "webhook",
            "problem",
            f"{address} cannot be reached from here: {why(error)}",
            "Start LCH; see that the name leads to it, and that the proxy or balancer before it passes /webhook on. "
            "(Some networks do not let a machine reach its own public address: then try from another one.)",
        )
    if answer.status == 200 and answer.text.startswith(HERE):
        return Finding("webhook", "ok", f"{address} leads to LCH")
    if 300 <= answer.status < 400:
        return Finding(
            "webhook",
            "problem",
            f"{address} answers {answer.status}: a redirect to {quoted(answer.location)}",
            "Give Pega the address that it leads to: a post is not followed there.",
        )
    if answer.status in (502, 503, 504):
        return Finding(
            "webhook",
            "problem",
            f"{address} answers {answer.status}: a proxy is there, and no LCH behind it, or one that is stopping",
            "Start LCH, and see that the proxy knows its port.",
        )
    return Finding(
        "webhook",
        "problem",
        f"{address} answers {answer.status}, and not as LCH does: {quoted(answer.text)}",
        "Another program is there, or a proxy that wants a login or does not pass /webhook on.",
    )


def _good_signature(address: str, settings: Settings) -> Finding:
    """A typing indicator for nobody: LCH keeps none, and nobody sees it."""
    tokens = Tokens(issuer=settings.jwt_issuer, secret=settings.jwt_secret, clock=time.time)
    try:
        answer = _signed_post(address, tokens.sign(ttl_seconds=60))
    except OSError as error:
        return Finding("signature", "problem", f"no answer to a signed post: {why(error)}", "See the log of LCH there.")
    if answer.status == 200:
        return Finding(
            "signature",
            "ok",
            "what is signed with JWT_SECRET is taken; where DMS's own webhooks get 401 all the same, DMS signs with another "
            "secret: `token explain` tells",
        )
    if answer.status == 401:
        return Finding(
            "signature",
            "problem",
            f"what is signed with JWT_SECRET gets 401: {quoted(_error_in(answer.text))}",
            "The LCH there runs with other settings than these, or its clock is another: start it again with these; "
            "behind a balancer, look at all instances.",
        )
    return Finding(
        "signature",
        "problem",
        f"a signed post gets {answer.status}: {quoted(_error_in(answer.text))}",
        "LCH answers 200. If these are not its words, a proxy before it does not let posts through"
        + ("; if they are, the store of the LCH there cannot be used." if answer.status == 503 else "."),
    )


def _bad_signature(address: str, settings: Settings) -> Finding:
    nobodys = Tokens(issuer=settings.jwt_issuer, secret=secrets.token_hex(32), clock=time.time)
    try:
        answer = _signed_post(address, nobodys.sign(ttl_seconds=60))
    except OSError as error:
        return Finding("signature", "problem", f"no answer to a post with a wrong key: {why(error)}", "See the log of LCH.")
    if answer.status == 401:
        return Finding("signature", "ok", "what is signed with another key gets 401, as it should")
    if answer.status == 200:
        return Finding(
            "signature",
            "problem",
            "what is signed with another key is taken: WEBHOOK_AUTH is off there, and anybody can speak to customers",
            "Take WEBHOOK_AUTH away and start LCH again.",
        )
    return Finding(
        "signature",
        "problem",
        f"what is signed with another key gets {answer.status} instead of 401",
        "A proxy or balancer before LCH interferes with posts.",
    )


def _web_socket(address: str) -> Finding:
    """Does an upgrade get through? The connection that opens is closed at once."""
    line = Line.to(address, timeout_seconds=CONNECT_SECONDS)
    try:
        status = within(MAX_SECONDS, lambda: _upgrade_status(line))
    except (OSError, http.client.HTTPException) as error:
        return Finding("websocket", "warning", f"no WebSocket opens: {why(error)}", _UPGRADE_ADVICE)
    if status == 101:
        return Finding("websocket", "ok", "WebSockets get through")
    return Finding("websocket", "warning", f"no WebSocket opens: the answer is {status} instead of 101", _UPGRADE_ADVICE)


_UPGRADE_ADVICE = (
    "Clients then stay with polling: slower, and behind a balancer it needs stickiness. Let the proxy pass the headers "
    "Upgrade and Connection on, with HTTP/1.1 towards LCH."
)


def _upgrade_status(line: Line) -> int:
    extra = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        # Any 16 bytes: what comes back is not looked at.
        "Sec-WebSocket-Key": "bGNoLWRvY3Rvci1sY2gtZA==",
    }
    context = line.trusting_context() if line.scheme == "https" else None
    return line.request("GET", context, extra).status


def _signed_post(address: str, token: str) -> HookAnswer:
    body = json.dumps({"type": "typing_indicator", "customer_id": f"lch-doctor-{uuid.uuid4()}"})
    return ask_hook(
        "POST", address, body=body, headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    )


def _error_in(text: str) -> str:
    """LCH's own words in its answer; otherwise all of it."""
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text
