"""The rules about files: what they are, what they are called, whence they are fetched, and who may do what with them."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lchook.core.fetch_rules import AttachmentHosts, is_global
from lchook.core.file_names import MAX_NAME_CHARACTERS, clean_name, content_disposition, percent_encoded
from lchook.core.file_types import HEAD_BYTES, UNKNOWN, sniff
from lchook.core.stored_files import (
    HEADER_BYTES,
    FileHeader,
    FileKeys,
    GrantError,
    Pending,
    UploadGrant,
    expiry_of,
    is_key,
    is_of_customer,
)

# Types


def a_zip(*names: str, first: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        if first:
            packed.writestr("mimetype", first)
        for name in names:
            packed.writestr(name, "x")
    return file.getvalue()


DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("head", "mime", "is_inline", "is_accepted"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png", True, True),
        (b"\xff\xd8\xff\xe0....", "image/jpeg", True, True),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp", True, True),
        (b"\0\0\0\x18ftypheic....", "image/heic", False, True),
        (b"\0\0\0\x18ftypisom....", "video/mp4", False, True),
        (b"%PDF-1.7\n", "application/pdf", False, True),
        (a_zip("[Content_Types].xml", "word/document.xml"), DOCX, False, True),
        (
            a_zip("content.xml", first=b"application/vnd.oasis.opendocument.text"),
            "application/vnd.oasis.opendocument.text",
            False,
            True,
        ),
        (a_zip("a.txt"), "application/zip", False, True),
        ("Grüße\r\n".encode(), "text/plain; charset=utf-8", False, True),
        # What could run somewhere.
        (b"<!DOCTYPE html><p>", UNKNOWN, False, False),
        (b"\xef\xbb\xbf \n<HTML>", UNKNOWN, False, False),
        (b"\n\n<script>alert(1)</script>", UNKNOWN, False, False),
        (b"<?xml version='1.0'?><x:html xmlns:x='http://www.w3.org/1999/xhtml'/>", UNKNOWN, False, False),
        (b"<?xml version='1.0'?><!-- a --><svg onload='alert(1)'>", "image/svg+xml", False, False),
        (b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'>", "image/svg+xml", False, False),
        (b"#!/bin/sh\nrm", "text/plain; charset=utf-8", False, False),
        (b"MZ\x90\0", UNKNOWN, False, False),
        (b"\x7fELF\x02", UNKNOWN, False, False),
        (a_zip("META-INF/MANIFEST.MF"), UNKNOWN, False, False),
        # Polyglots are what they begin with, and are shown as nothing else.
        (b"GIF89a/*<html>*/=1;alert(1)//", "image/gif", True, True),
        (b"%PDF-1.4\n<script>alert(1)</script>", "application/pdf", False, True),
        (b"<html><!-- %PDF-1.4", UNKNOWN, False, False),
        (b"\0%PDF-1.4", UNKNOWN, False, False),
        ("\ufeff<html>".encode("utf-16-le"), UNKNOWN, False, False),
        (b"\0\0\0<html>", UNKNOWN, False, False),
        (b"", UNKNOWN, False, False),
        (bytes(100), UNKNOWN, False, False),
    ],
)
def test_a_file_is_what_its_bytes_are(head: bytes, mime: str, is_inline: bool, is_accepted: bool) -> None:
    kind = sniff(head)
    assert (kind.mime, kind.is_inline, kind.is_accepted) == (mime, is_inline, is_accepted)
    assert kind.is_accepted or kind.says


@given(st.binary(max_size=300))
def test_only_plain_pictures_are_shown_by_browsers(head: bytes) -> None:
    kind = sniff(head)
    assert not kind.is_inline or kind.mime in ("image/png", "image/jpeg", "image/gif", "image/webp")
    assert "html" not in kind.mime
    assert "javascript" not in kind.mime


def test_a_character_that_the_head_cuts_is_no_binary() -> None:
    text = ("x" * (HEAD_BYTES - 1) + "é").encode()
    assert sniff(text[:HEAD_BYTES]).mime.startswith("text/plain")


# Names


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("photo.png", "photo.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\photo.png", "photo.png"),
        ("a\r\nSet-Cookie: x.png", "a Set-Cookie_ x.png"),
        ('a"; filename="b.exe', "a__ filename=_b.exe"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("a\0b.png", "ab.png"),
        (".htaccess", "htaccess"),
        ("con.txt", "_con.txt"),
        ("  .. ", "file"),
        ("", "file"),
        (None, "file"),
        (7, "file"),
        ("\ud800.png", "png"),
        ("Überraschung 🎁.pdf", "Überraschung 🎁.pdf"),
    ],
)
def test_names_are_cleaned(name: object, cleaned: str) -> None:
    assert clean_name(name) == cleaned


@given(st.text(max_size=1000))
def test_no_name_gets_out_of_its_place(name: str) -> None:
    cleaned = clean_name(name)
    assert 0 < len(cleaned) <= MAX_NAME_CHARACTERS
    assert cleaned.isprintable()
    assert not set(cleaned) & set('/\\"<>:|?*')
    assert not cleaned.startswith(".")
    assert content_disposition(cleaned, is_inline=False).isascii()
    assert percent_encoded(cleaned).isascii()
    assert len(FileHeader(cleaned, "x" * 100, 10**12).packed()) == HEADER_BYTES


# Sources

HOSTS = AttachmentHosts(["files.example.com", "*.pega.digital", "http://127.0.0.1:5601", "https://[::1]:444"])


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example.com/a?b=c",
        "HTTPS://FILES.example.com:443/a",
        "https://x.pega.digital/",
        "https://a.b.pega.digital?x#y",
        "http://127.0.0.1:5601/a",
        "https://[0:0::1]:444/",
    ],
)
def test_named_hosts_are_asked(url: str) -> None:
    assert HOSTS.source(url) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example.com/",
        "https://files.example.com:8443/",
        "https://evil.example/",
        "https://files.example.com.evil.example/",
        "https://evilpega.digital/",
        "https://pega.digital/",
        "https://.pega.digital/",
        "https://files.example.com./",
        "https://evil.example/https://files.example.com/",
        "https://files.example.com@evil.example/",
        "https://user:pw@files.example.com/",
        "https://evil.example#@files.example.com/",
        "https://evil.example\\@files.example.com/",
        "https://files.example.com\\.evil.example/",
        "https://files.example.com%2eevil.example/",
        "https://files.example.com\t.evil.example/",
        "https://files.example.com\r\nHost: evil/",
        "https://files。example。com/",
        "https:files.example.com/",
        "//files.example.com/",
        "file:///etc/passwd",
        "gopher://files.example.com/",
        "http://127.0.0.1/",
        "http://127.0.0.1:5600/",
        "http://127.1:5601/",
        "http://2130706433:5601/",
        "http://0x7f.0.0.1:5601/",
        "http://0177.0.0.1:5601/",
        "http://[::ffff:127.0.0.1]:5601/",
        "http://localhost:5601/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fe80::1%25eth0]/",
        "https://files.example.com:99999/",
        "https://" + "a" * 4000,
        "",
        None,
        7,
        {"url": "x"},
    ],
)
def test_no_other_host_is(url: object) -> None:
    assert HOSTS.source(url) is None


@pytest.mark.parametrize(
    "entry", ["", "*", "*.", "*.com", "https://", "10.0.0.1", "1.2.3.4", "a b", "http://x/path", "x:70000"]
)
def test_entries_that_are_none_are_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"none|no host|port"):
        AttachmentHosts([entry])


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
        ),
        *("224.0.0.1", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "fec0::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
        *("2001:0:7f00:1::", "64:ff9b:1::a00:1", "rubbish", ""),
    ],
)
def test_a_name_that_leads_inside_is_not_followed(address: str) -> None:
    source = HOSTS.source("https://files.example.com/")
    assert source is not None
    assert not HOSTS.may_connect(source, address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_public_addresses_are(address: str) -> None:
    assert is_global(address)


def test_an_address_that_the_operator_wrote_is_the_only_one_inside() -> None:
    source = HOSTS.source("http://127.0.0.1:5601/")
    assert source is not None
    assert HOSTS.may_connect(source, "127.0.0.1")
    assert not HOSTS.may_connect(source, "127.0.0.2")


# Keys and grants

NOW = 1_800_000_000.0


def keys(now: float = NOW, secret: str = "a secret") -> FileKeys:
    return FileKeys(secret, clock=lambda: now)


def test_a_key_tells_its_end_and_its_side_and_nobody_who_it_is() -> None:
    key = keys().new_key("Ada", "c", ttl_seconds=60)

    assert is_key(key)
    assert expiry_of(key) == NOW + 60
    assert is_of_customer(key)
    assert not is_of_customer(keys().new_key("Ada", "a", ttl_seconds=60))
    assert key.startswith(keys().mark("Ada") + "/")
    assert keys().mark("Ada") not in (keys().mark("Bea"), keys(secret="another").mark("Ada"))
    assert key != keys().new_key("Ada", "c", ttl_seconds=60)
    assert not keys(NOW + 59).is_over(key)
    assert keys(NOW + 60).is_over(key)


def test_a_grant_is_for_one_file_and_a_while() -> None:
    key, other = keys().new_key("Ada", "c", ttl_seconds=60), keys().new_key("Ada", "c", ttl_seconds=60)
    grant = UploadGrant(key, "a.png", 7)
    token = keys().sign_upload(grant, ttl_seconds=30)

    assert keys(NOW + 29).verify_upload(token, key) == grant
    for wrong in (
        lambda: keys(NOW + 30).verify_upload(token, key),
        lambda: keys().verify_upload(token, other),
        lambda: keys(secret="another").verify_upload(token, key),
        lambda: keys().verify_upload(token[:-3], key),
        lambda: keys().verify_upload("", key),
        # A link's signed source is no permission to upload.
        lambda: keys().verify_upload(keys().sign_source(Pending(key, "https://x/", "x")), key),
    ):
        with pytest.raises(GrantError):
            wrong()


def test_a_source_is_believed_where_this_hook_signed_it_for_this_file() -> None:
    key = keys().new_key("Ada", "a", ttl_seconds=60)
    pending = Pending(key, "https://files.example.com/", "x")
    token = keys().sign_source(pending)

    assert keys().verify_source(token, key) == pending
    assert keys().verify_source(token, keys().new_key("Ada", "a", ttl_seconds=60)) is None
    assert keys(secret="another").verify_source(token, key) is None
    assert keys().verify_source("rubbish", key) is None


def test_headers_come_back_as_they_were() -> None:
    header = FileHeader("Überraschung 🎁.pdf", "application/pdf", 7, verdict="clean")
    assert FileHeader.unpacked(header.packed() + b"more") == header
    for rubbish in (b"", b"{}", b"[]", b'{"x":1}', b"\xff" * 2000):
        with pytest.raises(ValueError, match=r"header|Expecting|decode|codec"):
            FileHeader.unpacked(rubbish)
