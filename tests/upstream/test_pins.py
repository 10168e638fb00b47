"""Each part of a library that LCH relies on is what it was when somebody read it."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.support.tools import ROOT
from tests.upstream import pins

LIBRARIES, PINS = pins.read()


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin.name)
def test_what_lch_relies_on_is_what_it_was(pin: pins.Pin) -> None:
    difference = pins.difference(pin, LIBRARIES)
    if difference is not None:
        pytest.fail(difference, pytrace=False)


def test_each_pin_is_there_once_and_is_a_hash_or_a_test() -> None:
    assert [name for name, count in Counter(pin.name for pin in PINS).items() if count > 1] == []
    assert [pin.name for pin in PINS if (pin.hash is None) == (pin.tested_by is None)] == []


def test_each_pin_says_why_and_which_files_of_ours_rely_on_it() -> None:
    assert [pin.name for pin in PINS if not pin.why.endswith(".") or not pin.used_by] == []
    gone = {file for pin in PINS for file in pin.used_by if not (ROOT / file).is_file()}
    assert gone == set(), "used_by names files that are not there: name those that took their place, or take the pins out"


def test_each_pin_that_is_a_test_has_it() -> None:
    tree = ast.parse(pins.BEHAVIOUR_TESTS.read_text(encoding="utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert [pin.name for pin in PINS if pin.tested_by is not None and pin.tested_by not in tests] == []


def test_each_librarys_version_is_told() -> None:
    assert {pin.package for pin in PINS} - {"_socket"} == set(LIBRARIES)
