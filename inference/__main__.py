"""`python -m inference`: serve until SIGTERM. Settings come from the environment; `--help` lists them."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys

import uvloop

from inference import logs, settings
from inference.errors import StartError

# A model thread that comes back from ONNX Runtime needs the interpreter's lock, and asks the event loop for it only
# after this long. At Python's 5 ms that wait, not the model, is the latency under load.
SWITCH_INTERVAL_S = 0.0005


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 after a signal, 1 when the world says no, 2 for settings that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m inference",
        description="Serve predictions over HTTP until SIGTERM.",
        epilog=f"settings, from the environment (name, default, what it is):\n{settings.describe()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    try:
        chosen = settings.from_environment(os.environ)
        logs.configure(chosen)
        return _serve(chosen)
    except StartError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _serve(chosen: settings.Settings) -> int:
    from inference.app import make_application  # noqa: PLC0415 - bad settings are told before ONNX Runtime is loaded
    from inference.server import make_server  # noqa: PLC0415

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    application = make_application(chosen)
    server = make_server(application.asgi, application.activity, chosen)
    # A full collection walks every object of every imported library, some 50 ms in which nothing is answered, several
    # times a second under load. What is here now stays, so it is never walked again; what requests leave is little.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(server.serve())
        except SystemExit:  # uvicorn's answer to a port that is taken, which it has logged
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
