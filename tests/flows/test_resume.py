"""The resume race: an answer at any moment after the park, also with a slow resume and retries."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.flows.gated import Gated

pytestmark = pytest.mark.xdist_group("flows")

ROUNDS = 40 if os.environ.get("APPROVALS_SOAK") else 4
DELAYS = [round(random.Random(20261123 + n).uniform(0, 6), 1) for n in range(ROUNDS)]


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("dag_id", ["plain", "slow"])
def test_an_answer_at_any_moment_after_the_park_resumes_the_gate(
    gated: Gated, dag_id: str, delay: float
) -> None:
    run_id = gated.ask(dag_id)
    time.sleep(delay)
    gated.until(lambda: gated.answer(dag_id, run_id, "bob").status_code == 200, "the answer is taken")
    assert gated.finish(dag_id, run_id) == "success"
    assert len(gated.uses(run_id)) == 1
    tries = (
        gated.as_user("alice").get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/gate/tries").json()
    )
    assert [t["try_number"] for t in tries["task_instances"]] == [1, 2]
    for number in (1, 2):
        assert gated.airflow.task_log(dag_id, run_id, "gate", try_number=number)
