"""Whose tokens let a customer in: an identity provider's, by its own keys, over real HTTP. And what Pega is then told."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from lchook.sandbox.http_server import Exchange
from lchook.sandbox.identity_provider import IdentityProvider, new_key, public_jwk
from tests.security.test_customer_tokens import refusal
from tests.support.clients import text_message
from tests.support.hooks import Hook, running_hook
from tests.support.jwts import mint
from tests.support.servers import gunicorn_command
from tests.support.waiting import wait_until

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
SECRET = "of the backend, which signs beside the identity provider"
_SETTINGS = {"CUSTOMER_TOKEN_SECRET": SECRET}


class Keys:
    """The private keys of the tests: one for each algorithm, and some that should not be good for anything."""

    def __init__(self) -> None:
        self.good = {algorithm: new_key(algorithm) for algorithm in ALGORITHMS}
        self.strange = {algorithm: new_key(algorithm) for algorithm in ALGORITHMS}
        self.short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        self.leaked, self.encrypts = new_key("ES256"), new_key("ES256")
        self.symmetric = b"a symmetric key that stands among the public ones"

    def shown(self) -> dict[str, Any]:
        leaked = get_default_algorithms()["ES256"].to_jwk(self.leaked, as_dict=True)
        keys: list[Any] = [public_jwk(key, algorithm, algorithm) for algorithm, key in self.good.items()]
        keys += [
            "no key at all",
            {"kty": "from the future", "kid": "future"},
            {"kty": "EC", "crv": ["P-256"], "kid": "broken", "x": 5},
            {"kty": "oct", "kid": "symmetric", "k": _base64(self.symmetric)},
            {**public_jwk(self.short, "RS256", "short")},
            {**leaked, "kid": "leaked"},
            {**public_jwk(self.encrypts, "ES256", "encrypts"), "use": "enc"},
        ]
        return {"keys": keys}


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="module")
def provider(keys: Keys) -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        body = json.dumps(keys.shown()).encode()
        running.handle = lambda exchange: exchange.answer(200, {"Content-Type": "application/json"}, body)
        yield running


@pytest.fixture(scope="module")
def hook(provider: IdentityProvider) -> Iterator[Hook]:
    with running_hook(gunicorn_command, **_SETTINGS, **of(provider)) as running:
        yield running


def of(provider: IdentityProvider) -> dict[str, str]:
    return {
        "CUSTOMER_TOKEN_JWKS_URL": provider.keys_url,
        "CUSTOMER_TOKEN_ISSUER": provider.issuer,
        "CUSTOMER_TOKEN_AUDIENCE": provider.audience,
    }


class Maker:
    """Makes tokens, right but for what a test says."""

    def __init__(self, keys: Keys, issuer: str, customer: str) -> None:
        self.keys = keys
        self.now = int(time.time())
        self.claims = {"iss": issuer, "aud": "lch-sandbox", "sub": customer, "iat": self.now, "exp": self.now + 60}

    def __call__(
        self,
        *,
        by: str = "ES256",
        key: Any = None,
        header: dict[str, Any] | None = None,
        without: tuple[str, ...] = (),
        **claims: Any,
    ) -> str:
        all_claims = {name: value for name, value in {**self.claims, **claims}.items() if name not in without}
        head = {"typ": "JWT", "alg": by, "kid": by, **(header or {})}
        signed = f"{_json(head)}.{_json(all_claims)}"
        if by.startswith("HS"):
            return f"{signed}.{_base64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"
        signs = get_default_algorithms()[by]
        return f"{signed}.{_base64(signs.sign(signed.encode(), key or self.keys.good[by]))}"


@pytest.fixture
def make(keys: Keys, provider: IdentityProvider, customer: str) -> Maker:
    return Maker(keys, provider.issuer, customer)


GOOD: dict[str, Callable[[Maker], str]] = {
    **{algorithm: lambda make, by=algorithm: make(by=by) for algorithm in ALGORITHMS},
    "several audiences": lambda make: make(aud=["another", "lch-sandbox"]),
    "an access token (at+jwt)": lambda make: make(header={"typ": "at+jwt"}),
    "no typ, no kid": lambda make: make(header={"typ": "jwt"}),
    "clock a little ahead": lambda make: make(iat=make.now + 200, nbf=make.now + 200),
    "no iat": lambda make: make(without=("iat",)),
    "more claims": lambda make: make(scope="chat", groups=["x"] * 100, events_seen=3),
    "the backend's own (HS256)": lambda make: mint(secret=SECRET, sub=make.claims["sub"], exp=make.now + 60),
}


@pytest.mark.parametrize("token", GOOD.values(), ids=GOOD)
def test_a_good_token_lets_its_customer_in(hook: Hook, make: Maker, customer: str, token: Callable[[Maker], str]) -> None:
    with hook.connect(auth={"token": token(make)}) as client:
        assert hook.webhook(customer, "welcome").status_code == 200
        assert client.wait_for_messages(1)[0]["text"] == ["welcome"]
        assert client.say(customer)["status"] == "sent"
        assert client.call("clientMessage", text_message("somebody else", "I am another"))["status"] == "rejected"


def _public_pem(make: Maker) -> bytes:
    pem: bytes = make.keys.good["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _signed_with_the_public_key(make: Maker, **header: Any) -> str:
    return make(by="HS256", key=_public_pem(make), header={"kid": "RS256", **header})


BAD: dict[str, tuple[Callable[[Maker], Any], str]] = {
    # Claims
    "wrong iss": (lambda make: make(iss="https://evil.example"), "iss is not"),
    "no iss": (lambda make: make(without=("iss",)), "lacks the claim iss"),
    "iss a list": (lambda make: make(iss=[make.claims["iss"]]), "iss is not"),
    "wrong aud": (lambda make: make(aud="another app of the bank"), "another audience"),
    "no aud": (lambda make: make(without=("aud",)), "lacks the claim aud"),
    "aud empty": (lambda make: make(aud=[]), "another audience"),
    "aud within another": (lambda make: make(aud="lch-sandbox-admin"), "another audience"),
    "aud an object": (lambda make: make(aud={"lch-sandbox": 1}), "another audience"),
    "no sub": (lambda make: make(without=("sub",)), "lacks the claim sub"),
    "sub a number": (lambda make: make(sub=17), "sub must be the customer's id"),
    "sub empty": (lambda make: make(sub=""), "sub must be the customer's id"),
    "sub endless": (lambda make: make(sub="x" * 257), "not acceptable"),
    "no exp": (lambda make: make(without=("exp",)), "lacks the claim exp"),
    "expired": (lambda make: make(exp=make.now - 1), "expired"),
    "exp in milliseconds": (lambda make: make(exp=(make.now + 60) * 1000), "milliseconds"),
    "exp a text": (lambda make: make(exp=str(make.now + 60)), "exp must be a number"),
    "exp true": (lambda make: make(exp=True), "exp must be a number"),
    "exp infinite": (lambda make: make(exp=float("inf")), "exp must be a number"),
    "exp huge": (lambda make: make(exp=10**400), "exp must be a number"),
    "from the future (iat)": (lambda make: make(iat=make.now + 400), "future"),
    "from the future (nbf)": (lambda make: make(nbf=make.now + 400), "not valid yet"),
    "iat a text": (lambda make: make(iat="now"), "iat must be a number"),
    "name a number": (lambda make: make(customer_name=17), "customer_name must be"),
    "context a text": (lambda make: make(context_data="vip"), "context_data must be"),
    "context endless": (lambda make: make(context_data={"x": "y" * 17_000}), "longer than"),
    "context with NaN": (lambda make: make(context_data={"x": float("nan")}), "plain JSON"),
    # Keys
    "unknown kid": (lambda make: make(header={"kid": "unheard of"}), "none of"),
    "signed with another key": (lambda make: make(key=make.keys.strange["ES256"]), "signature"),
    "a key of another kind": (lambda make: make(header={"kid": "RS256"}), "none of"),
    "a short key": (lambda make: make(by="RS256", key=make.keys.short, header={"kid": "short"}), "none of"),
    "a key that all can read": (lambda make: make(key=make.keys.leaked, header={"kid": "leaked"}), "none of"),
    "a key for encryption": (lambda make: make(key=make.keys.encrypts, header={"kid": "encrypts"}), "none of"),
    "a key in the token (jwk)": (
        lambda make: make(
            key=make.keys.strange["ES256"], header={"jwk": public_jwk(make.keys.strange["ES256"], "ES256", "mine")}
        ),
        "signature",
    ),
    "an address in the token (jku)": (
        lambda make: make(key=make.keys.strange["ES256"], header={"kid": "mine", "jku": "http://evil.example/jwks"}),
        "none of",
    ),
    "kid a number": (lambda make: make(header={"kid": 17}), "readable"),
    "kid an object": (lambda make: make(header={"kid": {"a": 1}}), "readable"),
    "kid endless": (lambda make: make(header={"kid": "x" * 20_000}), "none of"),
    # Algorithms
    "none": (lambda make: make(header={"alg": "none"}).rpartition(".")[0] + ".", "algorithm must be"),
    "None": (lambda make: make(header={"alg": "None"}).rpartition(".")[0] + ".", "algorithm must be"),
    "no alg": (lambda make: make(header={"alg": None}), "algorithm must be"),
    "alg a list": (lambda make: make(header={"alg": ["ES256"]}), "algorithm must be"),
    "HS256 with the public key": (_signed_with_the_public_key, "signature does not fit the secret"),
    "HS384 with the public key": (lambda make: _signed_with_the_public_key(make, alg="HS384"), "algorithm must be"),
    "HS256 with a symmetric key of the set": (
        lambda make: make(by="HS256", key=make.keys.symmetric, header={"kid": "symmetric"}),
        "signature does not fit the secret",
    ),
    "RS256 that says it is ES256": (lambda make: make(by="RS256", header={"alg": "ES256", "kid": "ES256"}), "signature"),
    "RS256 by a key for PS256": (
        lambda make: make(by="RS256", key=make.keys.good["PS256"], header={"kid": "PS256"}),
        "none of",
    ),
    "RS512": (lambda make: make(by="RS512", key=make.keys.good["RS256"], header={"kid": "RS256"}), "algorithm must be"),
    "an unknown crit": (lambda make: make(header={"crit": ["exp"], "exp": 1}), "readable"),
    # Kinds
    "a logout token (typ)": (lambda make: make(header={"typ": "logout+jwt"}), "another kind (typ)"),
    "a logout token (events)": (
        lambda make: make(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
        "another kind (events)",
    ),
    "typ an object": (lambda make: make(header={"typ": {}}), "another kind (typ)"),
    "a webhook's token": (lambda make: mint(), "signature does not fit the secret"),
    "no string": (lambda make: 17, "must be a JWT"),
    "garbage": (lambda make: "a.b.c", "readable"),
    "no JSON inside": (lambda make: ".".join((make().split(".")[0], _base64(b"no JSON"), "x")), "readable"),
    "tampered": (lambda make: _tampered(make()), "signature"),
    "too long": (lambda make: make(scope="x" * 40_000), "longer than"),
}


# A key that is not known may be a new one: who brings one waits for the next fetch, and these are best tried at once.
UNKNOWN = {name: make for name, (make, words) in BAD.items() if words == "none of"}
KNOWN = {name: case for name, case in BAD.items() if name not in UNKNOWN}


def test_keys_that_are_good_for_nothing_open_no_door(hook: Hook, make: Maker) -> None:
    with ThreadPoolExecutor(len(UNKNOWN)) as together:
        tried = {name: together.submit(refusal, hook.url, {"token": token(make)}) for name, token in UNKNOWN.items()}
    told = {name: future.result() for name, future in tried.items()}
    assert told == dict.fromkeys(UNKNOWN, "the token's key (kid) is none of the identity provider's")


@pytest.mark.parametrize(("token", "words"), KNOWN.values(), ids=KNOWN)
def test_a_bad_token_is_refused_in_words(hook: Hook, make: Maker, token: Callable[[Maker], Any], words: str) -> None:
    assert words in refusal(hook.url, {"token": token(make)})


def test_what_is_proven_reaches_dms_with_every_text_over_what_the_browser_says(
    hook: Hook, make: Maker, customer: str
) -> None:
    facts = {"customer_name": "Ada Lindgren", "context_data": {"logged_in": True, "level": 2}}
    with hook.connect(auth={"token": make(**facts)}) as client:
        said = {
            "type": "text",
            "text": ["Hello"],
            "customer_name": "The Director",
            "context_data": {"level": 9, "page": "/"},
        }
        first = client.call("clientMessage", {**said, "message_id": 1})
        again = client.call("clientMessage", {**said, "message_id": 1})
        typing = client.call("clientMessage", {"type": "typing_indicator"})
        other = client.call("clientMessage", {"type": "customer_end_session", "customer_name": "The Director"})
    assert (first["status"], first["ignored"]) == ("sent", ["customer_name", "context_data"])
    assert again == first
    assert (typing["status"], other["status"]) == ("sent", "sent")
    posts = [post.body for post in hook.dms.received if post.body.get("customer_id") == customer]
    assert posts[0] == {"type": "text", "customer_id": customer, "message_id": 1, "text": ["Hello"], **facts}
    assert {"type": "typing_indicator", "customer_id": customer} in posts
    assert posts[-1] == {"type": "customer_end_session", "customer_id": customer, "customer_name": "Ada Lindgren"}
    assert "The Director" not in json.dumps(posts)


def test_without_a_token_customer_id_may_not_be_left_out(hook: Hook, make: Maker) -> None:
    with hook.connect(auth={"token": make()}) as client:
        for wrong in (None, "", 17, {}):
            answer = client.call("clientMessage", {"type": "text", "text": ["x"], "customer_id": wrong})
            assert answer["status"] == "rejected"


# Rotation, and a provider that is away


def test_a_rotated_key_is_noticed_and_unknown_ones_do_not_hammer_the_provider(customer: str) -> None:
    with contextlib.ExitStack() as running:
        provider = running.enter_context(IdentityProvider())
        hook = running.enter_context(running_hook(gunicorn_command, **of(provider)))
        before = provider.token(customer)
        here = running.enter_context(hook.connect(auth={"token": before}))
        provider.rotate()
        # An attacker's tokens, all at once, and among them the first one with the new key: one fetch finds out.
        fetches, key = provider.fetches, new_key("ES256")
        claims = {"iss": provider.issuer, "aud": provider.audience, "sub": customer, "exp": int(time.time()) + 60}
        tokens = [jwt.encode(claims, key, "ES256", headers={"kid": f"unheard of {number}"}) for number in range(20)]
        with ThreadPoolExecutor(len(tokens)) as attackers:
            told = attackers.map(lambda token: refusal(hook.url, {"token": token}), tokens)
            with hook.connect(auth={"token": provider.token(f"{customer}-2")}) as client:
                assert client.say(f"{customer}-2")["status"] == "sent"
            assert set(told) == {"the token's key (kid) is none of the identity provider's"}
        assert provider.fetches - fetches <= 2
        # Who is here notices nothing, and the key before counts until it is withdrawn.
        assert here.say(customer)["status"] == "sent"
        with hook.connect(auth={"token": before}) as client:
            assert client.say(customer)["status"] == "sent"
        assert "the identity provider's keys are here" in hook.server.log


def test_a_provider_that_is_down_or_slow_holds_up_nobody_who_is_here(customer: str) -> None:
    with contextlib.ExitStack() as running:
        provider = running.enter_context(IdentityProvider())
        hook = running.enter_context(running_hook(gunicorn_command, **of(provider)))
        with hook.connect(auth={"token": provider.token(customer)}) as here:
            known = provider.token(f"{customer}-2")

            def hangs(exchange: Exchange) -> None:
                time.sleep(0.7)
                exchange.hang_up()

            provider.rotate()
            new = provider.token(f"{customer}-3")
            provider.handle = hangs
            told = refusal(hook.url, {"token": new})
            assert told == "the identity provider's keys cannot be had now: connect again in a minute"
            started = time.monotonic()
            assert here.say(customer)["status"] == "sent"
            with hook.connect(auth={"token": known}) as client:
                assert client.say(f"{customer}-2")["status"] == "sent"
            assert time.monotonic() - started < 2
            assert hook.server.log.count("keys cannot be fetched") == 1
            # It is back.
            provider.handle = None
            wait_until(lambda: _lets_in(hook, new), "the new key", timeout_seconds=15)


def _lets_in(hook: Hook, token: str) -> bool:
    try:
        hook.connect(auth={"token": token}).close()
    except Exception:
        return False
    return True


def _tampered(token: str) -> str:
    header, claims, signature = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return f"{header}.{_json({**decoded, 'sub': 'somebody else'})}.{signature}"


def _json(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
