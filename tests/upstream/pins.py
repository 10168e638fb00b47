"""The table of pins, `pins.toml`: read, compared with what is installed, and written again after a person has looked."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import re
import tomllib
from collections.abc import Sequence
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
    """What is to be read and done where a pin's part is not what it was; `None` where it is."""
    then = f"python -m tests.upstream --write {pin.name}"
    place = ""
    try:
        if pin.tested_by is not None:
            _import(pin.name)
            return None
        part = source.find(pin.name)
        if part.fingerprint == pin.hash:
            return None
        place = f"\n  read     {part.file}:{part.line}"
        what = "is not what LCH was written against" if pin.hash else "has a pin without a hash"
    except (source.NotFoundError, ImportError, AttributeError) as error:
        what = f"is gone ({error})"
        then = "take the pin out of pins.toml, or have it name what took its place"
    library = libraries.get(pin.package)
    versions = (
        f"\n  library  {library.distribution} {library.installed} is installed, {library.version} was read"
        if library
        else ""
    )
    return (
        f"{pin.name} {what}.{versions}{place}\n  ours     {', '.join(pin.used_by)}\n  check    {pin.why}\n  then     {then}"
    )


def changed(names: Sequence[str], table: Path = TABLE) -> dict[str, str]:
    """The fingerprints of parts that are there and not what they were: those with these names, those in these modules and
    classes, or all where none is named."""
    found = {}
    for pin in read(table)[1]:
        if pin.tested_by is None and (not names or any(f"{pin.name}.".startswith(f"{name}.") for name in names)):
            with contextlib.suppress(source.NotFoundError):
                if (fingerprint := source.find(pin.name).fingerprint) != pin.hash:
                    found[pin.name] = fingerprint
    return found


def write(fingerprints: dict[str, str], table: Path = TABLE) -> None:
    """Put fingerprints into the table. A library whose pins are all right by then counts as read in the installed version.
    The rest of the table stays as it is."""
    text = table.read_text(encoding="utf-8")
    for name, fingerprint in fingerprints.items():
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


def _import(name: str) -> object:
    """:raises ImportError: where there is no such module. :raises AttributeError: where it has no such part."""
    module = source.module_of(name)
    if module is None:
        raise ImportError("there is no such module")
    _, members = module
    value: object = importlib.import_module(".".join(name.split(".")[: -len(members) or None]))
    for member in members:
        value = getattr(value, member)
    return value
