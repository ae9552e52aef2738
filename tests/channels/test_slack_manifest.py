"""The app manifest: valid under the schemas that Slack publishes, and no wider than it has to be."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from airflow_approvals.api.slack import router
from airflow_approvals.channels.slack_manifest import EMAIL_SCOPE, INTERACTIONS_PATH, SCOPES, manifest
from airflow_approvals.cli.slack import print_manifest
from airflow_approvals.errors import ConfigurationError

SCHEMAS = Path(__file__).parent / "manifest_schema"
URL = "https://airflow.example.com"
MINIMAL = {"chat:write", "im:write", "users:read", "usergroups:read", "channels:history", "groups:history"}


def require_valid(document: dict[str, Any]) -> None:
    for version in (1, 2):
        schema = json.loads((SCHEMAS / f"manifest.schema.{version}.0.0.json").read_text())
        jsonschema.Draft7Validator(schema).validate(document)


@pytest.mark.parametrize("base_url", [URL, None])
@pytest.mark.parametrize("email", [False, True])
def test_it_is_valid_under_slacks_schemas(base_url: str | None, email: bool) -> None:
    require_valid(manifest(base_url=base_url, email=email))


@pytest.mark.parametrize(
    "change", [{"display_information": {}}, {"settings": {"interactivity": {}}}, {"scopes": []}]
)
def test_the_schemas_refuse_what_is_wrong(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        require_valid({**manifest(base_url=URL), **change})


def test_the_app_may_do_what_is_needed_and_no_more() -> None:
    for email in (False, True):
        scopes = manifest(base_url=URL, email=email)["oauth_config"]["scopes"]
        assert set(scopes) == {"bot"}, "no scope of a user's"
        assert set(scopes["bot"]) == MINIMAL | ({EMAIL_SCOPE} if email else set())
    assert set(SCOPES) == MINIMAL


def test_clicks_go_to_the_route_that_takes_them() -> None:
    paths = {route.path for route in router.routes}
    assert INTERACTIONS_PATH.removeprefix("/approvals") in paths
    settings = manifest(base_url=f"{URL}/")["settings"]
    assert settings["interactivity"] == {"is_enabled": True, "request_url": f"{URL}{INTERACTIONS_PATH}"}
    assert not settings["socket_mode_enabled"]


def test_with_socket_mode_nothing_has_to_be_reached() -> None:
    settings = manifest(base_url=None)["settings"]
    assert settings["interactivity"] == {"is_enabled": True}
    assert settings["socket_mode_enabled"]


@pytest.mark.parametrize("url", ["http://localhost:8080", "airflow.example.com", "https://", f"{URL}/?x=1"])
def test_an_address_that_slack_cannot_call_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--socket"):
        manifest(base_url=url)


def printed(capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    print_manifest(Namespace(**{"socket": False, "url": None, "email": False, "json": False, **changes}))
    return capsys.readouterr().out


def test_the_command_prints_yaml_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert yaml.safe_load(printed(capsys, url=URL)) == manifest(base_url=URL)
    assert json.loads(printed(capsys, socket=True, json=True)) == manifest(base_url=None)


def test_the_command_goes_by_airflows_own_address(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"Slack cannot reach Airflow at .*--url"):
        printed(capsys)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{URL}/team-a/")
    assert f"{URL}/team-a{INTERACTIONS_PATH}" in printed(capsys)
