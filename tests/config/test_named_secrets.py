"""Chat secrets from a file or from the server's backend, and from nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import pytest
from airflow.secrets.base_secrets import BaseSecretsBackend
from airflow.secrets.metastore import MetastoreBackend

from airflow_approvals.config import named_secrets
from airflow_approvals.config.named_secrets import is_named, named_secret
from airflow_approvals.config.settings import Settings
from airflow_approvals.doctor.chat_secrets import chat_secrets_behind_backend
from airflow_approvals.doctor.findings import Severity, Surroundings
from airflow_approvals.errors import ConfigurationError

KEYED = Settings(slack_bot_token_secret="bot-token")


class Vault(BaseSecretsBackend):
    """Keeps configuration, and remembers how often it was asked."""

    asked: ClassVar[list[str]] = []

    def __init__(self, **kept: Any) -> None:
        self.kept = kept

    def get_config(self, key: str) -> str | None:
        self.asked.append(key)
        if self.kept.get(key) == "boom":
            raise RuntimeError("token s.abcdef refused")
        return self.kept.get(key)


class Metastore(MetastoreBackend):
    def get_config(self, key: str) -> str | None:
        return "xoxb-from-the-database"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    for known in (named_secrets._cache, named_secrets._failures, named_secrets._asking):
        known.clear()
    Vault.asked.clear()
    yield
    for known in (named_secrets._cache, named_secrets._failures, named_secrets._asking):
        known.clear()


def use(monkeypatch: pytest.MonkeyPatch, backend: type, section: str = "SECRETS", **kept: str) -> None:
    option = "BACKEND" if section == "SECRETS" else "SECRETS_BACKEND"
    monkeypatch.setenv(f"AIRFLOW__{section}__{option}", f"{__name__}.{backend.__name__}")
    monkeypatch.setenv(f"AIRFLOW__{section}__{option}_KWARGS", json.dumps(kept))


def test_a_file_is_read_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    settings = Settings(slack_bot_token_file=file)
    for text in ("one", "two"):
        file.write_text(text)
        assert named_secret(settings, "slack_bot_token") == text


def test_the_servers_backend_is_asked_for_configuration_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, Vault, **{"bot-token": " xoxb-1 "})
    assert [named_secret(KEYED, "slack_bot_token") for _ in range(3)] == ["xoxb-1"] * 3
    assert Vault.asked == ["bot-token"]
    monkeypatch.setattr(named_secrets, "CACHE_SECONDS", 0.0)
    named_secret(KEYED, "slack_bot_token")
    assert len(Vault.asked) == 2


def test_the_metadata_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Metastore)
    with pytest.raises(ConfigurationError, match="metadata database"):
        named_secret(KEYED, "slack_bot_token")


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({}, "holds no configuration under the key of"),
        ({"bot-token": " "}, "holds no configuration under the key of"),
        ({"bot-token": "boom"}, r"failed at the key of .*\(RuntimeError\)"),
    ],
)
def test_a_backend_that_does_not_answer_is_an_error_without_its_words(
    monkeypatch: pytest.MonkeyPatch, kept: dict[str, str], said: str
) -> None:
    use(monkeypatch, Vault, **kept)
    with pytest.raises(ConfigurationError, match=said) as caught:
        named_secret(KEYED, "slack_bot_token")
    assert "abcdef" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_failure_is_an_answer_for_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Vault, **{"bot-token": "boom"})
    said = set()
    for _ in range(5):
        with pytest.raises(ConfigurationError) as caught:
            named_secret(KEYED, "slack_bot_token")
        said.add(str(caught.value))
    assert (len(said), Vault.asked) == (1, ["bot-token"])
    use(monkeypatch, Vault, **{"bot-token": "xoxb-1"})
    monkeypatch.setattr(named_secrets, "FAILED_SECONDS", 0.0)
    assert named_secret(KEYED, "slack_bot_token") == "xoxb-1"


def test_a_backend_that_hangs_is_asked_by_one_and_waited_for_shortly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, Vault, **{"bot-token": "xoxb-1"})
    monkeypatch.setattr(named_secrets, "WAIT_SECONDS", 0.01)
    hanging = named_secrets._asking.setdefault("bot-token", Lock())
    with hanging, pytest.raises(ConfigurationError, match="does not answer"):
        named_secret(KEYED, "slack_bot_token")
    assert Vault.asked == []
    assert named_secret(KEYED, "slack_bot_token") == "xoxb-1"


def test_a_key_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Vault, signing="s")
    with named_secrets._asking.setdefault("bot-token", Lock()):
        assert named_secret(Settings(slack_signing_secret_secret="signing"), "slack_signing_secret") == "s"


def test_the_last_answer_stands_in_for_a_backend_that_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use(monkeypatch, Vault, **{"bot-token": "xoxb-1"})
    assert named_secret(KEYED, "slack_bot_token") == "xoxb-1"
    monkeypatch.setattr(named_secrets, "CACHE_SECONDS", 0.0)
    use(monkeypatch, Vault, **{"bot-token": "boom"})
    assert [named_secret(KEYED, "slack_bot_token") for _ in range(2)] == ["xoxb-1"] * 2
    assert ("(RuntimeError)" in caplog.text, "xoxb-1" in caplog.text) == (True, False)
    monkeypatch.setattr(named_secrets, "KEPT_SECONDS", 0.0)
    with pytest.raises(ConfigurationError, match="RuntimeError"):
        named_secret(KEYED, "slack_bot_token")


def test_a_secret_that_was_taken_away_is_not_used_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Vault, **{"bot-token": "xoxb-1"})
    named_secret(KEYED, "slack_bot_token")
    monkeypatch.setattr(named_secrets, "CACHE_SECONDS", 0.0)
    use(monkeypatch, Vault)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="holds no configuration"):
            named_secret(KEYED, "slack_bot_token")


def test_without_a_backend_or_with_both_options_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no \[secrets\] backend is"):
        named_secret(KEYED, "slack_bot_token")
    both = replace(KEYED, slack_bot_token_file=tmp_path)
    with pytest.raises(ConfigurationError, match="Both"):
        named_secret(both, "slack_bot_token")
    with pytest.raises(ConfigurationError, match="Neither"):
        named_secret(Settings(), "slack_bot_token")
    assert [is_named(one, "slack_bot_token") for one in (KEYED, both, Settings())] == [True, True, False]


def examined(**changes: Any) -> list[str]:
    around = Surroundings(KEYED, {}, frozenset(), ("CeleryExecutor",), datetime.now(UTC), worker=True)
    found = list(chat_secrets_behind_backend(replace(around, **changes)))
    assert all(one.severity is Severity.CRITICAL for one in found)
    return [one.check for one in found]


def test_a_backend_that_workers_share_with_the_server_is_critical(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Vault, **{"bot-token": "xoxb-1"})
    assert examined() == ["chat_secret_in_reach"]
    assert examined(settings=Settings()) == []
    assert examined(worker=False) == [], "tasks do not run here"
    assert examined(worker=False, executors=("LocalExecutor",)) == ["chat_secret_in_reach"]
    use(monkeypatch, Vault, section="WORKERS", other="x")
    assert examined() == []
