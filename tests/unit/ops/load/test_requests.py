"""What is asked for, and where: never what nobody said, never through a port-forward."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headroom.capacity import demand, plan
from headroom.capacity.plan.model import ServicePlan
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.errors import HeadroomError, InputError
from headroom.kubectl import Kubectl
from headroom.ops.load import place, requests, service_of
from headroom.ops.load.reach import Used

ROOT = Path(__file__).parents[4]


def service(stack: str = "prod", key: str = "inference") -> ServicePlan:
    return service_of(plan.make(demand.load(stack, ROOT / f"Pulumi.{stack}.yaml")), key)


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Path]:
    def write(*text: str) -> Path:
        file = tmp_path / "given"
        file.write_text("".join(f"{line}\n" for line in text))
        return file

    return write


def ask(of: ServicePlan, **given: Any) -> Any:
    return requests(of, **{"path": None, "body": None, "entities": None, "timeout_s": 10.0, **given})


def test_the_samples_entities_are_asked_of_fastapi() -> None:
    shape = ask(service())
    assert shape.path == "/predict"
    assert len(shape.bodies) == len(set(shape.bodies)) == 569
    assert json.loads(shape.bodies[1]) == {"entity_id": "entity-0001"}


def test_entities_from_a_file_or_from_the_features_themselves(lines: Callable[..., Path]) -> None:
    assert ask(service(), entities=lines("a", "", "b")).bodies == ('{"entity_id": "a"}', '{"entity_id": "b"}')
    assert ask(service(), entities=lines("entity_id,f1", "a,1")).bodies == ('{"entity_id": "a"}',)


def test_bodies_and_paths(lines: Callable[..., Path]) -> None:
    shape = ask(service(), body=lines('{"x": 1}'), path="/score")
    assert (shape.path, shape.bodies) == ("/score", ('{"x": 1}',))
    assert ask(service("prod", "inferadb"), path="/x").bodies == ()
    for wrong in ({"path": "x"}, {"body": lines("no json")}, {"entities": Path("gone")}, {"entities": lines()}):
        with pytest.raises(InputError):
            ask(service(), **wrong)
    with pytest.raises(InputError, match="not known"):
        ask(service("prod", "inferadb"))


@pytest.mark.parametrize(("option", "what"), [("entities", "entity names"), ("body", "JSON documents")])
def test_a_file_that_is_not_there_or_none_says_what_it_should_be(
    option: str, what: str, lines: Callable[..., Path], tmp_path: Path
) -> None:
    latin = tmp_path / "latin"
    latin.write_bytes(b"m\xfcller\n")
    for file in (tmp_path / "missing", tmp_path, latin, lines("", " ")):
        with pytest.raises(InputError) as caught:
            ask(service(), **{option: file})
        assert f"--{option} with a file of {what}, one a line" in caught.value.fix
        assert "Errno" not in caught.value.message and "codec" not in caught.value.message


def test_an_address_that_is_given_needs_no_cluster() -> None:
    found = place(None, service(), "http://example.test:8080/api")
    assert (found.url, found.pods(), found.used()) == ("http://example.test:8080/api", [], None)
    with pytest.raises(InputError):
        place(None, service(), "example.test")


def fake_kubectl(tmp_path: Path, answers: dict[str, Any]) -> Kubectl:
    """A kubectl that answers `get KIND…` from a table."""
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    script = tmp_path / "kubectl"
    script.write_text(
        "#!/usr/bin/env python3\nimport json, sys\nfrom pathlib import Path\n"
        "known = json.loads(Path(__file__).with_name('answers.json').read_text())\n"
        "kind = sys.argv[sys.argv.index('get') + 1]\nfound = known.get(kind, '')\n"
        "print(found if isinstance(found, str) else json.dumps(found))\n"
    )
    script.chmod(0o755)
    return Kubectl(script, None, "some-context")


SLICES = {
    "items": [
        {
            "ports": [{"port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.7"], "conditions": {"ready": True}, "targetRef": {"name": "inference-b"}},
                {"addresses": ["10.0.0.6"], "conditions": {"ready": True}, "targetRef": {"name": "inference-a"}},
                {"addresses": ["10.0.0.5"], "conditions": {"ready": False}, "targetRef": {"name": "inference-0"}},
            ],
        }
    ]
}
LIVE = {"spec": {"type": "ClusterIP", "clusterIP": "10.1.2.3", "ports": [{"port": 80}]}, "status": {}}


def test_the_service_on_the_embedded_cluster_or_one_of_its_pods(tmp_path: Path) -> None:
    target = Target(fake_kubectl(tmp_path, {"service": LIVE, "endpointslices": SLICES}), "embedded", embedded=True)
    whole = place(target, service(), None)
    assert (whole.url, whole.pods()) == ("http://10.1.2.3:80", ["inference-a", "inference-b"])
    one = place(target, service(), None, one_pod=True)
    assert (one.url, one.pods()) == ("http://10.0.0.6:8080", ["inference-a"])


METRICS = """\
# TYPE http_requests_total counter
http_requests_total{method="POST",path="/predict",status="200"} 90.0
http_requests_total{method="POST",path="/predict",status="503"} 10.0
http_requests_created{method="POST",path="/predict",status="200"} 1.7e+09
process_cpu_seconds_total 12.5
"""


def test_what_pods_have_used_is_summed_from_their_own_metrics(tmp_path: Path) -> None:
    answers = {"service": LIVE, "endpointslices": SLICES, "--raw": METRICS}
    whole = place(Target(fake_kubectl(tmp_path, answers), "embedded", embedded=True), service(), None)
    assert whole.used() == Used(cpu_s=25.0, requests=200.0)
    silent = {"service": LIVE, "endpointslices": SLICES, "--raw": "other_metric 1\n"}
    assert place(Target(fake_kubectl(tmp_path, silent), "embedded", embedded=True), service(), None).used() is None


def test_elsewhere_a_balancers_address_and_never_a_port_forward(tmp_path: Path) -> None:
    balanced = {**LIVE, "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}}
    target = Target(fake_kubectl(tmp_path, {"service": balanced, "endpointslices": SLICES}), "context c")
    assert place(target, service(), None, one_pod=True).url == "http://lb.example:80"
    target = Target(fake_kubectl(tmp_path, {"service": LIVE, "endpointslices": SLICES}), "context c")
    with pytest.raises(InputError, match="would only measure itself") as refused:
        place(target, service(), None)
    assert "--url" in refused.value.fix


@pytest.mark.parametrize("answers", [{}, {"service": LIVE, "endpointslices": {"items": []}}])
def test_a_service_that_is_not_up_is_told(tmp_path: Path, answers: dict[str, Any]) -> None:
    with pytest.raises(HeadroomError):
        place(Target(fake_kubectl(tmp_path, answers), "embedded", embedded=True), service(), None)
    with pytest.raises(InputError, match="fake nodes"):
        place(Target(fake_kubectl(tmp_path, answers), "fake", real_pods=False), service(), None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("inference", "--stack", "prod", "--url", "http://127.0.0.1:1"), "prod"),
        (("nobody", "--stack", "dev"), "no service 'nobody'"),
        (("inference", "--stack", "dev", "--rate", "5", "--at-target"), "two loads"),
        (("inferadb", "--stack", "prod", "--yes-prod"), "not known"),
    ],
)
def test_what_is_refused_before_anything_is_sent(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(application("load"), ["load", *arguments])
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
