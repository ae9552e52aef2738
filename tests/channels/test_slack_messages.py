from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_approvals.channels.facts import ENDPOINT_CHANGED, VoteFact
from airflow_approvals.channels.slack_messages import outcome_blocks, render, reply_blocks, whisper_blocks
from airflow_approvals.core.models import Channel, RequestState, Verdict
from tests.channels.block_kit import assert_valid_blocks
from tests.channels.facts_for_tests import DIGEST, some_facts

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def texts(value):
    """Every text a person would see, in order."""
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for part in value.values():
            if not isinstance(part, str):
                yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)


def shown(facts):
    return "\n".join(texts(render(facts).blocks))


def buttons(facts):
    return [e for b in render(facts).blocks if b["type"] == "actions" for e in b["elements"]]


def test_the_facts_that_a_decision_rests_on_are_shown():
    said = shown(some_facts())
    for fact in [
        "alice",
        "export",
        "partner-bucket (s3://partner/in/)",
        "confidential",
        "2 objects, 500 rows, 204,800 bytes",
        f"0123456789ab ({DIGEST})",
        "10 of 5,000 cells; 1 objects",
        "*Since the last approval*",
        "the first approval of this DAG for this sink",
        "3 PERSON",
        "email: 500 EMAIL_ADDRESS",
        "confidential-needs-a-steward",
        "1 of data-stewards",
        "bob, carol",
        "2026-03-01 12:30 UTC",
        "task classify of DAG version 3",
    ]:
        assert fact in said


def test_facts_stand_above_what_the_author_says():
    said = shown(some_facts(author_reason="please"))
    assert said.index("partner-bucket (") < said.index("Masked: 512 values") < said.index("│ please")


def test_a_pending_request_has_two_buttons_that_carry_the_id_only():
    approve, reject = buttons(some_facts())
    assert (approve["action_id"], reject["action_id"]) == ("approvals_approve", "approvals_reject")
    assert approve["value"] == reject["value"] == "req-1"
    # The form that a click opens asks for confirmation.
    assert not any("confirm" in button for button in (approve, reject))


def test_where_slack_may_only_view_there_are_no_buttons():
    facts = some_facts(deciding=frozenset({Channel.UI}))
    assert buttons(facts) == []
    assert "Answer in Airflow." in shown(facts)
    assert_valid_blocks(render(facts).blocks)


@pytest.mark.parametrize("state", [state for state in RequestState if state.is_terminal])
def test_a_closed_request_has_no_buttons_and_says_by_whom(state):
    votes = (VoteFact("bob", Verdict.APPROVE, Channel.SLACK, AT),)
    facts = some_facts(state=state, votes=votes, decided_because="Approved by bob & carol.")
    assert buttons(facts) == []
    said = shown(facts)
    assert "bob: approve (slack, 2026-03-01 12:00 UTC)" in said
    assert "Approved by bob &amp; carol." in said
    assert state.value.capitalize() in said
    assert_valid_blocks(render(facts).blocks)


def test_a_run_without_a_known_requester_says_so():
    assert "nobody can be named" in shown(some_facts(requesters=(), unattributed=True))
    assert "not everybody is known" in shown(some_facts(unattributed=True))


def test_without_a_scan_the_residual_risk_is_unknown_and_not_nothing():
    said = shown(some_facts(coverage=(0, 0), residual=()))
    assert "unknown: no scan was reported" in said


HOSTILE = [
    "<!channel> <!here> <@U123> <#C123> <https://evil.example|Approve> &",
    "*Label:* public\n_ok_ `x` ~y~",
    "a\u202ebc\u200d\x00\x07",
    "\ud800",
    "x" * 10_000,
    "&" * 10_000,
    "line\n" * 3000,
    "\u2028>quote",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_anywhere_stays_text(text):
    facts = some_facts(
        action=text,
        sink=text,
        destination=text,
        label=text,
        requesters=(text,),
        rules=(text,),
        seats=(text,),
        who_may_decide=(text,) * 50,
        counts=((text, text, 5),) * 300,
        residual=((text, 5),) * 300,
        changes=(text,) * 300,
        author_reason=text,
        author_body=text,
        dag_id=text,
        reported_by=text,
        decided_because=text,
        votes=(VoteFact(text, Verdict.REJECT, Channel.UI, AT),) * 40,
    )
    for state in (RequestState.PENDING, RequestState.REJECTED):
        message = render(some_facts(**{**facts.__dict__, "state": state}))
        assert_valid_blocks(message.blocks)
        for block in message.blocks:
            assert_no_markup(block)
        assert not set("<>") & set(message.text)
        assert len(message.text) <= 3000


@pytest.mark.parametrize("text", [*HOSTILE, ""])
def test_replies_and_private_words_are_taken_by_slack_whatever_is_said(text):
    mentions = ["U0ALICE", "<!here>", "W0BOB", text] * 40
    for blocks in (
        reply_blocks(text, mentions, "7"),
        whisper_blocks(text),
        outcome_blocks(text, some_facts(dag_id=text, run_id=text, reported_by=text)),
    ):
        assert_valid_blocks(blocks)
        said = [
            block["text"]["text"] for block in blocks if block.get("text", {}).get("type") == "plain_text"
        ]
        assert not set("<>\u202e\x00") & set("".join(said))
    mentioned = reply_blocks(text, mentions, "7")[1]["text"]["text"].split()
    assert set(mentioned) == {"<@U0ALICE>", "<@W0BOB>"}
    assert len(mentioned) == 50


def assert_no_markup(value):
    """Others' text is in ``plain_text`` objects, escaped; our own markup has no values in it."""
    if isinstance(value, list):
        for part in value:
            assert_no_markup(part)
    if isinstance(value, dict):
        if value.get("type") == "plain_text":
            assert not set("<>\u202e\x00\x07\u2028") & set(value["text"])
        if value.get("type") == "mrkdwn":
            assert value["verbatim"] is True
            assert "evil" not in value["text"]
            assert value["text"].startswith(("*", "<http://localhost:8080/"))
        for part in value.values():
            assert_no_markup(part)


def test_a_fact_with_line_breaks_cannot_pose_as_several():
    said = shown(some_facts(sink="x\nLabel\npublic"))
    assert "\npublic" not in said


def test_every_line_of_the_author_is_marked_as_quoted():
    said = shown(some_facts(author_reason=None, author_body="one\n\nLabel: public\rtwo\u2028three"))
    assert said.count("│ ") == 5
    for line in ("one", "Label: public", "two", "three"):
        assert f"│ {line}" in said


def test_lists_that_do_not_fit_are_counted():
    counts = tuple((f"column_{n:04}", "PERSON", n + 1) for n in range(2000))
    said = shown(some_facts(counts=counts))
    assert "Masked: 2,001,000 values" in said
    listed = said.count(" PERSON") - 1  # one is the residual
    assert f"and {2000 - listed:,} more" in said
    assert "column_1999: 2,000 PERSON" in said  # the largest come first


def test_what_changed_since_the_last_approval_is_said_with_its_date():
    facts = some_facts(last_approved_at=AT, changes=("label: internal → confidential", "+ column phone"))
    said = shown(facts)
    assert "*Since the approval of 2026-03-01 12:00 UTC*" in said
    assert "label: internal → confidential; + column phone" in said


def test_changes_that_do_not_fit_are_counted():
    said = shown(some_facts(last_approved_at=AT, changes=tuple(f"+ column c{n:04}" for n in range(500))))
    listed = said.count("+ column c")
    assert f"and {500 - listed} more" in said


FULL = {
    "counts": tuple((f"column_{n:03}", "EMAIL_ADDRESS", n) for n in range(500)),
    "author_reason": "r" * 10_000,
    "author_body": "<!channel> & *b* \U0001f600\n" * 500,
    "who_may_decide": tuple(f"person-{n}@example.com" for n in range(200)),
    "requesters": tuple(f"{n} (triggered the run)" for n in range(200)),
    "changes": tuple(f"+ column c{n}" for n in range(500)),
    "votes": tuple(VoteFact(f"person-{n}", Verdict.APPROVE, Channel.UI, AT) for n in range(100)),
}


def test_a_message_that_is_full_everywhere_gets_shorter_lists_and_keeps_its_facts():
    facts = some_facts(**FULL)
    blocks = render(facts).blocks
    assert_valid_blocks(blocks)
    said = shown(facts)
    for fact in (DIGEST, "partner-bucket (s3://partner/in/)", "confidential", "3 PERSON", "12:30 UTC"):
        assert fact in said
    for said_by_how_much in ("Masked: 124,750 values", " more"):
        assert said_by_how_much in said


def test_facts_survive_any_length_of_the_rest():
    said = shown(
        some_facts(author_reason="x" * 4000, author_body="y" * 4000, who_may_decide=("n" * 250,) * 90)
    )
    for fact in (DIGEST, "partner-bucket", "confidential", "3 PERSON", "10 of 5,000 cells", "12:30 UTC"):
        assert fact in said


def test_the_link_cannot_be_broken_out_of():
    link = render(some_facts(page_url="http://localhost:8080/x|y> <!here>&a=1")).blocks[-1]["elements"][1][
        "text"
    ]
    assert link == "<http://localhost:8080/x%7Cy%3E%20%3C!here%3E&amp;a=1|Open in Airflow>"


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    words=st.text(max_size=400),
    counts=st.lists(
        st.tuples(st.text(max_size=300), st.text(max_size=40), st.integers(0, 10**9)), max_size=60
    ),
    names=st.lists(st.text(max_size=260), max_size=40),
    state=st.sampled_from(RequestState),
)
def test_slack_takes_whatever_the_facts_are(words, counts, names, state):
    facts = some_facts(
        sink=words,
        action=words,
        author_body=words,
        counts=tuple(counts),
        who_may_decide=tuple(names),
        requesters=tuple(names),
        decided_because=words,
        state=state,
    )
    blocks = render(facts).blocks
    assert_valid_blocks(blocks)
    assert_no_markup(blocks)


def test_where_it_goes_and_what_an_approval_vouches_for_are_shown() -> None:
    shown = str(render(some_facts()).blocks)
    assert "sftp://drop.example:22" in shown
    assert "what it sends is its author's word" in shown
    assert ENDPOINT_CHANGED not in shown
    assert ENDPOINT_CHANGED in str(render(some_facts(endpoint_changed=True)).blocks)
