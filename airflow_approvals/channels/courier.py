"""What a medium has to be able to do, so that the outbox can speak through it.

A courier serves one place of one medium: a Slack conversation, a Teams channel. It renders and
sends; when, in which order and how often is the outbox's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from airflow_approvals.channels.facts import RequestFacts


class Courier(Protocol):
    """Sends messages about requests.

    Every method raises :class:`~airflow_approvals.channels.failures.RetryLaterError` when the vendor
    asks to wait, :class:`~airflow_approvals.channels.failures.DeliveryRefusedError` when trying again
    changes nothing, and another :class:`~airflow_approvals.errors.ChannelError` in every other case.
    """

    @property
    def medium(self) -> str:
        """The name under which its rows stand in the outbox: ``slack``, ``teams``."""

    @property
    def recipient(self) -> str:
        """The id of the place it posts to."""

    def post(self, facts: RequestFacts) -> str:
        """Post the message about a request; return the reference by which it can be changed."""

    def update(self, ref: str, facts: RequestFacts) -> None:
        """Bring a posted message up to date."""

    def find(self, request_id: str, *, since: datetime, place: str) -> str | None:
        """Return the reference of a post that may have arrived unrecorded, when there is one.

        :param place: where it was posted to, which may be another than today's.
        """

    def reply(self, ref: str, text: str, mentions: Sequence[str] = (), *, key: str) -> None:
        """Say something below a posted message, for everybody there; ``mentions`` are account ids.

        :param key: by which :meth:`has_reply` finds it again.
        """

    def has_reply(self, ref: str, key: str) -> bool:
        """Whether a reply of that key stands below a posted message: an earlier one may have arrived."""

    def tell(self, account: str, text: str, facts: RequestFacts) -> None:
        """Send a private message about a request to one account."""

    def whisper(self, user: str, text: str, *, ref: str | None = None) -> None:
        """Say something to one account, seen by nobody else; beside the message where that is possible."""
