"""An executor that starts each task as a process with the user, environment and home of another host.

It hands over what ``KubernetesExecutor`` hands to a pod, the workload with its token, to the same
entry point (``airflow.sdk.execution_time.execute_workload``). What the process is beyond that
stands in ``hosts.json`` (``tests/adversary/worker_hosts.py`` writes it), by the task's queue.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from airflow.configuration import AIRFLOW_HOME
from airflow.executors.base_executor import BaseExecutor
from airflow.utils.state import TaskInstanceState


class OtherUserExecutor(BaseExecutor):
    """Runs tasks on the hosts of ``hosts.json``; a queue is a host."""

    def start(self) -> None:
        self._hosts = json.loads((Path(AIRFLOW_HOME) / "hosts.json").read_text())
        self._started = {}

    def _process_workloads(self, workload_items) -> None:
        for workload in workload_items:
            self.queued_tasks.pop(workload.key)
            self.running.add(workload.key)
            self._started[workload.key] = _start(workload, self._hosts[workload.ti.queue])

    def sync(self) -> None:
        for key, process in list(self._started.items()):
            if (code := process.poll()) is not None:
                del self._started[key]
                self.change_state(key, TaskInstanceState.FAILED if code else TaskInstanceState.SUCCESS)

    def end(self) -> None:
        self.terminate()

    def terminate(self) -> None:
        for process in self._started.values():
            process.terminate()


def _start(workload, host):
    home = Path(host["home"])
    handle, name = tempfile.mkstemp(suffix=".json", dir=home)
    with os.fdopen(handle, "w") as file:
        file.write(workload.model_dump_json())
    # Readable to nobody but the worker: it holds the token.
    subprocess.run(["chown", "--reference", home, name], check=True)
    with (home / "workers.log").open("ab") as log:
        return subprocess.Popen(
            [host["python"], "-m", "airflow.sdk.execution_time.execute_workload", "--json-path", name],
            env=host["environment"],
            cwd=home,
            stdout=log,
            stderr=log,
            **({"user": host["uid"], "group": host["uid"], "extra_groups": []} if host["uid"] else {}),
        )
