"""Case 40: settings as editors, shells, Docker and Kubernetes write them: read as meant, or the trouble is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from config import Settings, SettingsError, load
from tests.support.servers import environment, gunicorn_command
from tests.support.tools import ROOT

REQUIRED = {"DMS_URL": "https://dms.example.com/in", "JWT_ISSUER": "conn-1", "JWT_SECRET": "s" * 32}
TEXT = "DMS_URL=https://dms.example.com/in\nJWT_ISSUER=conn-1\nJWT_SECRET={}\n"


def loaded(folder: Path, content: bytes | str, **environ: str) -> Settings:
    path = folder / ".env"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load(environ, dotenv=path)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le with a mark", "utf-16-be with a mark"], ids=str
)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_40_a_file_is_read_in_whatever_encoding_says_which_it_is(encoding: str, ends: str, tmp_path: Path) -> None:
    text = ("# für Pega\n" + TEXT.format("s" * 32)).replace("\n", ends)
    name, marked, _ = encoding.partition(" with")
    settings = loaded(tmp_path, (("\ufeff" if marked else "") + text).encode(name))
    assert (settings.dms_url, settings.jwt_issuer, settings.jwt_secret) == tuple(REQUIRED.values())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("# für Pega\n".encode("latin-1") + TEXT.encode(), "is not in UTF-8 (line 1)"),
        (TEXT.format("gehört").encode("cp1252"), "is not in UTF-8 (line 3)"),
        (TEXT.encode("utf-16-le"), "more likely in UTF-16"),
        (TEXT.encode("utf-16-be"), "more likely in UTF-16"),
        (TEXT.encode("utf-32"), "more likely in UTF-16"),
        (b"\xff\xfe" + TEXT.encode("utf-16-le")[:-1], "is not in UTF-8"),
        (b"\x1f\x8b\x08\x00\xff\xff", "is not in UTF-8"),
        (b'JWT_SECRET="abc\nPORT=1\n', "cannot be read at line 1"),
        (b"PORT=1\nDMS_URL: https://dms.example.com\n", "cannot be read at line 2"),
    ],
    ids=range(9),
)
def test_40_a_file_that_cannot_be_read_is_named_and_so_is_the_trouble(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, content, **REQUIRED)
    assert list(caught.value.problems) == [str(tmp_path / ".env")]
    assert says in str(caught.value)
    assert "abc" not in str(caught.value)


def test_40_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match="is a folder, and should be a file"):
        load(REQUIRED, dotenv=tmp_path / ".env")


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's file takes a second user")
def test_40_a_file_of_somebody_elses_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1")
    (tmp_path / ".env").chmod(0o600)
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    code = f"from config import load; from pathlib import Path; load(dotenv=Path({str(tmp_path / '.env')!r}))"
    ended = subprocess.run(
        [sys.executable, "-c", f"import os; import config; os.setuid(12345)\n{code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "cannot be read: Permission denied" in ended.stderr


# What stands in the file → the secret.
SECRETS = {
    "'ab${HOME}cd'": "ab${HOME}cd",
    '"ab${HOME}cd"': "ab${HOME}cd",
    "ab${HOME}cd": "ab${HOME}cd",
    "ab$HOMEcd": "ab$HOMEcd",
    "'ab$(id)cd'": "ab$(id)cd",
    "ab#cd": "ab#cd",
    "'ab #cd'": "ab #cd",
    "abcd # Pega's": "abcd",
    "'it''s'": None,
    "ab=cd==": "ab=cd==",
    "  abcd  ": "abcd",
    "ab cd": "ab cd",
    "ab%20cd": "ab%20cd",
    r"ab\cd\n": r"ab\cd\n",
    r"'ab\cd\n'": r"ab\cd\n",
    "äöü": "äöü",
    "'first\nsecond'": "first\nsecond",
}


@pytest.mark.parametrize("written", SECRETS)
def test_40_a_secret_is_what_stands_there(written: str, tmp_path: Path) -> None:
    secret = SECRETS[written]
    if secret is None:
        with pytest.raises(SettingsError, match="cannot be read at line 3"):
            loaded(tmp_path, TEXT.format(written))
    else:
        assert loaded(tmp_path, TEXT.format(written), HOME="/root").jwt_secret == secret


@pytest.mark.parametrize("prefix", ["export ", "   ", "\t"])
def test_40_lines_may_be_written_for_a_shell(prefix: str, tmp_path: Path) -> None:
    text = "".join(f"{prefix}{line}\n" for line in TEXT.format("s" * 32).splitlines())
    assert loaded(tmp_path, text).jwt_secret == "s" * 32


def test_40_of_two_lines_for_one_variable_the_last_counts(tmp_path: Path) -> None:
    assert loaded(tmp_path, TEXT.format("first") + "JWT_SECRET=second\n").jwt_secret == "second"


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t\n"])
def test_40_what_a_file_of_kubernetes_ends_with_is_no_part_of_a_secret(end: str) -> None:
    settings = load({name: value + end for name, value in REQUIRED.items()}, dotenv=None)
    assert (settings.dms_url, settings.jwt_issuer, settings.jwt_secret) == tuple(REQUIRED.values())


@pytest.mark.parametrize("mark", ['"', "'"])
def test_40_quotation_marks_that_docker_left_are_named(mark: str) -> None:
    wrong = {"DMS_URL": "https://dms.example.com", "PORT": "5600", "ALLOWED_ORIGIN": "*", "LOG_LEVEL": "info"}
    with pytest.raises(SettingsError) as caught:
        load({**REQUIRED, **{name: f"{mark}{value}{mark}" for name, value in wrong.items()}}, dotenv=None)
    assert caught.value.problems.keys() == wrong.keys()
    for problem in caught.value.problems.values():
        assert "without the quotation marks around it" in problem
        assert "example.com/in" not in problem


def test_40_what_is_not_utf_8_in_the_environment_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        load({**REQUIRED, "JWT_SECRET": b"geh\xf6rt".decode("utf-8", "surrogateescape")}, dotenv=None)
    assert "it is not in UTF-8" in caught.value.problems["JWT_SECRET"]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the code, so that a file can be beside it."""
    for name in ("config.py", "wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "lchook", tmp_path / "lchook", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(
    "command", [gunicorn_command(1), [sys.executable, "-m", "lchook", "doctor"]], ids=["gunicorn", "lch"]
)
def test_40_the_programs_say_so_without_a_trace(command: list[str], copied: Path) -> None:
    (copied / ".env").write_bytes("# für Pega\n".encode("latin-1"))
    ended = run(command, copied)
    assert ended.returncode != 0
    assert f"{copied / '.env'}: is not in UTF-8 (line 1): save it in that encoding" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", [["flask", "--app", "wsgi"], ["lchook"]], ids=["flask", "lch"])
def test_40_flask_which_reads_the_file_too_does_not_change_what_stands_there(command: list[str], copied: Path) -> None:
    (copied / ".env").write_text(TEXT.format("'ab${HOME}cd and thirty-two characters'") + "STORE_URL=memory:\n")
    signed = run([sys.executable, "-m", *command, "token"], copied).stdout.strip()
    jwt.decode(signed, "ab${HOME}cd and thirty-two characters", algorithms=["HS256"])


@pytest.mark.parametrize("name", ["JWT_SECRET", "JWT_ISSUER"])
def test_40_a_secret_in_quotation_marks_is_remarked_on(name: str) -> None:
    code = "from lchook import create_app; create_app()"
    settings = {**REQUIRED, name: f'"{REQUIRED[name]}"', "STORE_URL": "memory:"}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert f"{name} begin and end with a quotation mark" in ended.stderr
