"""The client library as an npm package: packed, installed into an empty project, and its README's examples run there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import page
from tests.support.hooks import Hook, running_hook
from tests.support.servers import gunicorn_command
from tests.support.tools import ROOT, needs, npm_package
from tests.support.waiting import wait_until

README = page("client/README.md")
_OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET", "network")
# Renders the README's component without a browser, says something in it, and prints what it shows.
REACT = """
import { act, createElement, StrictMode } from "react";
import { create } from "react-test-renderer";
import { Chat } from "./Chat.js";
globalThis.IS_REACT_ACT_ENVIRONMENT = true;
console.error = () => {};
const pause = () => new Promise((done) => setTimeout(done, 50));
let root;
await act(() => { root = create(createElement(StrictMode, null, createElement(Chat, { url: process.argv[2] }))); });
const shown = () => JSON.stringify(root.toJSON());
await act(() => root.root.findByType("input").props.onChange({ target: { value: "From React" } }));
await act(() => root.root.findByType("form").props.onSubmit({ preventDefault() {} }));
for (let tries = 0; tries < 200 && !shown().includes("sent"); tries++) await act(pause);
console.log(shown());
await act(() => root.unmount());
"""


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with running_hook(gunicorn_command) as hook:
        yield hook


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which the package was installed from its tarball, with socket.io-client and React."""
    needs("node")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("project")
    packed = run(npm, "pack", ROOT / "client", "--pack-destination", folder, folder=folder)
    assert packed.returncode == 0, packed.stderr
    (tarball,) = folder.glob("lch-client-*.tgz")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    wanted = (tarball, "socket.io-client@4.8.1", "react@19", "react-test-renderer@19")
    quickly = ("--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=0", "--fetch-timeout=20000")
    installed = run(npm, "install", *quickly, *wanted, folder=folder)
    if installed.returncode and any(word in installed.stderr for word in _OFFLINE):
        pytest.skip("the npm registry cannot be reached")
    assert installed.returncode == 0, installed.stderr
    return folder


pytestmark = pytest.mark.timeout(300)


def test_the_package_has_what_it_names_and_nothing_else(project: Path) -> None:
    folder = project / "node_modules" / "lch-client"
    named = json.loads((folder / "package.json").read_text())
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"lch-client.js", "lch-client.d.ts", "README.md", "package.json"} <= present
    assert not [name for name in present if "socket.io" in name or "test" in name]
    assert named["peerDependencies"] == {"socket.io-client": "^4.6.0"}
    assert (folder / "lch-client.js").read_bytes() == (ROOT / "client" / "lch-client.js").read_bytes()


def test_the_readmes_example_for_node_talks_with_a_hook(project: Path, hook: Hook, customer: str) -> None:
    (project / "example.js").write_text(README.blocks("js")[2])
    process = subprocess.Popen(
        [needs("node"), "example.js", hook.url, customer, "From a package"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: [post for post in hook.dms.accepted if post["customer_id"] == customer], "its message")
        hook.webhook(customer, "Welcome")
        told, states = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, states
    assert "sent" in told.splitlines()
    assert "Maya Lindqvist Welcome" in told.splitlines()
    assert [line.split()[0] for line in states.splitlines()] == ["connecting", "connected", "closed"]


def test_the_readmes_example_for_react_talks_with_a_hook(project: Path, hook: Hook) -> None:
    (project / "useChat.js").write_text(README.blocks("js")[1])
    (project / "Chat.jsx").write_text(README.blocks("jsx")[0])
    compiler = npm_package("typescript") / "bin" / "tsc"
    options = ("--allowJs", "--jsx", "react-jsx", "--module", "esnext", "--target", "es2022", "--outDir", ".", "--noCheck")
    compiled = run(needs("node"), compiler, *options, "--moduleResolution", "bundler", "Chat.jsx", folder=project)
    assert (project / "Chat.js").is_file(), compiled.stdout
    (project / "render.js").write_text(REACT)
    done = run(needs("node"), "render.js", hook.url, folder=project)
    assert done.returncode == 0, done.stderr
    assert '"From React"' in done.stdout
    assert '"sent"' in done.stdout
    assert [post["text"] for post in hook.dms.accepted if post["text"] == ["From React"]] == [["From React"]]
