"""How Airflow's API and logs are asked and read: patience, paths, names and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.live.process_groups import tail


class PatientTransport(httpx.HTTPTransport):
    """Sends a request again where Airflow's own transaction had to give way (its 500 says so).

    Airflow writes its log on the event loop. On SQLite that waits for a writer whose commit waits
    for the same loop, until the wait for the lock is over: five seconds, and longer is no cure. On
    PostgreSQL a mark changes tasks and then the run, the scheduler the run and then tasks; that
    nothing of ours takes part in it is ``tests/seams/test_airflow_seams.py``'s to show.
    Every other answer, and the fifth in a row, is the test's to judge.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        for _ in range(4):
            answer = super().handle_request(request)
            if answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                return answer
            if b'"Database error"' not in answer.read():
                return answer
        return super().handle_request(request)


def api_client(base_url: str, log: Path, **options: Any) -> httpx.Client:
    """A client of one api-server, whose log it prints the end of where the server answers 500."""
    options |= {"transport": PatientTransport(), "event_hooks": {"response": [partial(_print_fault, log)]}}
    return httpx.Client(base_url=base_url, timeout=120, trust_env=False, **options)


def _print_fault(log: Path, answer: httpx.Response) -> None:
    if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
        print(f"{answer.request.method} {answer.request.url} was answered 500; {log.name} ends with:")
        print(tail(log, 120))


def pauses() -> Iterator[float]:
    """How long to wait between two looks, in seconds: each look costs the server more than the looker."""
    pause = 0.15
    while True:
        yield pause
        pause = min(1.0, pause * 1.25)


def errors_in(log: Path) -> list[str]:
    """The error events of a task's log, with the frames cut off."""
    events = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [f"{log.parent.name}: {line[:2000]}" for line in events if '"level":"error"' in line]


def run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def instance_name(task: Mapping[str, Any]) -> str:
    index = task.get("map_index", -1)
    return str(task["task_id"]) if index < 0 else f"{task['task_id']}[{index}]"
