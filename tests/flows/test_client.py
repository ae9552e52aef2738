"""An agent asks and a person decides, both through the client, on a real Airflow."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from airflow_approvals.client import ApprovalsClient, RefusalError
from tests.flows.gated import Gated

pytestmark = pytest.mark.live
PATIENCE = timedelta(minutes=10)
SOON = timedelta(seconds=0.2)


def client_of(gated: Gated, user: str) -> ApprovalsClient:
    return ApprovalsClient.sign_in(gated.airflow.url(), user, gated.airflow.passwords[user])


def test_an_agent_asks_and_a_person_decides(gated: Gated) -> None:
    with client_of(gated, "alice") as agent, client_of(gated, "bob") as bob:
        key = uuid4().hex
        asked = agent.ask("plain", {"action": "export"}, key=key)
        assert agent.ask("plain", {"action": "export"}, key=key).again
        (request,) = agent.wait_for_requests(asked, timeout=PATIENCE, poll=SOON)
        with pytest.raises(RefusalError) as refused:
            agent.approve(request.id)
        assert refused.value.code == "self_approval"
        assert bob.approve(request.id, "looked at the counts").state == "approved"
        done = agent.wait(request.id, timeout=PATIENCE, poll=SOON)
        assert [(vote.person, vote.channel) for vote in done.votes] == [("bob", "api")]
        assert done.grant is not None
    assert gated.finish("plain", asked.run_id) == "success"


def test_the_command_line_votes_with_ones_own_token(gated: Gated) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    file = gated.home / "bobs-token"
    file.touch(mode=0o600)
    file.write_text(gated.airflow.token("bob"))
    words = ("--server", gated.airflow.url(), "--token-file", str(file), "--yes")
    said = gated.airflow.airflow("approvals", "approve", request["id"], *words).stdout
    assert request["manifest_digest"] in said
    again = gated.airflow.airflow("approvals", "reject", request["id"], *words, check=False)
    assert again.returncode == 1
    assert "[already_closed]" in again.stderr
    assert gated.finish("plain", run_id) == "success"
