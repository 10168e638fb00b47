"""`flask --app wsgi token explain`: what a token says, and what is wrong with it. Shows neither the token nor a secret.

The verdict at the end is the code's own that checks webhooks and sockets; the findings before it say why.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from config import Settings
from lchook.core.tokens import CLOCK_SKEW_SECONDS, MAX_AGE_SECONDS, CustomerTokens, TokenError, Tokens
from lchook.doctor.findings import Finding, Status, in_words, quoted
from lchook.doctor.provider import explain_providers_token
from lchook.doctor.token_parts import bare, fitting_secret, parts

# Seconds since 1970 get there in the year 5138; milliseconds passed it in 1973.
_SURELY_MILLISECONDS = 1e11
_NO_JWT = "A JWT is three parts of letters, digits, - and _ with dots between: header.claims.signature. Copy it whole."


def explain(text: str, settings: Settings, *, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Take a token apart.

    :param text: the token, or the Authorization header with it.
    """
    token = bare(text)
    try:
        header, claims, signature = parts(token)
    except ValueError as error:
        yield Finding("structure", "problem", str(error), _NO_JWT)
        return
    yield Finding("structure", "ok", f"a JWT, header {quoted(json.dumps(header))}")
    if settings.customer_token_jwks_url and not str(header.get("alg")).startswith("HS"):
        yield from explain_providers_token(token, header, claims, settings, clock)
        return
    yield _algorithm(header.get("alg"))
    fitting = fitting_secret(token, signature, str(header.get("alg")), settings)
    yield _signature(fitting, settings)
    is_customers = "CUSTOMER" in fitting if fitting else "iss" not in claims and "sub" in claims
    if is_customers:
        yield _subject(claims)
    else:
        yield _issuer(claims, settings)
        yield _age(claims, clock())
    yield _expiry(claims, clock(), required=is_customers)
    yield from _start(claims, clock())
    yield _verdict(token, settings, clock, is_customers=is_customers)


_COMPARE_CLOCKS = "Compare the clocks: `doctor` compares this one with DMS's."


def _algorithm(algorithm: object) -> Finding:
    if algorithm == "HS256":
        return Finding("algorithm", "ok", "HS256")
    if algorithm == "none":
        return Finding("algorithm", "problem", "none: it is not signed at all", "Sign it with HS256 and the secret.")
    return Finding(
        "algorithm", "problem", f"{quoted(algorithm)} is not accepted", "Sign it with HS256 and the shared secret."
    )


def _signature(fitting: str | None, settings: Settings) -> Finding:
    if fitting is None:
        known = ["JWT_SECRET"] + [
            name
            for name in ("JWT_SECRET_PREVIOUS", "CUSTOMER_TOKEN_SECRET", "CUSTOMER_TOKEN_SECRET_PREVIOUS")
            if getattr(settings, name.lower())
        ]
        return Finding(
            "signature",
            "problem",
            f"it fits none of the secrets that LCH knows here ({', '.join(known)})",
            "Signer and LCH must have the same secret: for DMS, copy JWT_SECRET again from Pega; for customers' tokens, "
            "give your backend CUSTOMER_TOKEN_SECRET. A token that was changed on its way does not fit either.",
        )
    if " " in fitting:
        name = fitting.partition(" ")[0]
        advice = (
            f"The signer must use {name} exactly as it stands here, as text; or let {name} here be what the signer uses."
        )
        return Finding("signature", "problem", f"it fits {fitting}", advice)
    if fitting.endswith("PREVIOUS"):
        return Finding("signature", "warning", f"it fits {fitting}", "Let the signer use the new secret.")
    return Finding("signature", "ok", f"it fits {fitting}")


def _issuer(claims: dict[str, Any], settings: Settings) -> Finding:
    if "iss" not in claims:
        return Finding(
            "issuer", "problem", "it names none (iss)", f"iss must be the connection id, {settings.jwt_issuer!r}."
        )
    if claims["iss"] != settings.jwt_issuer:
        says = f"{quoted(claims['iss'])} is not this connection, {settings.jwt_issuer!r}"
        advice = "Copy JWT_ISSUER again from Pega; or this DMS posts to the wrong hook."
        return Finding("issuer", "problem", says, advice)
    return Finding("issuer", "ok", f"this connection, {settings.jwt_issuer!r}")


def _age(claims: dict[str, Any], now: float) -> Finding:
    issued_at = _seconds(claims.get("iat"))
    if issued_at is None:
        return Finding(
            "age", "problem", "it does not say when it was issued (iat)", "iat must be seconds since 1970, a number."
        )
    if issued_at > _SURELY_MILLISECONDS:
        return Finding("age", "problem", "iat is in milliseconds", "iat must be seconds since 1970: divide by 1000.")
    age = now - issued_at
    if age < -CLOCK_SKEW_SECONDS:
        return Finding("age", "problem", f"it was issued {in_words(age)} in the future (iat)", _COMPARE_CLOCKS)
    if age < 0:
        return Finding(
            "age",
            "warning",
            f"it was issued {in_words(age)} in the future (iat), which is still put up with",
            _COMPARE_CLOCKS,
        )
    if age > MAX_AGE_SECONDS:
        says = f"it was issued {in_words(age)} ago (iat): DMS and LCH take none older than {MAX_AGE_SECONDS} s"
        return Finding("age", "problem", says, f"Make one for each request. If it was just made: {_COMPARE_CLOCKS}")
    return Finding("age", "ok", f"it was issued {in_words(age)} ago")


def _expiry(claims: dict[str, Any], now: float, *, required: bool) -> Finding:
    if "exp" not in claims:
        if required:
            return Finding("expiry", "problem", "it has none (exp)", "A customer's token needs exp, seconds since 1970.")
        return Finding("expiry", "ok", f"it has none (exp), and counts for {MAX_AGE_SECONDS} s from iat")
    expires_at = _seconds(claims["exp"])
    if expires_at is None or expires_at > _SURELY_MILLISECONDS:
        return Finding(
            "expiry", "problem" if expires_at is None else "warning", "exp is not in seconds since 1970", "Make it so."
        )
    if now >= expires_at:
        return Finding("expiry", "problem", f"it expired {in_words(now - expires_at)} ago (exp)", "Make a new one.")
    return Finding("expiry", "ok", f"it is good for another {in_words(expires_at - now)}")


def _start(claims: dict[str, Any], now: float) -> Iterator[Finding]:
    begins_at = _seconds(claims.get("nbf"))
    if begins_at is not None and now < begins_at:
        status: Status = "problem" if now < begins_at - CLOCK_SKEW_SECONDS else "warning"
        yield Finding("start", status, f"it begins to be valid in {in_words(begins_at - now)} (nbf)", _COMPARE_CLOCKS)


def _subject(claims: dict[str, Any]) -> Finding:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        return Finding("customer", "problem", "it names none (sub)", "sub must be the customer's id, a string.")
    return Finding("customer", "ok", f"it is for {quoted(subject)}")


def _verdict(token: str, settings: Settings, clock: Callable[[], float], *, is_customers: bool) -> Finding:
    try:
        if is_customers:
            if not settings.customer_token_secret:
                return Finding("verdict", "problem", "a customer's token, and CUSTOMER_TOKEN_SECRET is not set", "Set it.")
            CustomerTokens(
                secret=settings.customer_token_secret,
                previous_secret=settings.customer_token_secret_previous,
                clock=clock,
            ).verify(token)
            return Finding("verdict", "ok", "LCH lets a socket in with it, as that customer")
        Tokens(
            issuer=settings.jwt_issuer,
            secret=settings.jwt_secret,
            previous_secret=settings.jwt_secret_previous,
            clock=clock,
        ).verify(token)
    except TokenError as error:
        return Finding("verdict", "problem", f"LCH refuses it: {error}", "See above.")
    return Finding("verdict", "ok", "LCH accepts it from DMS at the webhook")


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
