"""The built wheel is whole: everything of the package, nothing else, and it works on its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_approvals"

LOADS = """
import json
from importlib.metadata import entry_points, version
from airflow.plugins_manager import _get_plugins
from airflow.providers_manager import ProvidersManager
import airflow_approvals

plugins, errors = _get_plugins()
provider = ProvidersManager().providers["airflow-approvals"]
print(json.dumps({
    "where": airflow_approvals.__file__,
    "version": version("airflow-approvals"),
    "plugins": [plugin.name for plugin in plugins],
    "plugin_errors": errors,
    "db_managers": provider.data.get("db-managers", []),
    "policies": [e.value for e in entry_points(group="airflow.policy") if "approvals" in e.value],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that no left-over of an earlier build gets in."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(PROJECT / PACKAGE, source / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(out), str(source))
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    expected = {
        str(path.relative_to(PROJECT))
        for path in (PROJECT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {name for name in names if ".dist-info/" not in name}
    assert packaged == expected
    for needed in (
        "py.typed",
        "store/alembic.ini",
        "store/migrations/env.py",
        "store/migrations/script.py.mako",
    ):
        assert f"{PACKAGE}/{needed}" in packaged
    assert any(name.startswith(f"{PACKAGE}/store/migrations/versions/0001") for name in packaged)
    assert any(name.startswith(f"{PACKAGE}/detection/profiles/") for name in packaged)


def test_the_installed_wheel_loads_its_plugin_and_provider(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    _run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv"))
    _run(
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)),
        *("--constraint", str(PROJECT / "constraints.txt"), str(wheel)),
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    said = _run(str(python), "-c", LOADS, cwd=elsewhere, AIRFLOW_HOME=str(elsewhere))
    found = json.loads(said.splitlines()[-1])
    assert Path(found["where"]).is_relative_to(tmp_path)
    assert "approvals" in found["plugins"]
    assert not found["plugin_errors"]
    assert found["db_managers"] == ["airflow_approvals.store.db_manager.ApprovalsDBManager"]
    assert found["policies"] == ["airflow_approvals.policy_hooks"]
    command = _run(
        str(python), "-m", "airflow", "approvals", "--help", cwd=elsewhere, AIRFLOW_HOME=str(elsewhere)
    )
    assert "ledger" in command


def _run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    """Run, with the caller's Airflow and import path left out; return standard output."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("AIRFLOW_", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[:6]}\n{done.stdout}\n{done.stderr}"
    return done.stdout
