"""The one list of the parts names each wherever a part must have a place."""

from __future__ import annotations

from dataclasses import fields

import pytest

from headroom.backend.secrets import REQUIRED
from headroom.capacity import demand
from headroom.capacity.demand.images import ImagesDemand
from headroom.capacity.parts import PARTS
from headroom.capacity.plan.model import Plan
from headroom.errors import InputError
from headroom.local.images import NAMES


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_its_places(part: str) -> None:
    assert part in demand.StackDemand.model_fields
    assert part in ImagesDemand.model_fields
    assert part in {field.name for field in fields(Plan)}
    assert part in NAMES
    assert part in {spec.component for spec in REQUIRED.values()}


@pytest.mark.parametrize("part", PARTS)
def test_no_service_takes_a_parts_name_or_its_passwords(part: str) -> None:
    service = {"preset": "mage", "image": "a:1", "demand": {"jobsPerHour": 1, "meanDuration": "1s", "concurrency": 1}}
    for services, words in (
        ({part: service}, "is the name of a component"),
        ({"a": {**service, "existingSecret": f"{part}-passwords"}}, "is a Secret of the platform's own"),
    ):
        with pytest.raises(InputError, match=words):
            demand.from_config("x", {"environment": "dev", "services": services})
