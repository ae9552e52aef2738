"""Draw the pictures of docs/teams.md from the real cards: ``python -m tests.live.draw_teams_cards``."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.facts import RequestFacts, VoteFact
from airflow_approvals.core.models import Channel, RequestState, Verdict
from tests.channels.facts_for_tests import some_facts
from tests.live.card_renderer import picture
from tests.live.emulator import REPOSITORY

WIDTH = 720
IMAGES = REPOSITORY / "docs" / "images"
DELIVERED = cards.Delivered("drawn-for-the-documentation")
DEMANDS = Demands(("(?:checked|sampled) .{5,}",), True, ("OPS-[0-9]+",), "OPS-1205")


def facts(**changes: object) -> RequestFacts:
    return some_facts(
        requesters=("alice (triggered the run)",),
        counts=(("email", "EMAIL_ADDRESS", 500), ("text", "PERSON", 212), ("text", "PHONE_NUMBER", 12)),
        page_url="https://airflow.example/dags/secure_llm_export",
        last_approved_at=datetime(2026, 2, 14, 9, 30, tzinfo=UTC),
        changes=("+ column email",),
        **changes,
    )


def pictures() -> dict[str, list[cards.Card]]:
    """Return the cards of each picture, by the picture's name."""
    at = datetime(2026, 2, 28, 12, tzinfo=UTC)
    votes = (VoteFact("bob", Verdict.APPROVE, Channel.TEAMS, at),)
    closed = facts(state=RequestState.APPROVED, votes=votes, decided_because="Approved by bob.")
    notice = "You started or shaped this run, so somebody else has to decide."
    return {
        "teams-card.png": [cards.for_everybody(facts(), DELIVERED)],
        "teams-confirm.png": [
            cards.confirmation(facts(), DELIVERED, Verdict.APPROVE, DEMANDS, cards.Form("drawn"))
        ],
        "teams-requester.png": [cards.for_one(facts(), DELIVERED, notice=notice, may_vote=False)],
        "teams-outcome.png": [cards.for_everybody(closed, DELIVERED), cards.outcome(closed)],
    }


if __name__ == "__main__":
    for name, shown in pictures().items():
        picture(shown, IMAGES / name, width=WIDTH)
