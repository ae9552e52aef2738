from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.config.settings import Settings
from airflow_approvals.core.groups import Group, GroupSource
from airflow_approvals.core.seats import Seat
from airflow_approvals.doctor import people
from airflow_approvals.doctor.findings import Severity
from airflow_approvals.identity.directory import Membership
from tests.control.airflow_scene import POLICY
from tests.identity import fab_scene

ACTIVE = read_policy_text(POLICY, "the test's policy")


@pytest.fixture
def fab(monkeypatch, tmp_path):
    """FAB as the auth manager, with these lines in its configuration file."""

    def configure(*lines):
        path = tmp_path / "webserver_config.py"
        path.write_text("\n".join(lines))
        monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", fab_scene.FAB)
        monkeypatch.setenv("AIRFLOW__FAB__CONFIG_FILE", str(path))

    return configure


def with_role(**changes):
    """The policy with a role for a group."""
    return replace(ACTIVE, groups={"owners": Group(GroupSource.FAB_ROLE, value="Owners", **changes)})


def ids(findings):
    return [finding.check for finding in findings]


def test_no_policy_refuses_everything_and_is_said(around):
    assert ids(people.policy_in_force(around())) == ["no_policy"]


def test_dev_mode_is_critical(around):
    (found,) = people.policy_in_force(around(policy=replace(ACTIVE, dev_mode=True)))
    assert (found.check, found.severity) == ("dev_mode", Severity.CRITICAL)
    assert ids(people.policy_in_force(around(policy=ACTIVE))) == []


def test_what_only_the_policy_protects(around):
    assert ids(people.connections_listed(around(policy=ACTIVE))) == []
    unlisted = around(policy=ACTIVE, settings=Settings())
    assert ids(people.connections_listed(unlisted)) == ["connection_not_listed"]


def test_a_rule_that_nobody_can_satisfy_now(around):
    assert ids(people.rules_can_be_satisfied(around(policy=ACTIVE))) == []
    empty = replace(ACTIVE, groups={"owners": Group(GroupSource.USERS)})
    (found,) = people.rules_can_be_satisfied(around(policy=empty))
    assert "rule one-owner" in found.what
    assert "1 of owners" in found.what


def test_a_role_that_an_administrator_hands_out(around):
    assert ids(people.groups_editable(around(policy=ACTIVE))) == []
    (found,) = people.groups_editable(around(policy=with_role()))
    assert (found.check, found.severity) == ("group_editable", Severity.WARNING)


def test_one_user_by_id_and_name_fills_one_seat(around, monkeypatch):
    bar = replace(ACTIVE.rules[0].bar, seats=(Seat("owners", 2),))
    two = replace(ACTIVE, rules=(replace(ACTIVE.rules[0], bar=bar),))
    one = Membership(
        two.digest, {"owners": frozenset({"7", "bob"})}, aliases=frozenset({frozenset({"7", "bob"})})
    )
    monkeypatch.setattr(people, "resolve", lambda policy: one)
    assert ids(people.rules_can_be_satisfied(around(policy=two))) == ["rule_unsatisfiable"]


OAUTH = ("from flask_appbuilder.const import AUTH_OAUTH", "AUTH_TYPE = AUTH_OAUTH")
SYNCED = (*OAUTH, "AUTH_ROLES_SYNC_AT_LOGIN = True")


def test_a_role_that_the_provider_replaces_at_each_login_is_a_note(around, fab):
    fab(*SYNCED)
    (found,) = people.groups_editable(around(policy=with_role(max_login_age=timedelta(hours=1))))
    assert (found.check, found.severity) == ("group_editable", Severity.NOTE)


@pytest.mark.parametrize(
    ("lines", "age"),
    [
        (SYNCED, None),
        (OAUTH, timedelta(hours=1)),
        (("AUTH_ROLES_SYNC_AT_LOGIN = True",), timedelta(hours=1)),
    ],
)
def test_a_role_that_stays_as_an_administrator_gave_it_is_a_warning(around, fab, lines, age):
    fab(*lines)
    role = with_role(max_login_age=age, from_provider=True)
    (found,) = people.groups_editable(around(policy=role))
    assert found.severity is Severity.WARNING
    assert "FAB is not set up so" in found.what


def test_passwords_that_an_administrator_can_set_are_critical_for_listed_people(around, fab):
    assert ids(people.passwords_kept_by_airflow(around(policy=ACTIVE))) == []
    fab()
    (found,) = people.passwords_kept_by_airflow(around(policy=ACTIVE))
    assert (found.check, found.severity) == ("database_users", Severity.CRITICAL)
    assert "owners" in found.what
    (role,) = people.passwords_kept_by_airflow(around(policy=with_role()))
    assert role.severity is Severity.WARNING
    fab(*OAUTH)
    assert ids(people.passwords_kept_by_airflow(around(policy=ACTIVE))) == []
