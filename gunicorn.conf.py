"""gunicorn's settings. Read by `gunicorn wsgi:app` because it lies beside wsgi.py.

Patches before anything else is imported: later is too late for ssl and urllib3.
"""

from gevent import monkey

monkey.patch_all()

import gc
import logging
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger, SafeAtoms

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lchook import binds, log_output
from lchook.logs import json_line
from lchook.transport.startup_checks import ServerError, check_gunicorn

# Before gunicorn opens its log: neither its master nor the worker may ever wait for whoever reads that.
log_output.take_over()

# Not `import config`: gunicorn takes a name of this file that is also a setting's for that setting.
from config import SettingsError, load

try:
    settings = load()
except SettingsError as error:
    sys.exit(str(error))

bind = [binds.written(*address) for address in binds.all_addresses(settings.port)]
worker_class = "lchook.transport.worker.Worker"
# One process an instance: a client's polling requests must all reach the process that has its session.
# Pinned, because gunicorn would take the number from WEB_CONCURRENCY.
workers = 1
# Seconds without a sign of life from the worker's event loop before it is replaced.
timeout = 30
graceful_timeout = 20
keepalive = 15
# Since 25.1 every instance would open ~/.gunicorn/gunicorn.ctl: instances of one user take it from each other.
control_socket_disable = True
accesslog = None


class OneLine(SafeAtoms):  # type: ignore[misc]  # gunicorn has no types
    """What an access log line is made of. gunicorn (27.0.1) writes control characters as they come, with which clients could
    forge lines; and with a session id from the log its readers could take over the session."""

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if not isinstance(value, str):
            return value
        value = re.sub(r"\bsid=[^&\s]*", "sid=…", value)
        return value if value.isprintable() else value.encode("unicode_escape").decode()


class JsonFormatter(logging.Formatter):
    """gunicorn's own lines, where LCH's are JSON: whoever reads objects must not find anything else between."""

    def format(self, record: logging.LogRecord) -> str:
        error = self.formatException(record.exc_info) if record.exc_info else None
        return json_line(record.created, record.levelname, "gunicorn", record.getMessage(), error).rstrip("\n")


class OneLineLogger(Logger):  # type: ignore[misc]
    atoms_wrapper_class = OneLine

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        if settings.log_format == "json":
            for handler in self.error_log.handlers:
                handler.setFormatter(JsonFormatter())


def on_starting(server: Any) -> None:
    """What the command line and GUNICORN_CMD_ARGS have made of these settings is known now."""
    try:
        check_gunicorn(server.cfg)
    except ServerError as error:
        if server.pidfile is not None:
            server.pidfile.unlink()
        sys.exit(str(error))
    if settings.connections:
        # SIGHUP reads the file of connections anew, and nobody has to connect anew for it.
        server.handle_hup = lambda: [server.kill_worker(pid, signal.SIGHUP) for pid in list(server.WORKERS)]


def nworkers_changed(server: Any, new: int, old: int | None) -> None:
    """gunicorn's answer to SIGTTIN is a worker more."""
    if old is not None and new > 1:
        server.log.warning("LCH stays one process: for more CPUs start more instances")
        server._num_workers = 1


def pre_fork(server: object, worker: object) -> None:
    """What is loaded by now stays. The worker's collections would write to all of it, and then it is no longer shared."""
    gc.freeze()


logger_class = OneLineLogger
loglevel = settings.log_levels[""].lower()

# Each socket is a connection and a file descriptor, and so are posts to DMS: as many as this process may have. Above
# worker_connections new clients wait, and health checks with them; the worker says so in time.
OTHER_FILES = 2_000
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
wanted = 12_000 + OTHER_FILES
if soft != resource.RLIM_INFINITY and soft < wanted:
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
worker_connections = 12_000 if soft == resource.RLIM_INFINITY else max(100, min(12_000, soft - OTHER_FILES))
