"""Which part of LCH may know what, as far as imports tell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tools import ROOT

# gevent's and engine's world. Only the transport knows it.
_STACK = frozenset(
    {
        "engineio",
        "flask_socketio",
        "gevent",
        "geventwebsocket",
        "greenlet",
        "gunicorn",
        "simple_websocket",
        "socketio",
    }
)
# Where patching has to come first; and where gevent is asked for what its patching takes away, if it was there at all.
_BESIDE_THE_TRANSPORT = {
    "gunicorn.conf.py": {"gevent", "gunicorn"},
    "wsgi.py": {"gevent"},
    "lchook/locks.py": {"gevent"},
    "lchook/log_output.py": {"gevent"},
}
# What the core may use: nothing that reads or writes, waits, runs beside others, or tells the time.
_PURE = frozenset(
    {
        "__future__",
        "base64",
        "binascii",
        "codecs",
        "collections",
        "contextlib",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "json",
        "jwt",
        "math",
        "random",
        "re",
        "secrets",
        "string",
        "types",
        "typing",
        "unicodedata",
        "uuid",
        "warnings",
        "zlib",
    }
)


def _modules() -> list[str]:
    files = [*(ROOT / "lchook").rglob("*.py"), *(ROOT / name for name in ("config.py", "wsgi.py", "gunicorn.conf.py"))]
    return sorted(str(file.relative_to(ROOT)) for file in files if "_top" not in file.parts)


def _imports(file: str) -> Iterator[str]:
    """The full names of what a module imports, wherever in it."""
    for node in ast.walk(ast.parse(Path(ROOT, file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative imports hide where they lead"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", [file for file in _modules() if not file.startswith("lchook/transport/")])
def test_only_the_transport_knows_gunicorn_gevent_and_the_engines(file: str) -> None:
    known = {name.partition(".")[0] for name in _imports(file)} & _STACK
    assert known <= _BESIDE_THE_TRANSPORT.get(file, set())


@pytest.mark.parametrize("file", [file for file in _modules() if file.startswith("lchook/transport/")])
def test_the_transport_knows_nothing_of_chats(file: str) -> None:
    ours = {name for name in _imports(file) if name.startswith("lchook.")}
    others = {name for name in ours if not name.startswith(("lchook.transport.", "lchook.core.", "lchook.logs."))}
    assert others == set()


@pytest.mark.parametrize("file", [file for file in _modules() if file.startswith("lchook/core/")])
def test_the_core_is_pure(file: str) -> None:
    impure = {
        name
        for name in _imports(file)
        if name.partition(".")[0] not in _PURE and not name.startswith("lchook.core.") and name != "lchook.core"
    }
    assert impure == set()


@pytest.mark.parametrize("file", [file for file in _modules() if file.startswith("lchook/core/")])
def test_the_core_opens_nothing(file: str) -> None:
    for node in ast.walk(ast.parse(Path(ROOT, file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input", "exec", "eval", "__import__"), f"{file}:{node.lineno}"
