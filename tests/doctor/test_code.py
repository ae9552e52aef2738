from __future__ import annotations

from airflow.models.dag import DagModel
from sqlalchemy import update

from airflow_approvals.doctor import code
from airflow_approvals.doctor.findings import Severity
from tests.control.airflow_scene import VERSIONED_DAG_ID


def test_gated_dags_of_a_bundle_without_versions_are_named(airflow, around):
    (found,) = code.bundles_versioned(around())
    assert (found.check, found.severity) == ("bundle_unversioned", Severity.WARNING)
    assert found.what.endswith("without versions: gated, in_a_row.")
    assert list(code.bundles_versioned(around(worker=True))) == []


def test_a_bundle_with_versions_is_none_of_them(airflow, around):
    of_others = update(DagModel).where(DagModel.dag_id != VERSIONED_DAG_ID)
    airflow.do(lambda s: s.execute(of_others.values(is_stale=True)))
    assert list(code.bundles_versioned(around())) == []
