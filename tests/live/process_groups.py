"""Processes that a test starts and is sure to end: by pid, with everything below them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

TERM_SECONDS = 8.0


@dataclass
class RunningProcess:
    """One child in its own session, its output in ``log``."""

    name: str
    log: Path
    popen: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.popen.pid

    def check_alive(self) -> None:
        """:raises RuntimeError: with the end of the log when the process has ended by itself."""
        code = self.popen.poll()
        if code is not None:
            raise RuntimeError(f"{self.name} ended with code {code}:\n{tail(self.log)}")

    def stop(self) -> None:
        end_tree(self.pid)
        self.popen.wait(timeout=10)

    def kill(self) -> None:
        """SIGKILL at once, as a crash would: nothing in the process gets to tidy up."""
        for process in _tree(self.pid):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.popen.wait(timeout=10)


def start_process(
    name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str], cwd: Path
) -> RunningProcess:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
    return RunningProcess(name, log, popen)


def end_tree(pid: int) -> None:
    """End the session that ``pid`` leads: SIGTERM, then SIGKILL by pid for what is left.

    The tree is read before the signal, because children of a dead parent can no longer be
    found through it. Airflow's scheduler needs the second step: its executor's workers and the
    log server outlive a SIGTERM of their parent.
    """
    tree = _tree(pid)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(tree, timeout=TERM_SECONDS)
    for process in {*alive, *(late for one in alive for late in _tree(one.pid))}:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def tail(log: Path, lines: int = 40) -> str:
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def wait_until_gone(pids: Sequence[int], seconds: float = 5.0) -> list[int]:
    """Return the pids that still run (zombies do not) after at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _runs(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    return []
