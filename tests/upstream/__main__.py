"""`python -m tests.upstream`: which pinned parts of libraries are not what they were, and what to read.

`--write [NAME …]`: after somebody has read them, put what is installed into the table; all, or those whose names begin so.
"""

from __future__ import annotations

import argparse
import sys

from tests.upstream import pins, source


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    parser.add_argument(
        "--write", nargs="*", metavar="NAME", help="these have been read: put their new hashes into the table"
    )
    arguments = parser.parse_args()
    libraries, table = pins.read()
    differences = {pin: text for pin in table if (text := pins.difference(pin, libraries))}
    if arguments.write is not None:
        prefixes = tuple(arguments.write) or ("",)
        chosen = {pin.name for pin in differences if pin.tested_by is None and pin.name.startswith(prefixes)}
        try:
            pins.write(chosen)
        except source.NotFoundError as error:
            print(f"{error}: take what is gone out of pins.toml, and what relies on it out of LCH", file=sys.stderr)
            return 1
        for name in sorted(chosen):
            print(f"written: {name}")
        libraries, table = pins.read()
        differences = {pin: text for pin in table if (text := pins.difference(pin, libraries))}
    print("\n\n".join(differences.values()) or f"all {len(table)} pins hold")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
