"""Case 46: LCH as an installed package, with a command of its own. Installing takes PyPI, and up to a minute."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import requests
from packaging.requirements import Requirement

from tests.support.clients import PythonClient
from tests.support.servers import Server, environment, free_port
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

GOOD = {"DMS_URL": "http://127.0.0.1:9/in", "JWT_ISSUER": "conn-1", "JWT_SECRET": "s" * 32}


def run(*command: str | Path, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def source(folder: Path) -> Path:
    """A copy of what is in the repository, as somebody has it who installs it: building leaves files behind."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    for name in listed.split("\0"):
        if name and not name.startswith(("tests/", "docs/", "benchmarks/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a fresh environment in which `pip install .` was run, and nothing else."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    assert run(sys.executable, "-m", "venv", venv).returncode == 0
    installed = run(
        venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", source(tmp_path_factory.mktemp("source"))
    )
    if "No matching distribution" in installed.stderr or "ConnectionError" in installed.stderr:
        pytest.skip("PyPI cannot be reached")
    assert installed.returncode == 0, installed.stderr
    return venv / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that is not LCH's, with files that have the names of its own."""
    for name in ("config.py", "wsgi.py", "gunicorn.conf.py"):
        (tmp_path / name).write_text("raise SystemExit('this is another program')\n")
    return tmp_path


pytestmark = pytest.mark.timeout(420)


def test_46_dependencies_stand_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["dependencies"]
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.in").read_text().splitlines()]
    direct = {Requirement(line).name for line in lines if line}
    pinned = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert direct <= {Requirement(line).name for line in pinned if line}


def test_46_every_package_of_the_code_is_in_the_list() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "lchook").rglob("__init__.py")}
    assert {*listed} == folders | {"lchook._top"}


def test_46_lch_demo_answers_from_any_folder(bin_folder: Path, elsewhere: Path) -> None:
    port = free_port()
    with Server([str(bin_folder / "lch"), "demo"], port, folder=elsewhere) as server:
        page = requests.get(server.url, timeout=5)
        assert page.status_code == 200
        for path in ("/sandbox/shared/base.css", "/console", "/client/lch-client.js"):
            answer = requests.get(server.url + path, timeout=5)
            assert answer.status_code == 200, path
        with PythonClient(server.url) as client:
            assert client.say("somebody", "hello")["status"] == "sent"
            client.wait_for_messages(1)
        assert "this is another program" not in server.log


def test_46_lch_serve_has_its_settings_and_its_store_where_it_is_started(bin_folder: Path, elsewhere: Path) -> None:
    port = free_port()
    settings = "".join(f"{name}={value}\n" for name, value in GOOD.items())
    (elsewhere / ".env").write_text(f"{settings}PORT={port}\n")
    with Server([str(bin_folder / "lch"), "serve"], port, folder=elsewhere) as server:
        assert requests.get(f"{server.url}/readyz", timeout=5).json() == {"status": "ready"}
        wait_until((elsewhere / "instance" / "lchook.sqlite3").is_file, "the store's file")
        with PythonClient(server.url) as client:
            assert client.is_connected
    assert run(bin_folder / "lch", "serve", "-w", "4", folder=elsewhere).stderr.count("Set gunicorn's workers to 1") == 1


def test_46_lch_has_the_other_commands_too(bin_folder: Path, elsewhere: Path) -> None:
    help_text = run(bin_folder / "lch", folder=elsewhere).stdout
    for command in ("serve", "demo", "doctor", "token", "sandbox"):
        assert f"  {command} " in help_text
    assert run(bin_folder / "lch", "--version", folder=elsewhere).stdout == "1.0.0\n"
    assert run(bin_folder / "lch", "token", folder=elsewhere, **GOOD).stdout.startswith("eyJ")
    assert "port: port" in run(bin_folder / "lch", "doctor", folder=elsewhere, PORT=str(free_port()), **GOOD).stdout
    wrong = run(bin_folder / "lch", "doctor", folder=elsewhere)
    assert wrong.returncode == 3
    assert "DMS_URL: is missing" in wrong.stderr
    assert run(bin_folder / "lch", "rubbish", folder=elsewhere, **GOOD).returncode == 2


def test_46_it_leaves_no_names_of_everybodys_in_the_environment(bin_folder: Path) -> None:
    code = "import importlib.util as i; print([n for n in ('config', 'wsgi', 'tests', 'docs') if i.find_spec(n)])"
    assert run(bin_folder / "python", "-c", code, folder=Path("/")).stdout == "[]\n"


def test_46_uv_sync_works(tmp_path: Path) -> None:
    if (
        run(sys.executable, "-m", "venv", tmp_path / "uv").returncode
        or run(tmp_path / "uv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "uv").returncode
    ):
        pytest.skip("uv cannot be had")
    (tmp_path / "source").mkdir()
    folder = source(tmp_path / "source")
    uv = tmp_path / "uv/bin/uv"
    # A company's own certificate, where there is one, is known to the system and not to uv.
    synced = run(uv, "sync", "--python", sys.executable, folder=folder, UV_SYSTEM_CERTS="true", UV_NATIVE_TLS="true")
    assert synced.returncode == 0, synced.stderr
    assert run(uv, "run", "--no-sync", "lch", "token", folder=folder, **GOOD).stdout.startswith("eyJ")
    port = free_port()
    with Server([str(folder / ".venv/bin/lch"), "serve"], port, folder=Path("/"), STORE_URL="memory:", **GOOD) as server:
        assert requests.get(f"{server.url}/healthz", timeout=5).ok
