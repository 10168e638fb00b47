"""The samples of docs/identity.md, run as they stand there: what they issue lets a customer in, and nobody else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lchook.core.provider_tokens import ALGORITHMS
from tests.security.conftest import CUSTOMER_SECRET
from tests.security.test_customer_tokens import refusal
from tests.support.hooks import Hook
from tests.support.tools import ROOT, needs

PAGE = (ROOT / "docs" / "identity.md").read_text()


def sample(language: str, having: str) -> str:
    """The first sample in that language with that in it."""
    return next(code for code in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if having in code)


def output(*command: str, folder: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "CUSTOMER_TOKEN_SECRET": CUSTOMER_SECRET}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def assert_it_is_a_token_for(hook: Hook, customer: str, token: str) -> None:
    with hook.connect(auth={"token": token}) as client:
        assert client.say(customer)["status"] == "sent"
        assert client.say(f"{customer}-other")["status"] == "rejected"
    assert "signature" in refusal(hook.url, {"token": token[:-4] + "AAAA"})


def test_the_python_sample(strict: Hook, customer: str, tmp_path: Path) -> None:
    code = f"{sample('python', 'def chat_token')}\nprint(chat_token({customer!r}))\n"
    assert_it_is_a_token_for(strict, customer, output(sys.executable, "-c", code, folder=tmp_path))


def test_the_node_sample(strict: Hook, customer: str, tmp_path: Path) -> None:
    (tmp_path / "token.mjs").write_text(f"{sample('js', 'createHmac')}\nconsole.log(chatToken({customer!r}));\n")
    assert_it_is_a_token_for(strict, customer, output(needs("node"), "token.mjs", folder=tmp_path))


def test_the_java_sample(strict: Hook, customer: str, tmp_path: Path) -> None:
    java = shutil.which("java")
    if java is None:
        pytest.skip("java is not installed, and nothing else here needs it")
    (tmp_path / "ChatToken.java").write_text(sample("java", "class ChatToken"))
    name = f'{customer} "quoted"\\'
    assert_it_is_a_token_for(strict, name, output(java, "ChatToken.java", name, folder=tmp_path))


def test_the_pages_sample_is_what_is_tested_with_a_browsers_client() -> None:
    """tests/security/js/fresh_tokens.mjs: `auth` as a function that is given a function."""
    assert re.search(r"auth: async \(use\) => \{.*use\(\{ token: ", sample("js", "connect_error"), re.DOTALL)
    assert "auth: (use) => use({ token:" in (Path(__file__).parent / "js" / "fresh_tokens.mjs").read_text()


def test_the_refusals_on_the_page_are_those_that_clients_see() -> None:
    files = [ROOT / "lchook" / "core" / name for name in ("tokens.py", "authentication.py", "provider_tokens.py")]
    source = "".join(file.read_text() for file in (*files, ROOT / "lchook" / "identity" / "signing_keys.py")).replace(
        "{', '.join(ALGORITHMS)}", ", ".join(ALGORITHMS)
    )
    for words in re.findall(r"^\| `([^`]*(?:token|sub)[^`]*)` \| ", PAGE, re.MULTILINE):
        if " " in words:
            assert words.removesuffix("sub") in source or words.removesuffix(" sub") in source, words
