"""What a cluster is, written down before anything of it is made, so that whoever comes after a crash finds it all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import os
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from headroom.errors import EnvironmentFailure
from headroom.local import paths

# Counted up when what `up` makes changes so much that a cluster made before cannot be carried on.
LAYOUT = 1

Room = Literal["namespace", "loopback"]


class Record(BaseModel):
    """A cluster's choices: all else (interface, cgroup, addresses, arguments) follows from them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: int = LAYOUT
    id: str
    nodes: Literal["real", "fake"]
    fake_nodes: int
    room: Room
    network: int
    """The second octet of the cluster's own 10.x.0.0/16."""
    ports: dict[str, int]

    @property
    def block(self) -> IPv4Network:
        return IPv4Network(f"10.{self.network}.0.0/16")

    @property
    def pods(self) -> IPv4Network:
        """Addresses of pods on the real node."""
        return IPv4Network(f"10.{self.network}.0.0/18")

    @property
    def fake_pods(self) -> IPv4Network:
        return IPv4Network(f"10.{self.network}.64.0/18")

    @property
    def services(self) -> IPv4Network:
        return IPv4Network(f"10.{self.network}.128.0/18")

    @property
    def dns(self) -> IPv4Address:
        return self.services[10]

    @property
    def uplink(self) -> IPv4Address:
        """This machine's end of the wire into the cluster."""
        return IPv4Address(f"10.{self.network}.255.1")

    @property
    def address(self) -> IPv4Address:
        """Where the control plane and the real node listen."""
        return IPv4Address(f"10.{self.network}.255.2" if self.room == "namespace" else "127.0.0.1")

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.ports['kube-apiserver']}"

    @property
    def interface(self) -> str:
        return f"hr-{self.id}"

    @property
    def cgroup(self) -> str:
        return f"headroom-{self.id}"


def identity(state: Path) -> str:
    """Eight hexadecimal digits of the state folder's path: names of interfaces are short, and shared by the machine."""
    return hashlib.sha256(str(state).encode()).hexdigest()[:8]


def load(state: Path) -> Record | None:
    """The record in a state folder; None where there is none. Raises EnvironmentFailure when it cannot be read."""
    file = state / paths.RECORD
    try:
        return Record.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError as problem:
        raise no_folder() from problem
    except (ValidationError, PermissionError) as problem:
        raise EnvironmentFailure(
            f"{file} is not a cluster's record of this version ({type(problem).__name__})", fix="headroom local down"
        ) from problem


def no_folder() -> EnvironmentFailure:
    """The failure for a place of clusters that is, or lies below, a file."""
    return EnvironmentFailure(
        f"{paths.clusters()} cannot be made: something on its path is no folder",
        fix="set XDG_STATE_HOME to a folder, or unset it",
    )


def save(state: Path, record: Record) -> None:
    """Write the record, whole or not at all."""
    new = state / f"{paths.RECORD}.new"
    new.write_text(record.model_dump_json(indent=2))
    new.replace(state / paths.RECORD)


def all_networks() -> set[int]:
    """The networks of every cluster of this user that has a record."""
    taken = set()
    for file in paths.clusters().glob(f"*/{paths.RECORD}"):
        with contextlib.suppress(ValidationError, OSError):
            taken.add(Record.model_validate_json(file.read_bytes()).network)
    return taken


def free_network(routed: list[IPv4Network]) -> int:
    """A 10.x.0.0/16 that no route of this machine and no other cluster overlaps. Raises EnvironmentFailure."""
    taken = all_networks()
    for octet in range(200, 250):
        block = IPv4Network(f"10.{octet}.0.0/16")
        if octet not in taken and not any(block.overlaps(route) for route in routed):
            return octet
    raise EnvironmentFailure(
        "no network of 10.200.0.0/16 to 10.249.0.0/16 is free",
        fix="take down a cluster: headroom local down --name NAME",
    )


@contextlib.contextmanager
def lock(folder: Path, *, seconds: float = 1200, why: str = "") -> Iterator[None]:
    """Hold a folder for oneself; the lock goes with the process, and leaves no file.

    Raises EnvironmentFailure when another process holds it for longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except (NotADirectoryError, FileExistsError) as problem:
            raise no_folder() from problem
        handle = os.open(folder, os.O_RDONLY)
        try:
            while not taken(handle):
                if time.monotonic() > deadline:
                    raise EnvironmentFailure(
                        f"another process holds {folder}{why}", fix="wait for it, or end it, and start again"
                    )
                time.sleep(0.1)
            # Whoever held it before may have removed the folder: then this lock is on nothing.
            if same(handle, folder):
                yield
                return
        finally:
            os.close(handle)


def taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def same(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False


def overlapping(text: str) -> IPv4Network | None:
    """A route's destination as a network; None for the default route and for IPv6."""
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None
