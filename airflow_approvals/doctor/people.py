"""The policy in force: whether it can be satisfied, and by people an administrator cannot add."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_approvals.core.bar import Effect
from airflow_approvals.core.groups import Group, GroupSource
from airflow_approvals.core.policy import Policy
from airflow_approvals.core.seats import unfilled
from airflow_approvals.doctor.findings import Finding, Severity, Surroundings
from airflow_approvals.identity.auth_managers import AuthManagerKind, running_kind
from airflow_approvals.identity.directory import resolve
from airflow_approvals.seams.airflow_seams_fab import AuthType, fab_sign_in
from airflow_approvals.store import break_glass
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.session import run_read


def policy_in_force(around: Surroundings) -> Iterator[Finding]:
    """There is a policy, and it is meant seriously."""
    if around.worker:
        return
    if around.policy is None:
        yield Finding(
            "no_policy",
            Severity.WARNING,
            "No policy is active.",
            "Every gate refuses.",
            "Run `airflow approvals policy activate`.",
        )
    elif around.policy.dev_mode:
        yield Finding(
            "dev_mode",
            Severity.CRITICAL,
            "The active policy has dev_mode on.",
            "Whoever asks may approve, and every record is stamped NOT EVIDENCE.",
            "Set `dev_mode: false` and activate again.",
        )


def connections_listed(around: Surroundings) -> Iterator[Finding]:
    """What the policy protects also stands in the configuration."""
    if around.policy is None:
        return
    for conn_id in sorted(around.policy.protected_connections - around.settings.protected_connections):
        yield Finding(
            "connection_not_listed",
            Severity.WARNING,
            f"Connection {conn_id} is protected by the policy and not by the configuration.",
            "Without an active policy it would be open to every task.",
            "Add it to [approvals] protected_connections.",
        )


def rules_can_be_satisfied(around: Surroundings) -> Iterator[Finding]:
    """The groups can be asked now, and hold enough distinct people for every rule."""
    if around.policy is None:
        return
    membership = resolve(around.policy)
    for group, why in sorted(membership.unresolved.items()):
        yield Finding(
            "group_unresolved",
            Severity.WARNING,
            f"Group {group} cannot be asked: {why}",
            "Nobody fills its seats until it can.",
            "Put the source of the group right, or list its members.",
        )
    for rule in around.policy.rules:
        people = membership.people_in(seat.group for seat in rule.bar.seats)
        empty = unfilled(rule.bar.seats, membership.groups, people)
        if rule.bar.effect is Effect.REQUIRE and empty:
            seats = " and ".join(f"{seat.count} of {seat.group}" for seat in empty)
            yield Finding(
                "rule_unsatisfiable",
                Severity.WARNING,
                f"Nobody can satisfy rule {rule.id} at present: distinct people are missing for {seats}.",
                "Its requests can only expire.",
                "Add people to the groups, or ask for fewer.",
            )


def groups_editable(around: Surroundings) -> Iterator[Finding]:
    """Seats that an Airflow administrator could give to anyone."""
    if around.policy is None:
        return
    roles = {name: group for name, group in _seated(around.policy).items() if group.source is _ROLE}
    synced = bool(roles) and _provider_gives_roles()
    for name, group in roles.items():
        if synced and group.max_login_age is not None:
            yield _until_next_login(name)
        else:
            yield _editable(name, group)


_ROLE = GroupSource.FAB_ROLE


def _seated(policy: Policy) -> dict[str, Group]:
    """Return the groups whose people decide, open in an emergency or review that, by name."""
    seated = {seat.group for rule in policy.rules for seat in rule.bar.seats}
    if (emergency := policy.break_glass) is not None:
        seated |= {emergency.group, emergency.reviewers}
    return {name: policy.groups[name] for name in sorted(seated) if name in policy.groups}


def _provider_gives_roles() -> bool:
    return running_kind() is AuthManagerKind.FAB and fab_sign_in().takes_roles_from_provider


def _until_next_login(name: str) -> Finding:
    return Finding(
        "group_editable",
        Severity.NOTE,
        f"Group {name} is a role that an administrator can hand out until its holder signs in again.",
        "The identity provider replaces it at each login, and max_login_age says how old one may be.",
        "Keep max_login_age short.",
    )


def _editable(name: str, group: Group) -> Finding:
    said = " The policy says that an identity provider fills it, and FAB is not set up so."
    return Finding(
        "group_editable",
        Severity.WARNING,
        f"Group {name} is a role that an Airflow administrator can hand out."
        + (said if group.from_provider else ""),
        "An administrator can make themselves, or an account of theirs, an approver.",
        "Let FAB take roles from OAuth or LDAP at each login (AUTH_ROLES_SYNC_AT_LOGIN) and set "
        "max_login_age, or list its members.",
    )


def passwords_kept_by_airflow(around: Surroundings) -> Iterator[Finding]:
    """Accounts whose password an Airflow administrator can set, and whose name they can change."""
    if around.policy is None or running_kind() is not AuthManagerKind.FAB:
        return
    if fab_sign_in().auth_type is not AuthType.DATABASE:
        return
    listed = sorted(name for name, group in _seated(around.policy).items() if group.is_static)
    which = (
        f"The policy lists the people of {', '.join(listed)} by accounts"
        if listed
        else "Approvers have accounts"
    )
    yield Finding(
        "database_users",
        Severity.CRITICAL if listed else Severity.WARNING,
        f"{which} whose passwords FAB keeps in Airflow's database (AUTH_DB).",
        "An administrator can set an approver's password and sign in as them, or give an account their name.",
        "Sign people in by OAuth or LDAP (AUTH_TYPE in FAB's configuration file).",
    )


def break_glass_reviewed(around: Surroundings) -> Iterator[Finding]:
    """Nobody opened a gate alone and was never asked why."""
    if around.worker:
        return
    yield from run_read(lambda session: [_overdue(use) for use in break_glass.overdue(session, around.now)])


def _overdue(use: BreakGlassRow) -> Finding:
    return Finding(
        "break_glass_overdue",
        Severity.WARNING,
        f"{use.person_name} opened the gate of request {use.request_id} by break-glass, "
        f"and the review was due by {use.review_due_at:%Y-%m-%d %H:%M} UTC.",
        "An opening that nobody looks at is an opening that anybody may use.",
        "Let one of the policy's reviewers review it; see `airflow approvals break-glass list`.",
    )


CHECKS = (
    policy_in_force,
    connections_listed,
    rules_can_be_satisfied,
    groups_editable,
    passwords_kept_by_airflow,
    break_glass_reviewed,
)
