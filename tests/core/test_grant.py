from __future__ import annotations

from dataclasses import fields, replace

import pytest

from airflow_approvals.core.grant import CLOCK_SKEW_SECONDS, NOT_EVIDENCE, Claims, Observed, first_difference
from airflow_approvals.errors import ContractError

CLAIMS = Claims(
    grant="g1",
    request="r1",
    manifest="sha256:" + "a" * 64,
    sink="training-bucket",
    connection="training_bucket",
    fingerprint="hmac-sha256:" + "b" * 64,
    action="export",
    dag_id="secure_llm_export",
    run_id="manual__1",
    task_id="gate",
    map_index=-1,
    dag_hash="c" * 32,
    bundle_version="",
    policy="sha256:" + "d" * 64,
    assurance="run-bound",
    not_before=1_000_000,
    not_after=1_003_600,
    dev_mode=False,
)
OBSERVED = Observed(
    **{field.name: getattr(CLAIMS, field.name) for field in fields(Observed) if field.name != "now"},
    now=1_000_010,
)


def test_all_claims_hold():
    assert first_difference(CLAIMS, OBSERVED) is None


@pytest.mark.parametrize("name", [field.name for field in fields(Observed) if field.name != "now"])
def test_each_claim_that_differs_is_named(name):
    other = 3 if name == "map_index" else "something else"
    assert first_difference(CLAIMS, replace(OBSERVED, **{name: other})) == name


def test_what_is_observed_covers_every_claim_that_can_change():
    identity = {"grant", "request", "assurance", "not_before", "not_after", "dev_mode"}
    observed = {field.name for field in fields(Observed)} - {"now"}
    assert {field.name for field in fields(Claims)} == observed | identity


@pytest.mark.parametrize(
    ("now", "named"),
    [
        (CLAIMS.not_before - CLOCK_SKEW_SECONDS - 1, "not_before"),
        (CLAIMS.not_before - CLOCK_SKEW_SECONDS, None),
        (CLAIMS.not_after - 1, None),
        (CLAIMS.not_after, "not_after"),
    ],
)
def test_time_is_checked_at_its_edges(now, named):
    assert first_difference(CLAIMS, replace(OBSERVED, now=now)) == named


def test_grant_without_a_fingerprint_never_holds():
    assert (
        first_difference(replace(CLAIMS, fingerprint=""), replace(OBSERVED, fingerprint="")) == "fingerprint"
    )


@pytest.mark.parametrize("claims", [CLAIMS, replace(CLAIMS, dev_mode=True, map_index=4)])
def test_claims_survive_their_document(claims):
    document = claims.to_document()
    assert Claims.from_document(document) == claims
    assert (document["nbf"], document["exp"]) == (claims.not_before, claims.not_after)


def test_dev_mode_is_stamped():
    assert replace(CLAIMS, dev_mode=True).to_document()["evidence"] == NOT_EVIDENCE
    assert "evidence" not in CLAIMS.to_document()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"extra": 1},
        {"exp": 1},
        {"nbf": 1},
        {"map_index": -2},
        {"map_index": True},
        {"not_after": "1003600", "exp": "1003600"},
        {"dev_mode": 0},
        {"dev_mode": True},
        {"evidence": NOT_EVIDENCE},
        {"sink": None},
    ],
)
def test_document_that_breaks_the_schema_is_refused(change):
    with pytest.raises(ContractError, match="grant"):
        Claims.from_document({**CLAIMS.to_document(), **change})


@pytest.mark.parametrize("name", [field.name for field in fields(Claims)])
def test_document_without_a_claim_is_refused(name):
    document = CLAIMS.to_document()
    del document[name]
    with pytest.raises(ContractError, match=name):
        Claims.from_document(document)
