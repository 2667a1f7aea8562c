"""`make bench [AREA=…]`: measures an area, or each in turn. An area is a module here with `measure()`."""

from __future__ import annotations

import importlib
import sys

from bench.report import publish

AREAS = ("plan", "local", "postgres", "reshard", "redis", "h2o", "inference")


def main() -> int:
    """Run the areas named, or all; 2 for a name that is none."""
    chosen = sys.argv[1:] or list(AREAS)
    unknown = [a for a in chosen if a not in AREAS]
    if unknown:
        print(f"no such area: {', '.join(unknown)}; choose from {', '.join(AREAS)}", file=sys.stderr)
        return 2
    for area in chosen:
        publish(area, list(importlib.import_module(f"bench.{area}").measure()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
