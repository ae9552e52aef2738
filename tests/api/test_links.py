"""The page on which a Slack account is linked, and what its buttons call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from markupsafe import escape
from sqlalchemy import select

from airflow_approvals.api.app import create_app
from airflow_approvals.control import account_links, vouching
from airflow_approvals.control.account_links import Asked, Linked
from airflow_approvals.core.models import Channel
from airflow_approvals.identity.slack_accounts import Account
from airflow_approvals.store.chat_forms import hash_of
from airflow_approvals.store.chat_tables import AccountLinkRow, LinkAttemptRow
from tests.api.conftest import Signed
from tests.channels.scripted_slack import ScriptedSlack
from tests.control.airflow_scene import POLICY, Airflow

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'&"


def invited(airflow: Airflow) -> str:
    airflow.activate(POLICY + "identities: {slack: {team: T1, users: {}}}\n")
    address = airflow.do(lambda s: account_links.invite(s, Account("T1", "U1"), now=datetime.now(UTC)))
    return address.split("attempt=", 1)[1]


def test_the_page_tells_whose_account_it_is_and_changes_nothing(airflow: Airflow, signed: Signed) -> None:
    attempt = invited(airflow)
    client = signed("carol", channel=Channel.UI)
    entries = len(airflow.entries())
    page = client.get("/links", params={"attempt": attempt})
    assert page.status_code == 200
    assert "U1" in page.text
    assert "carol" in page.text
    assert client.head("/links", params={"attempt": attempt}).status_code == 405
    assert client.get("/links", params={"proof": "x" * 32}).status_code == 200
    assert account_links.account_in(attempt) == Account("T1", "U1")
    assert len(airflow.entries()) == entries
    assert airflow.look(lambda s: list(s.scalars(select(AccountLinkRow)))) == []


def proof_for(airflow: Airflow, name: str, user: str = "U1", **changes: Any) -> str:
    """A proof on its way to an account, asked for by an Airflow user."""
    airflow.activate(POLICY + "identities: {slack: {team: T1, users: {}}}\n")
    now = datetime.now(UTC)
    parts = {"person_id": name, "person_name": name, "expires_at": now + account_links.LIFE, **changes}
    row = LinkAttemptRow(
        id=f"attempt-{user}", channel="slack", team="T1", account=user, created_at=now, **parts
    )
    row.nonce_hash = hash_of(f"proof-{user}")
    airflow.do(lambda s: s.add(row))
    return f"proof-{user}"


def test_what_is_confirmed_names_the_account_and_the_airflow_user(airflow: Airflow, signed: Signed) -> None:
    token = airflow.folder / "token"
    token.touch(mode=0o600)
    token.write_text("xoxb-links")
    with ScriptedSlack() as slack:
        airflow.conf("slack_bot_token_file", str(token))
        airflow.conf("slack_api_url", slack.url)
        slack.will_say(
            200, {"ok": True, "user": {"id": "U1", "team_id": "T1", "real_name": f"\u202e{HOSTILE}"}}
        )
        proof = proof_for(airflow, "carol")
        page = signed("carol", channel=Channel.UI).get("/links", params={"proof": proof}).text
    confirm = page[page.index("<h2>Confirm</h2>") : page.index("</section>")]
    assert (
        f"<strong>U1</strong> of workspace T1, which calls itself “<bdi>{escape(HOSTILE)}</bdi>”," in confirm
    )
    assert "to Airflow user\n  <strong>carol</strong>" in confirm
    assert f'data-proof="{proof}"' in confirm
    assert "<script>alert" not in page


def test_without_slacks_answer_the_account_is_named_by_its_id(airflow: Airflow, signed: Signed) -> None:
    proof = proof_for(airflow, "carol")
    page = signed("carol", channel=Channel.UI).get("/links", params={"proof": proof}).text
    assert "<strong>U1</strong> of workspace T1 to Airflow user" in page


def test_somebody_elses_or_an_old_proof_has_no_button(airflow: Airflow, signed: Signed) -> None:
    others = proof_for(airflow, "carol")
    old = proof_for(airflow, "dave", "U2", expires_at=NOW)
    client = signed("dave", channel=Channel.UI)
    for proof, why in ((others, account_links.NOT_YOURS), (old, account_links.OVER)):
        page = client.get("/links", params={"proof": proof}).text
        assert str(escape(why.sentence)) in page
        assert ("data-proof" in page, "U1" in page) == (False, False)


def test_nothing_that_comes_in_becomes_markup(airflow: Airflow, signed: Signed) -> None:
    client = signed(HOSTILE, channel=Channel.UI)
    for parts in ({"attempt": HOSTILE}, {"proof": HOSTILE}, {}):
        page = client.get("/links", params=parts)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "alert(1)" in page.text  # the name, escaped


def test_the_page_is_shown_in_no_other_sites_frame_and_kept_nowhere(airflow: Airflow, signed: Signed) -> None:
    headers = signed("carol", channel=Channel.UI).get("/links").headers
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")


def test_only_scripts_of_this_very_answer_run(airflow: Airflow, signed: Signed) -> None:
    client = signed("carol", channel=Channel.UI)
    first, second = client.get("/links"), client.get("/links")
    nonce = first.headers["content-security-policy"].split("script-src 'nonce-", 1)[1].split("'", 1)[0]
    assert f'<script nonce="{nonce}">' in first.text
    assert nonce not in second.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/links/attempts/some-attempt"),
        ("POST", "/api/v1/links/confirm"),
        ("POST", "/api/v1/links/1/vouch"),
        ("DELETE", "/api/v1/links/1"),
    ],
)
def test_a_token_links_nothing(airflow: Airflow, signed: Signed, method: str, path: str) -> None:
    answer = signed("carol").request(method, path, json={"proof": "x"} if "confirm" in path else None)
    assert (answer.status_code, answer.json()["code"]) == (403, "session_needed")


def test_a_browser_without_a_session_is_sent_to_log_in_and_back(airflow: Airflow) -> None:
    stranger = TestClient(create_app(), follow_redirects=False)
    answer = stranger.get("/links?attempt=a%26b", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"].endswith("/api/v2/auth/login?next=%2Flinks%3Fattempt%3Da%2526b")
    assert stranger.get("/links").status_code == 401


def test_the_buttons_say_what_they_did(
    airflow: Airflow, signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they do is tested with Slack beside; here it is what comes back."""
    client = signed("carol", channel=Channel.UI)
    monkeypatch.setattr(account_links, "ask", lambda attempt, person: Asked("U1", NOW))
    monkeypatch.setattr(account_links, "confirm", lambda proof, person: Linked(1, "U1", person.name, NOW))
    monkeypatch.setattr(vouching, "vouch", lambda link, person: vouching.A_PARTY)
    monkeypatch.setattr(account_links, "end", lambda link, person: Linked(link, "U1", person.name, None))
    assert "private message" in client.post("/api/v1/links/attempts/a").json()["sentence"]
    confirmed = client.post("/api/v1/links/confirm", json={"proof": "p"})
    assert confirmed.json()["sentence"] == "The account is linked to you."
    assert client.post("/api/v1/links/confirm", json={"proof": "p", "more": 1}).status_code == 422
    assert client.post("/api/v1/links/7/vouch").json()["code"] == "own_link"
    assert "ended" in client.delete("/api/v1/links/7").json()["sentence"]


def test_ones_own_link_and_those_that_wait_are_shown(airflow: Airflow, signed: Signed) -> None:
    invited(airflow)

    def link(account: str, person: str, votes_from: datetime | None) -> AccountLinkRow:
        return AccountLinkRow(
            channel="slack",
            team="T1",
            account=account,
            person_id=person,
            person_name=person,
            standing=True,
            linked_at=NOW,
            votes_from=votes_from,
        )

    airflow.do(lambda s: s.add_all([link("U1", "carol", NOW), link("U2", "dave", None)]))
    page = signed("carol", channel=Channel.UI).get("/links").text
    assert "Slack account U1 is linked to you" in page
    assert "U2 for dave" in page
    theirs = signed("dave", channel=Channel.UI).get("/links").text
    assert "does not vote until somebody else" in theirs
    assert "U2 for dave" not in theirs
