"""Claims without a volume, and volumes without room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headroom.ops.doctor import Snapshot
from headroom.ops.doctor.snapshot import VolumeUse


@pytest.fixture
def claimed(lab: Any) -> Snapshot:
    """The stack with a claim that nothing provisions."""
    seen: Snapshot = lab.healthy()
    return replace(
        seen,
        claims=(*seen.claims, lab.sick("claims", "data", "postgres")),
        events=(*seen.events, *lab.events("data")),
    )


def test_a_claim_without_a_storage_class(lab: Any, claimed: Snapshot) -> None:
    lab.explains(claimed, "volume-is-not-provisioned", "there is no storage class nowhere")


def test_a_pod_that_waits_for_its_claim_is_told_with_the_claim_alone(lab: Any, claimed: Snapshot) -> None:
    seen = replace(claimed, pods=(*claimed.pods, lab.with_pod("novolume", "postgres").pods[-1]))
    assert "novolume" in lab.one(seen, "volume-is-not-provisioned").symptom


def test_a_volume_that_is_full(lab: Any) -> None:
    full = VolumeUse("headroom", "data-pg-shard-0-0", "pg-shard-0-0", 96 * 2**30, 4 * 2**30)
    lab.explains(replace(lab.healthy(), volumes=(full,)), "volume-is-full", "96.0 GiB used, 4.0 GiB left")
