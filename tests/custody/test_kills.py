"""A custodian that is killed at any point: what it began is finished or undone, never half there."""

from __future__ import annotations

import os
import random
import signal
import sys
from typing import Any

import pytest
from sqlalchemy import Engine, event

from airflow_approvals.store.release_tables import CustodyRow
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_scene import outcome_of
from tests.custody.conftest import FILES, Custody

pytestmark = pytest.mark.soak

#: About as many steps as a release takes: statements, commits and touches of files. The intent to
#: publish is durable from about step 126 on.
STEPS, INTENT = 156, 126
_SEED = random.Random(20261124)
_EARLY, _LATE = _SEED.sample(range(INTENT), 40), _SEED.sample(range(INTENT, STEPS), 30)
POINTS = _EARLY + _LATE if os.environ.get("APPROVALS_SOAK") else _EARLY[:3] + _LATE[:3]
_TOUCHES = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"})


class _Fuse:
    """Kills its own process with SIGKILL at a step."""

    def __init__(self, steps: int, folder: str) -> None:
        self._left, self._folder = steps, folder

    def burn(self, *_: Any, **__: Any) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name in _TOUCHES and str(arguments[0]).startswith(self._folder):
            self.burn()


def work_and_be_killed(custody: Custody, step: int) -> bool:
    """Run a custodian in a process of its own that is killed at a step; say whether it was."""
    engine = custody.airflow.database.engine
    pid = os.fork()
    if pid == 0:
        _child(custody, engine, _Fuse(step, str(custody.sink)))
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def _child(custody: Custody, engine: Engine, fuse: _Fuse) -> None:
    try:
        # The parent's connections are the parent's.
        engine.dispose(close=False)
        custodian = custody.custodian()
        event.listen(engine, "before_cursor_execute", fuse.burn)
        event.listen(engine, "commit", fuse.burn)
        sys.addaudithook(fuse.hear)
        custodian.run_once()
    finally:
        os._exit(0)


def _run_on(custody: Custody, request: RequestRow) -> None:
    """What another custodian does once the lease of the dead one has run out."""
    if custody.job(request).state not in ("done", "failed"):
        custody.let_lease_run_out(request)
    custody.work()


def _is_seen(custody: Custody) -> bool:
    return any(".partial" not in name for name in custody.visible())


@pytest.mark.parametrize("step", POINTS)
def test_a_kill_is_finished_by_the_next(custody: Custody, step: int) -> None:
    run, request = custody.approved()
    killed = work_and_be_killed(custody, step)
    intended = bool(custody.airflow.entries(run_id=run.run_id, kind="release_intended"))
    assert intended or not _is_seen(custody), "nothing is seen before the intent is durable"
    assert killed or custody.job(request).state == "done"
    _run_on(custody, request)
    assert custody.objects() == FILES
    assert custody.released(request) == sorted(FILES)
    assert custody.job(request).state == "done"
    assert run.grant().state == "spent"
    assert outcome_of(run)["outcome"] == "approved"
    for kind in ("release_intended", "release_published", "grant_spent"):
        assert len(custody.airflow.entries(run_id=run.run_id, kind=kind)) == 1, kind


@pytest.mark.parametrize("step", POINTS)
def test_a_gate_that_is_cleared_after_a_kill_leaves_all_or_nothing(custody: Custody, step: int) -> None:
    run, request = custody.approved()
    work_and_be_killed(custody, step)
    intended = bool(custody.airflow.entries(run_id=run.run_id, kind="release_intended"))
    run.clear("gate")
    _run_on(custody, request)
    assert custody.objects() == (FILES if intended else {})
    assert custody.job(request).state == ("done" if intended else "failed")
    ends = [kind for kind in custody.kinds(run) if kind in ("release_published", "release_failed")]
    assert ends == ["release_published" if intended else "release_failed"]


def test_the_points_lie_before_and_after_the_intent(custody: Custody) -> None:
    """Or the tests above would prove only half of what they say."""
    seen = set()
    for step in (INTENT // 2, (INTENT + STEPS) // 2):
        run, _ = custody.approved()
        killed = work_and_be_killed(custody, step)
        intended = bool(custody.airflow.entries(run_id=run.run_id, kind="release_intended"))
        seen.add((killed, intended))
        custody.airflow.do(lambda s: s.query(CustodyRow).delete())
    assert seen == {(True, False), (True, True)}
