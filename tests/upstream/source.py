"""The source of a part of a library, by its dotted name, and a fingerprint of it.

Reads files, not what has become of them in this process: what LCH replaces is seen as its library wrote it, and whichever
branch of an `if` this Python takes. Comments, docstrings and blank lines do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import io
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class NotFoundError(Exception):
    """There is no such part, or none with Python source."""


@dataclass(frozen=True)
class Part:
    """A part of a library. `text` is what counts of its source."""

    file: Path
    line: int
    text: str

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def find(name: str) -> Part:
    """The part with this dotted name: a function, a class or an assignment in a module or a class, or the assignments to an
    attribute of `self` in a class. Where there are several (branches, properties) they count together.

    :raises NotFoundError: see there.
    """
    file, nodes = definitions(name)
    lines, _ = _read(file)
    return Part(file, _first_line(nodes[0]), "\n".join(_text(lines, node) for node in nodes))


def definitions(name: str) -> tuple[Path, list[ast.AST]]:
    """The file and the statements that `find` takes together.

    :raises NotFoundError: as there.
    """
    module = module_of(name)
    if module is None:
        raise NotFoundError("there is no such module")
    file, members = module
    if file.suffix != ".py":
        raise NotFoundError("the module has no Python source")
    if not members:
        raise NotFoundError("it is a whole module")
    _, tree = _read(file)
    holders: list[ast.AST] = [tree]
    for member in members[:-1]:
        holders = [node for node in _named(holders, member) if isinstance(node, ast.ClassDef)]
    nodes = _named(holders, members[-1]) or list(_set_on_self(holders, members[-1]))
    if not nodes:
        raise NotFoundError(f"{file} has no such part")
    return file, nodes


def module_of(name: str) -> tuple[Path, list[str]] | None:
    """The file of the module at the beginning of a dotted name, and the names that are left."""
    words = name.split(".")
    file = None
    for count in range(1, len(words) + 1):
        try:
            spec = importlib.util.find_spec(".".join(words[:count]))
        except ModuleNotFoundError:
            break
        if spec is None or spec.origin is None:
            break
        file, rest = Path(spec.origin), words[count:]
        if file.suffix != ".py" and (beside := file.with_name(f"{words[count - 1]}.py")).is_file():
            # gevent's compiled modules lie beside what they were compiled from.
            file = beside
        if spec.submodule_search_locations is None:
            break
    return None if file is None else (file, rest)


@functools.cache
def _read(file: Path) -> tuple[list[str], ast.Module]:
    """A file's lines without comments, and its tree."""
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return lines, ast.parse(source)


def _named(holders: list[ast.AST], name: str) -> list[ast.AST]:
    return [node for holder in holders for node in _statements(holder) if name in names_bound_by(node)]


def _statements(holder: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a module or class, with those of its branches."""
    for child in ast.iter_child_nodes(holder):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, _Definition) and isinstance(child, (ast.stmt, ast.ExceptHandler)):
            yield from _statements(child)


def names_bound_by(node: ast.stmt) -> set[str]:
    """The names that a statement defines, assigns or imports."""
    if isinstance(node, _Definition):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return {target.id for target in targets_of(node) if isinstance(target, ast.Name)}


def targets_of(node: ast.AST) -> list[ast.expr]:
    """What an assignment assigns to, one by one. An annotation alone assigns nothing."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
        targets = [node.target]
    elif isinstance(node, ast.Delete):
        targets = node.targets
    else:
        return []
    flat: list[ast.expr] = []
    for target in targets:
        flat += target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
    return flat


def attributes_of_self(holder: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """What a class assigns to attributes of `self`, and where."""
    for node in ast.walk(holder):
        for target in targets_of(node):
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                assert isinstance(node, ast.stmt)
                yield target.attr, node


def _set_on_self(holders: list[ast.AST], name: str) -> Iterator[ast.AST]:
    for holder in holders:
        if isinstance(holder, ast.ClassDef):
            yield from (node for attribute, node in attributes_of_self(holder) if attribute == name)


def _first_line(node: ast.AST) -> int:
    decorators = getattr(node, "decorator_list", [])
    return decorators[0].lineno if decorators else node.lineno  # type: ignore[attr-defined, no-any-return]


def _text(lines: list[str], node: ast.AST) -> str:
    left_out: set[int] = set()
    for each in ast.walk(node):
        if isinstance(each, _Definition) and ast.get_docstring(each) is not None:
            docstring = each.body[0]
            left_out |= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    rows = range(_first_line(node), node.end_lineno + 1)  # type: ignore[attr-defined]
    kept = [lines[row - 1].rstrip() for row in rows if row not in left_out]
    return textwrap.dedent("\n".join(line for line in kept if line))
