"""The JWTs between LCH and DMS: sign and verify. No I/O, no settings."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import jwt

# DMS accepts a token for at most this long after its `iat`; LCH holds DMS to the same.
MAX_AGE_SECONDS = 300
# How far ahead of ours DMS's clock may be.
CLOCK_SKEW_SECONDS = 30

_ALGORITHM = "HS256"
# Pega chooses the secret and its length; `create_app` says once, in words, where it is short.
warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)


class TokenError(Exception):
    """The token, or the header that should carry it, is not acceptable. The text says why and never holds the token."""


class Tokens:
    """Signs and verifies the tokens of one connection (`iss`, the connection id) with one secret."""

    def __init__(self, *, issuer: str, secret: str, clock: Callable[[], float] = time.time) -> None:
        """:raises ValueError: for an empty issuer or secret, with which anybody could sign."""
        if not issuer or not secret:
            raise ValueError("issuer and secret must not be empty")
        self.issuer = issuer
        self._secret = secret
        self._clock = clock

    def sign(self, *, ttl_seconds: int) -> str:
        """A token with `iss`, `iat` (now, whole seconds) and `exp` (`iat` + ttl)."""
        issued_at = int(self._clock())
        claims = {"iss": self.issuer, "iat": issued_at, "exp": issued_at + ttl_seconds}
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

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
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                issuer=self.issuer,
                # The times are checked below: PyJWT knows neither DMS's rule for `iat` nor our clock.
                options={
                    "require": ["iss", "iat"],
                    "verify_iat": False,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_aud": False,
                },
            )
        except jwt.InvalidAlgorithmError as error:
            raise TokenError("the token's algorithm must be HS256") from error
        except jwt.InvalidSignatureError as error:
            raise TokenError("the token's signature does not fit the secret") from error
        except jwt.InvalidIssuerError as error:
            raise TokenError("the token's iss is not this connection's id") from error
        except jwt.MissingRequiredClaimError as error:
            raise TokenError(f"the token lacks the claim {error.claim}") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenError("the token is not a readable JWT") from error

        now = self._clock()
        age_seconds = now - _number(claims, "iat")
        if age_seconds > MAX_AGE_SECONDS:
            raise TokenError(f"the token is older than {MAX_AGE_SECONDS} s (iat)")
        # Written so that NaN, which JSON in Python may hold, is refused: it compares as false.
        if not age_seconds >= -CLOCK_SKEW_SECONDS:
            raise TokenError("the token is from the future (iat): compare the clocks")
        if "exp" in claims and not _number(claims, "exp") > now:
            raise TokenError("the token has expired (exp)")
        if "nbf" in claims and not _number(claims, "nbf") <= now + CLOCK_SKEW_SECONDS:
            raise TokenError("the token is not valid yet (nbf)")
        return claims


def _number(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    raise TokenError(f"the token's {name} must be a number")
