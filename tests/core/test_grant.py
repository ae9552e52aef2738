from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from airflow_approvals.control.signing import SigningKey
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
    source_hash="e" * 32,
    bundle_version="",
    policy="sha256:" + "d" * 64,
    assurance="run-bound",
    not_before=1_000_000,
    not_after=1_003_600,
    dev_mode=False,
)
KEY = SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
VECTORS = [
    (version, grant)
    for version in (1, 2)
    for grant in json.loads((Path(__file__).parent / f"vectors/grant_v{version}.json").read_text())["grants"]
]
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
    identity = {
        "grant",
        "request",
        "assurance",
        "not_before",
        "not_after",
        "dev_mode",
        "break_glass",
        "version",
    }
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


@pytest.mark.parametrize("name", ["fingerprint", "source_hash"])
def test_grant_that_nothing_ties_to_a_destination_or_to_code_never_holds(name):
    assert first_difference(replace(CLAIMS, **{name: ""}), replace(OBSERVED, **{name: ""})) == name


@pytest.mark.parametrize("claims", [CLAIMS, replace(CLAIMS, dev_mode=True, map_index=4)])
def test_claims_survive_their_document(claims):
    document = claims.to_document()
    assert Claims.from_document(document) == claims
    assert (document["nbf"], document["exp"]) == (claims.not_before, claims.not_after)


@pytest.mark.parametrize(("version", "grant"), VECTORS)
def test_own_vectors_are_read_and_written_as_they_were_signed(version, grant):
    claims = Claims.from_document(grant["claims"])
    assert claims.version == version
    assert claims.to_document() == grant["claims"]
    assert (KEY.verify(grant["jws"]), KEY.sign(claims.to_document())) == (grant["claims"], grant["jws"])


def test_claims_of_version_1_are_of_no_source_and_hold_nowhere():
    claims = Claims.from_document(VECTORS[0][1]["claims"])
    assert (claims.version, claims.source_hash) == (1, "")
    assert first_difference(claims, OBSERVED) == "source_hash"


def test_dev_mode_is_stamped():
    assert replace(CLAIMS, dev_mode=True).to_document()["evidence"] == NOT_EVIDENCE
    assert "evidence" not in CLAIMS.to_document()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version": 1},
        {"version": True},
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
