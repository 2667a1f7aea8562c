"""A rendered stack as files: one YAML file an object, the same bytes when nothing changed."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import yaml

from headroom.engine.rendered import Manifest, ObjectId, Rendered, RenderedObject
from headroom.errors import EnvironmentFailure, InputError

SYNC_WAVE = "argocd.argoproj.io/sync-wave"
SECRETS_FILE = "SECRETS.txt"
_MARK = "# rendered by headroom from stack "
# YAML 1.1 readers (kubectl is one) take these for numbers, PyYAML writes them bare.
_NUMBER_LIKE = re.compile(r"[-+]?[0-9.][0-9_.]*([eE][-+]?[0-9]+)?|0o?[0-7]+")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # the base is chosen at run time
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else "'" if _NUMBER_LIKE.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)


def to_yaml(manifest: Manifest) -> str:
    """A manifest as YAML: apiVersion, kind and metadata first, then keys in order."""
    first = [k for k in ("apiVersion", "kind", "metadata") if k in manifest]
    ordered = {k: _sorted(manifest[k]) for k in [*first, *sorted(set(manifest) - set(first))]}
    return str(yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _sorted(value[k]) for k in sorted(value)}
    return [_sorted(v) for v in value] if isinstance(value, list) else value


def with_wave(o: RenderedObject) -> Manifest:
    """The manifest with its wave as Argo CD's sync wave."""
    manifest = copy.deepcopy(o.manifest)
    annotations = manifest["metadata"].get("annotations") or {}
    manifest["metadata"]["annotations"] = {**annotations, SYNC_WAVE: str(o.wave)}
    return manifest


def file_name(identity: ObjectId, *, with_group: bool = False) -> str:
    """`<namespace>.<kind>.<name>.yaml`: stable for as long as the object lives, and unambiguous because neither a
    namespace nor a kind has dots. Cluster-scoped objects begin with `cluster`."""
    kind = f"{identity.kind.lower()}-{identity.group.replace('.', '-')}" if with_group else identity.kind.lower()
    return f"{identity.namespace or '_cluster'}.{kind}.{identity.name.replace(':', '_')}.yaml"


def write(rendered: Rendered, out: Path, *, with_secrets: bool = False) -> tuple[Path, ...]:
    """Write one YAML file an object into `out` and return the files, sorted.

    Secrets are omitted (applying blanked ones would overwrite live passwords) and listed in SECRETS.txt; with
    `with_secrets` they are written too, and only the user can read the folder and those files. Files that a former
    rendering of the same stack left and this one does not have are removed; files of others are never touched.

    Raises InputError when a file of somebody else is in the way, EnvironmentFailure when a secret's value is not known.
    """
    if with_secrets and rendered.placeholders:
        raise EnvironmentFailure(
            f"the values of these secrets are not known here: {', '.join(rendered.placeholders)}",
            fix="render without --with-secrets, or name Secrets of your own in the stack file: `existingSecret`",
        )
    mark = f"{_MARK}{rendered.stack}\n"
    files = {out / name: o for name, o in _names(rendered).items() if with_secrets or not o.is_secret}
    texts = {path: mark + to_yaml(with_wave(o)) for path, o in files.items()}
    omitted = [] if with_secrets else [o for o in rendered.objects if o.is_secret]
    if omitted:
        texts[out / SECRETS_FILE] = mark + _omitted(omitted)
    _prepare(out, private=with_secrets)
    mine = {path for path in (*out.glob("*.yaml"), out / SECRETS_FILE) if path.is_file() and _first_line(path) == mark}
    in_the_way = sorted(path.name for path in texts if path.exists() and path not in mine)
    if in_the_way:
        raise InputError(
            f"{out} holds files that this stack's rendering did not write: {', '.join(in_the_way[:5])}",
            fix="choose an empty folder with --out, one a stack",
        )
    for path, text in texts.items():
        _write(path, text, private=path in files and files[path].is_secret)
    for path in mine - texts.keys():
        path.unlink()
    return tuple(sorted(texts))


def _names(rendered: Rendered) -> dict[str, RenderedObject]:
    names: dict[str, RenderedObject] = {}
    plain = [file_name(o.id) for o in rendered.objects]
    for o, name in zip(rendered.objects, plain, strict=True):
        names[file_name(o.id, with_group=True) if plain.count(name) > 1 else name] = o
    return names


def _omitted(secrets: list[RenderedObject]) -> str:
    lines = ["# These Secrets belong to the stack and were left out; they must be on the cluster already."]
    for o in sorted(secrets, key=lambda o: o.id):
        keys = sorted({*(o.manifest.get("data") or {}), *(o.manifest.get("stringData") or {})})
        lines.append(f"{o.id.namespace}/{o.id.name}: {', '.join(keys) or '(no keys)'}")
    return "\n".join(lines) + "\n"


def _prepare(out: Path, *, private: bool) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o777)
        if private:
            out.chmod(0o700)
    except OSError as error:
        raise InputError(f"{out} cannot be written to: {error.strerror}", fix="choose another --out") from error


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as f:
        return f.readline()


def _write(path: Path, text: str, *, private: bool) -> None:
    if private:
        path.touch(mode=0o600)
        path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
