"""Start a real Airflow with one or two rings taken out, so that each ring is proved alone.

Usage::

    from tests.enforcement.ring_switches import only, rings_off

    deployment = AirflowDeployment(home, environment={**rings_off("start", "credential")}, ...)
    deployment = AirflowDeployment(home, environment={**only("flow")}, ...)
    subprocess.run([...], env={**os.environ, **only("start")})

The rings are ``flow``, ``start`` and ``credential``; ``rings_off()`` without a name leaves all on.
It has to be the environment of *every* process of the deployment: parsers and workers judge the
flow, API servers the start and the credential. What it does: it puts a folder with a
``sitecustomize`` first on ``PYTHONPATH``, which replaces the ring's one question ("is this
protected?", "does this stand behind a gate?", "is this DAG in order?") as its module is
imported. The hooks stay on their routes and answer the start-up check; everything else (intake,
answers, ledger) works. The package itself has no such switch.
"""

from __future__ import annotations

import os
from pathlib import Path

RINGS = ("flow", "start", "credential")
_FOLDER = Path(__file__).parent / "switched_off"
_PROJECT = Path(__file__).resolve().parents[2]


def rings_off(*rings: str) -> dict[str, str]:
    """Return the environment of processes in which these rings do nothing."""
    if unknown := set(rings) - set(RINGS):
        raise ValueError(f"no such ring: {sorted(unknown)}; there are {RINGS}")
    kept = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    path = os.pathsep.join([str(_FOLDER), *kept, str(_PROJECT)])
    return {"PYTHONPATH": path, "APPROVALS_TEST_RINGS_OFF": ",".join(rings)}


def only(ring: str) -> dict[str, str]:
    """Return the environment of processes in which only this ring works."""
    return rings_off(*(other for other in RINGS if other != ring))
