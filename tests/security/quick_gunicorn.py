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
    handler = worker.wsgi_handler
    handler.idle_seconds = 1.5
    handler.headers_seconds = 1.5
    handler.body_seconds = 1.5
