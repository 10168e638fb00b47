"""gunicorn's settings as they are, with the patience of seconds that tests do not have."""

import runpy
from pathlib import Path
from typing import Any

globals().update(
    {
        name: value
        for name, value in runpy.run_path(str(Path(__file__).resolve().parents[2] / "gunicorn.conf.py")).items()
        if not name.startswith("__")
    }
)


def post_worker_init(worker: Any) -> None:
    # Not before the settings have patched.
    from lchook.transport.http_server import Timeouts

    worker.timeouts = Timeouts(idle_seconds=1.5, headers_seconds=1.5, body_seconds=1.5)
