"""What some tests need besides Python. On a machine without it they are skipped; in CI (`CI=true`) they fail."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_PROGRAMS = {
    "node": ("node",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "openssl": ("openssl",),
    # Where Debian has it, an ordinary user's PATH does not lead.
    "nginx": ("nginx", "/usr/sbin/nginx"),
    "promtool": ("promtool",),
}


def needs(tool: str) -> str:
    """The path of a program of `_PROGRAMS`; `node` comes with socket.io-client beside the project. Skips without it."""
    path = next(filter(None, map(shutil.which, _PROGRAMS[tool])), None)
    if path is None:
        return _missing(f"{tool} is not installed")
    if tool == "node" and not (ROOT / "node_modules" / "socket.io-client" / "package.json").is_file():
        return _missing("node_modules has no socket.io-client: run npm ci")
    return path


def npm_package(name: str) -> Path:
    """The folder of a package of package.json. Skips without it."""
    folder = ROOT / "node_modules" / name
    if not (folder / "package.json").is_file():
        _missing(f"node_modules has no {name}: run npm ci")
    return folder


def _missing(reason: str) -> str:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and in CI nothing is skipped")
    pytest.skip(reason)
