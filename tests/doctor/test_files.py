from __future__ import annotations

from pathlib import Path

import pytest

from airflow_approvals.config.settings import Settings
from airflow_approvals.doctor import files


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "control"
    folder.mkdir(mode=0o755)
    path = folder / "policy.yaml"
    path.touch(mode=0o644)
    return path


def writable(around, policy):
    return [
        one.what for one in files.policy_writable_by_others(around(settings=Settings(policy_file=policy)))
    ]


def test_a_file_of_the_owner_alone_is_fine(around, policy):
    assert writable(around, policy) == []


def test_a_file_that_others_may_write(around, policy):
    policy.chmod(0o664)
    assert writable(around, policy) == [
        "The file of [approvals] policy_file can be changed by others than its owner."
    ]


def test_a_folder_that_others_may_write_is_as_bad(around, policy):
    policy.parent.chmod(0o777)
    assert "who may write its folder" in writable(around, policy)[0]
    policy.parent.chmod(0o1777)
    assert writable(around, policy) == []


def test_a_file_among_the_dags(around, policy, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(policy.parent))
    assert "DAG bundle dags-folder" in writable(around, policy)[0]


def test_a_file_of_the_user_that_tasks_run_as(around, policy, monkeypatch):
    import os
    import pwd

    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_IMPERSONATION", pwd.getpwuid(os.getuid()).pw_name)
    assert "the user that tasks run as" in writable(around, policy)[0]


def test_keys_are_their_owners_alone(around, tmp_path: Path):
    key = tmp_path / "signing.pem"
    key.touch(mode=0o600)
    with_key = around(settings=Settings(signing_key_file=key))
    assert list(files.secrets_readable_by_others(with_key)) == []
    key.chmod(0o640)
    (found,) = files.secrets_readable_by_others(with_key)
    assert found.what == "The file of [approvals] signing_key_file has mode 0640."


def test_on_a_worker_what_counts_is_whether_a_task_could_write_it(around, policy):
    worker = around(worker=True, settings=Settings(policy_file=policy))
    # The file is ours, as it would be a worker's that keeps it under its own user.
    assert [one.check for one in files.policy_writable_by_others(worker)] == ["policy_writable"]
    gone = around(worker=True, settings=Settings(policy_file=Path("/nowhere/at/all/policy.yaml")))
    assert list(files.policy_writable_by_others(gone)) == []
