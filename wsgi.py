"""What gunicorn and flask load: `gunicorn wsgi:app`, `flask --app wsgi run`."""

import os
import sys

# Under `flask run` there are threads, and gevent would break the WebSocket. Under gunicorn, gunicorn.conf.py has patched
# already, and where it has not, here is too late. This is for gevent's own server. It must come before any other import.
if os.environ.get("FLASK_RUN_FROM_CLI") != "true" and "gunicorn.arbiter" not in sys.modules:
    from gevent import monkey

    monkey.patch_all()

from config import SettingsError
from lchook import create_app, log_output
from lchook.store import UnknownFormatError
from lchook.transport.startup_checks import ServerError

if os.environ.get("FLASK_RUN_FROM_CLI") == "true" and "run" in sys.argv:
    # Under gunicorn, gunicorn.conf.py has done it. flask's other commands only print, and end.
    log_output.take_over()

try:
    app = create_app()
except (ServerError, SettingsError, UnknownFormatError) as error:
    print(error, file=sys.stderr)
    # gunicorn's WORKER_BOOT_ERROR: with any other status it (27.0.1) would start the worker again and again.
    sys.exit(3)
