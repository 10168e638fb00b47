"""What LCH's code replaces, overrides or uses of libraries' inner parts, as far as the code itself says so.

Reads LCH's files, and imports the libraries but not LCH. The standard library counts only where a name in it is private: it
changes with Python, and keeps what it documents. What is used of an object whose class the code does not tell, under a
public name, nobody sees here: such pins are put into the table by hand.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.upstream import source
from tests.upstream.pins import Pin

# Private by their look, and documented.
_DOCUMENTED = frozenset({"_asdict", "_fields", "_make", "_replace"})
# What each class has anyway.
_OF_EACH_CLASS = frozenset(vars(object)) - {"__init__"} | {"__module__", "__slots__", "__annotations__", "__dict__"}


@dataclass(frozen=True)
class Reliance:
    """One use of a library's part.

    :ivar owners: the names that the part may go by, with its holder; empty where the code does not tell whose it is.
    """

    file: str
    line: int
    how: str
    name: str
    owners: tuple[str, ...] = ()

    def is_covered_by(self, pin: Pin) -> bool:
        if self.file not in pin.used_by:
            return False
        if not self.owners:
            return self.name in pin.names or self.name in pin.name.split(".")
        return self.name in pin.names and f"{pin.holder}.{self.name}" in self.owners

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.how} {self.owners[0] if self.owners else self.name}"


@dataclass
class Module:
    """A file of ours."""

    name: str
    file: str
    tree: ast.Module
    # Name here → the dotted name that it was imported as.
    imports: dict[str, str] = field(default_factory=dict)
    classes: list[ast.ClassDef] = field(default_factory=list)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                self.classes.append(node)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module != "__future__":
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def dotted(self, node: ast.AST) -> str | None:
        """The full name that names and dots stand for, where the first is imported or a class here."""
        if isinstance(node, ast.Attribute):
            holder = self.dotted(node.value)
            return None if holder is None else f"{holder}.{node.attr}"
        if isinstance(node, ast.Subscript):
            return self.dotted(node.value)
        if not isinstance(node, ast.Name):
            return None
        if node.id in self.imports:
            return self.imports[node.id]
        return f"{self.name}.{node.id}" if any(node.id == each.name for each in self.classes) else None


def modules_in(root: Path, *paths: str) -> list[Module]:
    """Our modules: files, and all in folders."""
    files = [
        file for path in paths for file in (sorted((root / path).rglob("*.py")) if (root / path).is_dir() else [root / path])
    ]
    found = []
    for file in files:
        relative = file.relative_to(root)
        # gunicorn.conf.py is no part of gunicorn.
        name = ".".join(part.replace(".", "_") for part in relative.with_suffix("").parts).removesuffix(".__init__")
        found.append(Module(name, str(relative), ast.parse(file.read_text(encoding="utf-8"))))
    return found


def reliances(modules: list[Module]) -> list[Reliance]:
    """All that can be seen, in order."""
    return [each for module in modules for each in _Reader(module, modules).read()]


class _Reader:
    """Reads one module of ours."""

    def __init__(self, module: Module, modules: list[Module]) -> None:
        self._module = module
        self._classes = {f"{each.name}.{node.name}": (each, node) for each in modules for node in each.classes}
        # In the module, and by `self` in all others: parts of one class may stand in several modules.
        self._mentioned = {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)} | {
            node.attr
            for each in modules
            for node in ast.walk(each.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
        }
        self._names: dict[ast.ClassDef, set[str]] = {}
        # Our top-level names: what begins so is no library's.
        self._ours = {each.name.partition(".")[0] for each in modules}

    def read(self) -> Iterator[Reliance]:
        for node in ast.walk(self._module.tree):
            if isinstance(node, ast.ClassDef):
                yield from self._overrides(node)
                yield from self._called_from_outside(node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                yield from self._private_imports(node)
            elif isinstance(node, ast.Call):
                yield from self._by_string(node)
            for target in source.targets_of(node):
                yield from self._replacement(target)
        yield from self._attributes(self._module.tree, None)

    def _reliance(self, node: Any, how: str, name: str, *owners: str) -> Reliance:
        return Reliance(self._module.file, node.lineno, how, name, owners)

    # Classes of ours

    def _overrides(self, node: ast.ClassDef) -> Iterator[Reliance]:
        """What a class of ours has that its library's class has, too."""
        bases = self._library_bases(self._module, node)
        known = {name: holder for base in reversed(bases) for name, holder in _members(base).items()}
        seen = set()
        for name, line in self._own(node):
            if name in known and name not in _OF_EACH_CLASS and name not in seen:
                seen.add(name)
                holders = [known[name], *(_dotted(each) for base in bases for each in _mro(base))]
                yield self._reliance(line, "overrides", name, *(f"{holder}.{name}" for holder in dict.fromkeys(holders)))

    def _called_from_outside(self, node: ast.ClassDef) -> Iterator[Reliance]:
        """Private methods that nothing of ours calls: a library does, which takes the object for one of its own."""
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and _is_private(method.name) and method.name not in self._mentioned:
                yield self._reliance(method, "is called by a library as", method.name)

    def _own(self, node: ast.ClassDef) -> Iterator[tuple[str, Any]]:
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and statement.value is None:
                continue
            yield from ((name, statement) for name in sorted(source.names_bound_by(statement)))
        yield from source.attributes_of_self(node)

    def _library_bases(self, module: Module, node: ast.ClassDef) -> list[type]:
        """The classes of libraries that a class of ours stands on, by way of other classes of ours or at once."""
        found: list[type] = []
        for base in node.bases:
            name = module.dotted(base)
            if name in self._classes:
                found += self._library_bases(*self._classes[name])
            elif name is not None and not self._is_ours(name) and not _is_standard(name):
                value = _value(name)
                if not isinstance(value, type):
                    raise ValueError(f"{module.file}:{node.lineno}: {name} is no class that could be looked into")
                found.append(value)
            elif name is None and not (isinstance(base, ast.Name) and hasattr(__import__("builtins"), base.id)):
                raise ValueError(f"{module.file}:{node.lineno}: it cannot be told what {ast.unparse(base)} is")
        return found

    def _names_of(self, module: Module, node: ast.ClassDef) -> set[str]:
        """What a class of ours, or one of ours below it, defines."""
        if node in self._names:
            return self._names[node]
        names = {name for name, _ in self._own(node)}
        names |= {
            each.target.id for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        }
        for base in node.bases:
            name = module.dotted(base)
            if name in self._classes:
                names |= self._names_of(*self._classes[name])
        self._names[node] = names
        return names

    # Replacements from outside

    def _replacement(self, target: ast.expr) -> Iterator[Reliance]:
        """An assignment to an attribute of a library's class or module, or of what a library's function returns."""
        if not isinstance(target, ast.Attribute):
            return
        name = self._module.dotted(target)
        if name is not None and self._is_library(name):
            yield self._reliance(target, "replaces", target.attr, *_owners(name))
        elif isinstance(target.value, ast.Call):
            maker = self._module.dotted(target.value.func)
            if maker is not None and self._is_library(maker):
                yield self._reliance(target, "replaces", target.attr)

    def _by_string(self, node: ast.Call) -> Iterator[Reliance]:
        """getattr, hasattr, setattr, delattr with a name written out."""
        if not isinstance(node.func, ast.Name) or node.func.id not in ("getattr", "hasattr", "setattr", "delattr"):
            return
        if len(node.args) < 2 or not isinstance(node.args[1], ast.Constant):
            return
        attribute = str(node.args[1].value)
        holder = self._module.dotted(node.args[0])
        if node.func.id in ("setattr", "delattr") and holder is not None and self._is_library(holder):
            yield self._reliance(node, "replaces", attribute, *_owners(f"{holder}.{attribute}"))
        elif _is_private(attribute):
            yield self._reliance(node, "uses", attribute)

    # Private parts, and methods taken from their class

    def _attributes(self, node: ast.AST, inside: ast.ClassDef | None) -> Iterator[Reliance]:
        for child in ast.iter_child_nodes(node):
            yield from self._attributes(child, child if isinstance(child, ast.ClassDef) else inside)
            if isinstance(child, ast.Attribute):
                yield from self._attribute(child, inside)

    def _attribute(self, node: ast.Attribute, inside: ast.ClassDef | None) -> Iterator[Reliance]:
        name = self._module.dotted(node)
        if name is not None and self._is_ours(name):
            return
        if name is not None and self._is_library(name) and _is_method(name):
            yield self._reliance(node, "uses", node.attr, *_owners(name))
        elif _is_private(node.attr):
            of_self = inside is not None and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if of_self and inside is not None and node.attr in self._names_of(self._module, inside):
                return
            yield self._reliance(node, "uses", node.attr)

    def _private_imports(self, node: ast.Import | ast.ImportFrom) -> Iterator[Reliance]:
        for alias in node.names:
            name = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
            private = [word for word in name.split(".") if _is_private(word)]
            if private and not self._is_ours(name):
                yield self._reliance(node, "imports", private[-1])

    def _is_ours(self, name: str) -> bool:
        return name.partition(".")[0] in self._ours

    def _is_library(self, name: str) -> bool:
        return not self._is_ours(name) and not _is_standard(name)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name not in _DOCUMENTED | {"_"}


def _is_standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


@functools.cache
def _value(name: str) -> Any:
    """What a dotted name stands for; `None` where there is no such thing."""
    words = name.split(".")
    value = None
    for count in range(len(words), 0, -1):
        try:
            value = importlib.import_module(".".join(words[:count]))
        except ImportError:
            continue
        for word in words[count:]:
            # Not of objects: Flask's stand for others, that are not there now.
            value = getattr(value, word, None) if issubclass(type(value), (type, ModuleType)) else None
        return value
    return None


def _mro(cls: type) -> list[type]:
    return [each for each in cls.__mro__ if each is not object and not _is_standard(each.__module__)]


def _dotted(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


@functools.cache
def _members(cls: type) -> dict[str, str]:
    """What a library's class has, itself or from its bases, set on `self` in its methods too: name → the class with it."""
    members: dict[str, str] = {}
    for each in reversed(_mro(cls)):
        # A Protocol's come from typing.
        names = {name for name, value in vars(each).items() if getattr(value, "__module__", None) != "typing"}
        with contextlib.suppress(source.NotFoundError):
            _, nodes = source.definitions(_dotted(each))
            names |= {name for node in nodes for name, _ in source.attributes_of_self(node)}
        members |= dict.fromkeys(names, _dotted(each))
    return members


def _owners(name: str) -> list[str]:
    """The names that a member of a class or module may be defined under; none where its holder is an object."""
    holder, _, member = name.rpartition(".")
    value = _value(holder)
    if issubclass(type(value), ModuleType):
        return [name]
    return [f"{_dotted(each)}.{member}" for each in _mro(value)] if issubclass(type(value), type) else []


def _is_method(name: str) -> bool:
    """A plain method, taken from its class: who calls it so passes by what the class's own way would be."""
    holder, _, member = name.rpartition(".")
    cls = _value(holder)
    value = getattr(cls, member, None) if issubclass(type(cls), type) else None
    return inspect.isroutine(value) and not inspect.ismethod(value)
