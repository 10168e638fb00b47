"""The command `lch`, also as `python -m lchook`: LCH from whatever folder one is in."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version

from flask.cli import ScriptInfo

from config import SettingsError
from lchook import create_app
from lchook.sandbox.__main__ import main as demo
from lchook.store import UnknownFormatError
from lchook.top import TOP

_HELP = """\
Usage: lch COMMAND [OPTIONS]

  serve    start LCH; options are gunicorn's
  demo     start LCH with a sandbox DMS and a chat page, with nothing set up (PORT, default 5600)
  doctor   check settings, DMS, clock, store and webhook, and say what to do
  token    print a token such as LCH sends; `token explain` says what is wrong with one
  forget   remove all that is kept of a customer
  sandbox  a DMS to develop against, and a chat page, beside an LCH that runs on its own

Settings come from the environment, and from a file .env. `lch COMMAND --help` says more of each but serve and demo."""


def main() -> None:
    """Run what the command line says."""
    command, *words = sys.argv[1:] or ["--help"]
    if command == "serve":
        serve(words)
    elif command == "demo" and not words:
        demo()
    elif command in ("-h", "--help", "help"):
        print(_HELP)
    elif command == "--version":
        print(_version())
    else:
        _flask_command([command, *words])


def serve(options: list[str]) -> None:
    """Does not return: the process becomes gunicorn, with LCH's configuration."""
    os.environ.pop("FLASK_RUN_FROM_CLI", None)
    # -P: nothing in the present folder is taken for a module of LCH's.
    command = [sys.executable, "-P", "-m", "gunicorn", "-c", str(TOP / "gunicorn.conf.py"), *options, "wsgi:app"]
    os.execv(sys.executable, command)  # noqa: S606


def _flask_command(words: list[str]) -> None:
    """One that `cli.py` adds to flask's. flask itself is left out: it would read .env in a way of its own."""
    try:
        app = create_app()
    except (SettingsError, UnknownFormatError) as error:
        print(error, file=sys.stderr)
        sys.exit(3)
    app.cli.main(words, prog_name="lch", obj=ScriptInfo(create_app=lambda: app))


def _version() -> str:
    try:
        return version("lchook")
    except PackageNotFoundError:
        return "not installed: this is a copy of the code"


if __name__ == "__main__":
    main()
