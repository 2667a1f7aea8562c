"""Commands that are printed name the cluster of the run."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from headroom.cli import console


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_here", {"headroom": [], "kubectl": []})


def test_on_the_default_cluster_there_is_nothing_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    console.on_cluster()
    console.on_stack("local")
    assert console.here() == ""
    console.remind("headroom up; kubectl get pods")
    assert capsys.readouterr().err == ""


def test_elsewhere_a_command_names_it_or_is_followed_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    console.on_cluster("--context eu", "--context eu")
    console.on_stack("prod")
    whole = f"headroom up{console.here()}"
    assert whole == "headroom up --context eu --stack prod"
    console.remind(whole)
    console.remind("add a node")
    assert capsys.readouterr().err == ""
    console.remind("headroom up --stack prod")
    assert "headroom with --context eu, as here" in capsys.readouterr().err
    console.remind("headroom rollback api --context eu")
    assert "headroom with --stack prod, as here" in capsys.readouterr().err


def test_the_users_own_kubectl_does_not_know_the_embedded_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    console.on_cluster("", "KUBECONFIG=/state/kubeconfig")
    console.remind("kubectl describe pod x")
    assert "kubectl with KUBECONFIG=/state/kubeconfig, as here" in capsys.readouterr().err
    console.remind("headroom verify")
    assert capsys.readouterr().err == ""


def shown(news: str) -> str:
    """What a terminal of 80 columns is shown, folds and controls taken out."""
    buffer = io.StringIO()
    terminal = Console(file=buffer, force_terminal=True, width=80, soft_wrap=True, highlight=False)
    progress = console.ConsoleProgress(terminal)
    progress.begin("wave 14 of 14")
    progress.detail(news)
    progress.end("done", ok=True)
    return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", buffer.getvalue()).split())


def test_why_a_step_waits_is_never_cut_off() -> None:
    news = (
        "0 of 2 ready; Deployment shop/api: 0 of 2 updated (pod api-5d9: Back-off pulling image [registry.example/api])"
    )
    told = shown(news)
    assert re.search(r"wave 14 of 14 \(\d+ s\)", told)
    assert news in told


def test_news_that_begin_with_the_step_say_it_once() -> None:
    now = console.Now("waiting for etcd", time.monotonic(), "waiting for etcd, 3 s")
    assert str(now.__rich__()) == "waiting for etcd, 3 s"
