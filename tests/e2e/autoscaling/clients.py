"""Clients that ask for many rows at once, again as soon as they are answered: `clients.py ADDRESS COUNT`.

Where the model takes a row a call, all other rows of a request wait, so the queue is as long as there are rows. Every
request has a connection of its own: a kept one would stay with the pod that it began with.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import httpx

ROWS = {"entity_ids": [f"entity-{number:04d}" for number in range(100)]}


async def one(client: httpx.AsyncClient) -> None:
    while True:
        with contextlib.suppress(httpx.HTTPError):
            await client.post("/predict/batch", json=ROWS)


async def everyone(address: str, count: int) -> None:
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=30, trust_env=False) as client:
        await asyncio.gather(*(one(client) for _ in range(count)))


asyncio.run(everyone(sys.argv[1], int(sys.argv[2])))
