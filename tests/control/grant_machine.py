"""A machine that does to one gated run what people, policies, Airflow and time may do to it.

Everything it does goes through the product's own code on a real metadata database; after each
step the product's word is held against :mod:`tests.control.grant_model`. Marks and clears come
with the record of the API's middleware, or silently, as from a command line.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
from airflow.models.taskinstance import TaskInstance
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select

from airflow_approvals.control import decisions
from airflow_approvals.core.models import Channel, Refusal, Verdict
from airflow_approvals.enforcement import execution_hooks, overrides
from airflow_approvals.store.tables import BindingRow, GrantRow, RequestRow
from tests.control.airflow_scene import Run, an_ask, close, open_sink, start
from tests.control.grant_model import BARS, MINUTE, Model
from tests.control.grant_world import GROUPS, PEOPLE, World, policy_text

_FINISHED = ("success", "failed", "skipped", "up_for_retry")
_people = st.sampled_from(PEOPLE)
_verdicts = st.sampled_from(["approve", "approve", "approve", "reject"])
_channels = st.sampled_from(["ui", "ui", "ui", "api", "slack"])
#: Who does something to the run; ``None`` leaves no trace but what Airflow itself keeps.
_doers = st.sampled_from([None, None, "alice", "erin", "dave"])
_ends = st.sampled_from(["success", "failed", None])
_changes = st.one_of(
    st.tuples(st.just("activate"), st.sampled_from(sorted(BARS))),
    st.tuples(
        st.just("move"), st.sampled_from([*PEOPLE, "bob", "bob", "carol"]), st.sampled_from(sorted(GROUPS))
    ),
    st.tuples(st.just("wait"), st.sampled_from(["1", "6", "11", "31", "61"])),
    st.just(("dispatch",)),
)
_interferences = st.one_of(
    st.tuples(st.just("clear"), st.sampled_from(["gate", "between", "between", "use", "use", "aside"])),
    st.tuples(st.sampled_from(["success", "failed"]), st.sampled_from(["gate", "between", "use", "use"])),
)


class GrantMachine(RuleBasedStateMachine):
    """One run per example; :attr:`world` is set by the test."""

    world: World
    request: RequestRow
    states: dict[str, str | None]

    # -- the beginning -------------------------------------------------------------------------

    @initialize(
        policy=st.sampled_from(["one", "both", "two", "three", "quick", "chat"]),
        agreed=st.sampled_from([True, True, False]),
    )
    def begin(self, policy: str, agreed: bool) -> None:
        """Start a run whose gate asks; mostly with people who agree, so that there is a grant."""
        groups = {group: set(members) for group, members in GROUPS.items()}
        for group, members in groups.items():
            for name in PEOPLE:
                self.world.put(name, group, there=name in members)
        self.airflow = self.world.airflow
        self.model = Model("alice", groups, policy)
        self.ends: set[tuple[str, str]] = set()
        self.airflow.activate(policy_text(policy))
        self.run: Run = self.airflow.a_run()
        self._look()
        self.ask("a test")
        if agreed:
            self._look()
            self.agree(["bob", "carol", "dave"], "ui")

    def _tick(self, seconds: int = 1) -> None:
        self.model.now += seconds
        self.airflow.now += timedelta(seconds=seconds)

    # -- what is asked and decided -------------------------------------------------------------

    @precondition(lambda self: self.states["gate"] in (None, "up_for_retry", "restarting"))
    @rule(reason=st.sampled_from(["a test", "another"]))
    def ask(self, reason: str) -> None:
        """The gate runs and asks, as its first try, after a retry or after a clear."""
        self._tick()
        request = self.run.register(self.run.park(an_ask(reason=reason)))
        assert request is not None
        if request.id not in self.model.asked:
            self.model.asks(request.id, reason)
        self._note(f"asked: {self.run.request(request.id).state}")

    @precondition(lambda self: self.states["gate"] == "awaiting_input")
    @rule(name=_people, verdict=_verdicts, by=_channels)
    def vote(self, name: str, verdict: str, by: str) -> None:
        self._tick()
        self._vote(name, verdict, by)

    @precondition(lambda self: self.states["gate"] == "awaiting_input")
    @rule(names=st.permutations(PEOPLE), by=_channels)
    def agree(self, names: list[str], by: str) -> None:
        """Everybody approves, until one of them has made it final."""
        for name in names:
            self._tick()
            if self._vote(name, "approve", by) not in ("pending", "refused"):
                break

    def _vote(self, name: str, verdict: str, by: str) -> str:
        answer = self.run.vote(self.request, self.world.person(name), Verdict(verdict), channel=Channel(by))
        if isinstance(answer, Refusal):
            self._note(f"vote refused: {answer.code}")
            return "refused"
        self.model.asked[answer.request_id].votes[name] = (verdict, by)
        assert (answer.state == "approved") == self.model.may_approve(answer.request_id), answer
        self._note(f"vote: {answer.state}")
        return answer.state

    @precondition(lambda self: self.states["gate"] == "awaiting_input" and self._voters())
    @rule(which=st.integers(0, len(PEOPLE)), by=_channels)
    def take_back(self, which: int, by: str) -> None:
        self._tick()
        name = self._voters()[which % len(self._voters())]
        person = self.world.person(name)
        answer = decisions.take_back(self.request.id, person=person, channel=Channel(by))
        if not isinstance(answer, Refusal):
            del self.model.asked[answer.request_id].votes[name]
            self._note("taken back")

    def _voters(self) -> list[str]:
        return sorted(self.model.asked[self.request.id].votes)

    @precondition(lambda self: self.states["gate"] == "awaiting_input")
    @rule(name=_people)
    def withdraw(self, name: str) -> None:
        self._tick()
        person = self.world.person(name)
        if not isinstance(decisions.withdraw(self.request.id, person=person, channel=Channel.UI), Refusal):
            self.model.gate_left()
            self._note("withdrawn")

    # -- what surrounds it ---------------------------------------------------------------------

    @rule(change=_changes)
    def surroundings_change(self, change: tuple[str, ...]) -> None:
        """Another policy, a person who joins or leaves a group, time that goes by, or the
        dispatcher, who closes what is due.
        """
        what, *more = change
        self._tick(int(more[0]) * MINUTE if what == "wait" else 1)
        if what == "activate":
            self.airflow.activate(policy_text(more[0]))
            self.model.policy = more[0]
        elif what == "move":
            name, group = more
            members = self.model.groups[group]
            members ^= {name}
            self.world.put(name, group, there=name in members)
        elif what == "dispatch" and close(self.run, self.request):
            self._note("closed")

    # -- what Airflow and people do to tasks ---------------------------------------------------

    @precondition(lambda self: self.states["gate"] in ("awaiting_input", "scheduled", "running"))
    @rule(how=st.sampled_from(["run", "run", "fail"]))
    def gate_goes_on(self, how: str) -> None:
        """The resumed gate runs to its end, or the gate's try fails and Airflow retries it."""
        self._tick()
        state = self.states["gate"]
        if how == "fail" and state in ("awaiting_input", "scheduled", "running"):
            self.run.retry("gate")
            self.model.gate_left()
        elif how == "run" and state == "scheduled":
            self.run.change("gate", state="running")
        elif how == "run" and state == "running":
            self.run.finish("gate", "success" if self.request.state == "approved" else "failed")

    @rule(what=_interferences, by=_doers)
    def interfere(self, what: tuple[str, str], by: str | None) -> None:
        """Somebody clears a task, or marks it."""
        self._tick()
        act, task = what
        if act == "clear":
            self._clear(task, by)
        else:
            self._mark(task, act, by)

    def _clear(self, task: str, by: str | None) -> None:
        state = self.states[task]
        if by is None and state == "running":
            return  # Airflow keeps no trace on the task then; the next ask finds the run's count.
        self.run.clear(task)
        touched = {"task_id": task, "map_index": -1, "dag_run_id": self.run.run_id, "dag_id": self.run.dag_id}
        body = {"dry_run": False, "dag_run_id": self.run.run_id, "task_ids": [task]}
        self._kept("clear", None, None, by, body, {"task_instances": [touched]})
        self.model.cleared(task, finished=state in _FINISHED)
        self._note("clear")

    def _mark(self, task: str, state: str, by: str | None) -> None:
        self.run.finish(task, state)
        self._kept("mark", self.run.run_id, task, by, {"new_state": state}, {})
        if task == "gate":
            self.model.gate_left()
        self._note("mark")

    # -- what wants to be opened ---------------------------------------------------------------

    @precondition(lambda self: self.model.grants)
    @rule(state=_ends)
    def release(self, state: str | None) -> None:
        """The task that the approval is meant for works."""
        self._work("use", state)

    @precondition(lambda self: self.model.grants)
    @rule(task=st.sampled_from(["between", "between", "aside"]), state=_ends)
    def work(self, task: str, state: str | None) -> None:
        """Another task works: the one on the way, or one that stands behind no gate."""
        self._work(task, state)

    @precondition(lambda self: not self.model.grants)
    @rule(task=st.sampled_from(["between", "use"]))
    def jump_the_gate(self, task: str) -> None:
        """A task behind the gate works before anything was approved."""
        self._work(task, None)

    def _work(self, task: str, state: str | None) -> None:
        """A task starts when it can, asks for the sink, and ends so (or goes on running)."""
        self._tick()
        found = self.states[task]
        if found == "failed":
            self.run.retry(task)
        if found in (None, "up_for_retry", "restarting", "failed"):
            found = self._start(task)
        if found == "running":
            self._open(task)
            if state is not None:
                self._end(task, state)

    def _start(self, task: str) -> str:
        """Return the state that the task has after it."""
        if start(self.run, task) is not None:
            assert task != "aside"
            self._note("start refused")
            return "failed"
        if task != "aside":
            assert self.model.grants, f"{task} started without any grant"
            newest = list(self.model.grants)[-1]
            assert self.model.may_start(newest, task), f"{task} started: {self.model.grants[newest]}"
            self.model.started(task)
            self._note("start")
        return "running"

    def _open(self, task: str) -> None:
        before = self._handed_out()
        refusal = open_sink(self.run, task)
        after = self._handed_out()
        if refusal is not None:
            assert before == after
            self._note("credential refused")
            return
        (grant,) = {key for key, count in after.items() if count != before.get(key, 0)}
        assert task != "aside"
        assert self.model.may_open(grant, task), f"{task} has the credential: {self.model.grants[grant]}"
        self.model.opened(grant, task)
        self._note("credential")

    def _end(self, task: str, state: str) -> None:
        self.run.finish(task, state)
        execution_hooks._after_state(self.run.ti_id(task))
        if state == "success":
            self.model.succeeded(task)

    # -- what always holds ---------------------------------------------------------------------

    @invariant()
    def grants_are_earned_and_end_for_good(self) -> None:
        self._look()
        for grant in self._grants():
            if grant.id not in self.model.grants:
                assert self.model.may_approve(grant.request_id), f"{grant.id} was issued for nothing"
                self.model.issued(grant.id, grant.request_id)
                self.model.asked[grant.request_id].open = False
                self._note("grant")
            usable = grant.state in ("live", "bound")
            assert not usable or grant.id not in {ended for ended, _ in self.ends}, "it is usable again"
            if not usable and (grant.id, grant.state) not in self.ends:
                self.ends.add((grant.id, grant.state))
                self._note(f"grant {grant.state}")

    # -- inside --------------------------------------------------------------------------------

    def _note(self, what: str) -> None:
        self.world.seen[what] += 1

    def _look(self) -> None:
        """See how the run stands now; rules go by it."""
        of_run = select(TaskInstance.task_id, TaskInstance.state)
        rows = self.airflow.look(
            lambda s: s.execute(of_run.where(TaskInstance.run_id == self.run.run_id)).all()
        )
        self.states = dict(map(tuple, rows))
        requests = select(RequestRow).where(RequestRow.run_id == self.run.run_id)
        newest = self.airflow.look(
            lambda s: s.scalar(requests.order_by(RequestRow.created_at.desc()).limit(1))
        )
        if newest is not None:
            self.request = newest

    def _kept(
        self, act: str, run_id: str | None, task: str | None, by: str | None, body: Any, answer: Any
    ) -> None:
        """Let the middleware see it, unless it was done behind its back."""
        if by is not None:
            override = overrides.Override(act, self.run.dag_id, run_id, task, -1)
            overrides.keep(override, self.world.person(by), Channel.UI, body, answer)
            self.model.requesters.add(by)

    def _grants(self) -> list[GrantRow]:
        of_run = select(GrantRow).where(GrantRow.run_id == self.run.run_id).order_by(GrantRow.issued_at)
        return self.airflow.look(lambda s: list(s.scalars(of_run)))

    def _handed_out(self) -> dict[str, int]:
        ids = [grant.id for grant in self._grants()]
        bindings = select(BindingRow).where(BindingRow.grant_id.in_(ids))
        return self.airflow.look(lambda s: {row.grant_id: row.handed_out for row in s.scalars(bindings)})
