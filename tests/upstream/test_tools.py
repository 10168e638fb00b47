"""The tools of the table: a change of a library's is seen, a change of its looks is not; a use of ours is found."""

from __future__ import annotations

import ast
import importlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import engineio
import pytest

from tests.support.tools import ROOT
from tests.upstream import pins, source
from tests.upstream.__main__ import main
from tests.upstream.reliance import Module, modules_in, reliances

_numbers = itertools.count()

BODY = '''\
import os

class Base:
    """Words."""

    limit = 16

    def __init__(self, size=1):
        self._size = size

    # A comment.
    @property
    def size(self):
        """Words."""
        return self._size * 2  # why

    @size.setter
    def size(self, value):
        self._size = value

if os.name == "nt":
    def way():
        return "one"
else:
    def way():
        return "other"

(ONE, TWO) = (1, 2)
'''

Library = Callable[[str], str]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """Makes a module of a source; returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(text: str) -> str:
        made.append(f"a_library_{next(_numbers)}")
        (tmp_path / f"{made[-1]}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return made[-1]

    yield make
    for name in made:
        sys.modules.pop(name, None)


PARTS = ["Base", "Base.limit", "Base.__init__", "Base._size", "Base.size", "way", "ONE", "TWO"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('    """Words."""', '    """Other words,\n\n    and more.\n    """'),
        ("    # A comment.\n", ""),
        ("  # why", "  # wherefore"),
        ("    limit = 16\n\n", "    limit = 16\n\n\n\n"),
        ("import os", "import os\nimport sys"),
    ],
)
def test_words_and_blank_lines_do_not_count(part: str, old: str, new: str, library: Library) -> None:
    assert old in BODY
    before, after = (source.find(f"{library(text)}.{part}") for text in (BODY, BODY.replace(old, new)))
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("Base.limit", "limit = 16", "limit = 32"),
        ("Base.__init__", "size=1", "size=2"),
        ("Base._size", "self._size = value", "self._size = int(value)"),
        ("Base.size", "* 2", "* 3"),
        ("Base.size", "@property", "@functools.cached_property"),
        ("Base.size", "self._size = value", "self._size = int(value)"),
        ("Base", "* 2", "* 3"),
        ("way", '"one"', '"three"'),
        ("way", '"other"', '"three"'),
        ("TWO", "(1, 2)", "(1, 3)"),
    ],
)
def test_everything_else_does(part: str, old: str, new: str, library: Library) -> None:
    before, after = (source.find(f"{library(text)}.{part}") for text in (BODY, BODY.replace(old, new)))
    assert before.fingerprint != after.fingerprint
    others = [name for name in PARTS if not name.startswith(part) and not part.startswith(name) and "size" not in name]
    assert [
        name
        for name in others
        if {part, name} != {"ONE", "TWO"}
        and source.find(f"{library(BODY)}.{name}").text != source.find(f"{library(BODY.replace(old, new))}.{name}").text
    ] == []


def test_what_is_replaced_in_this_process_is_seen_as_its_library_wrote_it(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = library(BODY)
    before = source.find(f"{name}.Base.size")
    monkeypatch.setattr(importlib.import_module(name).Base, "size", None)
    assert source.find(f"{name}.Base.size") == before


def test_what_gevent_has_compiled_is_read_where_it_was_compiled_from() -> None:
    assert source.find("gevent._hub_primitives.WaitOperationsGreenlet.wait").file.name == "_hub_primitives.py"


@pytest.mark.parametrize(
    "name", ["no_such_library.part", "json.no_such_part", "json.JSONEncoder.nothing", "json", "_socket.socket"]
)
def test_what_is_not_there_is_told(name: str) -> None:
    with pytest.raises(source.NotFoundError):
        source.find(name)


# What LCH does


def _found(text: str, *others: Module) -> list[str]:
    module = Module("ours.part", "ours/part.py", ast.parse(text))
    return [str(each).partition(" ")[2] for each in reliances([module, *others]) if each.file == module.file]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(
            "from socketio import Manager\nclass Ours(Manager):\n    def emit(self): ...\n    def mine(self): ...",
            ["overrides socketio.manager.Manager.emit"],
            id="an-overridden-method",
        ),
        pytest.param(
            "import socketio\nclass Ours(socketio.Manager):\n    def get_rooms(self): ...",
            ["overrides socketio.base_manager.BaseManager.get_rooms"],
            id="of-a-class-below",
        ),
        pytest.param(
            "from socketio import Manager\nclass One(Manager): ...\nclass Two(One):\n    def emit(self): ...",
            ["overrides socketio.manager.Manager.emit"],
            id="by-way-of-a-class-of-ours",
        ),
        pytest.param(
            "from socketio import Manager\ndef make():\n    class Ours(Manager):\n        emit = None\n    return Ours",
            ["overrides socketio.manager.Manager.emit"],
            id="an-attribute-of-a-class-in-a-function",
        ),
        pytest.param(
            "from socketio import Manager\nclass Ours(Manager):\n    def mine(self):\n        self.rooms = {}",
            ["overrides socketio.base_manager.BaseManager.rooms"],
            id="what-the-library-sets-on-self",
        ),
        pytest.param(
            "from engineio.socket import Socket\nSocket.send = print",
            ["replaces engineio.socket.Socket.send", "uses engineio.socket.Socket.send"],
            id="a-replaced-method",
        ),
        pytest.param(
            "from engineio.socket import Socket as S\nold, S.upgrade_protocols = S.upgrade_protocols, []",
            ["replaces engineio.socket.Socket.upgrade_protocols"],
            id="by-a-pair",
        ),
        pytest.param(
            "import engineio.payload as p\nsetattr(p.Payload, 'max_decode_packets', 1)",
            ["replaces engineio.payload.Payload.max_decode_packets"],
            id="by-setattr",
        ),
        pytest.param(
            "import geventwebsocket.handler\ngeventwebsocket.handler.WebSocket = 1",
            ["replaces geventwebsocket.handler.WebSocket"],
            id="a-modules",
        ),
        pytest.param(
            "import gevent\ngevent.get_hub().print_exception = print", ["replaces print_exception"], id="an-objects"
        ),
        pytest.param(
            "from gevent.pool import Group\ndef f(pool): Group.add(pool, 1)",
            ["uses gevent.pool.Group.add"],
            id="by-its-class",
        ),
        pytest.param("def f(server): server._send_packet(1)", ["uses _send_packet"], id="a-private-part"),
        pytest.param("def f(ws): return getattr(ws, '_sock', None)", ["uses _sock"], id="by-getattr"),
        pytest.param("from requests.auth import _basic_auth_str", ["imports _basic_auth_str"], id="a-private-import"),
        pytest.param("import _socket", ["imports _socket"], id="a-private-module"),
        pytest.param(
            "class Ours:\n    def _discard(self): ...",
            ["is called by a library as _discard"],
            id="in-a-librarys-objects-place",
        ),
        pytest.param(
            "class Ours:\n    def f(self, other):\n        return self._not_mine",
            ["uses _not_mine"],
            id="on-self-but-not-ours",
        ),
    ],
)
def test_what_stands_on_a_library_is_found(text: str, found: list[str]) -> None:
    assert _found(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "class Ours:\n    def __init__(self): self._a = 1\n    def f(self): self._a(self._b())\n    def _b(self): ...",
        "class Ours:\n    _a: int\n    def f(self): return self._a",
        "class One:\n    _a = 1\nclass Two(One):\n    def f(self): return self._a",
        "from ours import other\nother._part = other._whole",
        "from logging import Formatter\nclass Ours(Formatter):\n    def format(self, record): return ''",
        "from socketio import Manager\nclass Ours(Manager):\n    def mine(self): return self.emit()",
        "from flask import request\nrequest.args.get('a')",
        "import redis\nredis.Redis.from_url('')",
        "import json\njson.dumps(0)",
        "def f(row): return row._replace(a=1)",
    ],
)
def test_what_is_ours_or_public_is_not(text: str) -> None:
    assert _found(text) == []


def test_a_class_whose_base_cannot_be_told_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="cannot be told"):
        _found("class Ours(make()): ...")


def test_gunicorns_settings_are_ours_and_not_gunicorns(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(
        "from gunicorn.glogging import Logger\nclass Ours(Logger):\n    def access(self): ...", encoding="utf-8"
    )
    assert [str(each) for each in reliances(modules_in(tmp_path, "gunicorn.conf.py"))] == [
        "gunicorn.conf.py:3 overrides gunicorn.glogging.Logger.access"
    ]


def test_a_pin_stands_for_the_files_that_it_names_and_for_what_it_covers() -> None:
    text = "from socketio import Manager\nclass Ours(Manager):\n    def basic_close_room(self): ...\n    rooms = {}"
    method, attribute = reliances([Module("ours.part", "ours/part.py", ast.parse(text))])
    name = "socketio.base_manager.BaseManager.basic_close_room"
    assert method.is_covered_by(pins.Pin(name, ("ours/part.py",), "why."))
    assert not method.is_covered_by(pins.Pin(name, ("ours/other.py",), "why."))
    assert not method.is_covered_by(pins.Pin("engineio.other.Class.basic_close_room", ("ours/part.py",), "why."))
    assert not attribute.is_covered_by(pins.Pin(name, ("ours/part.py",), "why."))
    assert attribute.is_covered_by(pins.Pin(name, ("ours/part.py",), "why.", covers=("rooms",)))


# The table


@pytest.fixture
def table(tmp_path: Path, library: Library) -> tuple[Path, str]:
    name = library(BODY)
    path = tmp_path / "pins.toml"
    path.write_text(
        f"""\
[libraries] # read
{name} = {{ distribution = "pytest", version = "0.1" }}

# Kept.
[[pin]]
name = "{name}.Base.limit"
hash = ""
covers = ["other"]
used_by = ["ours/part.py"]
why = "It is 16."

[[pin]]
name = "{name}.way"
hash = "0123456789abcdef"
used_by = ["ours/part.py"]
why = "There are two."
""",
        encoding="utf-8",
    )
    return path, name


def test_what_has_changed_is_told_with_what_to_read(table: tuple[Path, str]) -> None:
    path, name = table
    libraries, (limit, way) = pins.read(path)
    assert (pins.difference(limit, libraries) or "").startswith(f"{name}.Base.limit has a pin without a hash.")
    told = pins.difference(way, libraries) or ""
    installed = pytest.__version__
    for words in (
        f"{name}.way is not what LCH was written against.",
        f"pytest {installed} is installed, 0.1 was read",
        f"{name}.py:22",
        "ours/part.py",
        "There are two.",
        f"python -m tests.upstream --write {name}.way",
    ):
        assert words in told
    gone = pins.Pin(f"{name}.gone", ("ours/part.py",), "why.", hash="0")
    assert "is gone" in (pins.difference(gone, libraries) or "")
    untested = pins.Pin("_socket.gone", ("ours/part.py",), "why.", tested_by="test")
    assert "is gone" in (pins.difference(untested, libraries) or "")


def test_writing_changes_hashes_and_when_all_are_right_the_version(
    table: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = table
    before = path.read_text(encoding="utf-8")
    assert main(["--write", f"{name}.Base", f"{name}.wa"], path) == 1
    libraries, (limit, way) = pins.read(path)
    assert pins.difference(limit, libraries) is None
    assert pins.difference(way, libraries) is not None
    assert libraries[name].version == "0.1"

    assert main(["--write"], path) == 0
    assert capsys.readouterr().out.endswith("all 2 pins hold\n")
    assert pins.read(path)[0][name].version == pytest.__version__
    changed = set(path.read_text(encoding="utf-8").splitlines()) - set(before.splitlines())
    assert sorted(line.partition(" ")[0] for line in changed) == [name, "hash", "hash"]


def test_what_is_gone_stays_in_the_table_until_somebody_takes_it_out(
    table: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = table
    path.write_text(path.read_text(encoding="utf-8").replace(f"{name}.way", f"{name}.gone"), encoding="utf-8")
    assert main(["--write"], path) == 1
    told = capsys.readouterr().out
    assert f"{name}.gone is gone" in told
    assert "take the pin out" in told
    assert f"{name}.Base.limit" not in told


def test_writing_what_is_not_in_the_table_changes_nothing(table: tuple[Path, str]) -> None:
    path, name = table
    before = path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="once"):
        pins.write({f"{name}.ONE": "0"}, path)
    assert path.read_text(encoding="utf-8") == before


def test_the_command_says_that_all_is_well_or_what_to_read(tmp_path: Path) -> None:
    def run(**environment: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "tests.upstream"]
        ended = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
        return ended.returncode, ended.stdout

    assert run() == (0, f"all {len(pins.read()[1])} pins hold\n")

    shutil.copytree(Path(engineio.__file__).parent, tmp_path / "engineio")
    changed = tmp_path / "engineio" / "socket.py"
    changed.write_text(changed.read_text(encoding="utf-8").replace("_send_ping", "_ping"), encoding="utf-8")
    code, told = run(PYTHONPATH=str(tmp_path))
    assert code == 1
    assert "engineio.socket.Socket._send_ping is gone" in told
    assert "engineio.socket.Socket.schedule_ping is not what LCH was written against" in told
    assert told.count("  check ") == 2
