"""A client that writes and reads without a pause and remembers what was acknowledged.

Runs as a process of its own in the cluster's network, outside every pod, with the client of the inference service.
First line of stdin: a JSON object (`url`, `dns`, `prefix`, `timeout_ms`). Then commands, each answered with with JSON:
`mark` (figures from here on), `tell` (figures since the mark), `check` (reads everything that was ever acknowledged),
`fill N` (N keys as fast as possible), `end`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import socket
import struct
import sys
import time
from collections import deque
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

from inference.redis_client import connect
from inference.settings import Settings

PAUSE_SECONDS = 0.004
WRITERS = 3
"""Each writes to a third of the slots: in a Cluster one master's outage must not hide behind the others."""
AT_ONCE = 20
"""Commands in flight, each on a connection of its own."""


def resolver(server: str) -> None:
    """Have names of the cluster answered by its own DNS; this machine's does not know them."""
    usual = socket.getaddrinfo

    def ask(host: Any, port: Any, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if not name.endswith(".svc"):
            return usual(host, port, family, kind, proto, flags)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address(server, f"{name}.cluster.local"), int(port)))]

    socket.getaddrinfo = ask  # type: ignore[assignment]


def address(server: str, name: str) -> str:
    """The first A record of a name. Raises socket.gaierror."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    question = struct.pack(">HHHHHH", random.getrandbits(16), 0x0100, 1, 0, 0, 0) + labels + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(1)
        asked.sendto(question, (server, 53))
        answer = asked.recv(4096)
    count = struct.unpack(">H", answer[6:8])[0]
    place = 12 + len(labels) + 4
    for _ in range(count):
        while answer[place] and answer[place] < 0xC0:
            place += answer[place] + 1
        place += 2 if answer[place] else 1
        kind, _, _, length = struct.unpack(">HHIH", answer[place : place + 10])
        if kind == 1:
            return socket.inet_ntoa(answer[place + 10 : place + 14])
        place += 10 + length
    raise socket.gaierror(socket.EAI_NONAME, f"{name} has no address")


class Ledger:
    """What was acknowledged, and when. `reads` and `writes` (by writer) are (began, ended, error or empty)."""

    def __init__(self, url: str, prefix: str, timeout_ms: int) -> None:
        # The client gives a command twice this.
        self.client: Any = connect(Settings.model_validate({"redis_url": url, "redis_timeout_ms": timeout_ms}))
        self.prefix = prefix
        self.acknowledged: list[int] = []
        self.begun = 0
        self.writes: list[list[tuple[float, float, str]]] = [[] for _ in range(WRITERS)]
        self.waiting: list[deque[int]] = [deque() for _ in range(WRITERS)]
        self.reads: list[tuple[float, float, str]] = []

    def following(self, writer: int) -> int:
        """The next number whose key is in a writer's slots."""
        while not self.waiting[writer]:
            self.begun += 1
            slot: int = key_slot(f"{self.prefix}{self.begun}".encode())
            self.waiting[slot * WRITERS // SLOTS].append(self.begun)
        return self.waiting[writer].popleft()

    async def write(self, writer: int) -> None:
        while True:
            number, began, error = self.following(writer), time.monotonic(), ""
            try:
                await self.client.set(f"{self.prefix}{number}", number)
                self.acknowledged.append(number)
            except Exception as failure:  # whatever the library lets out is what a service would see
                error = f"{type(failure).__name__}: {failure}"
            self.writes[writer].append((began, time.monotonic(), error))
            await asyncio.sleep(WRITERS * PAUSE_SECONDS)

    async def read(self) -> None:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            if not self.acknowledged:
                continue
            began, error = time.monotonic(), ""
            try:
                await self.client.get(f"{self.prefix}{random.choice(self.acknowledged)}")  # noqa: S311
            except Exception as failure:
                error = f"{type(failure).__name__}: {failure}"
            self.reads.append((began, time.monotonic(), error))

    def mark(self) -> dict[str, Any]:
        for done in (*self.writes, self.reads):
            done.clear()
        return {}

    def tell(self) -> dict[str, Any]:
        writes, reads, now = [each for done in self.writes for each in done], list(self.reads), time.monotonic()
        good = [[ended for _, ended, error in done if not error] for done in self.writes]
        gaps = [b - a for ends in good for a, b in itertools.pairwise(ends)]
        took = sorted(1000 * (ended - began) for began, ended, error in writes if not error)
        return {
            "acknowledged": len(took),
            "write_errors": sorted({error for *_, error in writes if error})[:10],
            "failed_writes": sum(bool(error) for *_, error in writes),
            "reads": len(reads),
            "failed_reads": sum(bool(error) for *_, error in reads),
            "read_errors": sorted({error for *_, error in reads if error})[:10],
            "longest_gap_s": round(max(gaps, default=0.0), 3),
            "silent_s": round(max(now - ends[-1] for ends in good), 3) if all(good) else None,
            "p50_ms": round(took[len(took) // 2], 2) if took else None,
            "p99_ms": round(took[int(len(took) * 0.99)], 2) if took else None,
        }

    async def check(self) -> dict[str, Any]:
        """Which acknowledged writes are not there any more."""
        known, lost = list(self.acknowledged), []
        for start in range(0, len(known), AT_ONCE):
            some = known[start : start + AT_ONCE]
            for _ in range(20):
                try:
                    values = await asyncio.gather(*(self.client.get(f"{self.prefix}{i}") for i in some))
                    break
                except Exception:
                    await asyncio.sleep(0.5)
            else:
                return {"error": "it does not answer"}
            lost += [i for i, value in zip(some, values, strict=True) if value is None or int(value) != i]
        return {"known": len(known), "lost": len(lost), "which": lost[:5] + lost[-5:]}

    async def fill(self, count: int) -> dict[str, Any]:
        for _ in range(0, count, AT_ONCE):
            numbers = [self.begun + n for n in range(1, AT_ONCE + 1)]
            self.begun += AT_ONCE
            await asyncio.gather(*(self.client.set(f"{self.prefix}{i}", i) for i in numbers))
            self.acknowledged += numbers
        return {"known": len(self.acknowledged)}


async def main() -> None:
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    given = json.loads(await lines.readline())
    resolver(given["dns"])
    ledger = Ledger(given["url"], given["prefix"], given["timeout_ms"])
    work = [*(ledger.write(writer) for writer in range(WRITERS)), ledger.read()]
    working = [asyncio.create_task(each) for each in work]
    while (line := (await lines.readline()).decode().split()) and line[0] != "end":
        answer: Any
        match line:
            case ["mark"]:
                answer = ledger.mark()
            case ["tell"]:
                answer = ledger.tell()
            case ["check"]:
                answer = await ledger.check()
            case ["fill", count]:
                answer = await ledger.fill(int(count))
            case _:
                answer = {"error": f"what is {line}?"}
        print(json.dumps(answer), flush=True)
    for task in working:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(main())
