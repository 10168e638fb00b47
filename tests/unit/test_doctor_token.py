"""`token explain`: what it says of a token, and that it agrees with the code that checks tokens."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from typing import Any

import pytest

from config import Settings
from lchook.core.tokens import CustomerTokens, TokenError, Tokens
from lchook.doctor.findings import Finding, has_problems
from lchook.doctor.provider import examine_provider
from lchook.doctor.token import explain
from lchook.sandbox.identity_provider import IdentityProvider
from tests.support.jwts import ISSUER, SECRET, mint, tampered

PREVIOUS = "the secret that was before this one"
CUSTOMERS = "the secret of the customers' tokens"
SETTINGS = Settings(
    dms_url="https://dms.example.com/",
    jwt_issuer=ISSUER,
    jwt_secret=SECRET,
    jwt_secret_previous=PREVIOUS,
    customer_token_secret=CUSTOMERS,
)


def now() -> int:
    return int(time.time())


def customers(**claims: Any) -> str:
    return mint(**{"secret": CUSTOMERS, "without": ("iss",), "sub": "c1", "exp": now() + 30, **claims})


def finding(token: str, check: str, settings: Settings = SETTINGS) -> Finding:
    return next(found for found in explain(token, settings) if found.check == check)


GOOD = {
    "as DMS sends it": mint,
    "signed with the previous secret": lambda: mint(secret=PREVIOUS),
    "without exp": lambda: mint(without=("exp",)),
    "four minutes old": lambda: mint(iat=now() - 240),
    "a little ahead": lambda: mint(iat=now() + 20),
    "minutes ahead": lambda: mint(iat=now() + 290, exp=now() + 320, nbf=now() + 290),
    "a customer's": customers,
    "a customer's of old": lambda: customers(iat=now() - 9999),
}
BAD = {
    "nothing": lambda: "",
    "garbage": lambda: "garbage",
    "cut off": lambda: mint()[:-50],
    "without a signature": lambda: mint().rpartition(".")[0],
    "four parts": lambda: f"{mint()}.x",
    "no JSON": lambda: "bm8.bm8.bm8",
    "alg none": lambda: mint(algorithm="none"),
    "alg HS512": lambda: mint(algorithm="HS512"),
    "another secret": lambda: mint(secret="another"),
    "tampered": lambda: tampered(mint(), exp=now() + 9999),
    "another issuer": lambda: mint(iss="another"),
    "no issuer": lambda: mint(without=("iss",)),
    "no iat": lambda: mint(without=("iat",)),
    "iat in words": lambda: mint(iat="yesterday"),
    "iat in milliseconds": lambda: mint(iat=now() * 1000),
    "too old": lambda: mint(iat=now() - 400, exp=now() + 30),
    "from the future": lambda: mint(iat=now() + 310, exp=now() + 340),
    "expired": lambda: mint(iat=now() - 60, exp=now() - 30),
    "not yet valid": lambda: mint(nbf=now() + 310),
    "a customer's, signed with DMS's secret": lambda: mint(without=("iss",), sub="c1"),
    "a customer's without sub": lambda: customers(without=("iss", "sub")),
    "a customer's without exp": lambda: customers(without=("iss", "exp")),
    "a customer's that has expired": lambda: customers(exp=now() - 1),
}


def is_accepted(token: str) -> bool:
    """By the code that checks webhooks, or the one that checks sockets."""
    try:
        Tokens(issuer=ISSUER, secret=SECRET, previous_secret=PREVIOUS, clock=time.time).verify(token)
    except TokenError:
        try:
            CustomerTokens(secret=CUSTOMERS, clock=time.time).verify(token)
        except TokenError:
            return False
    return True


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_it_finds_a_problem_where_lch_refuses_the_token_and_none_where_not(name: str) -> None:
    token = {**GOOD, **BAD}[name]()

    findings = list(explain(token, SETTINGS))

    assert has_problems(findings) is not is_accepted(token)
    assert has_problems(findings) is (name in BAD)
    for found in findings:
        assert found.status != "problem" or found.advice
        if token:
            assert token not in found.says + found.advice
        for secret in (SECRET, PREVIOUS, CUSTOMERS):
            assert secret not in found.says + found.advice


@pytest.mark.parametrize(
    ("token", "check", "words"),
    [
        pytest.param(lambda: mint()[:-3], "signature", "fits none", id="cut off in the signature"),
        pytest.param(lambda: "a.b", "structure", "2 parts", id="two parts"),
        pytest.param(lambda: mint(algorithm="none"), "algorithm", "not signed at all", id="alg none"),
        pytest.param(lambda: mint(algorithm="HS512"), "algorithm", "'HS512' is not accepted", id="alg HS512"),
        pytest.param(mint, "signature", "fits JWT_SECRET", id="right secret"),
        pytest.param(lambda: mint(secret=PREVIOUS), "signature", "fits JWT_SECRET_PREVIOUS", id="previous secret"),
        pytest.param(lambda: mint(secret=CUSTOMERS), "signature", "fits CUSTOMER_TOKEN_SECRET", id="customers' secret"),
        pytest.param(lambda: mint(secret="x"), "signature", "fits none of the secrets", id="another secret"),
        pytest.param(lambda: mint(secret=f"{SECRET}\n"), "signature", "a line break", id="secret with a line break"),
        pytest.param(lambda: mint(secret=f'"{SECRET}"'), "signature", "quotation marks", id="secret in quotation marks"),
        pytest.param(
            lambda: mint(secret=base64.b64encode(SECRET.encode()).decode()), "signature", "in base64", id="secret in base64"
        ),
        pytest.param(lambda: mint(iss="another"), "issuer", "'another' is not this connection", id="issuer"),
        pytest.param(lambda: mint(iat=now() - 600), "age", "10.0 minutes ago", id="old"),
        pytest.param(lambda: mint(iat=now() + 601), "age", "10.0 minutes in the future", id="future"),
        pytest.param(lambda: mint(iat=now() * 1000), "age", "milliseconds", id="milliseconds"),
        pytest.param(lambda: mint(exp=now() - 7200), "expiry", "expired 2.0 hours ago", id="expired"),
        pytest.param(customers, "customer", "for 'c1'", id="whose"),
        pytest.param(customers, "verdict", "lets a socket in", id="a customer's verdict"),
        pytest.param(mint, "verdict", "accepts it from DMS", id="a webhook's verdict"),
    ],
)
def test_it_says_what_is_wrong_in_words(token: Any, check: str, words: str) -> None:
    assert words in finding(token(), check).says


def test_it_takes_a_token_with_what_is_copied_along() -> None:
    token = mint()
    for copied in (f"Bearer {token}", f"Authorization: Bearer {token}\n", f'"{token}"', f"  {token}\r\n", f"bearer {token}"):
        assert not has_problems(explain(copied, SETTINGS))


def test_a_customers_token_needs_the_setting() -> None:
    bare = Settings(dms_url="https://dms.example.com/", jwt_issuer=ISSUER, jwt_secret=SECRET)
    assert "CUSTOMER_TOKEN_SECRET is not set" in finding(customers(), "verdict", bare).says


def test_what_a_token_says_cannot_forge_a_line() -> None:
    for found in explain(mint(iss="x\n✓ verdict: fine \x1b[2J"), SETTINGS):
        assert (found.says + found.advice).isprintable()


def test_a_providers_token_is_explained_with_the_keys_that_the_provider_has() -> None:
    with IdentityProvider() as provider:
        settings = replace(
            SETTINGS,
            customer_token_jwks_url=provider.keys_url,
            customer_token_issuer=provider.issuer,
            customer_token_audience=provider.audience,
        )
        good = [*explain(provider.token("c-1", facts={"customer_name": "Ada"}), settings)]
        assert {found.status for found in good} == {"ok"}
        assert good[-1].says == "LCH lets a socket in with it, as 'c-1', and tells Pega its customer_name"
        other = [*explain(provider.token("c-1", facts={"aud": "another", "iss": "x"}), settings)]
        assert [found.check for found in other if found.status == "problem"] == ["issuer", "audience", "verdict"]
        old = provider.token("c-1")
        provider.rotate(keep=1)
        gone = [*explain(old, settings)]
        assert "no key 'key-1'" in next(found.says for found in gone if found.check == "key")
        assert [found.status for found in examine_provider(settings)] == ["warning", "ok"]
        provider.handle = lambda exchange: exchange.answer(404, {}, b"")
        assert [found.status for found in examine_provider(settings)] == ["warning", "problem"]
        assert any("404" in found.says for found in explain(old, settings))
