"""What the flow tests say to a gated Airflow: ask, vote, override, and look what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.live.airflow_documents import pauses
from tests.live.airflow_processes import AirflowDeployment

T = TypeVar("T")
#: Seconds. Only a test that fails waits as long; a busy machine takes minutes.
PATIENCE = 600.0


class Gated:
    """A running deployment and the words the tests need for it."""

    def __init__(self, airflow: AirflowDeployment, home: Path) -> None:
        self.airflow = airflow
        self.home = home
        self._clients: dict[str, httpx.Client] = {}

    def as_user(self, user: str) -> httpx.Client:
        """A client with the user's bearer token."""
        if user not in self._clients:
            self._clients[user] = self.airflow.client(user)
        return self._clients[user]

    def ask(self, dag_id: str, *, action: str = "export", user: str = "alice") -> str:
        """Trigger a run and wait until its gate is parked; return the run id."""
        run_id = self.start(dag_id, action=action, user=user)
        self.until(lambda: self.state(dag_id, run_id, "gate") == "awaiting_input", f"{dag_id} parks")
        return run_id

    def start(self, dag_id: str, *, action: str = "export", user: str = "alice", **conf: str) -> str:
        return self.airflow.trigger(dag_id, user, conf={"action": action, **conf})

    def state(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str | None:
        return self.airflow.task_state(dag_id, run_id, task_id, map_index)

    def request(self, run_id: str, map_index: int = -1, task_id: str = "gate") -> dict[str, Any]:
        """The newest request of a gate of the run, in full, once it is registered."""

        def find() -> dict[str, Any] | None:
            page = self.as_user("alice").get("/approvals/api/v1/requests", params={"run_id": run_id}).json()
            found = [r for r in page["requests"] if (r["task_id"], r["map_index"]) == (task_id, map_index)]
            return found[0] if found else None

        request_id = self.until(find, "the request is registered")["id"]
        return self.as_user("alice").get(f"/approvals/api/v1/requests/{request_id}").json()

    def vote(self, request_id: str, user: str, verdict: str = "approve", reason: str = "") -> httpx.Response:
        return self.as_user(user).post(
            f"/approvals/api/v1/requests/{request_id}/votes", json={"verdict": verdict, "reason": reason}
        )

    def answer(
        self, dag_id: str, run_id: str, user: str, option: str = "Approve", map_index: int = -1
    ) -> httpx.Response:
        """Answer by Airflow's own route."""
        return self.as_user(user).patch(
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/gate/{map_index}/hitlDetails",
            json={"chosen_options": [option], "params_input": {}},
        )

    def finish(self, dag_id: str, run_id: str) -> str:
        """Wait until the run is over; return its state."""

        def over() -> str | None:
            state = self.airflow.run_state(dag_id, run_id)
            return state if state in ("success", "failed") else None

        return self.until(over, f"run {run_id} of {dag_id} ends")

    def entries(self, **wanted: Any) -> list[dict[str, Any]]:
        """Ledger entries whose fields (or details) equal what is wanted."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = (
                self.as_user("alice")
                .get("/approvals/api/v1/ledger/entries", params={"after": after, "limit": 1000})
                .json()
            )
            found += page["entries"]
            after = page["next"]
        return [entry for entry in found if _has(entry, wanted)]

    def uses(self, run_id: str) -> list[Path]:
        """The marks that tasks left after they had opened the sink's connection."""
        name = run_id.replace(":", "_").replace("+", "_")
        return sorted((self.home / "room" / "used").glob(f"{name}.*"))

    def until(self, look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
        deadline = time.monotonic() + patience
        for pause in pauses():
            if found := look():
                return found
            if time.monotonic() > deadline:
                break
            self.airflow.check_alive()
            time.sleep(pause)
        raise AssertionError(f"waited {patience:.0f} s in vain until {what}")


def _has(entry: dict[str, Any], wanted: dict[str, Any]) -> bool:
    fields = {**entry["details"], **entry}
    return all(fields.get(name) == value for name, value in wanted.items())
