"""Are the settings what somebody would want? They are complete and readable, or LCH would not have started. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from config import Settings, in_quotes
from lchook.doctor.findings import Finding

# RFC 7518, 3.2.
_SOUND_SECRET_BYTES = 32
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def examine_settings(settings: Settings) -> Iterator[Finding]:
    """What is set, and what is odd about it. Shows no secret."""
    yield Finding(
        "settings",
        "ok",
        f"complete: DMS is {without_secrets(settings.dms_url)}, this connection is {settings.jwt_issuer!r}, "
        f"port {settings.port}",
    )
    yield from _odd_secrets(settings)
    if settings.dms_url.startswith("http:") and urlsplit(settings.dms_url).hostname not in _LOOPBACK:
        yield Finding(
            "settings",
            "warning",
            "DMS_URL is http: messages and tokens go in the clear",
            "Use the https address that Pega shows.",
        )
    if settings.webhook_auth == "off":
        yield Finding(
            "settings",
            "problem",
            "WEBHOOK_AUTH is off: anybody who knows the webhook's address can speak to customers in the agents' name",
            "Take WEBHOOK_AUTH away; if DMS's webhooks then get 401, look at one's token with `token explain`.",
        )
    yield from _who_may_read(settings)
    yield _who_may_connect(settings)
    yield _who_is_believed(settings)
    if not settings.customers_need_tokens and settings.anonymous_customers == "isolate":
        yield _who_is_known_again(settings)


def _who_may_read(settings: Settings) -> Iterator[Finding]:
    if not settings.conversation_ttl_seconds:
        return
    days = settings.conversation_ttl_seconds / 86_400
    if settings.conversation_unproven == "on":
        yield Finding(
            "settings",
            "problem",
            "CONVERSATION_UNPROVEN is on: anybody who knows a customer's id reads what was said",
            "Take CONVERSATION_UNPROVEN away, and give customers tokens: docs/identity.md.",
        )
    else:
        yield Finding(
            "settings", "ok", f"conversations are kept for {days:g} days, and shown to those who prove whose they are"
        )


def without_secrets(url: str) -> str:
    """An address as far as it may be shown: no user, no password, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _odd_secrets(settings: Settings) -> Iterator[Finding]:
    for name, value in (("JWT_SECRET", settings.jwt_secret), ("JWT_ISSUER", settings.jwt_issuer)):
        if in_quotes(value):
            yield Finding(
                "settings",
                "warning",
                f"{name} begins and ends with a quotation mark, which then belongs to it",
                "Docker's env files and systemd's Environment= take quotation marks differently: take them away.",
            )
    if len(settings.jwt_secret.encode()) < _SOUND_SECRET_BYTES:
        yield Finding(
            "settings",
            "warning",
            f"JWT_SECRET is shorter than {_SOUND_SECRET_BYTES} bytes and could be guessed",
            "Let Pega make a new one, if it can.",
        )
    if settings.customer_token_secret in (settings.jwt_secret, settings.jwt_secret_previous or settings.jwt_secret):
        yield Finding(
            "settings",
            "problem",
            "CUSTOMER_TOKEN_SECRET is the same as JWT_SECRET: whoever can sign for customers can speak as DMS",
            "Make up another CUSTOMER_TOKEN_SECRET: `openssl rand -hex 32`.",
        )
    previous = [
        name
        for name in ("JWT_SECRET_PREVIOUS", "CUSTOMER_TOKEN_SECRET_PREVIOUS")
        if getattr(settings, name.lower()) and getattr(settings, name.lower()) != getattr(settings, name.lower()[:-9])
    ]
    if previous:
        yield Finding(
            "settings",
            "warning",
            f"still accepted: {' and '.join(previous)}",
            "Take it away when nobody signs with it any more.",
        )


def _who_may_connect(settings: Settings) -> Finding:
    origins = settings.allowed_origins
    if origins == "*":
        says = "pages of any site may connect"
        if settings.customers_need_tokens:
            return Finding("origins", "ok", says)
        return Finding(
            "origins",
            "warning",
            f"{says}, and read a customer's answers by their id",
            "Name your sites in ALLOWED_ORIGIN, or set CUSTOMER_TOKEN_SECRET.",
        )
    if not origins:
        return Finding(
            "origins",
            "ok",
            "only pages from the hook's own address may connect (ALLOWED_ORIGIN is not set); a page elsewhere is refused",
        )
    says = f"only pages of {', '.join(origins)} may connect; the page's own origin must be among these"
    if {"null", "file://"} & {*origins}:
        return Finding(
            "origins",
            "warning",
            f"{says}. null is said by pages from files, and by pages of any site in a sandboxed frame",
            "Where it is for an app, name the app's own origin, such as capacitor://localhost or app://., if it has one.",
        )
    return Finding("origins", "ok", says)


def _who_is_believed(settings: Settings) -> Finding:
    if settings.customer_token_jwks_url:
        beside = ", or by CUSTOMER_TOKEN_SECRET" if settings.customer_token_secret else ""
        says = (
            f"clients must bring a token that is signed by the identity provider {settings.customer_token_issuer!r}{beside},"
            f" for {settings.customer_token_audience!r}; its {settings.customer_token_claim!r} is the customer's id"
        )
        return Finding("customers", "ok", says)
    if settings.customer_token_secret:
        return Finding(
            "customers",
            "ok",
            "clients must bring a token that is signed with CUSTOMER_TOKEN_SECRET (`token --customer ID` makes one)",
        )
    return Finding("customers", "ok", "clients are believed who they say they are (CUSTOMER_TOKEN_SECRET is not set)")


def _who_is_known_again(settings: Settings) -> Finding:
    if settings.proxy_hops:
        believed = f"the last {settings.proxy_hops} of X-Forwarded-For are believed"
        advice = ""
    else:
        believed = "X-Forwarded-For is not believed, as PROXY_HOPS is 0"
        advice = (
            "Behind a proxy, set PROXY_HOPS, or all visitors have the proxy's address. Where a container's gateway hides"
            " addresses, let pages send a session."
        )
    return Finding(
        "visitors",
        "ok",
        "visitors without a name are known again by their session, else by browser and public address, and else not at all"
        f" (a private address could be anybody's); {believed}",
        advice,
    )
