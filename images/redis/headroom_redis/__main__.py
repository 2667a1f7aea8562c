"""`redis-node COMMAND`: what a pod's containers and the resize Jobs run."""

from __future__ import annotations

import sys

from headroom_redis import exporter, leave, report, resize, sentinel, server, settings
from headroom_redis.process import say

COMMANDS = {
    "server": server.run,
    "sentinel": sentinel.run,
    "exporter": exporter.run,
    "leave": leave.run,
    "report": report.run,
    "drain": resize.drain,
    "fill": resize.fill,
}


def main() -> int:
    """Run the command that the arguments name; 2 for none of them."""
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        say(f"one of {', '.join(COMMANDS)}")
        return 2
    return COMMANDS[sys.argv[1]](settings.read())


if __name__ == "__main__":
    sys.exit(main())
