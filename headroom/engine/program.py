"""One run of the program under Pulumi's mock runtime. Importing this module imports Pulumi."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pulumi.runtime import config as pulumi_config
from pulumi.runtime import mocks, settings
from pulumi.runtime.stack import massage, run_pulumi_func

import headroom
from headroom.engine.recorder import Recorder
from headroom.engine.stackconfig import StackConfig


def run(project: Path, name: str, stack: str, config: StackConfig) -> Recorder:
    """Run `__main__.py` of the folder `project` and return what it registered, outputs of the stack included.

    Must be called in a thread of its own: Pulumi's settings are context variables and its event loop is the thread's,
    so a fresh thread isolates the run from others, from Pulumi's mocks in tests, and from a running event loop.

    Raises whatever the program raises.
    """
    loop = asyncio.new_event_loop()
    # A registration that fails leaves futures behind that nobody awaits; what failed is raised anyway.
    loop.set_exception_handler(lambda *_: None)
    asyncio.set_event_loop(loop)
    raised: list[BaseException] = []
    recorder = Recorder(name, stack)

    def program() -> None:
        try:
            with _inside(project):
                runpy.run_path(str(project / "__main__.py"), run_name="__main__")
        except BaseException as error:
            raised.append(error)
            raise
        root: Any = settings.get_root_resource()
        # The mock runtime registers the stack's outputs before the program runs, that is none; now there are some.
        root.register_outputs(massage(root.outputs, []))

    try:
        settings.reset_options(project=name, stack=stack, root_directory=str(project), organization="organization")
        pulumi_config.set_all_config(dict(config.values), sorted(config.secret_keys))
        mocks.set_mocks(
            recorder.mocks,
            project=name,
            stack=stack,
            preview=False,
            monitor=recorder,
            logger=_logger(recorder.warnings),
        )
        loop.run_until_complete(run_pulumi_func(program))
    except BaseException:
        # What the program raised comes before what its loose ends raised while they were waited for.
        if raised:
            raise raised[0] from None
        raise
    finally:
        _close(loop)
    return recorder


def _logger(warnings: list[str]) -> logging.Logger:
    """What `pulumi.log` talks to: warnings and errors are kept for the caller, nothing is printed."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.append(record.getMessage())

    logger = logging.Logger("pulumi", logging.WARNING)
    logger.addHandler(Keep())
    return logger


def _close(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


@contextlib.contextmanager
def _inside(project: Path) -> Iterator[None]:
    """Run as `pulumi` does: the project's folder is the working folder and comes first on the import path."""
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(project))
    try:
        with contextlib.chdir(project):
            yield
    finally:
        sys.path[:] = path
        # Modules of another project must not be found by the next one's imports. Our own stay: their exception types
        # would not match those of a second import.
        if project != Path(headroom.__file__).resolve().parent.parent:
            for module in set(sys.modules) - before:
                file = getattr(sys.modules[module], "__file__", None)
                if file and Path(file).is_relative_to(project):
                    del sys.modules[module]
