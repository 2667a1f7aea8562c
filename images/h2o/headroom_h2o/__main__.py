"""`python3 -m headroom_h2o guard|drain|fill`"""

from __future__ import annotations

import sys

from headroom_h2o import guard, transfer

PROGRAMS = {"guard": guard.main, "drain": transfer.drain_main, "fill": transfer.fill_main}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PROGRAMS:
        sys.exit(f"usage: headroom_h2o {'|'.join(PROGRAMS)}")
    sys.exit(PROGRAMS[sys.argv[1]]())
