"""Start one lasting process, record it, and end. Run as a program of its own: `python -I spawn.py`, its order on stdin.

A separate small program, because a process that forks and changes namespaces must have one thread and few open files,
and because nothing that happens to whoever asked (Ctrl-C, kill -9) may come between a process and its record.

The order is JSON: `argv`, `env`, `log`, `record` (a path), and one of
  `join`: the pid of a namespaces' process 1, to start inside of its network, mount and process namespaces;
  `make`: `{"hide": {"/var/lib": folder, ...}, "files": {"/proc/sys/...": file, ...}, "settings": {path: value}}`,
          to start as process 1 of new namespaces with those folders and files laid over the machine's own;
  neither, to start as an ordinary process.
The record is JSON: `{"pid": ..., "started": ...}`, as seen from the machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

NEW_MOUNTS, NEW_PIDS, NEW_NETWORK = 0x00020000, 0x20000000, 0x40000000
BIND, RECURSIVE, PRIVATE, SHARED = 4096, 16384, 1 << 18, 1 << 20


def call(name: str, *arguments: object) -> None:
    """A call of the C library; raises OSError with its own words. (`os.unshare` and `os.setns` are Python 3.12.)"""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)


def started(processes: int, pid: int) -> str:
    """The start time of a process in clock ticks since boot, read below an open `/proc`; with the pid it names it."""
    with os.fdopen(os.open(f"{pid}/stat", os.O_RDONLY, dir_fd=processes)) as stat:
        return stat.read().rpartition(")")[2].split()[19]


def furnish(room: dict[str, dict[str, str]]) -> None:
    """Lay the machine's files out anew, seen in these namespaces only; the kernel takes it all back with process 1."""
    mount("none", "/", "", PRIVATE | RECURSIVE)
    mount("none", "/", "", SHARED | RECURSIVE)  # volumes of pods are shared between the kubelet and its containers
    mount("proc", "/proc", "proc", 0)
    for target, source in room["hide"].items():
        if source:
            mount(source, target, "", BIND)
        else:
            mount("tmpfs", target, "tmpfs", 0)
    for target, source in room["files"].items():
        if Path(target).exists():
            mount(source, target, "", BIND)
    for setting, value in room["settings"].items():
        Path(setting).write_text(value)


def main() -> None:
    order = json.load(sys.stdin)
    processes = os.open("/proc", os.O_RDONLY) if sys.platform == "linux" else -1
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if order.get("join"):
        names = [os.open(f"/proc/{order['join']}/ns/{kind}", os.O_RDONLY) for kind in ("net", "pid", "mnt")]
        for name in names:
            call("setns", name, 0)
    elif order.get("make"):
        call("unshare", NEW_NETWORK | NEW_MOUNTS | NEW_PIDS)
    # The child waits for its record: had it not been written, the child would not run.
    ready, go = os.pipe()
    pid = os.fork()
    if pid:
        record = Path(order["record"])
        waiting = record.with_suffix(".new")
        waiting.write_text(json.dumps({"pid": pid, "started": started(processes, pid) if processes >= 0 else ""}))
        waiting.replace(record)
        os.write(go, b"1")
        os._exit(0)
    os.close(go)
    if not os.read(ready, 1):
        os._exit(1)
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if order.get("make"):
            furnish(order["make"])
        os.chdir("/")
        os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606 arguments are a list
    except OSError as problem:
        os.write(2, f"{order['argv'][0]}: {problem}\n".encode())
    os._exit(127)


if __name__ == "__main__":
    main()
