"""The comment: its order, its size, and what never stands in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headroom.ops.diff.compare import compare
from headroom.ops.diff.model import Absent, Broken, Line, Rendered, Report, Snapshot
from headroom.ops.diff.report import LIMIT, markdown

Make = Callable[..., Any]


def report(*stacks: Any) -> Report:
    return Report("a1b2c3d", "the working tree", stacks)


@pytest.fixture
def resized(thing: Make, line: Make, snapshot: Make) -> Any:
    """An edit with something for every part of the comment."""

    def side(most: int, p99: float, cost: int, service: str) -> Snapshot:
        return snapshot(
            thing("HorizontalPodAutoscaler", "inference-hpa", spec={"maxReplicas": most}),
            thing("StatefulSet", "pg-shard-0", spec={"serviceName": service, "template": {}}),
            lines=(
                line("maxReplicas", most),
                line("predictedP99", p99, unit="ms", bound="latency"),
                line("monthlyCostAtMin", 1000, component="total", unit="USD"),
                line("monthlyCostAtMax", cost, component="total", unit="USD"),
            ),
        )

    before = replace(side(15, 60.5, 5000, "a"), costs={"inference": (100, 500)})
    return compare(before, replace(side(30, 42.0, 9000, "b"), costs={"inference": (100, 900)}))


def test_the_order_is_verdict_table_dangers_objects_then_what_is_folded(resized: Any) -> None:
    text = markdown(report(resized))
    places = [
        text.index(part)
        for part in (
            "### headroom diff: `prod`",
            "2 settings and 2 objects change, 1 danger",
            "> [!CAUTION]",
            "| setting | before → after | bound by | p99 | $/month |",
            "**Dangers**",
            "**Objects**",
            "deleted and made again (1)",
            "<summary>Formulas</summary>",
            "<summary>Full diff of 2 objects</summary>",
            "<sub>`a1b2c3d` → `the working tree`",
        )
    ]
    assert places == sorted(places)


def test_the_table_has_only_what_changed_with_bound_p99_and_bill(resized: Any) -> None:
    text = markdown(report(resized)).replace("\\$", "$")
    rows = [r for r in text.splitlines() if r.startswith("| `")]
    assert rows == [
        "| `inference.maxReplicas` | 15 → 30 | throughput | 60.5 ms → 42 ms | $100–$500 → $100–$900 |",
        "| `inference.predictedP99` | 60.5 ms → 42 ms | latency |  |  |",
        "| `total.monthlyCostAtMax` | 5,000 USD → 9,000 USD | throughput | – | – |",
    ]
    assert "$5,000 → $9,000 (+4,000) a month at maximum replicas" in markdown(report(resized)).replace("\\", "")


def test_the_marker_is_the_first_line_and_stable(resized: Any, snapshot: Make) -> None:
    assert markdown(report(resized)).splitlines()[:2] == ["<!-- headroom-diff:prod -->", "<!-- headroom-dangers:1 -->"]
    both = report(resized, compare(snapshot(stack="dev"), snapshot(stack="dev")))
    assert markdown(both).splitlines()[0] == "<!-- headroom-diff:all -->"


def test_an_unchanged_stack_is_one_sentence(snapshot: Make, thing: Make) -> None:
    side = snapshot(thing("Deployment"))
    text = markdown(report(compare(side, side)))
    assert "`prod` does not change" in text
    assert "|" not in text
    assert "<details>" not in text


def test_new_removed_and_broken_stacks_are_told(snapshot: Make, thing: Make) -> None:
    side = snapshot(thing("Deployment"))
    assert "is new: 1 object would be created" in markdown(report(compare(Absent("prod"), side)))
    assert "has no stack file any more" in markdown(report(compare(side, Absent("prod"))))
    text = markdown(report(compare(side, Broken("prod", "headroom:redis.mode: no", "choose cluster"))))
    assert "cannot be compared" in text
    assert "after the change: headroom:redis.mode: no — choose cluster" in text
    gone = markdown(Report("nope", "the working tree", problems=("there is no revision 'nope' here",)))
    assert "cannot be compared" in gone
    assert "no revision 'nope'" in gone


def test_the_full_diff_is_a_diff(resized: Any) -> None:
    text = markdown(report(resized))
    assert "-  serviceName: a\n+  serviceName: b" in text
    assert "--- before: StatefulSet ml/pg-shard-0" in text


def test_formulas_are_folded_and_not_in_the_diff(thing: Make, snapshot: Make) -> None:
    sides = [
        snapshot(thing("Deployment", spec={"a": n}, metadata={"annotations": {"headroom.dev/because": f"formula {n}"}}))
        for n in (1, 2)
    ]
    text = markdown(report(compare(*sides)))
    assert "formula 1" not in text
    assert "annotated anew" not in text


HOSTILE = ["x", "|`@<\\", "\u202e", "```\n", "é"]


def everything(count: int, size: int, hostile: str) -> Any:
    """A change of every number of a stack with `count` components, whose texts are long and hostile."""

    def side(n: int) -> Snapshot:
        text = hostile * size
        lines = [Line(f"svc-{i}", "maxReplicas", n, "", f"{text}{n}", f"bound {text}") for i in range(count)]
        objects = [
            Rendered(
                {
                    "apiVersion": "apps/v1",
                    "kind": "StatefulSet",
                    "metadata": {"name": f"svc-{i}", "namespace": "ml"},
                    "spec": {"serviceName": f"{n}", "replicas": n, "text": f"{text}{n}"},
                }
            )
            for i in range(count)
        ]
        warnings = tuple((f"svc-{i}", f"{text}{n}") for i in range(count))
        return Snapshot("prod", tuple(lines), warnings, tuple(objects))

    return compare(side(9), side(3))


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from(HOSTILE), st.integers(1, 4))
@example(4, 8, "\u202e", 19)
@example(300, 40, "|`", 1)
@example(1, 1, "x", 200)
def test_it_is_always_under_the_limit_and_whole(count: int, size: int, hostile: str, stacks: int) -> None:
    diff = everything(count, size, hostile)
    text = markdown(report(*[diff] * stacks))
    assert len(text) < LIMIT
    assert text.count("<details>") == text.count("</details>")
    assert text.splitlines()[0] == f"<!-- headroom-diff:{'prod' if stacks == 1 else 'all'} -->"
    assert f"<!-- headroom-dangers:{len(diff.dangers) * stacks} -->" in text


def test_what_is_left_out_is_counted() -> None:
    text = markdown(report(everything(400, 20, "word ")))
    shown = len(re.findall(r"^\| `svc-", text, re.MULTILINE))
    assert 0 < shown < 400
    assert f"… {400 - shown} more settings left out." in text
    assert re.search(r"the diff of \d+ more objects left out", text)
    assert "headroom diff --base a1b2c3d --stack prod --format markdown" in text


def test_problems_of_many_stacks_fit_too() -> None:
    broken = compare(Snapshot("s"), Broken("s", "x" * 100_000, "y" * 100_000))
    assert len(markdown(report(*[broken] * 500))) < LIMIT
    assert len(markdown(Report("b", "h", problems=("p" * 200_000,)))) < LIMIT
