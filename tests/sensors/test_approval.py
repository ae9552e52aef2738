"""The gate on the worker's side: what it sends, how it parks, and what opens it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput

from airflow_approvals.core.ask import ASK_PARAM, MAX_TEXT, Ask
from airflow_approvals.core.digest import canonical_bytes, sha256_digest
from airflow_approvals.core.gate import GATE_MARKER, OUTCOME_KEY
from airflow_approvals.core.manifest import Manifest, ObjectEntry
from airflow_approvals.errors import ApprovalsError, ContractError, DataError, IntegrityError
from airflow_approvals.sensors import approval
from airflow_approvals.sensors.approval import SWEEP_MARGIN, ApprovalRefusedError, ApprovalSensor


@pytest.fixture
def manifest(tmp_path: Path) -> dict[str, str]:
    """A manifest on disk; its reference, as ``MaskDataOperator`` returns it."""
    entry = ObjectEntry("lines.txt", sha256_digest(b"masked"), 6, 1, "text")
    document = Manifest((entry,), "default", sha256_digest(b"profile"), "model", "0.1.0", ())
    path = tmp_path / "_manifest.json"
    path.write_bytes(canonical_bytes(document.to_document()))
    return {"uri": path.as_uri(), "digest": document.digest}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the worker hands to the Task SDK; the call itself is covered with the real server."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(approval, "upsert_hitl_detail", lambda **call: calls.append(call))
    return calls


class TaskInstance:
    """What the context of a running task holds of it."""

    def __init__(self) -> None:
        self.id = uuid4()


def a_gate(manifest: Any, **changes: Any) -> ApprovalSensor:
    arguments = {"task_id": "gate", "action": "export", "sink": "sink-a", "manifest": manifest}
    return ApprovalSensor(**{**arguments, **changes})


def park(gate: ApprovalSensor) -> TaskAwaitingInput:
    with pytest.raises(TaskAwaitingInput) as parked:
        gate.execute({"ti": TaskInstance()})
    return parked.value


def ask_of(call: dict[str, Any]) -> Ask:
    return Ask.from_document(call["params"][ASK_PARAM])


# -- declaring -----------------------------------------------------------------------------


def test_a_gate_that_would_hold_a_worker_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match=r"deferrable=False.*hold a worker slot.*Leave deferrable at True"):
        a_gate({}, deferrable=False)


def test_airflows_default_for_deferrable_does_not_reach_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "False")
    assert a_gate({}).deferrable is True


@pytest.mark.parametrize("timeout", [0, 0.5, timedelta(0), timedelta(milliseconds=10)])
def test_a_timeout_below_a_second_is_an_error(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        a_gate({}, timeout=timeout)


def test_the_marker_and_what_is_rendered_stand_in_template_fields() -> None:
    fields = set(ApprovalSensor.template_fields)
    assert fields >= {"action", "sink", "manifest", "evidence", "reason", "subject", "body", GATE_MARKER}
    gate = a_gate({})
    assert all(hasattr(gate, name) for name in ApprovalSensor.template_fields)


def test_a_gate_renders_its_templates_like_any_task(manifest: dict[str, str]) -> None:
    with DAG("d", schedule=None):
        gate = a_gate(manifest, reason="for {{ params.who }}", action="{{ params.what }}")
    gate.render_template_fields({"params": {"who": "legal", "what": "export"}})
    assert (gate.reason, gate.action) == ("for legal", "export")


# -- asking --------------------------------------------------------------------------------


def test_a_gate_sends_its_ask_and_parks_without_a_trigger(manifest: dict, sent: list) -> None:
    parked = park(a_gate(manifest, reason="why", subject="headline", body="story", timeout=90))
    (call,) = sent
    ask = ask_of(call)
    assert (ask.action, ask.sink, ask.data.digest) == ("export", "sink-a", manifest["digest"])
    assert (ask.reason, ask.subject, ask.body, ask.timeout_seconds) == ("why", "headline", "story", 90)
    assert ask.evidence is None
    assert ask.label.word == "restricted", "without evidence the data counts as restricted"
    assert call["options"] == ["Approve", "Reject"]
    assert set(call) <= {"ti_id", "options", "subject", "body", "params"}, "no default answers silence"
    assert parked.method_name == "execute_complete"
    assert parked.timeout == timedelta(seconds=90) + SWEEP_MARGIN


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(timedelta(days=2), 172_800), (3600, 3600), (1.5, 1), (None, 86_400)]
)
def test_a_timeout_is_sent_in_whole_seconds(manifest: dict, sent: list, timeout: Any, seconds: int) -> None:
    park(a_gate(manifest, **({} if timeout is None else {"timeout": timeout})))
    assert ask_of(sent[0]).timeout_seconds == seconds


def test_long_words_of_the_author_are_cut_and_not_refused(manifest: dict, sent: list) -> None:
    park(a_gate(manifest, reason="x" * (MAX_TEXT + 1), body="y" * 10_000))
    assert (ask_of(sent[0]).reason, ask_of(sent[0]).body) == ("x" * MAX_TEXT, "y" * MAX_TEXT)


@pytest.mark.parametrize(
    "reference",
    [None, "", "file:///m.json", {}, {"uri": "file:///m.json"}, {"uri": 1, "digest": 2}, [], 7,
     {"uri": "file:///m.json", "digest": "sha256:short"}],
)  # fmt: skip
def test_what_is_no_reference_is_one_clear_error(reference: Any, sent: list) -> None:
    with pytest.raises(ContractError) as raised:
        a_gate(reference).execute({"ti": TaskInstance()})
    assert raised.value.message == "ApprovalSensor: manifest is not a reference."
    assert "output of the operator" in raised.value.hint
    assert sent == []


def test_what_is_no_reference_to_evidence_is_named_so(manifest: dict, sent: list) -> None:
    with pytest.raises(ContractError, match="evidence is not a reference"):
        a_gate(manifest, evidence="nonsense").execute({"ti": TaskInstance()})
    assert sent == []


def a_missing_file(reference: dict, path: Path) -> None:
    path.unlink()


def a_changed_file(reference: dict, path: Path) -> None:
    document = json.loads(path.read_bytes())
    document["profile"] = "another"
    path.write_bytes(canonical_bytes(document))


def a_mangled_file(reference: dict, path: Path) -> None:
    path.write_bytes(b"\xff not json")
    reference["digest"] = sha256_digest(b"\xff not json")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [(a_missing_file, DataError), (a_changed_file, IntegrityError), (a_mangled_file, ContractError)],
)
def test_a_manifest_that_is_not_what_was_meant_asks_for_nothing(
    manifest: dict, sent: list, tmp_path: Path, spoil: Callable, error: type[ApprovalsError]
) -> None:
    spoil(manifest, tmp_path / "_manifest.json")
    with pytest.raises(error) as raised:
        a_gate(manifest).execute({"ti": TaskInstance()})
    assert "manifest" in str(raised.value)
    assert sent == []


@pytest.mark.parametrize("field", ["action", "sink"])
@pytest.mark.parametrize("value", ["", "  ", None, 7])
def test_an_empty_word_is_an_error_that_names_it(manifest: dict, sent: list, field: str, value: Any) -> None:
    with pytest.raises(ContractError, match=field):
        a_gate(manifest, **{field: value}).execute({"ti": TaskInstance()})
    assert sent == []


# -- being answered ------------------------------------------------------------------------

GRANT = {"grant": "g", "sink": "sink-a"}


def test_an_approval_of_the_server_opens_the_gate() -> None:
    event = {OUTCOME_KEY: {"outcome": "approved", "because": "Approved by bob.", "grant": GRANT}}
    assert a_gate({}).execute_complete({}, event) == GRANT


@pytest.mark.parametrize(
    "outcome", ["rejected", "expired", "withdrawn", "forbidden", "conflict", None, "Approved"]
)
def test_every_other_outcome_keeps_it_shut_and_is_never_retried(outcome: str | None) -> None:
    event = {OUTCOME_KEY: {"outcome": outcome, "because": "Because of that.", "grant": GRANT}}
    with pytest.raises(ApprovalRefusedError, match=r"stays shut: Because of that\.") as refused:
        a_gate({}).execute_complete({}, event)
    assert isinstance(refused.value, AirflowFailException)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {
            "chosen_options": ["Approve"],
            "params_input": {},
            "responded_by_user": {"id": "bob", "name": "bob"},
        },
        {"chosen_options": ["Approve"], "timedout": True},
        {OUTCOME_KEY: None},
        {OUTCOME_KEY: "approved"},
        {OUTCOME_KEY: ["approved"]},
        {"params_input": {OUTCOME_KEY: {"outcome": "approved", "grant": GRANT}}},
    ],
)
def test_an_answer_that_did_not_come_from_the_server_keeps_it_shut(event: dict) -> None:
    with pytest.raises(ApprovalRefusedError, match="did not come from the approvals server"):
        a_gate({}).execute_complete({}, event)


def test_airflows_own_deadline_says_that_nobody_decided() -> None:
    with pytest.raises(ApprovalRefusedError, match="nobody decided in time"):
        a_gate({}).execute_complete({}, {"error": "timed out", "error_type": "timeout"})


def resume(gate: ApprovalSensor, event: dict[str, Any]) -> Any:
    """Come back as the task runner does."""
    return gate.resume_execution("execute_complete", {"event": event}, {"ti": TaskInstance()})


def test_soft_fail_turns_a_refusal_into_a_skip_and_nothing_else() -> None:
    rejected = {OUTCOME_KEY: {"outcome": "rejected", "because": "Rejected by bob."}}
    with pytest.raises(AirflowSkipException):
        resume(a_gate({}, soft_fail=True), rejected)
    with pytest.raises(AirflowFailException):
        resume(a_gate({}), rejected)
    approved = {OUTCOME_KEY: {"outcome": "approved", "because": "", "grant": GRANT}}
    assert resume(a_gate({}, soft_fail=True), approved) == GRANT


def test_soft_fail_skips_on_an_answer_from_elsewhere_too() -> None:
    with pytest.raises(AirflowSkipException):
        resume(a_gate({}, soft_fail=True), {"chosen_options": ["Approve"]})
