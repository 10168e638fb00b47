"""Is this process started in the way that LCH needs? Where not, one sentence says what is wrong and what to do.

Under another worker than LCH's, clients fall back to polling or get nothing at all; with several processes behind one
port, a client's requests reach processes that do not know it. Both look like a chat that works now and then.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click
from flask.helpers import get_debug_flag
from gevent import monkey
from werkzeug.serving import is_running_from_reloader

import config

CONFIGURATION = Path(config.__file__).with_name("gunicorn.conf.py")

# Patching has to come before this package is imported: ssl and urllib3 keep what they find.
_PATCHED_IN_TIME = monkey.is_module_patched("socket")
# Servers that serve WSGI and no WebSockets, or by threads, or not WSGI at all.
_OTHER_SERVERS = ("uwsgi", "mod_wsgi", "waitress", "uvicorn", "hypercorn", "granian", "daphne", "cheroot", "bjoern")


class ServerError(RuntimeError):
    """LCH cannot work under this server, or under its settings. The text says what to do."""


def check_server() -> None:
    """:raises ServerError: where LCH is being loaded by something that cannot serve it."""
    if "gunicorn.arbiter" in sys.modules:
        cfg = _configuration_of_gunicorn()
        if cfg is not None:
            check_gunicorn(cfg)
        return
    for name in _OTHER_SERVERS:
        if name in sys.modules:
            raise ServerError(
                f"LCH cannot run under {name}, which has no WebSockets for it: start it with `gunicorn wsgi:app`."
            )


def serves_by_flask() -> bool:
    """Is this the process of `flask run` that serves? With its reloader, one that serves nothing loads the application, too;
    and so do flask's other commands."""
    context = click.get_current_context(silent=True)
    if context is None or context.info_name != "run":
        return False
    reloads = context.params.get("reload")
    return is_running_from_reloader() or not (get_debug_flag() if reloads is None else reloads)


def check_gunicorn(cfg: Any) -> None:
    """:param cfg: gunicorn's settings, from wherever they came.
    :raises ServerError: where LCH could not work with them.
    """
    from lchook.transport.worker import Worker

    if not issubclass(cfg.worker_class, Worker):
        raise ServerError(
            f"LCH cannot run under gunicorn's worker {cfg.worker_class_str!r}. It has its own, which its configuration"
            f" names: start it with `gunicorn -c {CONFIGURATION} wsgi:app`, without -k."
        )
    _check_processes(cfg)


def check_before_workers() -> None:
    """For gunicorn's master, which asks the worker's class: said by several workers at once, gunicorn (27.0.1) adds a trace.

    :raises ServerError: where gevent's patching came too late, or is still to come, or there would be several processes.
    """
    if not _PATCHED_IN_TIME:
        raise ServerError(
            "LCH was imported before gevent's patching: begin gunicorn's configuration with"
            f" `from gevent import monkey; monkey.patch_all()`, or start it with `gunicorn -c {CONFIGURATION} wsgi:app`."
        )
    cfg = _configuration_of_gunicorn()
    if cfg is not None:
        _check_processes(cfg)


def _check_processes(cfg: Any) -> None:
    if cfg.workers != 1:
        raise ServerError(
            f"LCH cannot run as {cfg.workers} processes behind one port: a client's requests must all reach the one that"
            " knows it. Set gunicorn's workers to 1 (-w, WEB_CONCURRENCY, GUNICORN_CMD_ARGS); for more CPUs start more"
            " instances on ports of their own: docs/operations.md, Several instances."
        )
    if cfg.preload_app:
        raise ServerError("LCH cannot be loaded before its worker is there: start gunicorn without --preload.")


def _configuration_of_gunicorn() -> Any:
    """gunicorn (27.0.1) hands its settings to nobody. But its own application is loading this one, further up the stack."""
    from gunicorn.app.base import BaseApplication

    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, BaseApplication):
            return caller.cfg
        frame = frame.f_back
    return None
