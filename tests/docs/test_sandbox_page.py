"""docs/sandbox.md names what the sandbox can do, and nothing else."""

from __future__ import annotations

import json
import re

from lchook.sandbox.bodies import KINDS
from lchook.sandbox.faults import DMS_FAULTS, WEBHOOK_FAULTS, Faults
from lchook.sandbox.script import HELP
from tests.docs.pages import page

TEXT = page("docs/sandbox.md").text


def first_cells(heading: str) -> list[str]:
    """What the first column of the table under that heading names, in order."""
    rows = TEXT.partition(f"\n| {heading} | DMS |\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_every_fault_is_in_its_table() -> None:
    assert sorted(first_cells("`dms`")) == sorted(DMS_FAULTS)
    assert first_cells("`webhook`") == list(WEBHOOK_FAULTS)


def test_the_fields_and_their_defaults_are_the_real_ones() -> None:
    table = TEXT.partition("\n| field |")[2].partition("\n\n")[0].splitlines()[2:]
    described = {row.split("|")[1].strip(" `"): row.split("|")[2].strip(" `") for row in table}
    assert described == {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in Faults().as_dict().items()
    }


def test_what_can_be_said_to_it_and_by_it_is_named() -> None:
    told = TEXT.partition("## Talking with it")[2].partition("## Faults")[0]
    understood = re.search(r"I understand: (.*) and (\w+)\.", HELP)
    assert understood
    for word in (*understood[1].split(", "), understood[2], "leave"):
        assert f"`{word}`" in told
    agent = TEXT.partition("## The agent, as JSON")[2]
    assert [kind for kind in KINDS if f"`{kind}`" not in agent] == []
