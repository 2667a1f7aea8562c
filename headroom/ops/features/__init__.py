"""Features from a file into the shards: check all of it, then upsert it, and go on where it was stopped."""

from headroom.ops.features.check import Checked, check
from headroom.ops.features.journal import Journal
from headroom.ops.features.load import Loaded, load
from headroom.ops.features.reach import Store, reach
from headroom.ops.features.table import Table, open_table

__all__ = ["Checked", "Journal", "Loaded", "Store", "Table", "check", "load", "open_table", "reach"]
