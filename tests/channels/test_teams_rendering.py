"""Every card in Microsoft's own renderer, in a real browser."""

from __future__ import annotations

import itertools

import pytest

from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels.facts import VoteFact
from airflow_approvals.core.models import Channel, RequestState, Verdict
from tests.channels.facts_for_tests import DIGEST, some_facts
from tests.channels.test_teams_cards import AT, FORM, HUGE, every_card
from tests.live.card_renderer import TYPED, Rendered, render

HOSTILE = (
    "[click](javascript:alert(1)) **bold** _it_ <img src=x onerror=alert(1)> <at>everyone</at> "
    "![x](https://evil.example/x.png) </script><script>alert(1)</script> "
    "# head {{DATE(2020-01-01T00:00:00Z)}}"
)
NASTY = some_facts(
    subject=HOSTILE,
    action=HOSTILE,
    sink=HOSTILE,
    destination=HOSTILE,
    label=HOSTILE,
    counts=((HOSTILE, HOSTILE, 3),),
    residual=((HOSTILE, 1),),
    requesters=(HOSTILE,),
    requester_notes=(HOSTILE,),
    rules=(HOSTILE,),
    seats=(HOSTILE,),
    who_may_decide=(HOSTILE,),
    votes=(VoteFact(HOSTILE, Verdict.APPROVE, Channel.TEAMS, AT),),
    decided_because=HOSTILE,
    author_reason=HOSTILE,
    author_body=HOSTILE,
    page_url="javascript:alert(1)",
    dag_id=HOSTILE,
    reported_by=HOSTILE,
)
FACTS = {
    "plain": some_facts(),
    "huge": HUGE,
    "nasty": NASTY,
    "approved": some_facts(state=RequestState.APPROVED, decided_because="Approved by bob."),
}


@pytest.fixture(scope="module")
def rendered() -> dict[tuple[str, str], Rendered]:
    """All cards of all facts, from one start of the browser."""
    made = {(of, name): card for of, facts in FACTS.items() for name, card in every_card(facts).items()}
    made["plain", "word"] = cards.word(HOSTILE, [("aaaaaaaa-0000-4000-8000-00000000000b", "bob")])
    return dict(zip(made, render(list(made.values())), strict=True))


def test_the_renderer_complains_about_no_card(rendered: dict[tuple[str, str], Rendered]) -> None:
    assert {of: one.problems for of, one in rendered.items() if one.problems} == {}
    assert len(rendered) == len(FACTS) * 8 + 1


def test_the_renderer_does_complain_about_what_is_no_card() -> None:
    broken = cards.announcement(some_facts())
    broken["body"].append({"type": "TextBlok", "text": "x"})
    broken["actions"].append({"type": "Action.OpenUrl", "title": "nowhere"})
    (one,) = render([broken])
    assert len(one.problems) >= 2


def test_nothing_that_others_wrote_is_ever_markdown(rendered: dict[tuple[str, str], Rendered]) -> None:
    ours = {"<at>bob</at>", "An approval needs a reason here.", "The rule asks for a ticket here.", ""}
    assert set(itertools.chain(*(one.markdown for one in rendered.values()))) <= ours


def test_hostile_text_is_shown_as_it_is_and_does_nothing(rendered: dict[tuple[str, str], Rendered]) -> None:
    for (of, name), one in rendered.items():
        assert one.links == [], (of, name)
        assert not {"a", "img", "script", "iframe"} & set(one.elements), (of, name)
        assert not any("javascript" in str(pressed.get("url")) for pressed in one.pressed), (of, name)
    text = rendered["nasty", "everybody"].text
    assert "[click](javascript:alert(1)) **bold** _it_ <img src=x" in text
    assert "{ {DATE(" in text


def test_facts_and_buttons_are_there(rendered: dict[tuple[str, str], Rendered]) -> None:
    one = rendered["plain", "everybody"]
    for fact in (
        "Asked by: alice",
        "Label: confidential",
        f"({DIGEST})",
        "Still found after masking: 3 PERSON",
    ):
        assert fact in one.text
    assert one.buttons == ["Approve", "Reject", "Open in Airflow"]
    opened = next(pressed for pressed in one.pressed if pressed["title"] == "Open in Airflow")
    assert opened["url"] == some_facts().page_url
    assert rendered["plain", "announcement"].buttons == ["Open in Airflow"]
    assert rendered["approved", "everybody"].buttons == ["Open in Airflow"]


def test_an_approval_that_needs_a_reason_is_not_sent_without(
    rendered: dict[tuple[str, str], Rendered],
) -> None:
    one = rendered["plain", "approve"]
    assert [(i["id"], i["required"]) for i in one.inputs] == [("reason", True), ("ticket", True)]
    assert [pressed["title"] for pressed in one.pressedEmpty] == ["Back", "Open in Airflow"]
    confirmed = next(p for p in one.pressed if p.get("verb") == cards.CONFIRM_APPROVE)
    assert confirmed["data"] == {
        "request": "req-1",
        "nonce": "nonce-of-this-delivery",
        "form": FORM.nonce,
        "reason": TYPED,
        "ticket": TYPED,
    }
    back = next(p for p in one.pressed if p.get("verb") == cards.VIEW)
    assert "reason" not in back["data"]


def test_a_rejection_may_go_without_a_reason(rendered: dict[tuple[str, str], Rendered]) -> None:
    one = rendered["plain", "reject"]
    assert [(i["id"], i["required"]) for i in one.inputs] == [("reason", False)]
    assert "Confirm: reject" in [pressed["title"] for pressed in one.pressedEmpty]
