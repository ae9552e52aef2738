"""The container files, as far as they can be proved without a container engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.packaging import compose_parser

DOCKER = Path(__file__).resolve().parents[2] / "docker"
SCRIPTS = DOCKER / "scripts"
FILES = [DOCKER / "compose.yaml"]
WITH_SLACK = [*FILES, DOCKER / "compose.slack.yaml"]
CHOSEN = {
    "AIRFLOW_USERS": "alice:admin,bob:user",
    "APPROVALS_PROTECTED_CONNECTIONS": "training_bucket",
    "APPROVALS_POLICY": "/etc/approvals/policy.yaml",
    "APPROVALS_SECRETS": "/etc/approvals/secrets",
    "SLACK_CHANNEL": "C0123456789",
}


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_does_not_run_as_root() -> None:
    users = [line for line in (DOCKER / "Dockerfile").read_text().splitlines() if line.startswith("USER")]
    assert users[-1] == "USER 50000"


@pytest.mark.parametrize("missing", ["AIRFLOW_USERS", "APPROVALS_POLICY", "APPROVALS_SECRETS"])
def test_compose_names_what_is_missing(missing: str) -> None:
    with pytest.raises(ValueError, match=f"required variable {missing}"):
        compose_parser.parse(FILES, {name: value for name, value in CHOSEN.items() if name != missing})


def test_compose_refuses_a_typo(tmp_path: Path) -> None:
    typo = tmp_path / "compose.yaml"
    typo.write_text(FILES[0].read_text().replace("healthcheck:", "healthchek:"))
    with pytest.raises(ValueError, match="healthchek"):
        compose_parser.parse([typo], CHOSEN)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return compose_parser.parse(WITH_SLACK, CHOSEN)


def test_compose_has_every_part_and_no_triggerer(project: dict[str, Any]) -> None:
    parts = {"postgres", "folders", "prepare", "api-server", "scheduler", "dag-processor"}
    assert set(project["services"]) == parts
    for name in ("postgres", "api-server", "scheduler", "dag-processor"):
        assert project["services"][name]["healthcheck"]["test"]


def test_compose_hands_each_secret_to_who_needs_it_as_a_file(project: dict[str, Any]) -> None:
    holders: dict[str, set[str]] = {name: set() for name in project["secrets"]}
    for service, definition in project["services"].items():
        for secret in definition.get("secrets", []):
            holders[secret["source"]].add(service)
    servers = {"api-server", "scheduler", "dag-processor", "prepare"}
    assert holders == {
        "postgres_password": {"postgres"},
        "database_url": servers,
        "fernet_key": servers,
        "connections.json": {"prepare"},
        "jwt_secret": {"api-server", "scheduler"},
        "api_secret_key": {"api-server"},
        "signing_key": {"api-server"},
        "slack_bot_token": {"api-server"},
        "slack_signing_secret": {"api-server"},
    }


def test_compose_puts_no_secret_into_an_environment(project: dict[str, Any]) -> None:
    endings = ("_CMD", "_FILE", "_USERS")
    for definition in project["services"].values():
        for name, value in (definition.get("environment") or {}).items():
            secret = any(word in name for word in ("PASSWORD", "SECRET", "KEY", "TOKEN", "CONN"))
            assert not secret or name.endswith(endings) or name.endswith("PROTECTED_CONNECTIONS"), name
            assert "://airflow:" not in str(value)


def test_compose_runs_airflow_without_privileges(project: dict[str, Any]) -> None:
    for name, definition in project["services"].items():
        assert not definition.get("privileged")
        if name not in ("postgres", "folders"):
            assert definition["user"] == "50000:0"
            assert definition["cap_drop"] == ["ALL"]


def test_compose_runs_scripts_that_exist(project: dict[str, Any]) -> None:
    for definition in project["services"].values():
        for word in definition.get("command") or []:
            if word.startswith("/opt/approvals/scripts/"):
                script = SCRIPTS / Path(word).name
                assert os.access(script, os.X_OK)
                assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
