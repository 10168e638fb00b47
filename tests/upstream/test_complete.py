"""The table of pins has all that LCH replaces, overrides or uses of libraries' inner parts, as far as code can be read."""

from __future__ import annotations

from tests.support.tools import ROOT
from tests.upstream import pins
from tests.upstream.reliance import Reliance, modules_in, reliances

# All that runs in production.
_OURS = ("lchook", "config.py", "wsgi.py", "gunicorn.conf.py")


def test_whatever_is_replaced_overridden_or_private_has_a_pin() -> None:
    _, table = pins.read()
    missing: dict[tuple[object, ...], Reliance] = {}
    for reliance in reliances(modules_in(ROOT, *_OURS)):
        if not any(reliance.is_covered_by(pin) for pin in table):
            missing.setdefault((reliance.file, reliance.how, reliance.name), reliance)

    assert [str(each) for each in missing.values()] == [], (
        "tests/upstream/pins.toml needs a pin for each of these, or the file in the used_by of the one that is there"
    )
