"""What all tests share: a sandbox DMS, and settings for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import hypothesis
import pytest

from lchook.sandbox.dms import SandboxDms
from tests.support.jwts import ISSUER, SECRET

# Time is measured by the tests that care. Two shared cores are slow enough at times to break hypothesis's own deadline.
hypothesis.settings.register_profile("lch", deadline=None, max_examples=200)
hypothesis.settings.load_profile("lch")


@pytest.fixture
def dms() -> Iterator[SandboxDms]:
    """A DMS that checks and records posts, and says nothing by itself."""
    with SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False) as dms:
        yield dms


@pytest.fixture
def customer() -> str:
    """The id of a customer that no other test speaks for."""
    return f"customer-{uuid.uuid4()}"
