"""The programs of the cluster: from the cache, else built from Go modules whose sums are in this repository.

An entry of the cache is a folder named by the program, its version and a hash of all that went into it. It is made
beside and renamed, so it is whole or not there, and a lock keeps two processes from making it twice.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local import golang, paths, times
from headroom.local.processes import last_line
from headroom.local.record import lock
from headroom.progress import Progress, step

KUBERNETES_VERSION = "1.35.4"
SOURCES = Path(__file__).parent / "go"


@dataclass(frozen=True)
class Program:
    """One Go build: the module in `go/<name>`, the package to link (none: only keep files), the result's names."""

    name: str
    version: str
    package: str
    minutes: float
    """How long a build takes on two cores with an empty cache, for the estimate that is shown."""
    names: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    """Link-time `-X` settings, for programs that tell their version."""
    keep: tuple[tuple[str, str, str], ...] = ()
    """Files to take from a module beside the program: (module@version, folder in it, name in the entry)."""
    beside: tuple[str, ...] = ()
    """Further packages of the same build. Each program then has its package's last name, not the entry's."""
    tags: tuple[str, ...] = ()


KUBERNETES = Program(
    "kubernetes",
    KUBERNETES_VERSION,
    ".",
    8,
    names=(
        *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
        *("coredns", "local-volumes"),
    ),
    variables=(
        f"k8s.io/component-base/version.gitVersion=v{KUBERNETES_VERSION}",
        f"k8s.io/component-base/version.gitMajor={KUBERNETES_VERSION.split('.', maxsplit=1)[0]}",
        f"k8s.io/component-base/version.gitMinor={KUBERNETES_VERSION.split('.')[1]}",
        "k8s.io/component-base/version.gitTreeState=archive",
    ),
)
KWOK = Program(
    "kwok",
    "0.8.0",
    "sigs.k8s.io/kwok/cmd/kwok",
    1.5,
    names=("kwok",),
    variables=("sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0",),
    keep=(("sigs.k8s.io/kwok@v0.8.0", "kustomize", "kustomize"),),
)
METRICS_SERVER = Program(
    "metrics-server", "0.9.0", "sigs.k8s.io/metrics-server/cmd/metrics-server", 3, names=("metrics-server",)
)
TOOLS = Program("tools", "1", ".", 0.1, names=("pause", "pki"))

# What every cluster needs; the others are built for those who ask for them.
ALL = (TOOLS, KUBERNETES, KWOK, METRICS_SERVER)

# What `headroom load` runs; no cluster needs it.
K6 = Program("k6", "1.8.1", "go.k6.io/k6", 2.5, names=("k6",))
CUSTOM_METRICS = Program("custom-metrics", "1.36.0", ".", 3, names=("custom-metrics",))
PROMETHEUS = Program(
    "prometheus",
    "3.13.5",
    "github.com/prometheus/prometheus/cmd/prometheus",
    5,
    names=("prometheus", "promtool"),
    variables=("github.com/prometheus/common/version.Version=3.13.5",),
    beside=("github.com/prometheus/prometheus/cmd/promtool",),
    # Clouds' own discoveries are most of its dependencies.
    tags=("remove_all_sd", "enable_kubernetes_sd"),
)
_KEDA = "github.com/kedacore/keda/v2"
_KEDA_VERSION = "2.21.0"
KEDA = Program(
    "keda",
    _KEDA_VERSION,
    f"{_KEDA}/cmd/operator",
    10,
    names=("operator", "adapter"),
    variables=(f"{_KEDA}/version.Version={_KEDA_VERSION}",),
    keep=((f"{_KEDA}@v{_KEDA_VERSION}", "config", "config"),),
    beside=(f"{_KEDA}/cmd/adapter",),
)
KEDA_DEFINITIONS = Program(
    "keda-definitions",
    _KEDA_VERSION,
    "",
    0.2,
    keep=((f"{_KEDA}@v{_KEDA_VERSION}", "config/crd/bases", "definitions"),),
)


def ensure(programs: tuple[Program, ...], progress: Progress) -> dict[str, Path]:
    """Every program's names with the paths to run them by, built now if they are not in the cache.

    Raises EnvironmentFailure when a program cannot be built; what was built before it stays.
    """
    found: dict[str, Path] = {}
    missing = [program for program in programs if not entry(program).is_dir()]
    if missing:
        minutes = sum(program.minutes for program in missing)
        progress.note(
            f"{', '.join(p.name for p in missing)}: to be built once, about {minutes:.0f} minutes on two cores; "
            f"they are kept in {paths.cache()}"
        )
    for program in programs:
        folder = entry(program)
        if not folder.is_dir():
            build(program, folder, progress)
        found |= {name: folder / name for name in program.names}
    return found


def entry(program: Program) -> Path:
    """The folder of a program in the cache, whether it is there or not."""
    return paths.cache() / "bin" / f"{program.name}-{program.version}-{digest(program)}"


def digest(program: Program) -> str:
    """Twelve hexadecimal digits of what goes into a build: its sources, its flags, the machine's kind."""
    inputs: tuple[object, ...] = (program.version, program.package, program.names, program.variables, program.keep)
    inputs += tuple(field for field in (program.beside, program.tags) if field)
    summed = hashlib.sha256(repr((inputs, platform.system(), platform.machine())).encode())
    for file in sorted((SOURCES / program.name).iterdir()):
        summed.update(file.name.encode() + b"\0" + file.read_bytes())
    return summed.hexdigest()[:12]


def build(program: Program, folder: Path, progress: Progress) -> None:
    """Build one program into the cache, or wait for another process that does."""
    text = f"building {program.name} {program.version} (about {duration(program.minutes)}, once)"
    began = time.monotonic()
    with step(progress, text, f"built {program.name} {program.version}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.parent / f".{folder.name}"
        with lock(beside, seconds=3600, why=" to build the same"):
            try:
                if not folder.is_dir():
                    go = golang.find(progress)
                    with times.kept(f"{program.name} {program.version}"):
                        make(
                            program,
                            go,
                            folder,
                            lambda news: progress.detail(f"{news}, {time.monotonic() - began:.0f} s"),
                        )
            finally:
                # Also what a build that was killed has left.
                for left in folder.parent.glob(f".{folder.name}*"):
                    shutil.rmtree(left, ignore_errors=True)


def make(program: Program, go: golang.Go, folder: Path, tell: Callable[[str], None]) -> None:
    """Build beside the entry and rename; an interruption leaves nothing."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        new = Path(beside) / "new"
        source = Path(beside) / "source"
        new.mkdir()
        shutil.copytree(SOURCES / program.name, source)
        flags = " ".join(["-s -w", *(f"-X {variable}" for variable in program.variables)])
        # A folder takes each program by its own name.
        target = new if program.beside else new / program.name
        try:
            tell("fetching sources")
            if program.package:
                output = [*tags(program), "-o", str(target), program.package, *program.beside]
                go.run(["build", "-trimpath", "-v", f"-ldflags={flags}", *output], source, tell=tell)
            for module, inside, name in program.keep:
                found = json.loads(go.run(["mod", "download", "-json", module], source))
                shutil.copytree(Path(found["Dir"]) / inside, new / name, copy_function=shutil.copyfile)
        except subprocess.CalledProcessError as problem:
            raise EnvironmentFailure(
                f"building {program.name} {program.version} failed: {last_line(problem.output or '')}",
                fix="see whether the Go module proxy can be reached and the disk has 6 GB free, and start again",
            ) from problem
        for name in program.names:
            if not (new / name).exists():
                (new / name).symlink_to(program.name)
        new.rename(folder)


def tags(program: Program) -> list[str]:
    return [f"-tags={','.join(program.tags)}"] if program.tags else []


def duration(minutes: float) -> str:
    return f"{minutes:.0f} minutes" if minutes >= 2 else f"{minutes * 60:.0f} seconds"
