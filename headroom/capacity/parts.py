"""The parts that hold a stack's data and those before them, by the names that they have everywhere: as keys of a stack
file, fields of demand and plan, labels of objects, images."""

from __future__ import annotations

from typing import Literal, get_args

PartName = Literal["postgres", "pgbouncer", "redis", "h2o"]
PARTS: tuple[PartName, ...] = get_args(PartName)
