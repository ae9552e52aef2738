"""A Teams conversation behind a Workflows webhook: cards that lead to Airflow, and nothing back.

What a flow has posted cannot be changed or looked for. So a request is posted at least once (its
card only links to Airflow, where the request is one), and its end is a new, short card.

Source: https://support.microsoft.com/en-us/office/create-incoming-webhooks-with-workflows-for-microsoft-teams-8ae491c7-0394-4861-ba59-055e33f75498;
https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
(``type: message`` with ``attachments``, at most 28 KB).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.failures import DeliveryRefusedError
from airflow_approvals.channels.teams_http import call, checked_url

MEDIUM = "teams-webhook"
_POSTED = "posted"
_HINTS = {
    401: "Make a new webhook: this one takes no calls from outside.",
    404: "The flow is gone or off; make a new one and replace [approvals] teams_webhook_url_file.",
}


class TeamsWebhook:
    """One flow, as a :class:`~airflow_approvals.channels.courier.Courier`.

    :param url: the webhook's address; whoever knows it can post, so it is a secret.
    :raises ConfigurationError: when the address is not ``https``.
    """

    medium = MEDIUM
    recipient = "workflow"

    def __init__(self, url: str) -> None:
        self._url = checked_url(url, "teams_webhook_url_file")

    def post(self, facts: RequestFacts) -> str:
        """Post the card about a request; the reference says only that it was posted."""
        self._send(cards.announcement(facts))
        return _POSTED

    def update(self, ref: str, facts: RequestFacts) -> None:
        """Post how a request ended; while it is open there is nothing to add."""
        if facts.state.is_terminal:
            self._send(cards.outcome(facts))

    def find(self, request_id: str, *, since: datetime, place: str) -> str | None:
        """Return ``None``: nobody can look, so the card is posted again."""
        return None

    def reply(self, ref: str, text: str, mentions: Sequence[str] = (), *, key: str) -> None:
        """Say something to everybody; a flow has no threads."""
        self._send(cards.word(text))

    def has_reply(self, ref: str, key: str) -> bool:
        """Return ``False``: nobody can look."""
        return False

    def tell(self, account: str, text: str, facts: RequestFacts) -> None:
        """Refuse, as :meth:`whisper` does."""
        self.whisper(account, text)

    def whisper(self, user: str, text: str, *, ref: str | None = None) -> None:
        """Refuse: a flow speaks to everybody or nobody.

        :raises DeliveryRefusedError: always.
        """
        raise DeliveryRefusedError("A Workflows webhook cannot speak to one person.")

    def _send(self, card: cards.Card) -> None:
        attachment = {"contentType": cards.CONTENT_TYPE, "contentUrl": None, "content": card}
        document = {"type": "message", "attachments": [attachment]}
        call("POST", self._url, to="The Teams workflow", document=document, hints=_HINTS)
