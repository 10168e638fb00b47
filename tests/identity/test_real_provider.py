"""With a real OpenID provider, the npm package oidc-provider: log in as in a browser, chat, rotate the keys, chat."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests

from tests.support.hooks import running_hook
from tests.support.servers import free_port, gunicorn_command
from tests.support.tools import needs

HERE = Path(__file__).parent
CALLBACK = "https://chat.example.com/logged-in"
VERIFIER = "a verifier of the tests, which has as many characters as it must".replace(" ", "-").replace(",", "")


class Provider:
    """The provider's process."""

    def __init__(self, process: subprocess.Popen[str], issuer: str) -> None:
        self._process = process
        self.issuer = issuer
        self.metadata = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()

    def rotate(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("rotate\n")
        self._process.stdin.flush()
        wait_for_line(self._process, "rotated")

    def log_in(self, customer_id: str) -> str:
        """As a browser does it: the forms for name and consent, the code, the token. Returns the ID token."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": "chat",
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        with requests.Session() as browser:
            answer = browser.get(self.metadata["authorization_endpoint"], params=query, allow_redirects=False, timeout=10)
            for _ in range(12):
                if answer.status_code == 200:
                    action = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
                    prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
                    assert action, answer.text
                    assert prompt, answer.text
                    fields = {"prompt": prompt[1], "login": customer_id, "password": "x"}
                    answer = browser.post(urljoin(answer.url, action[1]), data=fields, allow_redirects=False, timeout=10)
                    continue
                assert answer.is_redirect, answer.text
                target = urljoin(answer.url, answer.headers["Location"])
                if target.startswith(CALLBACK):
                    code = parse_qs(urlsplit(target).query)["code"][0]
                    break
                answer = browser.get(target, allow_redirects=False, timeout=10)
            grant = {
                "grant_type": "authorization_code",
                "client_id": "chat",
                "redirect_uri": CALLBACK,
                "code": code,
                "code_verifier": VERIFIER,
            }
            return str(browser.post(self.metadata["token_endpoint"], data=grant, timeout=10).json()["id_token"])


def wait_for_line(process: subprocess.Popen[str], wanted: str) -> None:
    """The provider says other things, too."""
    assert process.stdout is not None
    assert any(line == f"{wanted}\n" for line in process.stdout), f"the provider ended without {wanted!r}"


@contextmanager
def running_provider() -> Iterator[Provider]:
    node = needs("node")
    if not (HERE / "node_modules" / "oidc-provider" / "package.json").is_file():
        pytest.skip("tests/identity has no oidc-provider: run npm ci --prefix tests/identity")
    port = free_port()
    process = subprocess.Popen(
        [node, str(HERE / "provider.mjs"), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_for_line(process, "ready")
        yield Provider(process, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def test_a_customer_logs_in_chats_and_goes_on_after_the_keys_were_rotated() -> None:
    with running_provider() as provider:
        settings = {
            "CUSTOMER_TOKEN_JWKS_URL": provider.metadata["jwks_uri"],
            "CUSTOMER_TOKEN_ISSUER": provider.metadata["issuer"],
            "CUSTOMER_TOKEN_AUDIENCE": "chat",
        }
        with running_hook(gunicorn_command, **settings) as hook:
            before = provider.log_in("customer-1")
            with hook.connect(auth={"token": before}) as here:
                assert here.call("clientMessage", {"type": "text", "text": ["Hello"], "message_id": 1})["status"] == "sent"
                (post,) = hook.dms.received
                assert post.body["customer_id"] == "customer-1"
                assert post.body["customer_name"] == "Ada Lindgren"
                assert post.body["context_data"] == {"logged_in": True}
                assert hook.webhook("customer-1", "Welcome").status_code == 200
                here.wait_for_messages(1)
                provider.rotate()
                # The new key is noticed, the one before is still good, and who is here stays.
                for token in (provider.log_in("customer-2"), before):
                    with hook.connect(auth={"token": token}) as client:
                        said = client.call("clientMessage", {"type": "text", "text": ["after"], "message_id": 2})
                        assert said["status"] == "sent"
                assert here.call("clientMessage", {"type": "text", "text": ["still"], "message_id": 3})["status"] == "sent"
