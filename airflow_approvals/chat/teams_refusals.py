"""What people in Teams are told when a press of theirs does not count."""

from __future__ import annotations

from airflow_approvals.core.models import Refusal

NO_TENANT = Refusal("teams_not_in_policy", "The active policy does not link accounts of Teams.", 403)
FOREIGN_TENANT = Refusal("foreign_tenant", "Answers from another organisation do not count.", 403)
UNKNOWN_CARD = Refusal(
    "unknown_message", "This card was not posted for that request, or is out of date.", 404
)
NOT_YET = Refusal("not_yet", "This card has only just been posted. Please try again in a moment.", 404)
NOT_LINKED = Refusal(
    "not_linked",
    "Your account is not linked to an Airflow user, so your answer does not count. "
    "Answer in Airflow, or ask for your account to be added to the approvals policy.",
    403,
)
NO_SUCH_USER = Refusal(
    "no_such_user",
    "Your account is linked to an Airflow user who does not exist or is not active.",
    403,
)
NOT_PERMITTED = Refusal(
    "not_permitted",
    "Airflow does not let you answer approvals of this DAG, so your answer does not count.",
    403,
)
NOT_PROCESSED = Refusal(
    "not_processed", "Your answer could not be processed and does not count. Please answer in Airflow.", 409
)
TAKEN_OVER = Refusal("taken_over", "Your answer is being worked on by another process.", 409)
#: Told for an answer: whoever left before its outcome is written to.
SLOW = (
    "Your answer takes longer than usual. If it counts, the card will say so; "
    "if not, the bot will write to you."
)
#: Told where nobody writes: for what only opens a form or shows a card, or when the outcome itself was late.
SLOW_CARD = (
    "This takes longer than usual. The card will say where the request stands; if you miss something there, "
    "please press again."
)
