"""Where config.py, wsgi.py and gunicorn.conf.py are: beside this package, or inside of it where it was installed.

Importing this makes `import config` find LCH's, and no other program's.
"""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
TOP = _PACKAGE / "_top" if (_PACKAGE / "_top").is_dir() else _PACKAGE.parent

sys.path[:] = [str(TOP), *(entry for entry in sys.path if entry != str(TOP))]
