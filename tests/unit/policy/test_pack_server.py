"""The pack as the engine runs it: a program of its own that answers over gRPC."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

ROOT = Path(__file__).parents[3]


def test_the_pack_starts_and_judges() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "policy")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT / "policy",
        env={**os.environ, "PULUMI_PROJECT": "headroom", "PULUMI_STACK": "prod", "PULUMI_DRY_RUN": "true"},
    ) as server:
        try:
            assert server.stdout
            port = int(server.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = analyzer_pb2_grpc.AnalyzerStub(channel)
                info = stub.GetAnalyzerInfo(empty_pb2.Empty())
                assert info.name == "headroom"
                assert {"restricted-pods", "disruption-budgets"} <= {p.name for p in info.policies}
                request = analyzer_pb2.AnalyzeRequest(type="kubernetes:core/v1:Pod", urn="urn:x", name="x")
                request.properties.update(
                    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"hostNetwork": True}}
                )
                said = stub.Analyze(request).diagnostics
                assert ["hostNetwork" in d.message for d in said] == [True]
        finally:
            server.kill()
