"""The hooks on Airflow's Execution API: the real app, real tokens, every kind of API version."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

import httpx
import pytest
from airflow.models.connection import Connection
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from airflow_approvals.control import grants, intake
from airflow_approvals.core.ask import ASK_PARAM
from airflow_approvals.enforcement import execution_hooks, guard, parents, rings
from airflow_approvals.errors import UnavailableError
from airflow_approvals.seams import airflow_seams
from tests.control.airflow_scene import SECRET, Airflow, Run, an_ask, task_at
from tests.control.execution_worker import Worker, token_of
from tests.enforcement.test_run_hooks import write_xcom


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def queue(run: Run, task_id: str) -> None:
    run.change(task_id, state="queued", try_number=run.task(task_id).try_number + 1)


def refused(answer: httpx.Response, status: int, reason: str) -> None:
    """A refusal that a worker can read: anything else ends in a retry or a dead scheduler."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["detail"]["reason"] == reason
    assert answer.json()["detail"]["message"].strip()


# -- once per call, in every version -------------------------------------------------------


def test_an_ask_is_taken_down_once(worker: Worker, run: Run) -> None:
    run.start()
    answer = worker.ask(run, an_ask().to_document())
    assert answer.status_code == 201, answer.text
    (row,) = run.intakes()
    assert (row.state, row.ask_digest, row.ti_id) == ("new", an_ask().digest, run.ti_id())


def test_an_ask_that_breaks_the_schema_is_refused_and_recorded_once(worker: Worker, run: Run) -> None:
    run.start()
    refused(worker.ask(run, {"version": 1, "action": "export"}), 422, "approvals_invalid_ask")
    assert [row.state for row in run.intakes()] == ["invalid"]
    assert run.airflow.kinds(run) == ["intake_invalid"]


def test_a_gate_cannot_answer_itself(worker: Worker, run: Run) -> None:
    run.ask()
    refused(worker.answer_itself(run), 409, "approvals_own_answer")
    assert not run.inbox().response_received
    assert run.airflow.kinds(run) == ["request_registered", "foreign_answer_refused"]


def test_another_tasks_answer_to_a_gate_is_refused_and_entered_with_its_sender(
    worker: Worker, run: Run
) -> None:
    run.ask()
    run.start("aside")
    gate = run.ti_id()
    body = {"ti_id": gate, "chosen_options": ["Approve"], "params_input": {}}
    refused(
        worker.call(run.ti_id("aside"), "PATCH", f"/hitlDetails/{gate}", body), 409, "approvals_own_answer"
    )
    assert not run.inbox().response_received
    (entry,) = run.airflow.entries(kind="foreign_answer_refused", run_id=run.run_id)
    assert (entry["task_id"], entry["details"]["task"]) == ("gate", "gated.aside")


def test_an_answer_to_no_task_at_all_is_airflows_to_refuse(newest: Worker, run: Run) -> None:
    run.start("aside")
    body = {"ti_id": "x", "chosen_options": ["Approve"], "params_input": {}}
    answer = newest.call(run.ti_id("aside"), "PATCH", "/hitlDetails/x", body)
    assert answer.status_code in (403, 422)
    assert answer.headers["content-type"] == "application/json"


def test_a_start_without_an_approval_is_refused_once(worker: Worker, run: Run) -> None:
    run.change("gate", state="success")
    queue(run, "use")
    refused(worker.start(run, "use"), 409, "approvals_gate_shut")
    assert run.task("use").state == "failed"
    assert run.airflow.kinds(run) == ["start_refused"]


def test_a_start_behind_an_approved_gate_goes_through(worker: Worker, run: Run) -> None:
    run.approve()
    run.finish("gate")
    queue(run, "use")
    answer = worker.start(run, "use")
    assert answer.status_code == 200, answer.text
    assert run.task("use").state == "running"


def test_a_credential_without_a_grant_is_refused_once(worker: Worker, run: Run) -> None:
    run.start("aside")
    answer = worker.connection(run, "aside")
    refused(answer, 403, "approvals_no_grant")
    assert SECRET not in answer.text
    assert run.airflow.kinds(run) == ["credential_refused"]


def test_a_credential_with_a_grant_is_handed_out_once_and_spent_on_success(worker: Worker, run: Run) -> None:
    run.approve()
    run.finish("gate")
    run.start("use")
    answer = worker.connection(run, "use")
    assert (answer.status_code, answer.json()["password"]) == (200, SECRET)
    assert run.airflow.kinds(run)[-2:] == ["grant_bound", "credential_handed_out"]
    answer = worker.succeed(run, "use")
    assert answer.status_code == 204, answer.text
    assert run.grant().state == "spent"
    assert run.airflow.kinds(run)[-1] == "grant_spent"


def test_a_success_that_airflow_refuses_spends_nothing(newest: Worker, run: Run) -> None:
    run.approve()
    run.finish("gate")
    run.start("use")
    assert newest.connection(run, "use").status_code == 200
    run.change("use", state="failed")
    assert newest.succeed(run, "use").status_code == 409
    assert run.grant().state == "bound"


@pytest.mark.parametrize("spelling", ["sink%5Fa", "%73ink_a"])
def test_an_escaped_spelling_of_the_id_is_the_same_id(newest: Worker, run: Run, spelling: str) -> None:
    run.start("aside")
    refused(newest.connection(run, "aside", spelling), 403, "approvals_no_grant")


# -- what is nobody's business ---------------------------------------------------------------


def test_what_is_not_protected_passes_untouched(worker: Worker, run: Run) -> None:
    run.airflow.add_connection("open_to_all", host="elsewhere.invalid")
    run.start("aside")
    answer = worker.connection(run, "aside", "open_to_all")
    assert (answer.status_code, answer.json()["host"]) == (200, "elsewhere.invalid")
    assert worker.connection(run, "aside", "nowhere").status_code == 404
    queue(run, "between")
    run.change("aside", state="queued")
    assert worker.start(run, "aside").status_code == 200
    assert run.airflow.kinds(run) == []


def test_another_tasks_question_is_none_of_ours(worker: Worker, airflow: Airflow) -> None:
    run = airflow.a_run("ungated")
    run.start()
    assert worker.ask(run, {"anything": 1}).status_code == 201
    assert worker.answer_itself(run).status_code == 200
    assert run.intakes() == []


def test_a_token_of_another_task_gets_nowhere(newest: Worker, run: Run) -> None:
    run.start()
    ti_id = run.ti_id()
    body = {"ti_id": ti_id, "options": ["Approve"], "subject": "s", "params": {}}
    answer = newest.call(run.ti_id("aside"), "POST", f"/hitlDetails/{ti_id}", body)
    assert answer.status_code == 403
    assert run.intakes() == []


# -- when something breaks -------------------------------------------------------------------


def a_bug(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError(f"a bug near {SECRET}")


def a_lost_database(*args: Any, **kwargs: Any) -> NoReturn:
    raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))


def prepare(run: Run, act: str) -> None:
    if act in ("ask", "answer"):
        run.start()
    elif act == "start":
        queue(run, "use")
    else:
        run.start("aside")


ACTS: dict[str, tuple[int, Callable[[Worker, Run], httpx.Response], tuple[Any, str]]] = {
    "ask": (409, lambda w, r: w.ask(r, an_ask().to_document()), (intake, "take_down")),
    "answer": (409, lambda w, r: w.answer_itself(r), (execution_hooks, "_refuse_answer")),
    "start": (409, lambda w, r: w.start(r, "use"), (rings, "check_start")),
    "connection": (403, lambda w, r: w.connection(r, "aside"), (rings, "check_connection")),
    "clear": (409, lambda w, r: w.clear(r, r), (parents, "keep_act")),
    "xcom": (409, lambda w, r: write_xcom(w, r, r.airflow.a_run()), (parents, "keep_act")),
}


@pytest.mark.parametrize("fault", [a_bug, a_lost_database])
@pytest.mark.parametrize("act", ACTS)
def test_a_fault_of_ours_is_a_refusal_in_json_and_never_a_5xx(
    newest: Worker, run: Run, act: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, call, (module, name) = ACTS[act]
    prepare(run, act)
    monkeypatch.setattr(module, name, fault)
    answer = call(newest, run)
    refused(answer, status, "approvals_fault")
    assert SECRET not in answer.text


@pytest.mark.parametrize("act", ACTS)
def test_a_fault_before_the_judgement_refuses_too(
    newest: Worker, run: Run, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, call, _ = ACTS[act]
    prepare(run, act)
    monkeypatch.setattr(guard, "run_read", a_lost_database)
    refused(call(newest, run), status, "approvals_fault")


def test_a_secrets_backend_that_does_not_answer_decides_nothing(
    newest: Worker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.approve()
    run.finish("gate")
    run.start("use")

    def unreachable(conn_id: str, team: str | None) -> NoReturn:
        raise UnavailableError("Secrets backend Vault cannot be asked.", "Try again.")

    with monkeypatch.context() as patch:
        patch.setattr(airflow_seams, "connection_parts", unreachable)
        refused(newest.connection(run, "use"), 403, "approvals_unavailable")
    assert "Vault" in run.airflow.look(lambda s: task_at(s, run.place("use")).note)
    assert run.grant().state == "live"
    assert newest.connection(run, "use").status_code == 200


def before_airflow_reads(patch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Let somebody change a thing between the judgement and Airflow's own reading of the Connection."""
    read, calls = Connection.get_connection_from_secrets, iter(range(1_000))

    def reading(conn_id: str, **options: Any) -> Connection:
        if next(calls) == 1:
            change()
        return read(conn_id, **options)

    patch.setattr(Connection, "get_connection_from_secrets", reading)


def edit_host(run: Run, host: str) -> None:
    run.airflow.do(
        lambda s: s.execute(update(Connection).where(Connection.conn_id == "sink_a").values(host=host))
    )


def test_a_connection_edited_between_the_judgement_and_airflows_reading_is_not_given(
    worker: Worker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.approve()
    run.finish("gate")
    run.start("use")
    before_airflow_reads(monkeypatch, lambda: edit_host(run, "theirs.invalid"))
    answer = worker.connection(run, "use")
    refused(answer, 403, "approvals_no_grant")
    assert "theirs.invalid" not in answer.text
    assert SECRET not in answer.text
    assert (run.grant().state, run.grant().ended_because) == (
        "killed",
        "its connection was edited while it was being opened",
    )
    assert run.airflow.kinds(run)[-2:] == ["grant_killed", "credential_refused"]
    assert "edited" in run.airflow.look(lambda s: task_at(s, run.place("use")).note)


def test_a_connection_that_cannot_be_looked_at_again_is_not_given_now(
    newest: Worker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.approve()
    run.finish("gate")
    run.start("use")

    def unreachable(conn_id: str, team: str | None) -> NoReturn:
        raise UnavailableError("Secrets backend Vault cannot be asked.", "Try again.")

    with monkeypatch.context() as patch:
        before_airflow_reads(patch, lambda: patch.setattr(airflow_seams, "connection_parts", unreachable))
        refused(newest.connection(run, "use"), 403, "approvals_unavailable")
    assert run.grant().state == "bound"
    assert newest.connection(run, "use").status_code == 200


def test_a_fault_at_the_second_look_refuses(
    newest: Worker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.approve()
    run.finish("gate")
    run.start("use")
    before_airflow_reads(monkeypatch, lambda: monkeypatch.setattr(airflow_seams, "connection_parts", a_bug))
    refused(newest.connection(run, "use"), 403, "approvals_fault")
    assert run.grant().state == "bound"


def test_a_missing_key_refuses_the_credential_and_breaks_nothing(newest: Worker, run: Run) -> None:
    run.approve()
    run.finish("gate")
    run.start("use")
    run.airflow.conf("signing_key_file", "/nowhere/signing.pem")
    refused(newest.connection(run, "use"), 403, "approvals_fault")
    assert run.grant().state == "live"


def test_a_fault_while_looking_for_spent_grants_leaves_the_success_alone(
    newest: Worker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.approve()
    run.finish("gate")
    run.start("use")
    assert newest.connection(run, "use").status_code == 200
    monkeypatch.setattr(grants, "any_bound", a_bug)
    assert newest.succeed(run, "use").status_code == 204
    assert run.task("use").state == "success"


def test_a_body_that_is_no_json_is_cores_to_refuse(newest: Worker, run: Run) -> None:
    run.start()
    ti_id = run.ti_id()
    answer = newest.client.post(
        f"/hitlDetails/{ti_id}",
        content=b"{not json",
        headers={"Authorization": f"Bearer {token_of(ti_id)}", "Content-Type": "application/json"},
    )
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/json"
    assert [row.state for row in run.intakes()] in ([], ["invalid"])


@pytest.mark.parametrize(
    "document",
    [None, [], "text", 1, {"version": 1}, {**an_ask().to_document(), "reason": "\ud800"},
     {**an_ask().to_document(), "reason": "\x00"}, {**an_ask().to_document(), "timeout_seconds": 1e400},
     {**an_ask().to_document(), "extra": True}],
    ids=["null", "list", "text", "number", "empty", "surrogate", "nul", "infinite", "extra"],
)  # fmt: skip
def test_whatever_a_gates_task_sends_it_gets_a_4xx_and_no_request(
    newest: Worker, run: Run, document: Any
) -> None:
    run.start()
    ti_id = run.ti_id()
    body = {"ti_id": ti_id, "options": ["Approve"], "subject": "s", "params": {ASK_PARAM: document}}
    answer = newest.client.post(
        f"/hitlDetails/{ti_id}",
        content=json.dumps(body),
        headers={"Authorization": f"Bearer {token_of(ti_id)}", "Content-Type": "application/json"},
    )
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert "new" not in [row.state for row in run.intakes()]
