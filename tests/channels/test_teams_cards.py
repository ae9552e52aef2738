"""What a card says and how large it gets, looked at as data; how it looks: test_teams_rendering.py."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels import teams_text
from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.facts import ENDPOINT_CHANGED, FIRST_APPROVAL, RequestFacts, VoteFact
from airflow_approvals.core.models import Channel, RequestState, Verdict
from tests.channels.facts_for_tests import DIGEST, some_facts
from tests.channels.teams_service import MAX_MESSAGE

DELIVERED = cards.Delivered("nonce-of-this-delivery", tuple(f"29:{n:090d}" for n in range(80)))
AT = datetime(2026, 2, 28, 12, tzinfo=UTC)
HUGE = some_facts(
    requesters=tuple(f"requester-{n} (triggered the run)" for n in range(900)),
    requester_notes=("Somebody unknown wrote the code. " * 20,) * 30,
    counts=tuple((f"column_{n}_{'x' * 300}", "EMAIL_ADDRESS", n) for n in range(2000)),
    residual=tuple((f"ENTITY_{n}", n) for n in range(500)),
    who_may_decide=tuple(f"approver-{n}" for n in range(900)),
    rules=tuple(f"rule-{n}" for n in range(300)),
    seats=tuple(f"1 of group-{n}" for n in range(300)),
    votes=tuple(VoteFact(f"voter-{n}", Verdict.APPROVE, Channel.UI, AT) for n in range(500)),
    author_reason="ä\n" * 5000,
    author_body='"\\' * 5000,
    destination="s3://" + "ö" * 995,
    endpoint="sftp://" + "ä" * 995,
    endpoint_changed=True,
    last_approved_at=AT,
    changes=tuple(f"column {n} was added {'y' * 150}" for n in range(400)),
    dag_id="d" * 250,
    run_id="r" * 250,
    task_id="t" * 250,
    reported_by="b" * 1000,
    decided_because="because " * 1000,
)


FORM = cards.Form("number-of-this-form-once")
#: The widest of all: everything is asked for, and something was wrong with a long answer.
LACKING = replace(FORM, notice="x" * 5000, reason='"\\ä' * 600, ticket="OPS-1")
ASKED = Demands((".{10,}", "(?:checked|sampled) .{5,}"), True, ("[A-Z]+-[0-9]+",))


def every_card(facts: RequestFacts) -> dict[str, cards.Card]:
    return {
        "everybody": cards.for_everybody(facts, DELIVERED),
        "may vote": cards.for_one(facts, DELIVERED, notice="You voted to approve.", may_vote=True),
        "may not": cards.for_one(facts, DELIVERED, notice="You started this run.", may_vote=False),
        "approve": cards.confirmation(facts, DELIVERED, Verdict.APPROVE, ASKED, FORM),
        "approve again": cards.confirmation(facts, DELIVERED, Verdict.APPROVE, ASKED, LACKING),
        "reject": cards.confirmation(facts, DELIVERED, Verdict.REJECT, Demands(), FORM),
        "announcement": cards.announcement(facts),
        "outcome": cards.outcome(facts),
    }


def shown(card: cards.Card) -> str:
    return json.dumps(card, ensure_ascii=False)


@pytest.mark.parametrize("name", sorted(every_card(some_facts())))
@pytest.mark.parametrize("state", [RequestState.PENDING, RequestState.APPROVED])
def test_no_card_exceeds_the_limit_whatever_the_facts(name: str, state: RequestState) -> None:
    card = every_card(replace(HUGE, state=state))[name]
    assert cards.size_of(card) <= cards.MAX_BYTES
    assert len(shown(card).encode()) < MAX_MESSAGE
    assert DIGEST in shown(card)


def test_only_lists_are_shortened_and_they_say_by_how_much() -> None:
    text = shown(cards.for_everybody(HUGE, DELIVERED))
    for kept in (
        "confidential",
        "partner-bucket",
        "run-bound: a task of this run",
        ENDPOINT_CHANGED,
        "2 objects, 500 rows",
        "10 of 5,000 cells",
        "2026-03-01 12:30",
    ):
        assert kept in text
    assert text.count(" more") >= 7
    assert "Since the approval of 2026-02-28 12:00 UTC" in text
    assert "column_1999_" in text, "the largest counts first"
    assert "Masked: 1,999,000 values" in text


WITH_A_PAST = some_facts(
    endpoint_changed=True,
    last_approved_at=AT,
    changes=("500 rows instead of 90", "column *phone* is new"),
    requester_notes=("Nobody knows who wrote the code.",),
    who_may_decide=("bob", "carol [x](https://evil.example)"),
)


@pytest.mark.parametrize("name", ["everybody", "may vote", "may not", "approve", "reject", "announcement"])
def test_every_card_that_asks_says_all_that_a_decision_rests_on(name: str) -> None:
    text = facts_on(every_card(WITH_A_PAST)[name])
    for fact, value in (
        ("Destination", "partner-bucket (s3://partner/in/)"),
        ("Reached at", "sftp://drop.example:22"),
        ("CHANGED", ENDPOINT_CHANGED),
        ("Assurance", WITH_A_PAST.assurance_in_words),
        ("Label", "confidential"),
        ("Digest", f"0123456789ab ({DIGEST})"),
        ("Since the approval of 2026-02-28 12:00 UTC", "500 rows instead of 90; column *phone* is new"),
        ("Rule", "confidential-needs-a-steward"),
        ("Votes needed", "1 of data-stewards"),
        ("Who may decide", "bob, carol [x](https://evil.example)"),
        ("Expires", "2026-03-01 12:30 UTC"),
        ("Not known", "Nobody knows who wrote the code."),
    ):
        assert text[fact] == value


def test_a_first_approval_says_so_and_nothing_has_changed() -> None:
    text = facts_on(cards.for_everybody(some_facts(), DELIVERED))
    assert text["Since the last approval"] == FIRST_APPROVAL
    assert not {"CHANGED", "Not known"} & text.keys()


def test_a_sink_that_leads_nobody_knows_where_and_vouches_for_nothing_says_so() -> None:
    text = facts_on(cards.for_everybody(some_facts(endpoint="", assurance=""), DELIVERED))
    assert (text["Reached at"], text["Assurance"]) == ("unknown", "none: the sink is not known")


def test_changes_that_do_not_fit_are_counted_where_they_are_confirmed() -> None:
    card = every_card(HUGE)["approve"]
    text = facts_on(card)
    for fact in ("Since the approval of 2026-02-28 12:00 UTC", "Rule", "Votes needed", "Who may decide"):
        assert re.search(r" and \d{2,3} more$", text[fact]), fact


def facts_on(card: cards.Card) -> dict[str, str]:
    """The facts of a card by their names; each is text, and none of it markup."""
    pairs = [e["inlines"] for e in card["body"] if e["type"] == "RichTextBlock" and len(e["inlines"]) == 2]
    return {name["text"].removesuffix(": "): value["text"] for name, value in pairs}


def test_a_button_carries_the_request_and_the_nonce_and_nothing_else() -> None:
    for card in every_card(some_facts()).values():
        for action in [*card["actions"], card.get("refresh", {}).get("action", {"type": ""})]:
            if action["type"] == "Action.Execute":
                form = {"form": FORM.nonce} if action["verb"] in cards.CONFIRMS else {}
                assert action["data"] == {"request": "req-1", "nonce": "nonce-of-this-delivery", **form}


@pytest.mark.parametrize(
    "change",
    [
        {"manifest_digest": "sha256:" + "d" * 64},
        {"who_may_decide": ("bob",)},
        {"changes": ("+ column email",)},
        {"expires_at": AT},
        {"endpoint_changed": True},
        {"run_id": "another"},
    ],
)
def test_the_digest_of_a_form_covers_whatever_it_shows(change: dict[str, Any]) -> None:
    shown_first = cards.shown(some_facts(), Verdict.APPROVE, ASKED)
    assert cards.shown(some_facts(**change), Verdict.APPROVE, ASKED) != shown_first
    assert cards.shown(some_facts(), Verdict.APPROVE, replace(ASKED, ticket=())) != shown_first
    assert cards.shown(some_facts(), Verdict.REJECT, ASKED) != shown_first


def test_other_peoples_votes_make_no_form_stale() -> None:
    voted = some_facts(votes=(VoteFact("carol", Verdict.APPROVE, Channel.UI, AT),))
    assert cards.shown(voted, Verdict.APPROVE, ASKED) == cards.shown(some_facts(), Verdict.APPROVE, ASKED)


def test_what_was_written_before_is_still_there_and_the_authors_ticket_to_begin_with() -> None:
    def values(form: cards.Form) -> dict[str, Any]:
        demands = replace(ASKED, author_ticket="OPS-7")
        made = cards.confirmation(some_facts(), DELIVERED, Verdict.APPROVE, demands, form)
        return {one["id"]: one.get("value") for one in made["body"] if one["type"] == "Input.Text"}

    assert values(FORM) == {"reason": None, "ticket": "OPS-7"}
    assert values(replace(FORM, reason="looked", ticket="X")) == {"reason": "looked", "ticket": "X"}
    assert values(replace(FORM, ticket="x" * 251))["ticket"] is None


def test_at_most_sixty_people_get_a_view_of_their_own() -> None:
    assert len(cards.for_everybody(some_facts(), DELIVERED)["refresh"]["userIds"]) == 60
    assert "refresh" not in cards.for_everybody(some_facts(state=RequestState.APPROVED), DELIVERED)


@pytest.mark.parametrize("state", [state for state in RequestState if state.is_terminal])
def test_a_closed_request_has_its_outcome_and_no_buttons(state: RequestState) -> None:
    facts = some_facts(state=state, decided_because="Because of *that*.")
    for name in ("everybody", "may vote", "may not", "announcement", "outcome"):
        card = every_card(facts)[name]
        assert [action["type"] for action in card["actions"]] == ["Action.OpenUrl"]
        assert "Because of *that*." in shown(card)


def test_where_teams_only_views_there_are_no_buttons() -> None:
    card = cards.for_everybody(some_facts(deciding=frozenset({Channel.UI})), DELIVERED)
    assert [action["type"] for action in card["actions"]] == ["Action.OpenUrl"]
    assert "the rule does not let Teams decide" in shown(card)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://airflow.example/dags/d?x=1&y=2", "https://airflow.example/dags/d?x=1&y=2"),
        ("http://localhost:8080/a b", "http://localhost:8080/a%20b"),
        ("javascript:alert(1)", None),
        (" javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("JaVaScRiPt://host/%0aalert(1)", None),
        ("//host/path", None),
        ("https:///path", None),
    ],
)
def test_a_link_is_one_of_the_web_or_there_is_none(url: str, kept: str | None) -> None:
    card = cards.for_everybody(some_facts(page_url=url), DELIVERED)
    assert [a["url"] for a in card["actions"] if a["type"] == "Action.OpenUrl"] == ([kept] if kept else [])


def test_a_mention_names_an_account_and_its_entity_says_the_same() -> None:
    card = cards.word("Still waits.", [("aaaaaaaa-0000-4000-8000-00000000000b", "bob</at> [x](y)")])
    (entity,) = card["msteams"]["entities"]
    assert entity["text"] == "<at>bobat xy</at>"
    assert entity["mentioned"] == {"id": "aaaaaaaa-0000-4000-8000-00000000000b", "name": "bobat xy"}
    assert card["body"][1]["text"] == entity["text"]


@given(st.text("{}ab\n\t\u202e\u200b\u2028 ", max_size=60), st.integers(3, 50))
@settings(max_examples=60, deadline=None)
def test_plain_text_is_one_line_of_the_length_without_what_hides_or_is_replaced(
    text: str, limit: int
) -> None:
    made = teams_text.plain(text, limit)
    assert 1 <= len(made) <= limit
    assert made == made.strip()
    assert made.isprintable()
    assert "{{" not in made
