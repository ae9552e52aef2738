"""Commands of Airflow's CLI as somebody at the server's shell gives them, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.live.airflow_processes import AirflowDeployment

#: Airflow is imported once; each command has a process of its own, because some leave theirs changed
#: (``connections get`` makes it a server's, ``tasks test`` a task's).
_SCRIPT = """
import json, os, sys
from airflow.cli.cli_parser import get_parser
for number, command in enumerate(json.loads(sys.argv[1])):
    print(f"=={number}==", flush=True)
    if child := os.fork():
        os.waitpid(child, 0)
        continue
    sys.argv = ["airflow", *command]
    try:
        parsed = get_parser().parse_args(command)
        parsed.func(parsed)
    except BaseException as error:
        print(f"ended by {type(error).__name__}: {error}")
    sys.stdout.flush()
    os._exit(0)
"""


def given(airflow: AirflowDeployment, *commands: list[str]) -> list[str]:
    """Give commands, whatever each comes to; return what each printed."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(commands)],
        env=dict(airflow.environment),
        cwd=airflow.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    printed = []
    for number in range(len(commands)):
        _, _, rest = done.stdout.partition(f"=={number}==\n")
        assert rest, done.stdout
        printed.append(rest.partition(f"=={number + 1}==\n")[0])
    return printed


def tried(airflow: AirflowDeployment) -> dict[str, str]:
    """Give every command that the suite wants to see at work; return what each printed."""
    by_role = airflow.home / "policy-by-role.yaml"
    policy = (airflow.home / "policy.yaml").read_text()
    by_role.write_text(policy.replace("{simple_role: op}", "{fab_role: Op}"))
    commands = {
        "connections get": ["connections", "get", "sink_a", "--output", "json"],
        "policy lint": ["approvals", "policy", "lint", str(by_role)],
        "doctor": ["approvals", "doctor", "--json"],
        "tasks test": ["tasks", "test", "no_gate", "use"],
        "dags test": ["dags", "test", "no_gate"],
    }
    return dict(zip(commands, given(airflow, *commands.values()), strict=True))
