"""gunicorn's settings. Read by `gunicorn wsgi:app` because it lies beside wsgi.py.

Patches before anything else is imported: later is too late for ssl and urllib3.
"""

from gevent import monkey

monkey.patch_all()

import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

# Not `import config`: gunicorn takes a name of this file that is also a setting's for that setting.
from config import SettingsError, load

try:
    settings = load()
except SettingsError as error:
    sys.exit(str(error))

bind = f"0.0.0.0:{settings.port}"
worker_class = "lchook.worker.Worker"
# One process an instance: a client's polling requests must all reach the process that has its session.
# Pinned, because gunicorn would take the number from WEB_CONCURRENCY.
workers = 1
# Each socket is a connection; above this, new clients would wait, and health checks with them.
worker_connections = 12_000
# Seconds without a sign of life from the worker's event loop before it is replaced.
timeout = 30
graceful_timeout = 20
keepalive = 15
# Since 25.1 every instance would open ~/.gunicorn/gunicorn.ctl: instances of one user take it from each other.
control_socket_disable = True
accesslog = None
loglevel = settings.log_level.lower()

# A socket is a file descriptor, and so are the connections to DMS: as many as this process may have.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_wanted = worker_connections + 2_000
if _soft != resource.RLIM_INFINITY and _soft < _wanted:
    _most = _wanted if _hard == resource.RLIM_INFINITY else min(_wanted, _hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_most, _hard))
