"""Airflow's Required Actions tab: facts on top, and nothing an author writes passes for one."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.channels import required_actions
from airflow_approvals.channels.facts import VoteFact
from airflow_approvals.core.models import Channel, RequestState, Verdict
from tests.channels.facts_for_tests import DIGEST, some_facts

#: What GitHub-flavoured Markdown, which Airflow renders, gives a meaning.
LIVE = re.compile(r"(?<!\\)[`*_\[\]()<>#~|:]")


def fact_rows(body: str) -> list[str]:
    return [line for line in body.splitlines() if line.startswith("| **")]


def authors_lines(body: str) -> list[str]:
    """Everything below the first author's headline, without the headlines."""
    _, _, below = body.partition(", in the author's words**")
    return [line for line in below.splitlines()[1:] if line and not line.endswith("author's words**")]


FORGERIES = [
    "| **Label** | public |",
    "fine\n| **Label** | public |",
    "fine\r\n| **Label** | public |",
    "fine\u2028| **Label** | public |",
    "fine\x85| **Label** | public |",
    "fine\x0b| **Label** | public |",
    "> quoted\n\n# Headline\n\n**Digest** sha256:0",
    "</blockquote><table><tr><td>Label</td><td>public</td></tr></table>",
    "<script>alert(1)</script>",
    "![x](https://evil.invalid/pixel.png)",
    "[Approve here](https://evil.invalid/)",
    "https://evil.invalid/ and www.evil.invalid and a@evil.invalid",
    "<https://evil.invalid/>",
    "[label]: https://evil.invalid/",
    "```\n| **Label** | public |\n```",
    "    indented code",
    "---\n\n***",
    "1. one\n- two\n+ three",
    "\\| **Label** \\| public \\|",
    "\\\\| x |",
    "&lt;b&gt; &#124; **Label**",
    "term\n: definition",
    "~~struck~~ and $math$ and ~sub~",
]


@pytest.mark.parametrize("text", FORGERIES)
def test_authors_words_forge_no_fact_and_load_nothing(text: str) -> None:
    honest = required_actions.body(some_facts(author_reason="plain", author_body="plain"))
    forged = required_actions.body(some_facts(author_reason=text, author_body=text))
    assert fact_rows(forged) == fact_rows(honest)
    assert not required_actions.escape(text).count("\n")
    for line in authors_lines(forged):
        assert line.startswith("> ")
        assert not LIVE.search(line.removeprefix("> ")), line
        assert "://" not in line
        assert not re.search(r"www\.|(?<!\\)@evil", line)


@given(st.text(max_size=200))
def test_no_text_at_all_leaves_its_quotation(text: str) -> None:
    body = required_actions.body(some_facts(author_reason=text, author_body=None))
    plain = required_actions.body(some_facts(author_reason=None, author_body=None))
    assert body.startswith(plain.rstrip("\n"))
    added = body.removeprefix(plain.rstrip("\n")).split("\n")
    assert all(
        not line or line.startswith(">") or line == "**Reason, in the author's words**" for line in added
    )


@given(st.text(max_size=80))
def test_escaped_text_is_one_line_without_anything_live(text: str) -> None:
    escaped = required_actions.escape(text)
    assert len(escaped.splitlines()) <= 1
    bare = re.sub(r"\\[\\`*_{}\[\]()<>#+\-.!|~&:@/]", "", escaped)
    assert not re.search(r"[\\`*_{}\[\]()<>#+!|~&:@/]", bare)


@pytest.mark.parametrize("field", ["dag_id", "task_id", "reported_by", "sink", "destination", "action"])
def test_names_are_escaped_where_they_stand_among_the_facts(field: str) -> None:
    facts = some_facts(**{field: "x | **Label** | public |\n| **Label** | public |"})
    rows = fact_rows(required_actions.body(facts))
    assert len(rows) == len(fact_rows(required_actions.body(some_facts())))
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)


def test_column_names_and_people_are_escaped() -> None:
    facts = some_facts(
        counts=(("a|b\n| **Label** | public |", "PERSON|x", 1),),
        requesters=("eve|**Label**\npublic",),
        who_may_decide=("[bob](https://evil.invalid)",),
        votes=(VoteFact("carol\n| **x** |", Verdict.APPROVE, Channel.UI, datetime(2026, 3, 1, tzinfo=UTC)),),
    )
    body = required_actions.body(facts)
    assert len(fact_rows(body)) == len(fact_rows(required_actions.body(some_facts())))
    assert [row for row in fact_rows(body) if row.startswith("| **Label**")] == [
        "| **Label** | confidential |"
    ]
    assert "](https" not in body
    assert "\n| **x** |" not in body


@pytest.mark.parametrize("state", list(RequestState))
def test_digest_and_destination_are_always_there(state: RequestState) -> None:
    facts = some_facts(state=state, decided_because="because", rules=(), seats=(), who_may_decide=())
    body = required_actions.body(facts)
    assert f"| **Digest** | {required_actions.escape(DIGEST)} |" in body
    destination = required_actions.escape("partner-bucket (s3://partner/in/)")
    assert f"| **Destination** | {destination} |" in body
    assert DIGEST.removeprefix("sha256:")[:12] in required_actions.subject(facts)


def test_the_facts_stand_above_the_authors_words() -> None:
    body = required_actions.body(some_facts(author_body="because it is late"))
    assert body.index("**May decide**") < body.index("**Digest**") < body.index("in the author's words")


def test_what_was_not_scanned_is_unknown_and_not_nothing() -> None:
    unknown = required_actions.body(some_facts(coverage=(0, 0), residual=(), not_scanned=2))
    clean = required_actions.body(some_facts(residual=()))
    assert "| **Still found after masking** | nothing |" in clean
    assert "| **Still found after masking** | nothing |" not in unknown
    assert r"objects not scanned\: 2" in unknown


def test_a_run_nobody_can_be_named_for_says_so() -> None:
    body = required_actions.body(some_facts(requesters=(), unattributed=True))
    assert "nobody can be named" in body
    assert "two people" in body


def test_many_columns_are_cut_and_counted() -> None:
    counts = tuple((f"c{n:03}", "PERSON", 1) for n in range(60))
    body = required_actions.body(some_facts(counts=counts))
    assert "c039" in body
    assert "c040" not in body
    assert "and 20 more" in body


def test_an_outcome_is_shown_once_there_is_one() -> None:
    assert "**Outcome**" not in required_actions.body(some_facts())
    closed = some_facts(state=RequestState.REJECTED, decided_because="Rejected by bob.")
    assert "| **Outcome** | rejected\\: Rejected by bob\\. |" in required_actions.body(closed)


def test_a_headline_is_one_short_line() -> None:
    headline = required_actions.subject(some_facts())
    assert headline == "export: confidential data to partner-bucket (0123456789ab)"
    assert len(required_actions.subject(some_facts(action="x" * 900))) <= 500


def test_where_it_goes_and_what_an_approval_vouches_for_are_facts() -> None:
    body = required_actions.body(some_facts())
    assert f"| **Reached at** | {required_actions.escape('sftp://drop.example:22')} |" in body
    assert "| **Assurance** | run\\-bound\\: a task of this run gets the credential" in body
    assert "**Changed**" not in body
    custodian = required_actions.body(some_facts(assurance="content-bound", endpoint_changed=True))
    assert "| **Assurance** | content\\-bound\\: the custodian copies exactly these bytes" in custodian
    assert "| **Changed** | The destination's Connection changed since the last approval" in custodian
