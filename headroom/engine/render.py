"""Run the program without a cluster and without the Pulumi CLI, and keep the objects that it registers.

The project's own `__main__.py` runs under Pulumi's mock runtime. Pulumi is imported only when `render` is called.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headroom.engine import graph, stackconfig
from headroom.engine.rendered import ObjectId, Rendered, RenderedObject, Resource
from headroom.engine.write import write
from headroom.errors import HeadroomError, InputError
from headroom.project import stack_file

if TYPE_CHECKING:
    from headroom.engine.recorder import Recorder

__all__ = ["ObjectId", "Rendered", "RenderedObject", "Resource", "render", "write"]

# The program changes the working folder and sys.path, which belong to the whole process.
_one_at_a_time = threading.Lock()


def render(
    project: Path, stack: str, *, config_file: Path | None = None, secrets: Mapping[str, Any] | None = None
) -> Rendered:
    """The objects of a stack.

    `project` is the folder of `Pulumi.yaml` and `__main__.py`; `config_file` replaces its `Pulumi.<stack>.yaml`;
    `secrets` are the values of secret config keys (`headroom:postgres.password`): what is encrypted in the stack file
    and not given here becomes a placeholder, as does a password that the stack needs and does not have yet; they are
    listed in `Rendered.placeholders`.

    May be called any number of times in one process, also while an event loop runs.

    Raises InputError for what is wrong in the stack file or cannot be deployed by any engine, and whatever else the
    program raises.
    """
    project = project.resolve()
    name = stackconfig.project_name(project)
    config = stackconfig.with_passwords(stackconfig.load(config_file or stack_file(stack, project), name, secrets))
    if not (project / "__main__.py").is_file():
        raise InputError(f"{project} has no __main__.py", fix="run headroom inside a checkout of the project")
    with _one_at_a_time:
        return _result(_recorded(project, name, stack, config), stack, name, config)


def _recorded(project: Path, name: str, stack: str, config: stackconfig.StackConfig) -> Recorder:
    from headroom.engine import program  # noqa: PLC0415  it imports Pulumi

    done: list[Recorder] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(program.run(project, name, stack, config))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="headroom-render", daemon=True)
    thread.start()
    thread.join()
    if failed:
        _raise(failed[0])
    return done[0]


def _raise(error: BaseException) -> None:
    """Raise what the program raised; when one of ours is behind it, that one alone, which has words for people."""
    cause: BaseException | None = error
    seen: set[int] = set()  # Pulumi raises the same exception in several places: chains can run in a circle
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, HeadroomError):
            raise cause from None
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    raise error


def _result(recorder: Recorder, stack: str, name: str, config: stackconfig.StackConfig) -> Rendered:
    from headroom.engine.recorder import properties  # noqa: PLC0415  it imports Pulumi

    resources = tuple(sorted(recorder.registrations.values(), key=lambda r: r.urn))
    problems = sorted(set(recorder.problems + graph.problems(resources)))
    if problems:
        more = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
        raise InputError("\n  - ".join([f"stack {stack} cannot be rendered:", *problems[:10], *more]))
    outputs = recorder.outputs.get(recorder.stack_urn)
    exports, secret = properties(outputs) if outputs is not None else ({}, ())
    return Rendered(
        project=name,
        stack=stack,
        namespace=config.values.get(f"{name}:namespace") or str(exports.get("namespace") or ""),
        objects=graph.objects(resources),
        resources=resources,
        exports=exports,
        secret_exports=frozenset(path[0] for path in secret),
        placeholders=config.placeholders,
        warnings=tuple(dict.fromkeys(recorder.warnings)),
    )
