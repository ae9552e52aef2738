"""Standing approvals over HTTP: what is in the way of ending one is an answer, and no fault."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_approvals.control import judging
from tests.api.conftest import Signed
from tests.control.airflow_scene import Airflow
from tests.control.test_standing import again, granted


def test_policies_replaced_again_and_again_are_said_and_end_nothing(
    airflow: Airflow, signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = granted(airflow)

    def replaced(*_: Any) -> None:
        raise judging.PolicyReplacedError

    with monkeypatch.context() as patched:
        patched.setattr("airflow_approvals.control.standing.end", replaced)
        answer = signed("bob", "admin").delete(f"/api/v1/standing/{row.id}")
    assert answer.status_code == 409, answer.text
    assert "not_configured" in answer.text
    assert again(airflow, row).state == "live"
    assert signed("bob", "admin").delete(f"/api/v1/standing/{row.id}").status_code == 200
