"""What a policy says, in words: for the person who wrote it and for the one who reviews it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from airflow_approvals.core.bar import Bar, Effect, EvidenceDemand, Unattributed
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.groups import Group, GroupSource
from airflow_approvals.core.matching import ANYTHING
from airflow_approvals.core.policy import Policy, Rule

_SHOWN_MEMBERS = 10


def explain(policy: Policy, facts: Facts) -> Iterator[str]:
    """Yield lines: the request, every rule and why it does not match, and the bar."""
    yield from _request(policy, facts)
    for rule in policy.rules:
        mismatches = list(rule.mismatches(facts))
        because = f" does not match: {', '.join(mismatches)}" if mismatches else " matches"
        yield f"rule {rule.id} ({rule.bar.effect}){because}"
    yield from bar_in_words(policy, policy.judge(facts))


def _request(policy: Policy, facts: Facts) -> Iterator[str]:
    sink = policy.sinks.get(facts.sink)
    where = (
        f"connection {sink.connection}, {sink.uri_prefix}, {sink.assurance}" if sink else "not in the policy"
    )
    scanned = "nobody has scanned the data" if facts.residual is None else f"{facts.residual} findings left"
    yield (
        f"request: {facts.action} of {facts.label.word} data to sink {facts.sink} ({where}) "
        f"by DAG {facts.dag_id or '(any other)'}; {scanned}"
    )


def bar_in_words(policy: Policy, bar: Bar) -> Iterator[str]:
    """Yield what has to happen before a request under this bar is approved."""
    if bar.effect is Effect.FORBID:
        by = f" by {_listed(bar.rules)}" if bar.rules else ": no rule allows it"
        yield f"outcome: forbidden{by}"
        return
    if bar.effect is Effect.PERMIT:
        once = ", once the custodian has verified the evidence" if _is_read_again(bar) else ""
        good_for = in_words(bar.grant_ttl)
        yield f"outcome: permitted without a vote by {_listed(bar.rules)}{once}; good for {good_for}"
        return
    yield f"outcome: people decide, by {_listed(bar.rules)}"
    for seat in bar.seats:
        yield f"  {seat.count} of {seat.group}: {group_in_words(policy.groups[seat.group])}"
    yield f"  by {_listed(sorted(bar.deciding))}, within {in_words(bar.request_ttl)}"
    yield f"  then good for {in_words(bar.grant_ttl)}"
    yield from (f"  {line}" for line in _demands(bar))


def _is_read_again(bar: Bar) -> bool:
    return bar.evidence is EvidenceDemand.VERIFIED


def _demands(bar: Bar) -> Iterator[str]:
    for who, patterns in (
        ("the requester's reason", bar.requester_reason),
        ("each approver's reason", bar.approver_reason),
        ("the ticket", bar.ticket),
    ):
        if patterns:
            yield f"{who} fits {' and '.join(patterns)}"
    if _is_read_again(bar):
        yield "the custodian has verified the evidence"
    if bar.remind:
        yield f"reminded after {_listed(in_words(after) for after in bar.remind)}"
    for escalation in bar.escalate:
        yield f"after {in_words(escalation.after)} {escalation.group} is told as well"
    if bar.unattributed is Unattributed.FORBID:
        yield "forbidden where nobody can be named who started the run"
    else:
        yield "two people where nobody can be named who started the run"
    yield "one rejection is final" if bar.veto else "a rejection is final once the seats cannot be filled"
    if (standing := bar.standing) is not None:
        yield f"stands for {standing.uses} more requests that are alike within {in_words(standing.within)}"


def group_in_words(group: Group) -> str:
    """Say where the members of a group come from."""
    if group.source is GroupSource.USERS:
        members = sorted(group.users)
        more = f" and {len(members) - _SHOWN_MEMBERS} more" if len(members) > _SHOWN_MEMBERS else ""
        return _listed(members[:_SHOWN_MEMBERS]) + more
    words = {
        GroupSource.SIMPLE_ROLE: "role of the simple auth manager",
        GroupSource.FAB_ROLE: "FAB role",
        GroupSource.SLACK_USERGROUP: "Slack user group",
    }
    age = f", login at most {in_words(group.max_login_age)} ago" if group.max_login_age else ""
    return f"{words[group.source]} {group.value}{age}"


def in_words(span: timedelta) -> str:
    """Write a span of whole seconds, such as ``1 day 12 hours``."""
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    counts = ((span.days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second"))
    return " ".join(f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in counts if count)


#: Facts that come from the evidence, and stay a task's word until the custodian has read the data.
_REPORTED = frozenset({"residual", "coverage", "not_scanned"})


def warnings(policy: Policy) -> Iterator[str]:
    """Yield what weakens a policy that loads."""
    for rule in policy.rules:
        for seat in rule.bar.seats:
            if policy.groups[seat.group].editable_in_airflow:
                yield (
                    f"rule {rule.id}: an Airflow administrator can put anybody into group {seat.group} "
                    f"({group_in_words(policy.groups[seat.group])})."
                )
    glass = policy.break_glass
    for name in sorted({glass.group, glass.reviewers} if glass else ()):
        if policy.groups[name].editable_in_airflow:
            yield f"break_glass: an Airflow administrator can put anybody into group {name}."
    if policy.slack_email_domains:
        yield (
            "identities.slack.email: an Airflow administrator can edit the addresses of users, and so say "
            "whose vote an account's is; list or link the accounts of those who decide."
        )
    for rule in policy.rules:
        if rule.bar.effect is Effect.PERMIT and _goes_by_evidence(rule) and not _is_read_again(rule.bar):
            yield (
                f"rule {rule.id}: permits by what a task says of its data, which nobody reads again; "
                "ask for `evidence: verified`, or permit by DAG and action."
            )
    if policy.dev_mode:
        yield "dev_mode is on: whatever is decided under this policy is NOT EVIDENCE."


def _goes_by_evidence(rule: Rule) -> bool:
    return rule.label != ANYTHING or any(name in _REPORTED for name, _ in rule.numbers)


def notes(policy: Policy) -> Iterator[str]:
    """Yield what deserves a second look."""
    for name in sorted(name for name, group in policy.groups.items() if group.from_provider):
        yield (
            f"group {name}: the policy says that an identity provider fills it at each login; "
            "`airflow approvals doctor` checks that FAB is set up so."
        )
    for sink in sorted(policy.sinks):
        if not any(rule.sink.matches_text(sink) for rule in policy.rules):
            yield f"no rule names sink {sink}, so nothing may go there."
    used = {seat.group for rule in policy.rules for seat in rule.bar.seats}
    used |= {escalation.group for rule in policy.rules for escalation in rule.bar.escalate}
    used |= {policy.break_glass.group, policy.break_glass.reviewers} if policy.break_glass else set()
    for group in sorted(set(policy.groups) - used):
        yield f"no rule has a seat for group {group}."
    yield from _lonely(policy)


def _lonely(policy: Policy) -> Iterator[str]:
    for rule in policy.rules:
        groups = [policy.groups[seat.group] for seat in rule.bar.seats]
        if not groups or not all(group.is_static for group in groups):
            continue
        if len(frozenset[str]().union(*(group.users for group in groups))) < 2:
            yield f"rule {rule.id} has one person, so a run that nobody can be named for cannot be approved."


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
