"""What a form in a chat asks the voter to write."""

from __future__ import annotations

from dataclasses import dataclass

MAX_REASON = 2000
MAX_TICKET = 250


@dataclass(frozen=True)
class Demands:
    """What the voter has to write.

    ``reason`` are patterns of an approval's reason; ``reason_needed`` says whether one has to be
    given. ``ticket`` are patterns of the ticket number, where the rule asks for one, and
    ``author_ticket`` is the one that the author of the DAG gave.
    """

    reason: tuple[str, ...] = ()
    reason_needed: bool = False
    ticket: tuple[str, ...] = ()
    author_ticket: str = ""
