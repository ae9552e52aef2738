"""The REST API on a real Airflow: who may, and what each refusal says."""

from __future__ import annotations

import httpx
import pytest

from tests.flows.gated import Gated

pytestmark = pytest.mark.live
REQUESTS = "/approvals/api/v1/requests"
HEADER = {"X-Approvals-Request": "1"}


def browser(gated: Gated, user: str) -> httpx.Client:
    return gated.airflow.browser_session(user)


def test_refusals_have_a_status_a_code_and_a_sentence(gated: Gated) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    votes = f"{REQUESTS}/{request['id']}/votes"
    approve = {"verdict": "approve"}
    seen = {
        "nobody": httpx.post(gated.airflow.url() + votes, json=approve, trust_env=False, timeout=120),
        "forged": httpx.post(
            gated.airflow.url() + votes,
            json=approve,
            headers={"Authorization": "Bearer x.y.z"},
            trust_env=False,
            timeout=120,
        ),
        "viewer": gated.as_user("viewer").post(votes, json=approve),
        "unknown": gated.as_user("bob").post(f"{REQUESTS}/nope/votes", json=approve),
        "misspelt": gated.as_user("bob").post(votes, json={"verdict": "maybe"}),
        "more": gated.as_user("bob").post(votes, json={**approve, "as": "carol"}),
        "self": gated.as_user("alice").post(votes, json=approve),
    }
    codes = {name: (answer.status_code, answer.json()["code"]) for name, answer in seen.items()}
    assert codes == {
        "nobody": (401, "not_signed_in"),
        "forged": (403, "not_permitted"),
        "viewer": (403, "not_permitted"),
        "unknown": (404, "unknown_request"),
        "misspelt": (422, "invalid"),
        "more": (422, "invalid"),
        "self": (403, "self_approval"),
    }
    assert all(answer.json()["detail"].strip() for answer in seen.values())
    assert gated.vote(request["id"], "bob", "reject").status_code == 200
    late = gated.vote(request["id"], "carol")
    assert (late.status_code, late.json()["code"]) == (409, "already_closed")


def test_a_browser_session_needs_proof_that_the_page_is_ours(gated: Gated) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    votes = f"{REQUESTS}/{request['id']}/votes"
    with browser(gated, "bob") as bob:
        origin = {"Origin": gated.airflow.url()}
        for headers in ({}, HEADER, origin, {**HEADER, "Origin": "https://elsewhere.invalid"},
                        {**HEADER, **origin, "Sec-Fetch-Site": "cross-site"}):  # fmt: skip
            refused = bob.post(votes, json={"verdict": "approve"}, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
        form = bob.post(
            votes, content='{"verdict":"approve"}', headers={**HEADER, **origin, "Content-Type": "text/plain"}
        )
        assert form.status_code in (403, 422)
        counted = bob.post(votes, json={"verdict": "approve"}, headers={**HEADER, **origin})
        assert counted.json()["state"] == "approved"
    assert gated.entries(kind="vote_cast", request=request["id"])[0]["channel"] == "ui"


def test_airflows_own_page_votes_by_session_from_its_own_origin_only(gated: Gated) -> None:
    run_id = gated.ask("plain", action="page")
    gated.request(run_id)
    path = f"/api/v2/dags/plain/dagRuns/{run_id}/taskInstances/gate/-1/hitlDetails"
    body = {"chosen_options": ["Approve"], "params_input": {}}
    with browser(gated, "bob") as bob:
        assert bob.patch(path, json=body, headers={"Origin": "https://elsewhere.invalid"}).status_code == 403
        assert (
            bob.patch(
                path, json={"chosen_options": ["Maybe"]}, headers={"Origin": gated.airflow.url()}
            ).status_code
            == 400
        )
        assert bob.patch(path, json=body, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert gated.answer("plain", run_id, "viewer").status_code == 403
    assert httpx.patch(gated.airflow.url() + path, json=body, trust_env=False, timeout=120).status_code == 401
    assert gated.finish("plain", run_id) == "success"


def test_lists_are_filtered_paged_and_newest_first(gated: Gated) -> None:
    runs = [gated.start("plain", action="leak") for _ in range(3)]
    for run_id in runs:
        gated.finish("plain", run_id)
    client = gated.as_user("bob")
    first = client.get(REQUESTS, params={"state": "forbidden", "dag_id": "plain", "limit": 2}).json()
    second = client.get(
        REQUESTS, params={"state": "forbidden", "dag_id": "plain", "limit": 2, "after": first["next"]}
    ).json()
    listed = [r["run_id"] for r in first["requests"] + second["requests"]]
    assert len(listed) >= 3
    assert len(set(listed)) == len(listed)
    created = [r["created_at"] for r in first["requests"] + second["requests"]]
    assert created == sorted(created, reverse=True)
    assert client.get(REQUESTS, params={"state": "lost"}).status_code == 422


def test_health_keys_and_schema_are_served_to_those_who_sign_in(gated: Gated) -> None:
    client = gated.as_user("alice")
    health = client.get("/approvals/health")
    assert (health.status_code, health.json()["problems"]) == (200, [])
    keys = client.get("/approvals/api/v1/jwks").json()["keys"]
    assert [(key["kty"], key["crv"]) for key in keys] == [("OKP", "Ed25519")]
    assert "d" not in keys[0]
    assert (
        "/api/v1/requests/{request_id}/votes" in client.get("/approvals/api/v1/openapi.json").json()["paths"]
    )


def test_the_command_line_lists_and_shows(gated: Gated) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    listed = gated.airflow.airflow("approvals", "list", "--state", "pending", "--output", "json").stdout
    assert request["id"] in listed
    shown = gated.airflow.airflow("approvals", "show", request["id"]).stdout
    assert request["manifest_digest"] in shown
    assert gated.airflow.airflow("approvals", "show", "nope", check=False).returncode == 1
    verified = gated.airflow.airflow("approvals", "ledger", "verify").stdout
    assert "ledger verifies" in verified
