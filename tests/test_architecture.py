"""What the rooms promise each other, beyond the import contracts that ``make lint`` checks."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "airflow_approvals"
DAG_FILES = sorted((PROJECT / "dags").glob("*.py"))
HEAVY = {"presidio_analyzer", "presidio_anonymizer", "spacy", "thinc"}
SERVER_ONLY = {
    f"airflow_approvals.{room}" for room in ("store", "seams", "control", "chat", "dispatcher", "api")
}


@pytest.mark.parametrize("dag_file", DAG_FILES, ids=lambda path: path.stem)
def test_parsing_a_dag_loads_neither_presidio_nor_the_server(dag_file: Path, tmp_path: Path) -> None:
    """Every worker and the DAG processor parse these files again and again."""
    loaded = _modules_after(f"import runpy; dag = runpy.run_path({str(dag_file)!r})", tmp_path)
    assert "airflow_approvals.sensors.approval" in loaded
    assert not HEAVY & loaded
    assert not SERVER_ONLY & loaded


def test_import_airflow_stays_light_with_the_policy_hook(tmp_path: Path) -> None:
    """The hook is imported by every Airflow process, also by those that never serve a request."""
    loaded = _modules_after("import airflow.settings; airflow.settings.initialize()", tmp_path)
    assert "airflow_approvals.policy_hooks" in loaded
    assert "fastapi" not in loaded
    assert not HEAVY & loaded
    assert not SERVER_ONLY & loaded


def test_the_policy_hook_imports_the_standard_library_only() -> None:
    eager = ast.parse((PACKAGE / "policy_hooks.py").read_text()).body
    modules = {
        name for node in eager if isinstance(node, ast.Import | ast.ImportFrom) for name in _imported(node)
    }
    assert modules <= set(sys.stdlib_module_names)


def test_every_file_can_be_read_in_one_sitting() -> None:
    long = {
        str(path.relative_to(PROJECT)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 350
    }
    assert long == {}


def test_what_the_package_imports_is_what_it_declares() -> None:
    """A library that only happens to be there is missing on somebody else's machine."""
    configuration = ConfigParser()
    configuration.read(PROJECT / "setup.cfg")
    declared = configuration["options"]["install_requires"].split("\n")
    brought = [
        *declared,
        *(requires("apache-airflow-core") or []),
        *(requires("apache-airflow-task-sdk") or []),
    ]
    allowed = {_normalised(re.split(r"[^\w.-]", one)[0]) for one in brought if one and "extra ==" not in one}
    # Airflow's two distributions are what apache-airflow itself consists of; thinc is spaCy's core.
    allowed |= {"apache-airflow-core", "apache-airflow-task-sdk", "thinc"}
    # Whoever asks for the fixture runs pytest; no other room may know it.
    only_in_testing = {"pytest"}
    providers = packages_distributions()
    undeclared = {
        module
        for path in PACKAGE.rglob("*.py")
        for module in _imported(ast.parse(path.read_text()))
        if not (path.parent.name == "testing" and module in only_in_testing)
        if module not in {*sys.stdlib_module_names, "airflow_approvals"}
        and not allowed & {_normalised(name) for name in providers.get(module, [])}
    }
    assert undeclared == set()


def _imported(tree: ast.AST) -> set[str]:
    """Return the top-level names of all absolute imports, wherever they stand."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _modules_after(code: str, home: Path) -> set[str]:
    """Run ``code`` in a fresh interpreter and return the names of all loaded modules."""
    script = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "AIRFLOW_HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))
