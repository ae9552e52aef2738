"""The facts of a request on a terminal."""

from __future__ import annotations

from airflow_approvals.channels import plain_text
from airflow_approvals.channels.facts import ENDPOINT_CHANGED
from tests.channels.facts_for_tests import some_facts


def test_where_it_goes_and_what_an_approval_vouches_for_are_shown() -> None:
    text = plain_text.render(some_facts(endpoint_changed=True))
    lines = dict(line.split(":", 1) for line in text.splitlines())
    assert lines["reached at"].strip() == "sftp://drop.example:22"
    assert lines["assurance"].strip().startswith("run-bound: a task of this run gets the credential")
    assert lines["CHANGED"].strip() == ENDPOINT_CHANGED


def test_what_is_not_known_is_said() -> None:
    text = plain_text.render(some_facts(endpoint="", assurance=""))
    assert "unknown" in text
    assert "none: the sink is not known" in text
    assert "CHANGED" not in text
