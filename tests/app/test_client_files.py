"""The client library as LCH serves it to pages of any origin."""

from __future__ import annotations

import base64
import gzip
import hashlib
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import Client

from lchook.web.client_files import FOLDER, SOCKET_IO_CDN, create_blueprint
from tests.app.hook import Hook
from tests.support.tools import ROOT, npm_package

NAME = "lch-client.js"
LIBRARY = (ROOT / "client" / NAME).read_bytes()
# What the library may weigh, zipped, with its comments, without socket.io-client.
MAX_BYTES = 6 * 1024


@pytest.fixture
def web(hook: Hook) -> Client:
    return hook.app.test_client()


def web_of(folder: Path) -> Client:
    """Of these files, without npm's."""
    app = Flask("of the tests")
    app.register_blueprint(create_blueprint(folder, socket_io=folder / "nowhere"))
    return app.test_client()


def test_the_library_is_small() -> None:
    assert len(gzip.compress(LIBRARY)) <= MAX_BYTES


def test_it_is_served_to_pages_of_any_origin_and_asked_for_again_after_minutes(web: Client) -> None:
    answer = web.get(f"/client/{NAME}", headers={"Origin": "https://elsewhere.example"})

    assert (answer.status_code, answer.data) == (200, LIBRARY)
    assert answer.mimetype == "text/javascript"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    again = web.get(f"/client/{NAME}", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Access-Control-Allow-Origin"] == "*"


def test_it_is_zipped_for_those_who_take_that(web: Client) -> None:
    answer = web.get(f"/client/{NAME}", headers={"Accept-Encoding": "br, gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.data) == LIBRARY
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["ETag"] != web.get(f"/client/{NAME}").headers["ETag"]


def test_the_listing_names_addresses_that_last_and_their_integrity(web: Client) -> None:
    listed = web.get("/client/").json["files"]  # type: ignore[index]
    assert set(listed) - {"socket.io.esm.min.js"} == {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.js")}

    digest = base64.b64encode(hashlib.sha384(LIBRARY).digest()).decode()
    assert listed[NAME]["integrity"] == f"sha384-{digest}"
    answer = web.get(listed[NAME]["url"])
    assert answer.data == LIBRARY
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_another_versions_address_leads_to_the_present_file(web: Client) -> None:
    answer = web.get(f"/client/0123456789abcdef/{NAME}")

    assert (answer.status_code, answer.headers["Location"]) == (302, f"/client/{NAME}")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "name", ["lch-client.d.ts", "package.json", "..%2fconfig.py", "%2e%2e/config.py", "x\0.js", "a/b/c.js"]
)
def test_nothing_else_is_served(web: Client, name: str) -> None:
    answer = web.get(f"/client/{name}")

    assert answer.status_code == 404
    assert answer.is_json


def test_a_folder_in_it_is_served_too(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "part.js").write_text("export const part = 1;")
    web = web_of(tmp_path)

    (listed,) = web.get("/client/").json["files"].values()  # type: ignore[index]
    assert listed["url"].endswith("/chat/part.js")
    for address in ("/client/chat/part.js", listed["url"]):
        assert web.get(address).text == "export const part = 1;"


def test_socket_io_client_is_npms(web: Client) -> None:
    original = npm_package("socket.io-client") / "dist" / "socket.io.esm.min.js"
    assert web.get("/client/socket.io.esm.min.js").data == original.read_bytes()


def test_without_npm_it_is_the_cdns_or_a_copy_of_ones_own(tmp_path: Path) -> None:
    web = web_of(tmp_path)
    for path in ("socket.io.esm.min.js", f"{'0' * 16}/socket.io.esm.min.js"):
        answer = web.get(f"/client/{path}")
        assert answer.status_code == 302
        assert answer.headers["Location"] == SOCKET_IO_CDN
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    (tmp_path / "socket.io.esm.min.js").write_text("export const io = 1;")
    web = web_of(tmp_path)
    assert web.get("/client/socket.io.esm.min.js").text == "export const io = 1;"
