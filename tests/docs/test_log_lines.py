"""docs/troubleshooting.md, By log line: each warning and error that LCH can log has its row, and no row is of the past.

The lines of the sandbox and the doctor are for those who look at them while they work.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import page
from tests.support.tools import ROOT

# What others say in LCH's log.
_OF_LIBRARIES = {"is not an accepted origin"}
_LEVELS = ("warning", "error", "exception", "unexpected")
_FILES = [
    path for path in sorted((ROOT / "lchook").rglob("*.py")) if not {"sandbox", "doctor"} & {*path.relative_to(ROOT).parts}
]


def _texts(node: ast.expr) -> Iterator[str]:
    """What is written out of it, with `{}` for the rest."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _lines() -> Iterator[tuple[str, str]]:
    """Each place where a warning or error is logged, and its text."""
    for path in _FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            text: ast.expr | None = None
            if isinstance(node, ast.Call) and _is_log(node.func) and node.args:
                text = node.args[0]
            elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and _is_log(node.elts[0]):
                # To be logged later.
                text = node.elts[1]
            if text is not None:
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                found = list(_texts(text))
                assert found, f"{place}: what is logged cannot be told"
                yield from ((place, each) for each in found)


def _is_log(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr in _LEVELS
        and isinstance(node.value, ast.Name)
        and node.value.id == "log"
    )


LINES = dict(_lines())


def _phrases() -> list[str]:
    """What the rows of the table quote."""
    table = page("docs/troubleshooting.md").text.partition("\n## By log line\n")[2]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    return [phrase for row in rows for phrase in re.findall(r"`([^`]+)`", row.removeprefix("| ")) if phrase != "reason"]


def _says(text: str, phrase: str) -> bool:
    """Does a line of this text have the phrase? `{}` in it stands for what is known only then."""
    return phrase in text or re.match(re.escape(text).replace(r"\{\}", ".+"), phrase) is not None


@pytest.mark.parametrize("place", LINES)
def test_each_warning_and_error_has_its_row(place: str) -> None:
    assert any(_says(LINES[place], phrase) for phrase in _phrases()), LINES[place]


@pytest.mark.parametrize("phrase", [phrase for phrase in _phrases() if phrase not in _OF_LIBRARIES])
def test_each_row_is_of_a_line_that_lch_can_log(phrase: str) -> None:
    """As the line, or in a field of one."""
    sources = [*_FILES, ROOT / "gunicorn.conf.py"]
    assert any(_says(text, phrase) for text in LINES.values()) or any(phrase in path.read_text() for path in sources)


def test_no_phrase_has_two_rows() -> None:
    phrases = _phrases()
    assert [phrase for phrase in phrases if phrases.count(phrase) > 1] == []
