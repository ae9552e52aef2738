"""The resume race: an answer at any moment after the park, also with a slow resume and retries."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.flows.gated import Gated

pytestmark = [pytest.mark.live, pytest.mark.soak]

ROUNDS = 10 if os.environ.get("APPROVALS_SOAK") else 1
#: As many at once as Airflow has workers here.
AT_ONCE = 4
_SEED = 20261123


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("dag_id", ["plain", "slow"])
def test_an_answer_at_any_moment_after_the_park_resumes_the_gate(
    pair: Gated, dag_id: str, round_: int
) -> None:
    chance = random.Random(f"{_SEED} {dag_id} {round_}")
    delays = [round(chance.uniform(0, 6), 1) for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(lambda delay: _answer_after(pair, dag_id, delay), delays))
    assert outcomes == [("success", 1, [1, 2])] * AT_ONCE


def _answer_after(gated: Gated, dag_id: str, delay: float) -> tuple[str, int, list[int]]:
    """Return the run's state, how often the sink was opened, and the gate's tries."""
    run_id = gated.ask(dag_id)
    time.sleep(delay)
    gated.until(lambda: gated.answer(dag_id, run_id, "bob").status_code == 200, "the answer is taken")
    state = gated.finish(dag_id, run_id)
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/gate/tries"
    tries = [one["try_number"] for one in gated.as_user("alice").get(path).json()["task_instances"]]
    for number in tries:
        assert gated.airflow.task_log(dag_id, run_id, "gate", try_number=number)
    return state, len(gated.uses(run_id)), tries
