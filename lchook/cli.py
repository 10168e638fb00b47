"""The commands of `flask --app wsgi …` besides flask's own."""

from __future__ import annotations

import click
from flask import Flask

from config import Settings


def register(app: Flask) -> None:
    """Add the commands to the application."""
    settings: Settings = app.extensions["lch_settings"]

    @app.cli.command("sandbox")
    @click.option("--port", default=5601, show_default=True, help="Where the chat page is served.")
    @click.option("--dms-port", default=5602, show_default=True, help="Where the sandbox takes posts: DMS_URL's port.")
    @click.option("--hook", default=f"http://127.0.0.1:{settings.port}", show_default=True, help="Where LCH runs.")
    def sandbox(port: int, dms_port: int, hook: str) -> None:
        """Run a DMS to develop against, and a chat page, beside an LCH that runs on its own."""
        from lchook.sandbox.standalone import run

        run(settings, port=port, dms_port=dms_port, hook=hook)
