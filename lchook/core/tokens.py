"""JWTs: those between LCH and DMS, and those with which a site says who its customer is. No I/O, no settings."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt

# DMS accepts a token for at most this long after its `iat`; LCH holds DMS to the same.
MAX_AGE_SECONDS = 300
# How far apart the clocks of LCH and of those who sign may be. A token's age is bounded all the same.
CLOCK_SKEW_SECONDS = 300

_ALGORITHM = "HS256"
_MAX_VERIFIED = 500
# They are kept for each connection, and travel with each text.
_MAX_FACTS_CHARACTERS = 16_384
# PyJWT's own checks of claims: the times are checked here, with a clock that tests can turn, and so is what tokens are for.
UNCHECKED: Any = {
    "verify_iat": False,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
# Pega chooses the secret and its length; `create_app` says once, in words, where it is short.
warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)


class TokenError(Exception):
    """The token, or the header that should carry it, is not acceptable. The text says why and never holds the token."""


class Tokens:
    """Signs and verifies the tokens of one connection (`iss`, the connection id)."""

    def __init__(self, *, issuer: str, secret: str, previous_secret: str = "", clock: Callable[[], float]) -> None:
        """:param secret: signs and verifies. :param previous_secret: still verifies, while a secret is being changed.
        :raises ValueError: for an empty issuer or secret, with which anybody could sign.
        """
        if not issuer or not secret:
            raise ValueError("issuer and secret must not be empty")
        self.issuer = issuer
        self._secrets = _secrets(secret, previous_secret)
        self._clock = clock
        # The latest token signed, with its second and time to live: all posts of a second may carry the same.
        self._signed = (0, 0, "")
        # Claims of tokens that were good, and between which times they are. Whoever posts much sends one token many times.
        self._verified: dict[str, tuple[dict[str, Any], float, float]] = {}

    def now(self) -> float:
        """The time that tokens are compared with, in seconds since 1970."""
        return self._clock()

    def sign(self, *, ttl_seconds: int) -> str:
        """A token with `iss`, `iat` (now, whole seconds) and `exp` (`iat` + ttl)."""
        issued_at = int(self._clock())
        if self._signed[:2] == (issued_at, ttl_seconds):
            return self._signed[2]
        claims = {"iss": self.issuer, "iat": issued_at, "exp": issued_at + ttl_seconds}
        token = jwt.encode(claims, self._secrets[0], algorithm=_ALGORITHM)
        self._signed = (issued_at, ttl_seconds, token)
        return token

    def verify_authorization(self, header: str | None) -> None:
        """Check an Authorization header. The `connection_id` header beside it says nothing that `iss` does not.

        (gevent's and werkzeug's servers drop headers with an underscore, so LCH could not rely on it.)

        :raises TokenError: saying which check failed.
        """
        if not header:
            raise TokenError("the Authorization header is missing: send 'Bearer <token>'")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenError("the Authorization header must be 'Bearer <token>'")
        self.verify(token.strip())

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that is signed with our secret, issued by us or our peer, and young enough.

        :raises TokenError: saying which check failed.
        """
        now = self._clock()
        known = self._verified.get(token)
        if known is not None and known[1] <= now < known[2]:
            return known[0]
        claims = _decode(token, self._secrets, require=["iss", "iat"])
        if claims["iss"] != self.issuer:
            raise TokenError("the token's iss is not this connection's id")
        age_seconds = now - number(claims, "iat")
        if age_seconds > MAX_AGE_SECONDS:
            raise TokenError(f"the token is older than {MAX_AGE_SECONDS} s (iat)")
        if age_seconds < -CLOCK_SKEW_SECONDS:
            raise TokenError("the token is from the future (iat): compare the clocks")
        check_has_begun(claims, now)
        if "exp" in claims and now >= number(claims, "exp"):
            raise TokenError("the token has expired (exp)")
        if len(self._verified) >= _MAX_VERIFIED:
            self._verified.clear()
        self._verified[token] = (claims, *_counts_between(claims))
        return claims


def _counts_between(claims: dict[str, Any]) -> tuple[float, float]:
    """From when, and until when, a token of LCH's peer is good."""
    issued_at = number(claims, "iat")
    begins = number(claims, "nbf") if claims.get("nbf") is not None else issued_at
    ends = number(claims, "exp") if "exp" in claims else math.inf
    return max(issued_at, begins) - CLOCK_SKEW_SECONDS, min(issued_at + MAX_AGE_SECONDS, ends)


@dataclass(frozen=True, slots=True)
class CustomerClaim:
    """Who a socket speaks for (`sub`), until when (`exp`, seconds since 1970), and what else is proven of them."""

    customer_id: str
    expires_at: float
    facts: Mapping[str, Any] = field(default_factory=dict)


class CustomerTokens:
    """Verifies the tokens that the site's own backend issues to its customers."""

    def __init__(self, *, secret: str, previous_secret: str = "", clock: Callable[[], float]) -> None:
        """:raises ValueError: for an empty secret, with which anybody could sign."""
        if not secret:
            raise ValueError("secret must not be empty")
        self._secrets = _secrets(secret, previous_secret)
        self._clock = clock

    def sign(self, customer_id: str, *, ttl_seconds: int) -> str:
        """A token such as the site's backend issues, to try things out."""
        issued_at = int(self._clock())
        claims = {"sub": customer_id, "iat": issued_at, "exp": issued_at + ttl_seconds}
        return jwt.encode(claims, self._secrets[0], algorithm=_ALGORITHM)

    def verify(self, token: object) -> CustomerClaim:
        """:raises TokenError: saying which check failed."""
        if not isinstance(token, str):
            raise TokenError("auth.token must be a JWT, a string")
        claims = _decode(token, self._secrets, require=["sub", "exp"])
        expires_at = number(claims, "exp")
        if self._clock() >= expires_at:
            raise TokenError("the token has expired (exp)")
        check_has_begun(claims, self._clock())
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise TokenError("the token's sub must be the customer's id, a string")
        return CustomerClaim(claims["sub"], expires_at, proven_facts(claims))


def proven_facts(claims: dict[str, Any]) -> dict[str, Any]:
    """What DMS is told of a customer because the token says it.

    :raises TokenError: where it is there and DMS could not be told. To leave it out would let the browser's word count.
    """
    facts = {name: claims[name] for name in ("customer_name", "context_data") if claims.get(name) is not None}
    if not isinstance(facts.get("customer_name", ""), str):
        raise TokenError("the token's customer_name must be a string")
    if not isinstance(facts.get("context_data", {}), dict):
        raise TokenError("the token's context_data must be an object")
    try:
        size = len(json.dumps(facts, allow_nan=False))
    except (ValueError, RecursionError) as error:
        raise TokenError("the token's context_data must be plain JSON, not nested too deeply") from error
    if size > _MAX_FACTS_CHARACTERS:
        raise TokenError(f"the token's customer_name and context_data are longer than {_MAX_FACTS_CHARACTERS} characters")
    return facts


def _secrets(secret: str, previous_secret: str) -> tuple[str, ...]:
    return (secret, previous_secret) if previous_secret else (secret,)


def check_has_begun(claims: dict[str, Any], now: float) -> None:
    """:raises TokenError: where it is not valid yet (`nbf`)."""
    if claims.get("nbf") is not None and now < number(claims, "nbf") - CLOCK_SKEW_SECONDS:
        raise TokenError("the token is not valid yet (nbf): compare the clocks")


def number(claims: dict[str, Any], name: str) -> float:
    """:raises TokenError: where a claim is no number that is finite."""
    value = claims[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # A whole number may be too large for a float.
        with contextlib.suppress(OverflowError):
            if math.isfinite(finite := float(value)):
                return finite
    raise TokenError(f"the token's {name} must be a number")


def _decode(token: str, secrets: Sequence[str], *, require: list[str]) -> dict[str, Any]:
    """The claims of a token that one of the secrets signed. `iss` and the times are left to the caller, and its clock."""
    options: Any = {**UNCHECKED, "require": require}
    for secret in secrets:
        try:
            return jwt.decode(token, secret, algorithms=[_ALGORITHM], options=options)
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidAlgorithmError as error:
            raise TokenError("the token's algorithm must be HS256") from error
        except jwt.MissingRequiredClaimError as error:
            raise TokenError(f"the token lacks the claim {error.claim}") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenError("the token is not a readable JWT") from error
    raise TokenError("the token's signature does not fit the secret")
