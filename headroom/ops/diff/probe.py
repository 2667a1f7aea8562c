"""Plan and render stacks of the project in the current folder, and print them as JSON: one side of a diff.

Run by `headroom diff` as `python -m headroom.ops.diff.probe STACK…` in each of the two revisions, so that every
revision is read by its own code. The JSON is the contract between revisions; FORMAT counts its breaking changes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headroom.errors import HeadroomError
from headroom.redaction import plaintext

FORMAT = 1


def main(stacks: list[str]) -> int:
    """Print `{"format", "stacks": {name: plan and objects, or error}}`."""
    folder = Path.cwd()
    # What the program prints while it is rendered must not mix with the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    json.dump({"format": FORMAT, "stacks": {stack: read(folder, stack) for stack in stacks}}, answer)
    return 0


def read(folder: Path, stack: str, file: Path | None = None) -> dict[str, Any]:
    """One stack: `lines`, `costs`, `warnings`, `objects`; or `absent`; or `error` and `fix`. Secrets are not in it.

    `file` replaces the folder's own stack file.
    """
    file = file or folder / f"Pulumi.{stack}.yaml"
    if not file.is_file():
        return {"absent": True}
    try:
        return {**_planned(stack, file), **_rendered(folder, stack, file)}
    except HeadroomError as error:
        return {"error": _text(error.message, folder), "fix": _text(error.fix, folder)}
    except Exception as error:  # a program may fail in any way; a diff says so and goes on with the other stacks
        return {"error": _text(f"the program failed: {type(error).__name__}: {error}", folder), "fix": ""}


def _planned(stack: str, file: Path) -> dict[str, Any]:
    from headroom.capacity import demand, plan  # noqa: PLC0415  so that a broken import is this stack's error
    from headroom.capacity.plan import cost, pods  # noqa: PLC0415  as above

    asked = demand.load(stack, file)
    made = plan.make(asked)
    groups = [
        *(pods.of_service(s, 0) for s in made.services),
        *pods.of_parts(made.postgres, made.pgbouncer, made.redis, made.h2o),
    ]
    price = cost.prices(asked.prices)
    costs = {
        g.component: [
            float(cost.monthly("", [g], made.h2o if g.component == "h2o" else None, price, at_most=most).value)
            for most in (False, True)
        ]
        for g in groups
    }
    costs["total"] = [float(made.monthly_cost_at_min.value), float(made.monthly_cost_at_max.value)]
    return {
        "lines": [
            {
                "component": x.component,
                "setting": x.setting,
                "value": x.value,
                "unit": x.unit,
                "because": x.because,
                "boundBy": x.bound_by,
            }
            for x in made.lines
        ],
        "costs": costs,
        "warnings": [{"component": w.component, "message": w.message} for w in made.warnings],
    }


def _rendered(folder: Path, stack: str, file: Path) -> dict[str, Any]:
    from headroom.engine.render import render  # noqa: PLC0415  as above

    rendered = render(folder, stack, config_file=file)
    aliases = {r.urn: r.aliases for r in rendered.resources}
    return {
        "objects": [
            {
                "manifest": _without_secrets(o.manifest, o.secret_paths),
                "urn": o.urn,
                "aliases": list(aliases.get(o.urn, ())),
                "replaceOnChanges": list(o.replace_on_changes),
                "retain": o.retain,
            }
            for o in rendered.objects
            if not o.is_secret
        ]
    }


def _without_secrets(manifest: Mapping[str, Any], secret_paths: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    clean = plaintext.redact(manifest)
    for path in secret_paths:
        holder: Any = clean
        for step in path[:-1]:
            holder = holder[int(step) if isinstance(holder, list) else step]
        holder[int(path[-1]) if isinstance(holder, list) else path[-1]] = plaintext.HIDDEN
    return clean


def _text(text: str, folder: Path) -> str:
    """A message that names files as the project does, and holds no secret."""
    return plaintext.scrub(text.replace(f"{folder}/", "").replace(str(folder), "the project"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
