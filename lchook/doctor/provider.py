"""The customers' identity provider: are its keys to be had, and what does it take a token of it to be accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from config import Settings
from lchook.core.tokens import TokenError
from lchook.doctor.findings import Finding, Status, quoted
from lchook.doctor.settings import without_secrets

if TYPE_CHECKING:
    from lchook.core.key_set import KeySet

_ADVICE = "It must answer GET with a JSON Web Key Set: see jwks_uri in its /.well-known/openid-configuration."


def examine_provider(settings: Settings) -> Iterator[Finding]:
    """Fetch its keys, as LCH does."""
    if not settings.customer_token_jwks_url:
        return
    shown = without_secrets(settings.customer_token_jwks_url)
    if shown.startswith("http:"):
        says = "CUSTOMER_TOKEN_JWKS_URL is http: whoever is on the way can put in keys of their own"
        yield Finding("keys", "warning", says, "Use the provider's https address.")
    keys, why = _fetched(settings)
    if keys is None:
        yield Finding("keys", "problem", f"of {shown}: {why}", _ADVICE)
        return
    skipped = f"; {keys.skipped} more are of no use here" if keys.skipped else ""
    yield Finding("keys", "ok", f"{shown} has {', '.join(map(quoted, keys.names))}{skipped}")


def explain_providers_token(
    token: str, header: dict[str, Any], claims: dict[str, Any], settings: Settings, clock: Callable[[], float]
) -> Iterator[Finding]:
    """What there is to say of a token with an algorithm of identity providers."""
    keys, why = _fetched(settings)
    if keys is None:
        yield Finding("signature", "problem", f"the provider's keys cannot be had: {why}", _ADVICE)
        return
    key_id, algorithm = header.get("kid"), header.get("alg")
    name = key_id if isinstance(key_id, str) else None
    key = keys.find(name, algorithm) if isinstance(algorithm, str) else None
    if key is None:
        says = (
            f"the provider has no key {quoted(key_id)} for {quoted(algorithm)}: it has {', '.join(map(quoted, keys.names))}"
        )
        advice = "Compare the token's issuer with CUSTOMER_TOKEN_JWKS_URL: realms and tenants have keys of their own."
        yield Finding("key", "problem", says, advice)
    else:
        yield Finding("key", "ok", f"{quoted(key_id)}, which the provider has")
    for check, claim, wanted, setting in (
        ("issuer", "iss", settings.customer_token_issuer, "CUSTOMER_TOKEN_ISSUER"),
        ("audience", "aud", settings.customer_token_audience, "CUSTOMER_TOKEN_AUDIENCE"),
    ):
        said = claims.get(claim)
        fits = wanted in (said if isinstance(said, list) and claim == "aud" else [said])
        status: Status = "ok" if fits else "problem"
        advice = "" if fits else f"{setting} is {wanted!r}: to the letter, with the slash at its end if there is one."
        yield Finding(check, status, quoted(said), advice)
    yield _verdict(token, keys, settings, clock)


def _verdict(token: str, keys: KeySet, settings: Settings, clock: Callable[[], float]) -> Finding:
    from lchook.core.provider_tokens import ProviderTokens

    class Fetched:
        def find(self, key_id: str | None, algorithm: str) -> Any:
            key = keys.find(key_id, algorithm)
            if key is None:
                raise TokenError("the token's key (kid) is none of the identity provider's")
            return key

    verifier = ProviderTokens(
        Fetched(),
        issuer=settings.customer_token_issuer,
        audience=settings.customer_token_audience,
        claim=settings.customer_token_claim,
        clock=clock,
    )
    try:
        claim = verifier.verify(token)
    except TokenError as error:
        return Finding("verdict", "problem", f"LCH refuses it: {error}", "See above.")
    proven = f", and tells Pega its {' and '.join(claim.facts)}" if claim.facts else ""
    return Finding("verdict", "ok", f"LCH lets a socket in with it, as {quoted(claim.customer_id)}{proven}")


def _fetched(settings: Settings) -> tuple[KeySet | None, str]:
    # Loaded only where it is used, as in the hook.
    from lchook.core.key_set import KeySetError
    from lchook.identity.key_fetch import KeyFetch

    try:
        return KeyFetch(settings.customer_token_jwks_url)(), ""
    except KeySetError as error:
        return None, str(error)
