"""Files, both ways, in Chromium: the chat on the shop's page, and the demo with its DMS, which fetches what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.chromium import DEADLINE_SECONDS, Pages
from tests.support.demo import Demo

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Page, expect = sync_api.Page, sync_api.expect

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4000


@pytest.fixture(scope="module")
def demo_with_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo with files")
    demo = Demo(
        folder / "log",
        FILES_URL=f"file://{folder.as_posix().replace(' ', '%20')}/files",
        PUBLIC_URL="{url}",
        ATTACHMENT_HOSTS="{url}",
        MAX_FILE_BYTES="2000000",
    )
    demo.start()
    yield demo
    demo.kill()


@pytest.fixture
def shop(demo_with_files: Demo, pages: Pages) -> Page:
    page = pages.open()
    page.goto(f"{demo_with_files.url}/shop")
    page.get_by_role("button", name="Open the chat").click()
    expect(page.locator("lch-chat .connection")).to_have_attribute("data-state", "connected")
    return page


def choose(page: Page, name: str, content: bytes) -> None:
    page.locator("lch-chat [data-picker=files]").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def test_a_photo_is_uploaded_and_dms_fetches_it(shop: Page, demo_with_files: Demo, pages: Pages) -> None:
    demo_with_files.faults(webhook="silence")
    choose(shop, "roast.png", PNG)
    shop.get_by_label("Your message").fill("Is it this one?")
    shop.keyboard.press("Enter")
    message = shop.locator("lch-chat .ours").last
    expect(message).to_contain_text("Is it this one?")
    expect(message).to_contain_text("✓Sent")

    wire = requests.get(f"{demo_with_files.url}/sandbox/wire?after=0", stream=True, timeout=DEADLINE_SECONDS)
    with wire:
        line = next(line for line in wire.iter_lines(chunk_size=1) if b"Is it this one?" in line)
    url = line.decode().partition(f"{demo_with_files.url}/files/")[2].partition('"')[0]
    fetched = requests.get(f"{demo_with_files.url}/files/{url}", timeout=DEADLINE_SECONDS)
    assert (fetched.content, fetched.headers["Content-Type"]) == (PNG, "image/png")
    assert fetched.headers["X-Content-Type-Options"] == "nosniff"
    assert pages.complaints == []


def test_what_cannot_be_taken_is_told_in_words_and_not_sent(shop: Page) -> None:
    choose(shop, "large.png", PNG + bytes(2_000_000))
    expect(shop.locator("lch-chat .file-chip")).to_contain_text("too large")
    choose(shop, "page.png", b"<html><script>alert(1)</script></html>")
    expect(shop.locator("lch-chat .file-chip").last).to_contain_text("Not uploaded")


def test_an_agents_file_is_downloaded_from_lch(shop: Page, demo_with_files: Demo) -> None:
    demo_with_files.faults()
    shop.get_by_label("Your message").fill("file")
    shop.keyboard.press("Enter")
    link = shop.locator("lch-chat .theirs").get_by_role("link", name="opening-hours.txt")
    expect(link).to_be_visible()
    assert f"{demo_with_files.url}/files/" in link.get_attribute("href")
    with shop.expect_download() as download:
        link.click(modifiers=["Alt"])
    assert download.value.suggested_filename == "opening-hours.txt"
    assert Path(download.value.path()).stat().st_size == 61
