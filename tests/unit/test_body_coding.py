"""body_coding.py: what comes out is what went in, or a refusal; never more than is allowed."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lchook.core.body_coding import BodyError, decompressed, text_of

MOST = 10_000


def packed(data: bytes, window_bits: int) -> bytes:
    packer = zlib.compressobj(wbits=window_bits)
    return packer.compress(data) + packer.flush()


@given(st.binary(max_size=300), st.sampled_from([("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("deflate", -15)]))
def test_what_was_packed_comes_out_again(data: bytes, how: tuple[str, int]) -> None:
    coding, window_bits = how

    assert decompressed(packed(data, window_bits), coding, max_bytes=MOST) == data
    assert decompressed(packed(packed(data, window_bits), 31), f"{coding}, gzip", max_bytes=MOST) == data


@given(
    st.binary(max_size=300) | st.binary(max_size=99).map(gzip.compress), st.lists(st.sampled_from(["gzip", "deflate", "br"]))
)
def test_whatever_comes_is_decoded_or_refused_in_words(data: bytes, codings: list[str]) -> None:
    statuses = []
    try:
        assert len(decompressed(data, ",".join(codings), max_bytes=MOST)) <= MOST
    except BodyError as error:
        statuses.append(error.status)

    assert set(statuses) <= {400, 413, 415}


@pytest.mark.parametrize("size", [MOST, MOST + 1])
@pytest.mark.parametrize("parts", [1, 2, 16])
def test_the_limit_holds_for_what_comes_out(size: int, parts: int) -> None:
    data = bytes(size)
    cuts = [size * part // parts for part in range(parts + 1)]
    body = b"".join(gzip.compress(data[start:end]) for start, end in itertools.pairwise(cuts))

    if size <= MOST:
        assert decompressed(body, "gzip", max_bytes=MOST) == data
    else:
        with pytest.raises(BodyError) as refused:
            decompressed(body, "gzip", max_bytes=MOST)
        assert refused.value.status == 413


def test_no_body_takes_long() -> None:
    bomb = gzip.compress(bytes(1_000_000_000))
    bodies = [bomb, gzip.compress(bomb), gzip.compress(b"") * 50_000, gzip.compress(b"\0" * 1_000_000) * 16]
    started = time.process_time()
    for body in bodies:
        with pytest.raises(BodyError):
            decompressed(body[:1_000_000], "gzip, gzip", max_bytes=1_000_000)
    assert time.process_time() - started < 1


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=50),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]),
    st.booleans(),
)
def test_json_in_unicode_is_read_whether_its_charset_is_named_or_not(text: str, charset: str, is_named: bool) -> None:
    text = f'{{"a": "{text}"}}'
    content_type = f"application/json; charset={charset.removesuffix('-sig')}" if is_named else "application/json"

    assert text_of(text.encode(charset), content_type) == text


@given(st.binary(max_size=50).filter(lambda body: not body.startswith(b"\xef\xbb\xbf")))
def test_a_charset_that_is_named_is_the_one_it_is_in(body: bytes) -> None:
    assert text_of(body, "application/json; charset=iso-8859-1") == body.decode("latin-1")


@given(st.binary(max_size=50), st.text(max_size=20))
def test_whatever_charset_is_named_the_body_is_read_or_refused(body: bytes, charset: str) -> None:
    with contextlib.suppress(BodyError, UnicodeError):
        text_of(body, f"application/json; charset={charset}")


@pytest.mark.parametrize(
    "charset", ["zip", "base64", "rot13", "punycode", "idna", "unicode_escape", "undefined", "utf-7", "mbcs"]
)
def test_pythons_own_codecs_are_no_charsets(charset: str) -> None:
    assert text_of(b'"\\u0041+AGE-"', f"a/b; charset={charset}") == '"\\u0041+AGE-"'
    with pytest.raises(BodyError, match="UTF-8 would be right"):
        text_of(b'"\xe9"', f"a/b; charset={charset}")
