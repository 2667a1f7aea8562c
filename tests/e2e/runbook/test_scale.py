"""`headroom scale` on real pods, under requests that are counted."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def test_an_emergency_survives_an_up_and_the_plan_comes_back(shop: Any) -> None:
    text = shop.file.read_text()
    assert shop.bounds == (2, 3)
    with shop.clients() as served:
        done = shop.ok("scale", "inference", "--to", "5", "--because", "launch day")
        assert shop.bounds == (5, 5)
        assert shop.ready == 5, done.output
        shop.ok("up")
        assert shop.bounds == (5, 5)
        assert shop.ready == 5
        shop.ok("scale", "inference", "--restore")
        assert shop.bounds == (2, 3)
        shop.until(lambda: len(shop.pods()) <= 3, "the planned maximum")
    assert shop.file.read_text() == text
    assert served.answers and not served.failures, served


def test_gradually_down_no_request_fails(shop: Any) -> None:
    shop.ok("scale", "inference", "--to", "5", "--because", "launch day")
    with shop.clients() as served:
        done = shop.ok("scale", "inference", "--restore", "--gradual")
    assert "5 → 4 pods" in done.stderr and "3 → 2 pods" in done.stderr
    assert "% errors" in done.stderr  # the pods' own counters were read
    assert len(shop.pods()) == 2
    assert shop.bounds == (2, 3)
    assert served.answers and not served.failures, served


def test_more_than_the_machine_has_is_refused(shop: Any) -> None:
    text, bounds = shop.file.read_text(), shop.bounds
    refused = shop.run("scale", "inference", "--to", "2000", "--because", "x", "--dry-run")
    assert "the nodes have room for" in str(refused.exception)
    assert (shop.file.read_text(), shop.bounds) == (text, bounds)
