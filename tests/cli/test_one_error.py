"""A command that cannot go on ends in one sentence, which holds nothing of what was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from airflow_approvals import cli
from airflow_approvals.errors import ConfigurationError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OperationalError("SELECT", {"reason": "canary"}, Exception("canary")), "run `airflow db migrate`"),
        (ConfigurationError("No key.", "Make one."), "approvals: No key. Make one."),
    ],
)
def test_a_fault_is_one_sentence(error: Exception, said: str) -> None:
    def run(args: Namespace) -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        cli._with_one_error(run)(Namespace())
    assert said in str(ended.value.code)
    assert "canary" not in str(ended.value.code)
    assert ended.value.__suppress_context__


@pytest.mark.parametrize(("command", "code"), [("list", 1), ("doctor", 2)])
def test_a_database_without_our_tables_is_named_with_the_way_out(
    tmp_path: Path, command: str, code: int
) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("airflow")), "approvals", command],
        env={**inherited, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "airflow db migrate" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
