"""A Pulumi resource monitor that records what a program registers, instead of deploying it.

Pulumi's plain mocks hide parents, options and secrets, and let a second registration of a URN replace the first; this
one reads the requests themselves. Importing this module imports Pulumi.
"""

from __future__ import annotations

import threading
from typing import Any

from google.protobuf import empty_pb2, struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime import mocks
from pulumi.runtime.proto import resource_pb2

from headroom.engine.rendered import Path, Resource

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  the protocol's mark of a secret value
_RESOURCE_REFERENCE = "5cf8f73096256a8f31e491e813e4eb8e"
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_STACK = "pulumi:pulumi:Stack"


class Unrenderable(Exception):
    """A value that no manifest can hold: an asset, or one that only a deployment knows."""


def plain(value: struct_pb2.Value, path: Path, secrets: list[Path]) -> Any:
    """A protobuf value as plain Python. Protobuf knows floats only, so whole numbers become ints again (3, not 3.0).
    Secrets are unwrapped and their places appended to `secrets`."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _struct(value.struct_value, path, secrets)
    if kind == "list_value":
        return [plain(v, (*path, str(i)), secrets) for i, v in enumerate(value.list_value.values)]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        if value.string_value == _UNKNOWN:
            raise Unrenderable(f"{'.'.join(path)} is known only after a deployment")
        return value.string_value
    return value.bool_value if kind == "bool_value" else None


def _struct(struct: struct_pb2.Struct, path: Path, secrets: list[Path]) -> Any:
    fields = struct.fields
    signature = fields[_SIGNATURE].string_value if _SIGNATURE in fields else ""
    if signature == _SECRET:
        secrets.append(path)
        return plain(fields["value"], path, [])
    if signature == _RESOURCE_REFERENCE:
        return fields["urn"].string_value
    if signature:
        raise Unrenderable(f"{'.'.join(path)} is a file or an archive")
    return {k: plain(v, (*path, k), secrets) for k, v in fields.items()}


def properties(struct: struct_pb2.Struct) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """The top-level properties of a request as plain Python, and the places of the secrets among them."""
    secrets: list[Path] = []
    return {k: plain(v, (k,), secrets) for k, v in struct.fields.items()}, tuple(sorted(secrets))


class _NoMocks(mocks.Mocks):
    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        return "", {}


class Recorder(mocks.MockMonitor):
    """Answers every registration with its own inputs, and keeps them. `problems` are for the person who wrote the
    program; they are collected, so that all of them can be told at once."""

    def __init__(self, project: str, stack: str) -> None:
        super().__init__(_NoMocks())
        self.stack_urn = f"urn:pulumi:{stack}::{project}::{_STACK}::{project}-{stack}"
        self._prefix = f"urn:pulumi:{stack}::{project}::"
        self._lock = threading.Lock()
        self.registrations: dict[str, Resource] = {}
        self.outputs: dict[str, struct_pb2.Struct] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The URN as the engine builds it: the chain of types down from the stack, which itself is left out."""
        chain = parent.split("::")[2] if parent else ""
        qualified = f"{chain}${type_}" if chain and chain != _STACK else type_
        return f"{self._prefix}{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == _STACK:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        try:
            inputs, secrets = properties(request.object)
        except Unrenderable as error:
            inputs, secrets = {}, ()
            self._problem(f"{request.name} ({request.type}): {error}")
        if request.remote:
            self._problem(
                f"{request.name} ({request.type}) is a remote component; only Kubernetes objects can be rendered"
            )
        resource = Resource(
            urn=urn,
            type_token=request.type,
            name=request.name,
            parent=request.parent,
            custom=request.custom,
            inputs=inputs,
            secret_paths=secrets,
            dependencies=tuple(sorted(request.dependencies)),
            protect=request.protect,
            retain_on_delete=request.retainOnDelete,
            delete_before_replace=request.deleteBeforeReplace,
            replace_on_changes=tuple(request.replaceOnChanges),
            ignore_changes=tuple(request.ignoreChanges),
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            aliases=tuple(sorted([*request.aliasURNs, *(_alias(a) for a in request.aliases)])),
            provider=request.provider,
            deleted_with=request.deletedWith,
        )
        with self._lock:
            if urn in self.registrations:
                self.problems.append(f"two resources are named {request.name} ({request.type}); names must differ")
            self.registrations[urn] = resource
        metadata = inputs.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        # The Kubernetes provider's ids are namespace/name.
        identity = "/".join(str(p) for p in (metadata.get("namespace"), metadata.get("name")) if p) or request.name
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=identity if request.custom else "", object=request.object
        )

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        with self._lock:
            self.outputs[request.urn] = request.outputs
        return empty_pb2.Empty()

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        self._problem(f"{request.name} ({request.type}) reads a live object; a rendering has no cluster to read from")
        urn = self.make_urn(request.parent, request.type, request.name)
        return resource_pb2.ReadResourceResponse(urn=urn, properties=request.properties)

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        self._problem(f"the program calls {request.tok}; a rendering has no provider to ask")
        return resource_pb2.ResourceInvokeResponse()

    def _problem(self, text: str) -> None:
        with self._lock:
            self.problems.append(text)


def _alias(alias: Any) -> str:
    if alias.WhichOneof("alias") == "urn":
        return str(alias.urn)
    spec = alias.spec
    return ",".join(f"{f.name}={v}" for f, v in spec.ListFields())
