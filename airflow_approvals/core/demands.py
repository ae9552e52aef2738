"""What a rule demands of the run and of its author, before anybody is asked for a vote."""

from __future__ import annotations

from airflow_approvals.core.ask import Ask
from airflow_approvals.core.bar import Bar, Effect, Unattributed
from airflow_approvals.core.wording import first_unmatched

NOBODY_NAMED = (
    "Nobody can be named who started this run, and {rules} forbids that; "
    "let somebody trigger it who is signed in to Airflow."
)
_REASON = "{rules} asks for a reason of the form {pattern}; set reason of the gate {what}."
_TICKET = "{rules} asks for a ticket number of the form {pattern}; set ticket of the gate {what}."


def first_unmet(bar: Bar, ask: Ask, *, unattributed: bool) -> str | None:
    """Return a sentence on the first demand that is not met and the way out, ``None`` when all are.

    :param unattributed: whether nobody can be named who started the run.
    """
    if bar.effect is not Effect.REQUIRE:
        return None
    rules = f"{'Rule' if len(bar.rules) == 1 else 'One of the rules'} {', '.join(bar.rules)}"
    if unattributed and bar.unattributed is Unattributed.FORBID:
        return NOBODY_NAMED.format(rules=rules[:1].lower() + rules[1:])
    for sentence, patterns, text in (
        (_REASON, bar.requester_reason, ask.reason),
        (_TICKET, bar.ticket, ask.ticket),
    ):
        if (pattern := first_unmatched(patterns, text)) is not None:
            what = "and run it again" if not text else "to such a one and run it again"
            return sentence.format(rules=rules, pattern=pattern, what=what)
    return None
