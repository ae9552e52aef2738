"""``airflow approvals slack check``: each step says what came of it, why, and the way out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_approvals.channels.slack_manifest import SCOPES
from airflow_approvals.cli.slack import check_setup
from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.store import policies
from airflow_approvals.store.session import run_transaction
from tests.channels.scripted_slack import ScriptedSlack
from tests.control.airflow_scene import POLICY
from tests.live.slack_emulator import SlackEmulator

pytestmark = pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)

ME = {"ok": True, "user": "approvals", "team": "Acme", "team_id": "T0TEST", "user_id": "U0APP"}
ALL = ",".join(SCOPES)
MEMBER = {"ok": True, "channel": {"id": "C0TEST", "is_member": True}}
POSTED = {"ok": True, "channel": "C0TEST", "ts": "1.000001"}
Run = Callable[[], tuple[int, list[str]]]


@pytest.fixture(scope="module")
def emulator() -> Iterator[SlackEmulator]:
    with SlackEmulator() as running:
        yield running


@pytest.fixture
def scripted() -> Iterator[ScriptedSlack]:
    with ScriptedSlack() as server:
        yield server


@pytest.fixture
def run(
    database: Any,
    tmp_path: Path,
    scripted: ScriptedSlack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run the command against the scripted Slack; return its exit code and its lines."""
    for name in ("bot_token", "signing_secret"):
        file = tmp_path / name
        file.touch(mode=0o600)
        file.write_text("xoxb-canary" if name == "bot_token" else "0123456789abcdef0123456789abcdef")
        monkeypatch.setenv(f"AIRFLOW__APPROVALS__SLACK_{name.upper()}_FILE", str(file))
    monkeypatch.setenv("AIRFLOW__APPROVALS__SLACK_CHANNEL", "C0TEST")
    monkeypatch.setenv("AIRFLOW__APPROVALS__SLACK_API_URL", scripted.url)

    def command() -> tuple[int, list[str]]:
        code = 0
        try:
            check_setup(Namespace())
        except SystemExit as ended:
            code = int(str(ended.code))
        said = capsys.readouterr().out
        assert "xoxb" not in said
        return code, said.splitlines()

    return command


def activate(team: str = "T0TEST") -> None:
    text = f"{POLICY}\nidentities:\n  slack: {{team: {team}, users: {{U0BOB: bob}}}}\n"
    policy = read_policy_text(text, "the test's policy")
    now = datetime.now(UTC)
    run_transaction(lambda s: policies.store_and_activate(s, policy, actor="tests", now=now))


def answers(scripted: ScriptedSlack, *documents: dict[str, Any], scopes: str = ALL) -> None:
    for document in documents:
        scripted.will_say(200, document, X_OAuth_Scopes=scopes)


def test_a_set_up_that_works_says_so_step_by_step_and_leaves_nothing_behind(
    run: Run, scripted: ScriptedSlack
) -> None:
    activate()
    answers(scripted, ME, MEMBER, POSTED, {"ok": True})
    code, lines = run()
    assert (code, [line[:4] for line in lines]) == (0, ["OK  "] * 7), lines
    assert lines[1] == "OK    token: accepted, as approvals of Acme"
    assert scripted.calls == ["auth.test", "conversations.info", "chat.postMessage", "chat.delete"]


def failing(lines: list[str]) -> list[str]:
    return [line.split(":")[0].removeprefix("FAIL").strip() for line in lines if line.startswith("FAIL")]


def test_a_token_that_is_refused_ends_it_there(run: Run, scripted: ScriptedSlack) -> None:
    activate()
    answers(scripted, {"ok": False, "error": "invalid_auth"})
    code, lines = run()
    assert code == 1
    assert failing(lines) == ["token"]
    assert lines[-1] == "      fix: Check the bot token file."
    assert scripted.calls == ["auth.test"]


def test_missing_scopes_are_named_with_what_they_are_for(run: Run, scripted: ScriptedSlack) -> None:
    activate()
    answers(scripted, ME, MEMBER, POSTED, {"ok": True}, scopes="chat:write,users:read,admin")
    code, lines = run()
    assert (code, failing(lines)) == (1, ["scopes"])
    assert "im:write (tell whoever started a run the outcome)" in "\n".join(lines)


def test_more_scopes_than_needed_are_no_failure_and_said(run: Run, scripted: ScriptedSlack) -> None:
    activate()
    answers(scripted, ME, MEMBER, POSTED, {"ok": True}, scopes=f"{ALL}, admin")
    code, lines = run()
    assert code == 0
    assert any(line.endswith("all there; not needed: admin") for line in lines)


@pytest.mark.parametrize(
    ("channel", "ok", "words"),
    [
        ({"is_member": False}, False, "no member of C0TEST"),
        ({"is_member": True, "is_archived": True}, False, "archived"),
        ({"is_member": True, "is_ext_shared": True}, True, "another organisation sees"),
    ],
)
def test_what_is_wrong_with_the_channel(
    run: Run, scripted: ScriptedSlack, channel: dict[str, bool], ok: bool, words: str
) -> None:
    activate()
    answers(scripted, ME, {"ok": True, "channel": channel}, POSTED, {"ok": True})
    code, lines = run()
    assert failing(lines) == ([] if ok else ["channel"])
    assert code == (0 if ok else 1)
    assert words in "\n".join(lines)


@pytest.mark.parametrize(("history", "code"), [({"ok": True, "messages": []}, 0), ({"ok": False}, 1)])
def test_without_channels_read_the_history_tells_who_is_a_member(
    run: Run, scripted: ScriptedSlack, history: dict[str, Any], code: int
) -> None:
    activate()
    answers(scripted, ME, {"ok": False, "error": "missing_scope"}, history, POSTED, {"ok": True})
    assert run()[0] == code
    assert scripted.calls[1:3] == ["conversations.info", "conversations.history"]


def test_a_test_message_that_stays_is_told(run: Run, scripted: ScriptedSlack) -> None:
    activate()
    answers(scripted, ME, MEMBER, POSTED, {"ok": False, "error": "cant_delete_message"})
    code, lines = run()
    assert (code, failing(lines)) == (1, ["remove"])
    assert lines[-1] == "      fix: Delete the test message by hand."


def test_another_workspace_than_the_policys_is_told(run: Run, scripted: ScriptedSlack) -> None:
    activate("T0OTHER")
    answers(scripted, ME, MEMBER, POSTED, {"ok": True})
    assert failing(run()[1]) == ["workspace"]


def test_without_a_policy_the_line_to_write_is_said(run: Run, scripted: ScriptedSlack) -> None:
    answers(scripted, ME, MEMBER, POSTED, {"ok": True})
    code, lines = run()
    assert (code, failing(lines)) == (1, ["workspace"])
    assert "{team: T0TEST}" in "\n".join(lines)


def test_without_settings_nothing_is_called(
    run: Run, scripted: ScriptedSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__APPROVALS__SLACK_CHANNEL")
    monkeypatch.delenv("AIRFLOW__APPROVALS__SLACK_SIGNING_SECRET_FILE")
    code, lines = run()
    assert (code, failing(lines)) == (1, ["signing secret", "settings"])
    monkeypatch.delenv("AIRFLOW__APPROVALS__SLACK_BOT_TOKEN_FILE")
    assert failing(run()[1]) == ["signing secret", "settings"]
    assert scripted.calls == []


def test_against_an_emulated_slack_the_message_is_gone(
    run: Run, emulator: SlackEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    activate(emulator.team)
    (tmp_path / "bot_token").write_text(emulator.token)
    monkeypatch.setenv("AIRFLOW__APPROVALS__SLACK_CHANNEL", emulator.channel)
    monkeypatch.setenv("AIRFLOW__APPROVALS__SLACK_API_URL", emulator.url)
    _, lines = run()
    assert failing(lines) == ["scopes"], "the emulator names none"
    assert emulator.messages() == []
