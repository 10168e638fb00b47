"""Who may ask to send a file: whoever may speak for the customer, and for nobody else."""

from __future__ import annotations

import time
from pathlib import Path

from tests.app.conftest import CreateHook
from tests.support.jwts import mint

SECRET = "what the site's backend and LCH know, and nobody else"


def test_without_files_url_no_file_is_taken(create_hook: CreateHook) -> None:
    client = create_hook().connect()
    assert client.call("fileRequest", {"customer_id": "Ada", "size": 1}) == {"error": "this hook takes no files"}


def test_with_a_token_files_are_the_proven_customers(create_hook: CreateHook, tmp_path: Path) -> None:
    hook = create_hook(files_url=f"file://{tmp_path}", public_url="http://hook.example", customer_token_secret=SECRET)
    client = hook.connect(auth={"token": mint(secret=SECRET, sub="Ada", exp=int(time.time()) + 60)})
    asked = {"name": "a.png", "type": "image/png", "size": 1}

    mine = client.call("fileRequest", {**asked, "customer_id": "Ada"})
    not_said = client.call("fileRequest", asked)
    others = client.call("fileRequest", {**asked, "customer_id": "Bob"})

    mark = hook.app.extensions["lch"].files.store.keys.mark("Ada")
    for answer in (mine, not_said):
        assert answer["upload"]["url"].startswith(f"http://hook.example/files/{mark}/")
        assert answer["upload"]["method"] == "PUT"
        assert answer["attachment"]["url"].startswith(answer["upload"]["url"])
    assert "token" in others["error"]


def test_the_rate_of_messages_holds_for_requests_too(create_hook: CreateHook, tmp_path: Path) -> None:
    hook = create_hook(files_url=f"file://{tmp_path}", public_url="http://hook.example", customer_rate=0.1)
    client = hook.connect()
    asked = {"customer_id": "Ada", "size": 1}
    assert "upload" in client.call("fileRequest", asked)
    assert "too many messages" in client.call("fileRequest", asked)["error"]
