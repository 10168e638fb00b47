"""`python -m tests.upstream`: which pinned parts of libraries are not what they were, and what to read.

`--write [NAME …]`, after somebody has read them: put the hashes of what is installed into the table. All of them, or those
with these names and those in these modules and classes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.upstream import pins


def main(arguments: Sequence[str], table: Path = pins.TABLE) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    parser.add_argument("--write", nargs="*", metavar="NAME", help="put these parts' new hashes into the table")
    names: list[str] | None = parser.parse_args(arguments).write
    if names is not None:
        pins.write(pins.changed(names, table), table)
    libraries, all_pins = pins.read(table)
    differences = [text for pin in all_pins if (text := pins.difference(pin, libraries))]
    print("\n\n".join(differences) or f"all {len(all_pins)} pins hold")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
