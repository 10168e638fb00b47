"""Customers' tokens that a site's identity provider signs, with keys of its own. Pure: keys come through a port.

A token of a provider may be meant for anything: so its issuer and its audience are always checked, and that it is no token
of another kind. The algorithm is the key's, never just what the token says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jwt

from lchook.core.key_set import ALGORITHMS
from lchook.core.tokens import (
    CLOCK_SKEW_SECONDS,
    UNCHECKED,
    CustomerClaim,
    CustomerTokens,
    TokenError,
    check_has_begun,
    number,
    proven_facts,
)

# Access tokens with all of somebody's groups have some ten thousand.
_MAX_CHARACTERS = 32_768
# Of the header, in lower case. Others (logout+jwt, secevent+jwt, dpop+jwt, …) say something else than who somebody is.
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
# Seconds since 1970 get there in the year 5138; milliseconds passed it in 1973.
_SURELY_MILLISECONDS = 1e11


class Keys(Protocol):
    """Where the provider's keys come from."""

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """The key with this id for this algorithm. May wait for seconds where it is not known yet.

        :raises TokenError: where there is none, or it cannot be had now.
        """


class ProviderTokens:
    """Verifies tokens of one issuer for one audience."""

    def __init__(self, keys: Keys, *, issuer: str, audience: str, claim: str, clock: Callable[[], float]) -> None:
        """:param claim: the one that is the customer's id.
        :raises ValueError: where what is to be checked is empty: any token would do.
        """
        if not issuer or not audience or not claim:
            raise ValueError("issuer, audience and claim must not be empty")
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._claim = claim
        self._clock = clock

    def verify(self, token: object) -> CustomerClaim:
        """:raises TokenError: saying which check failed."""
        if not isinstance(token, str):
            raise TokenError("auth.token must be a JWT, a string")
        if len(token) > _MAX_CHARACTERS:
            raise TokenError(f"the token is longer than {_MAX_CHARACTERS} characters")
        header = header_of(token)
        algorithm, type_ = header.get("alg"), header.get("typ", "JWT")
        if algorithm not in ALGORITHMS:
            raise TokenError(f"the token's algorithm must be one of {', '.join(ALGORITHMS)}")
        if not isinstance(type_, str) or type_.lower() not in _TYPES:
            raise TokenError("the token is of another kind (typ): send an access token or an ID token")
        claims = self._verified(token, self._keys.find(header.get("kid"), algorithm), algorithm)
        self._check_purpose(claims)
        expires_at, now = number(claims, "exp"), self._clock()
        if expires_at > _SURELY_MILLISECONDS:
            raise TokenError("the token's exp must be in seconds since 1970, not in milliseconds")
        if now >= expires_at:
            raise TokenError("the token has expired (exp)")
        check_has_begun(claims, now)
        if claims.get("iat") is not None and number(claims, "iat") > now + CLOCK_SKEW_SECONDS:
            raise TokenError("the token is from the future (iat): compare the clocks")
        customer_id = claims[self._claim]
        if not isinstance(customer_id, str) or not customer_id:
            raise TokenError(f"the token's {self._claim} must be the customer's id, a string")
        return CustomerClaim(customer_id, expires_at, proven_facts(claims))

    def _verified(self, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        required = list(dict.fromkeys(["iss", "aud", "exp", self._claim]))
        options: Any = {**UNCHECKED, "require": required}
        try:
            return jwt.decode(token, key, algorithms=[algorithm], options=options)
        except jwt.InvalidSignatureError as error:
            raise TokenError("the token's signature does not fit the identity provider's key") from error
        except jwt.MissingRequiredClaimError as error:
            raise TokenError(f"the token lacks the claim {error.claim}") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenError("the token is not a readable JWT") from error

    def _check_purpose(self, claims: dict[str, Any]) -> None:
        if claims["iss"] != self._issuer:
            raise TokenError("the token's iss is not CUSTOMER_TOKEN_ISSUER")
        audience = claims["aud"]
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenError("the token is for another audience (aud), not for CUSTOMER_TOKEN_AUDIENCE")
        if "events" in claims:
            # Logout tokens of OpenID Connect, and other security events (RFC 8417), where they have no typ of their own.
            raise TokenError("the token is of another kind (events): send an access token or an ID token")


class EitherTokens:
    """Tokens of the site's backend (HS256, by the secret) and of its identity provider, side by side.

    Whichever a token says it is, it is verified in that way only, with the keys of that way only.
    """

    def __init__(self, backends: CustomerTokens, providers: ProviderTokens) -> None:
        self._backends = backends
        self._providers = providers

    def verify(self, token: object) -> CustomerClaim:
        """:raises TokenError: saying which check failed."""
        is_backends = isinstance(token, str) and header_of(token).get("alg") == "HS256"
        return self._backends.verify(token) if is_backends else self._providers.verify(token)


def header_of(token: str) -> dict[str, Any]:
    """What a token says of itself. Nothing of it is proven.

    :raises TokenError: where it is no JWT.
    """
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise TokenError("the token is not a readable JWT") from error
