"""How the hooks come to stand on Airflow's routes, and what happens when they do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_approvals.enforcement import execution_hooks
from airflow_approvals.enforcement.shut_routes import GUARDED


def test_every_hook_stands_and_attaching_again_changes_nothing() -> None:
    from airflow.api_fastapi.execution_api.routes import execution_api_router

    assert execution_hooks.missing_hooks() == []
    before = {id(route): len(route.dependencies) for route in execution_api_router.routes}
    execution_hooks.attach(execution_api_router)
    assert {id(route): len(route.dependencies) for route in execution_api_router.routes} == before


def test_a_hook_that_is_gone_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.execution_api.routes import execution_api_router

    route = execution_hooks._route(execution_api_router, "GET", "/connections/{connection_id}")
    without = [d for d in route.dependencies if d.dependency is not execution_hooks.connection_hook]
    monkeypatch.setattr(route, "dependencies", without)
    assert execution_hooks.missing_hooks() == ["GET /connections/{connection_id}"]


def fresh(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter with a home of its own."""
    env = {**os.environ, "AIRFLOW_HOME": str(folder), "PYTHONPATH": str(Path.cwd()), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=600, check=False
    )


def test_importing_airflow_is_enough_and_loads_no_api(tmp_path: Path) -> None:
    code = """
import sys
import airflow
import airflow.settings
assert "airflow_approvals.policy_hooks" in sys.modules, "Airflow loads the entry point"
heavy = {"airflow.api_fastapi.execution_api.routes", "airflow_approvals.enforcement.execution_hooks"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import airflow.api_fastapi.execution_api.routes
from airflow_approvals.enforcement.execution_hooks import missing_hooks
print("missing:", missing_hooks())
"""
    done = fresh(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("missing: []")


BROKEN = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "airflow_approvals.enforcement.execution_hooks" and not BROKEN_OVER:
            raise SyntaxError("a broken module")
BROKEN_OVER = []
sys.meta_path.insert(0, Broken())
import airflow
import airflow.settings
from airflow.api_fastapi.execution_api.app import create_task_execution_api_app
app = create_task_execution_api_app()
BROKEN_OVER.append(1)
from airflow_approvals.api.self_check import silent_routes
assert len(silent_routes(app)) > 40, "the start-up check must see it"
from fastapi.testclient import TestClient
import airflow.api_fastapi.execution_api.security as security
from airflow.api_fastapi.execution_api.datamodels.token import TIClaims, TIToken
from uuid import UUID
token = TIToken(id=UUID(int=0), claims=TIClaims(scope="execution"))
app.dependency_overrides[security._jwt_bearer] = lambda: token
with TestClient(app, raise_server_exceptions=False) as client:
    triggered = client.post("/dag-runs/gated/by_a_task", json={})
    assert triggered.json()["detail"]["reason"] == "approvals_missing", triggered.text
    read = client.get("/dag-runs/gated/by_a_task")
    assert "approvals_missing" not in read.text, read.text
    answer = client.get("/connections/sink_a")
print(answer.status_code, answer.headers["content-type"], answer.json()["detail"]["reason"])
"""


def test_a_broken_hook_module_breaks_no_import_and_opens_no_route(tmp_path: Path) -> None:
    done = fresh(BROKEN, tmp_path, AIRFLOW__API_AUTH__JWT_SECRET="s" * 64)
    assert done.returncode == 0, done.stderr
    assert "hooks are not attached" in done.stderr
    assert done.stdout.strip().endswith("403 application/json approvals_missing")


def test_every_hooked_route_but_the_end_of_a_task_is_shut_without_its_hook() -> None:
    hooked = set(execution_hooks.HOOKS) - {("PATCH", "/task-instances/{task_instance_id}/state")}
    assert all(method in GUARDED[end] for method, end in hooked)
