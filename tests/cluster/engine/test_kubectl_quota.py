"""A stack whose pods get smaller, under a quota that fits them exactly."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.errors import EnvironmentFailure

pytestmark = pytest.mark.cluster

FITTING = """
quota = k8s.core.v1.ResourceQuota("q", metadata=meta("q"), spec={{"hard": {{"requests.memory": "{quota}"}}}},
    opts=Options(depends_on=[ns]))
room = {{"requests": {{"memory": "{pod}"}}}}
deployment("web", quota, replicas=2,
    containers=[{{"name": "main", "image": "example/x", "resources": room}}])
"""


def hard(stack: Any) -> str:
    found = stack.kubectl.get("resourcequota", "q", "-n", stack.namespace)
    return str(found["spec"]["hard"]["requests.memory"])


def test_smaller_pods_roll_out_beside_the_larger_and_then_the_quota_shrinks(stack: Any) -> None:
    stack.up(FITTING.format(quota="3Gi", pod="1Gi"))
    stack.up(FITTING.format(quota="768Mi", pod="256Mi"))
    assert hard(stack) == "768Mi"
    assert stack.up(FITTING.format(quota="768Mi", pod="256Mi")).changes.empty


def test_a_quota_keeps_its_room_while_the_rollout_is_stuck(stack: Any) -> None:
    stack.up(FITTING.format(quota="3Gi", pod="1Gi"))
    stuck = FITTING.replace("containers=[", 'nodeSelector={{"no": "such-node"}}, containers=[')
    with pytest.raises(EnvironmentFailure):
        stack.within(5).up(stuck.format(quota="768Mi", pod="256Mi"))
    assert hard(stack) == "3Gi"
