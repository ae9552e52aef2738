"""The switches of the tests do what they say, and the package has none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.enforcement.ring_switches import RINGS, only, rings_off

CODE = """
import airflow_approvals.enforcement.rings as rings
import airflow_approvals.enforcement.flow_ring as flow_ring
names = {"flow": flow_ring.check, "start": rings.is_behind_a_gate, "credential": rings.is_protected}
print(",".join(name for name, judge in names.items() if judge.__module__ != "sitecustomize"))
"""


@pytest.mark.parametrize("ring", RINGS)
def test_one_ring_is_left(ring: str, tmp_path: Path) -> None:
    assert _working(only(ring), tmp_path) == ring


def test_none_named_leaves_all(tmp_path: Path) -> None:
    assert _working(rings_off(), tmp_path) == ",".join(RINGS)


def test_the_package_knows_no_switch() -> None:
    package = Path(__file__).resolve().parents[2] / "airflow_approvals"
    assert [path for path in package.rglob("*.py") if "RINGS_OFF" in path.read_text()] == []


def _working(environment: dict[str, str], home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "AIRFLOW_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]
