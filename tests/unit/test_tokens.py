"""tokens.py: what is signed, and what is refused. tests/live has a matrix for a live server."""

from __future__ import annotations

import time

import pytest

from lchook.core.tokens import CLOCK_SKEW_SECONDS, MAX_AGE_SECONDS, TokenError, Tokens
from tests.support.jwts import ISSUER, SECRET, mint, read, tampered


class Clock:
    """A clock that tests can turn."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    # Neither a whole second nor anywhere near the real time.
    return Clock(1_000_000_000.75)


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(issuer=ISSUER, secret=SECRET, clock=clock)


def test_a_signed_token_has_exactly_the_contracts_header_and_claims(tokens: Tokens) -> None:
    header, claims = read(tokens.sign(ttl_seconds=30))

    assert header == {"typ": "JWT", "alg": "HS256"}
    assert claims == {"iss": ISSUER, "iat": 1_000_000_000, "exp": 1_000_000_030}


def test_what_is_signed_is_accepted_until_it_expires(tokens: Tokens, clock: Clock) -> None:
    token = tokens.sign(ttl_seconds=30)
    tokens.verify(token)
    clock.now += 29
    tokens.verify(token)
    clock.now += 1
    with pytest.raises(TokenError, match="expired"):
        tokens.verify(token)


@pytest.mark.parametrize("age_seconds", [0, MAX_AGE_SECONDS, -CLOCK_SKEW_SECONDS])
def test_a_token_without_exp_is_good_for_five_minutes_and_from_a_clock_that_is_a_little_ahead(age_seconds: int) -> None:
    tokens = Tokens(issuer=ISSUER, secret=SECRET, clock=Clock(1_000_000_000))

    tokens.verify(mint(iat=1_000_000_000 - age_seconds, without=("exp",)))


# The time at which the tokens of the matrix were made, and at which they are looked at.
NOW = int(time.time())


@pytest.mark.parametrize(
    ("token", "words"),
    [
        pytest.param(mint(secret="another secret, of another connection"), "signature", id="wrong key"),
        pytest.param(mint(iss="another"), "iss", id="wrong issuer"),
        pytest.param(mint(iss=""), "iss", id="empty issuer"),
        pytest.param(mint(iss=None), "iss", id="null issuer"),
        pytest.param(mint(iss=[ISSUER]), "iss", id="list of issuers"),
        pytest.param(mint(without=("iss",)), "lacks the claim iss", id="no issuer"),
        pytest.param(mint(without=("iat",)), "lacks the claim iat", id="no iat"),
        pytest.param(mint(iat=NOW - MAX_AGE_SECONDS - 2), "older than 300 s", id="too old"),
        pytest.param(mint(iat=NOW + 302, exp=NOW + 600), "future", id="from the future"),
        pytest.param(mint(exp=NOW - 1), "expired", id="expired"),
        pytest.param(mint(nbf=NOW + 100_000), "not valid yet", id="not valid yet"),
        pytest.param(mint(iat=str(NOW)), "iat must be a number", id="iat as text"),
        pytest.param(mint(iat=True), "iat must be a number", id="iat as boolean"),
        pytest.param(mint(iat=None), "iat", id="iat null"),
        pytest.param(mint(iat=float("nan")), "iat must be a number", id="iat NaN"),
        pytest.param(mint(iat=float("inf")), "iat must be a number", id="iat infinite"),
        pytest.param(mint(iat=10**400), "iat must be a number", id="iat beyond all numbers"),
        pytest.param(mint(exp="soon"), "exp must be a number", id="exp as text"),
        pytest.param(mint(exp=[]), "exp must be a number", id="exp as list"),
        pytest.param(mint(exp=float("nan")), "exp must be a number", id="exp NaN"),
        pytest.param(mint(algorithm="none"), "HS256", id="alg none"),
        pytest.param(mint(algorithm="HS512"), "HS256", id="alg HS512"),
        pytest.param(mint(algorithm="HS384"), "HS256", id="alg HS384"),
        pytest.param(tampered(mint(), exp=NOW + 10_000), "signature", id="tampered"),
        pytest.param(mint()[:-3], r"signature|readable", id="cut short"),
        pytest.param(mint() + ".x", "readable", id="four parts"),
        pytest.param("garbage", "readable", id="garbage"),
        pytest.param("a.b.c", "readable", id="garbage in three parts"),
        pytest.param("..", "readable", id="dots"),
        pytest.param("\u00e4.\u00f6.\u00fc", "readable", id="not ASCII"),
        pytest.param("\ud800", "readable", id="no Unicode"),
    ],
)
def test_a_bad_token_is_refused_and_not_repeated(token: str, words: str) -> None:
    with pytest.raises(TokenError, match=words) as caught:
        Tokens(issuer=ISSUER, secret=SECRET, clock=Clock(NOW)).verify(token)

    assert len(token) < 3 or token not in str(caught.value)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic abc", mint(), f"Token {mint()}", f"Bearer{mint()}"]
)
def test_a_header_without_a_bearer_token_is_refused(authorization: str | None) -> None:
    with pytest.raises(TokenError, match="Authorization header"):
        Tokens(issuer=ISSUER, secret=SECRET, clock=time.time).verify_authorization(authorization)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_compared_without_regard_to_case(scheme: str) -> None:
    Tokens(issuer=ISSUER, secret=SECRET, clock=time.time).verify_authorization(f"{scheme} {mint()}")


@pytest.mark.parametrize(("issuer", "secret"), [("", SECRET), (ISSUER, "")])
def test_an_empty_secret_or_issuer_is_refused_at_once(issuer: str, secret: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        Tokens(issuer=issuer, secret=secret, clock=time.time)


# lchook.core.tokens ignores this warning itself, but pytest's settings come after that.
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_a_short_secret_still_works() -> None:
    tokens = Tokens(issuer=ISSUER, secret="short", clock=time.time)

    tokens.verify(tokens.sign(ttl_seconds=30))
