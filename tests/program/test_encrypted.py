"""Only the passwords may be encrypted, and they must be: everything else ends in clear text on the cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from headroom.engine.render import render
from headroom.engine.rendered import Rendered
from headroom.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
Config = dict[str, Any]


def test_an_encrypted_value_of_a_service_is_refused(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    dev = config("dev")
    dev["headroom:services"]["inference"].setdefault("env", {})["TOKEN"] = {"secure": "v1:abc"}
    with pytest.raises(InputError, match="headroom:services holds an encrypted value") as found:
        render_config(dev)
    assert "existingSecret" in found.value.fix


def test_passwords_in_the_clear_are_refused_and_not_repeated(config: Callable[[str], Config], tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    dev = config("dev") | {"headroom:secrets": {"redisApp": "correct-horse-battery"}}
    file.write_text(yaml.safe_dump({"config": dev}))
    with pytest.raises(InputError, match="headroom:secrets is not encrypted") as found:
        render(ROOT, "dev", config_file=file)
    assert "correct-horse" not in str(found.value)
