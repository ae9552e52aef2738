"""Words for emergencies: a policy with break-glass, and people who use and review it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete

from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.control import break_glass
from airflow_approvals.control.break_glass import Emergency, Reviewed
from airflow_approvals.control.decisions import Decided
from airflow_approvals.core.models import Channel, Person, Refusal
from airflow_approvals.core.policy import BreakGlass
from airflow_approvals.store import policies
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_scene import POLICY, Airflow, Run

ERIN, FRANK, GRACE = (Person(name, name) for name in ("erin", "frank", "grace"))
RULE = BreakGlass("on-call", "security", r".{10,}", r"INC-\d+", timedelta(hours=24), uses=2)
EMERGENCY_POLICY = (
    POLICY.replace(
        "  owners: {users: [bob, carol, alice]}\n",
        "  owners: {users: [bob, carol, alice]}\n"
        "  on-call: {users: [erin, frank, alice]}\n"
        "  security: {users: [erin, grace, alice]}\n",
    )
    + "identities: {slack: {team: T0001, users: {U0001: bob, U0002: erin}}}\n"
)


def activate(airflow: Airflow, text: str = EMERGENCY_POLICY, *, rule: BreakGlass | None = RULE) -> None:
    """Put a policy in force that has (or has not) this break-glass."""
    policy = replace(read_policy_text(f"{text}# {uuid4().hex}\n", "the test's policy"), break_glass=rule)
    airflow.do(lambda s: policies.store_and_activate(s, policy, actor="tests", now=airflow.now))
    policies._PARSED[policy.digest] = policy


def open_gate(request: RequestRow, person: Person = ERIN, **changes: Any) -> Decided | Refusal:
    """Open the gate alone, with a good reason and ticket unless told otherwise."""
    said = Emergency(person, "production is down", "INC-1", Channel.UI)
    return break_glass.open_gate(request.id, replace(said, **changes))


def review(request: RequestRow, person: Person = GRACE, **changes: Any) -> Reviewed | Refusal:
    said = {"text": "looked at it, was justified", "channel": Channel.UI, **changes}
    return break_glass.review(request.id, person=person, **said)


def refused(answer: object) -> str:
    """The code of a refusal."""
    assert isinstance(answer, Refusal), answer
    return answer.code


def nothing_opened(run: Run, request: RequestRow) -> None:
    """The request waits as before, without a grant and without a use."""
    assert run.request(request.id).state == "pending"
    assert run.grant() is None
    assert run.task().state == "awaiting_input"
    assert run.airflow.look(lambda s: s.get(BreakGlassRow, request.id)) is None


@pytest.fixture(params=["airflow", "postgres_airflow"])
def scene(request: pytest.FixtureRequest) -> Iterator[Airflow]:
    """Either database, with the policy in force and no use before."""
    airflow = request.getfixturevalue(request.param)
    airflow.do(lambda s: s.execute(delete(BreakGlassRow)))
    activate(airflow)
    yield airflow
    airflow.do(lambda s: s.execute(delete(BreakGlassRow)))
