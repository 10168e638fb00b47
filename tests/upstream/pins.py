"""The table of pins, `pins.toml`: read, compared with what is installed, and written again after a person has looked."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.upstream import source

TABLE = Path(__file__).with_name("pins.toml")
# What a behaviour test of a part without Python source is looked for in.
BEHAVIOUR_TESTS = Path(__file__).with_name("test_behaviour.py")


@dataclass(frozen=True)
class Library:
    """A library, and the version of it that was read."""

    distribution: str
    version: str

    @property
    def installed(self) -> str:
        return importlib.metadata.version(self.distribution)


@dataclass(frozen=True)
class Pin:
    """A part of a library, and why LCH needs it to stay as it is.

    :ivar name: its dotted name, where it is defined.
    :ivar covers: other names of the same class or module that this pin stands for: what the part sets, say.
    :ivar hash: of its source; empty where nobody has looked yet.
    :ivar tested_by: the behaviour test that takes the hash's place, for what has no Python source.
    :ivar used_by: the files of ours that rely on it.
    :ivar why: what must hold, in a sentence.
    """

    name: str
    used_by: tuple[str, ...]
    why: str
    hash: str | None = None
    tested_by: str | None = None
    covers: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def holder(self) -> str:
        """The class or module that has it."""
        return self.name.rpartition(".")[0]

    @property
    def names(self) -> frozenset[str]:
        """The names of the holder's that this pin stands for."""
        return frozenset((self.name.rpartition(".")[2], *self.covers))


def read(table: Path = TABLE) -> tuple[dict[str, Library], list[Pin]]:
    """Libraries by the name of their package, and pins."""
    data = tomllib.loads(table.read_text(encoding="utf-8"))
    libraries = {package: Library(**library) for package, library in data["libraries"].items()}
    pins = [Pin(**row | {key: tuple(row.get(key, ())) for key in ("used_by", "covers")}) for row in data["pin"]]
    return libraries, pins


def difference(pin: Pin, libraries: dict[str, Library]) -> str | None:
    """What is to be done where a pin's part is not what it was; `None` where it is."""
    place = what = None
    if pin.tested_by is not None:
        if not _exists(pin.name):
            what = "is gone"
    else:
        try:
            part = source.find(pin.name)
        except source.NotFoundError as error:
            what = f"is gone ({error})"
        else:
            place = f"{part.file}:{part.line}"
            if not pin.hash:
                what = "has a pin without a hash"
            elif part.fingerprint != pin.hash:
                what = "is not what LCH was written against"
    if what is None:
        return None
    library = libraries.get(pin.package)
    lines = [f"{pin.name} {what}."]
    if library is not None:
        lines.append(f"  library  {library.distribution} {library.installed} is installed, {library.version} was read")
    if place is not None:
        lines.append(f"  read     {place}")
    lines.append(f"  ours     {', '.join(pin.used_by)}")
    lines.append(f"  check    {pin.why}")
    lines.append(f"  then     python -m tests.upstream --write {pin.name}")
    return "\n".join(lines)


def write(names: set[str], table: Path = TABLE) -> None:
    """Put the hashes of what is installed into the table, for these pins. A library all of whose pins are right by then
    counts as read in the version that is installed. All else in the table stays as it is."""
    text = table.read_text(encoding="utf-8")
    for name in sorted(names):
        fingerprint = source.find(name).fingerprint
        row = re.compile(rf'^(name = "{re.escape(name)}"\nhash = )"[^"\n]*"$', re.MULTILINE)
        text, count = row.subn(rf'\g<1>"{fingerprint}"', text)
        if count != 1:
            raise ValueError(f"{name}: the table must have its name and hash once, in two lines, one after the other")
    table.write_text(text, encoding="utf-8")
    libraries, pins = read(table)
    for package, library in libraries.items():
        if not any(difference(pin, libraries) for pin in pins if pin.package == package):
            row = re.compile(rf'^({package} = .*version = )"[^"\n]*"', re.MULTILINE)
            text = row.sub(rf'\g<1>"{library.installed}"', text)
    table.write_text(text, encoding="utf-8")


def _exists(name: str) -> bool:
    module = source.module_of(name)
    if module is None:
        return False
    _, members = module
    value = importlib.import_module(name.removesuffix("." + ".".join(members)) if members else name)
    for member in members:
        if not hasattr(value, member):
            return False
        value = getattr(value, member)
    return True
