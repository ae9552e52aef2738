"""What a policy must not be, although every part of it reads well.

1. No two sinks share a place: one Connection with nested prefixes would leave open which of
   them a release goes to. No sink shares its Connection where either is run-bound: a task that
   was given it for the one could send to the other, and the laxer rule would open both.
2. Accounts of a chat and people are mapped one to one: two accounts of one person would be two votes.
3. Whoever breaks the glass is reviewed by somebody else.
4. No rule asks for what it rules out itself.

That enough distinct people can decide: :mod:`airflow_approvals.core.policy_satisfiable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_approvals.core.bar import Effect, Unattributed
from airflow_approvals.core.groups import Group
from airflow_approvals.core.matching import Range
from airflow_approvals.core.policy import Assurance, BreakGlass, Rule, Sink
from airflow_approvals.core.policy_fields import At
from airflow_approvals.core.spelling import connection_spelling


def check_sinks_apart(at: At, sink: Sink, others: Iterable[Sink], *, rehearsal: bool) -> None:
    """Refuse a sink that another of the same Connection could stand in for.

    :param rehearsal: nothing is protected under ``dev_mode``, and what is released there is run-bound.
    """
    same = connection_spelling(sink.connection)
    for other in (one for one in others if connection_spelling(one.connection) == same):
        if _overlap(sink.uri_prefix, other.uri_prefix):
            at.child("uri_prefix").fail(
                f"overlaps with sink {other.id} of the same connection.",
                "Give them places side by side, or connections of their own.",
            )
        if not rehearsal and Assurance.RUN_BOUND in (sink.assurance, other.assurance):
            at.child("connection").fail(
                f"sinks {other.id} and {sink.id} share connection {sink.connection}, and what is approved "
                "for a run-bound one hands it to a task, which could send to the other.",
                "Give each a connection of its own, or make both content-bound.",
            )


def _overlap(a: str, b: str) -> bool:
    a, b = a.rstrip("/") + "/", b.rstrip("/") + "/"
    return a.startswith(b) or b.startswith(a)


def check_one_account_each(at: At, users: Mapping[str, str]) -> None:
    """Refuse a map of accounts to people in which one person has two accounts."""
    seen: dict[str, str] = {}
    for account, user in users.items():
        if user in seen:
            at.child(account).fail(f"{user} is mapped from {seen[user]} already.")
        seen[user] = account


def check_reviewers(at: At, glass: BreakGlass, groups: Mapping[str, Group]) -> None:
    """Refuse a break-glass that one of its people would have to review alone."""
    if not (groups[glass.group].is_static and groups[glass.reviewers].is_static):
        return  # who is in there is known at the moment only
    for person in sorted(groups[glass.group].users):
        if not groups[glass.reviewers].users - {person}:
            at.fail(f"nobody else is in {glass.reviewers} who could review what {person} does.")


def check_rule(at: At, rule: Rule) -> None:
    """Refuse a rule whose parts contradict each other."""
    unattributed = dict(rule.flags).get("unattributed")
    if rule.bar.effect is Effect.REQUIRE and unattributed and rule.bar.unattributed is Unattributed.FORBID:
        at.child("unattributed").fail(
            "forbids every request that the rule is about.", "Say it with effect: forbid."
        )
    if rule.bar.standing is not None and (dict(rule.numbers).get("not_scanned", Range()).least or 0) > 0:
        at.child("standing").fail(
            "the rule is about data that was not scanned, of which nothing says that it is alike.",
            "Leave out standing.",
        )
