"""What lchook's modules log, as their source has it: which events, at which level, and where it is a text instead."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lchook.core import events
from lchook.core.events import LogEvent
from tests.support.tools import ROOT

PACKAGE = ROOT / "lchook"
# Their lines are about other things than customers' messages, in words of their own.
_OTHERS = ("sandbox", "doctor")
_LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "unexpected": "error",
}


@dataclass(frozen=True)
class Logged:
    """A place where something is logged. `event` is None where it is a text that is no event's."""

    path: str
    line: int
    level: str
    event: LogEvent | None
    is_text: bool

    def __str__(self) -> str:
        return f"lchook/{self.path}:{self.line}"


def all_logged() -> list[Logged]:
    """Everything that is logged through a module's `log`, and what the log says of itself."""
    found = [Logged("logs.py", 0, "warning", events.LINES_DROPPED, is_text=False)]
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        if name.parts[0] not in _OTHERS:
            found += _logged_in(path, str(name))
    return found


def _logged_in(path: Path, name: str) -> Iterator[Logged]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            # log.info(what, …), and (log.info, what) for later.
            case ast.Call(func=ast.Attribute(ast.Name("log"), level), args=[what, *_]) if level in _LEVELS:
                pass
            case ast.Tuple([ast.Attribute(ast.Name("log"), level), what, *_]):
                pass
            case _:
                continue
        for one in (what.body, what.orelse) if isinstance(what, ast.IfExp) else (what,):
            match one:
                case ast.Attribute(ast.Name("events"), constant):
                    yield Logged(name, node.lineno, _LEVELS[level], getattr(events, constant), is_text=False)
                case _:
                    yield Logged(name, node.lineno, _LEVELS[level], _event_with(one), is_text=True)


def _event_with(text: ast.expr) -> LogEvent | None:
    """The event with that text, whatever the fields in it are called."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    pattern = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
    same = [event for event in events.ALL.values() if re.sub(r"\{.*?\}", "{}", event.text) == pattern]
    return same[-1] if same else None
