"""Load on a live service: at a rate, at what its stack demands, or stepped up to find what one pod carries.

The generator is k6 with its constant arrival rate: requests begin on time whether or not earlier ones were answered, so
a slow service cannot slow the measurement of itself (no coordinated omission).
"""

from headroom.ops.load.find import Found, advice, find
from headroom.ops.load.judge import misses
from headroom.ops.load.k6 import Generator
from headroom.ops.load.measure import Measured, measure
from headroom.ops.load.model import Reading, Shape
from headroom.ops.load.profile import profile
from headroom.ops.load.reach import Place, place, service_of
from headroom.ops.load.requests import requests

__all__ = [
    "Found",
    "Generator",
    "Measured",
    "Place",
    "Reading",
    "Shape",
    "advice",
    "find",
    "measure",
    "misses",
    "place",
    "profile",
    "requests",
    "service_of",
]
