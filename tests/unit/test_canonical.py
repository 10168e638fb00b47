"""canonical.py: equal JSON values have one text, however they were written; different ones have different texts."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lchook.core.canonical import canonical_json, compact_json, fingerprint

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=15,
)


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same value with its keys in another order."""
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: shuffled(value[name], chance) for name in names}
    return [shuffled(inner, chance) for inner in value] if isinstance(value, list) else value


def as_json_says(value: Any) -> Any:
    """Something that is equal in Python exactly where the values are the same in JSON."""
    if isinstance(value, dict):
        return ("object", {name: as_json_says(inner) for name, inner in value.items()})
    if isinstance(value, list):
        return ("array", [as_json_says(inner) for inner in value])
    return (value is None or isinstance(value, bool), isinstance(value, str), value)


@given(values, st.randoms(use_true_random=False), st.booleans(), st.sampled_from([None, 1]))
def test_however_it_is_written_its_text_is_the_same(
    value: Any, chance: random.Random, ensure_ascii: bool, indent: int | None
) -> None:
    written = json.dumps(shuffled(value, chance), ensure_ascii=ensure_ascii, indent=indent)

    assert canonical_json(json.loads(written)) == canonical_json(value)


@given(values)
def test_its_text_says_the_same(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value
    assert json.loads(compact_json(value)) == value


@given(values, values)
def test_two_have_the_same_text_only_where_they_are_the_same(one: Any, other: Any) -> None:
    same = as_json_says(one) == as_json_says(other)

    assert (canonical_json(one) == canonical_json(other)) is same
    assert (fingerprint(canonical_json(one)) == fingerprint(canonical_json(other))) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("1", "10e-1"), ("0", "-0.0"), ("1e2", "100"), ("[1e16]", "[10000000000000000]"), ('"\\u00e9"', '"é"')],
)
def test_numbers_and_escapes_have_one_text(one: str, other: str) -> None:
    assert canonical_json(json.loads(one)) == canonical_json(json.loads(other))


@pytest.mark.parametrize(
    ("one", "other"), [("1", '"1"'), ("1", "true"), ("0", "false"), ("null", '"null"'), ('"1.0"', '"1"')]
)
def test_what_only_looks_alike_has_not(one: str, other: str) -> None:
    assert canonical_json(json.loads(one)) != canonical_json(json.loads(other))


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": float("-inf")}])
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(value)
