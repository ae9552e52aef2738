"""The people of a policy: groups, identities, and who may break the glass."""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_approvals.core.entra import TeamsIdentities, is_entra_id
from airflow_approvals.core.groups import Group, GroupSource
from airflow_approvals.core.policy import BreakGlass
from airflow_approvals.core.policy_checks import check_one_account_each, check_reviewers
from airflow_approvals.core.policy_fields import At

DEFAULT_BREAK_GLASS_REASON = ".{10,}"
DEFAULT_BREAK_GLASS_USES = 2
#: The domain of the addresses that FAB makes up for users without one.
NO_ADDRESS = "email.notfound"
_MOST_USES = 100
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")


def read_groups(at: At) -> dict[str, Group]:
    """Read the groups by their names."""
    return {At(name, group.path).name(): _group(group) for name, group in at.mapping().items()}


def known_group(at: At, groups: Mapping[str, Group]) -> str:
    """Read the name of a group that there is."""
    name = at.name()
    if name not in groups:
        at.fail(f"there is no group {name}.", known(groups))
    return name


def known(names: Mapping[str, object]) -> str:
    """Say which names there are."""
    return f"There are {', '.join(sorted(names))}." if names else "There are none."


def _group(at: At) -> Group:
    sources = [source.value for source in GroupSource]
    fields = at.object(optional=(*sources, "max_login_age", "managed_by"))
    given = [source for source in sources if source in fields]
    if len(given) != 1:
        at.fail(f"must say where its members come from, by exactly one of {', '.join(sources)}.")
    source = GroupSource(given[0])
    if "max_login_age" in fields and source is not GroupSource.FAB_ROLE:
        fields["max_login_age"].fail("goes with fab_role only.", "No other group gets stale between logins.")
    if "managed_by" in fields:
        _check_managed(fields["managed_by"], bounded="max_login_age" in fields)
    if source is GroupSource.USERS:
        return Group.of(*fields[source].texts())
    age = fields["max_login_age"].duration() if "max_login_age" in fields else None
    return Group(source, value=fields[source].text(), max_login_age=age, from_provider="managed_by" in fields)


def _check_managed(at: At, *, bounded: bool) -> None:
    at.one_of(("identity_provider",))
    if not bounded:
        at.fail(
            "goes with fab_role and max_login_age only.",
            "What an administrator gives in between counts until the login is that old.",
        )


def read_slack(identities: Mapping[str, At]) -> tuple[str | None, dict[str, str], frozenset[str]]:
    """Read the Slack team, its accounts mapped to people, one to one, and whose e-mail counts."""
    if "slack" not in identities:
        return None, {}, frozenset()
    fields = identities["slack"].object(required=("team", "users"), optional=("email",))
    users = {slack_id: user.text() for slack_id, user in fields["users"].mapping().items()}
    check_one_account_each(fields["users"], users)
    domains = _email_domains(fields["email"]) if "email" in fields else frozenset[str]()
    return fields["team"].text(), users, domains


def _email_domains(at: At) -> frozenset[str]:
    """Read the domains whose confirmed addresses name Airflow users."""
    domains = at.object(required=("domains",))["domains"]
    for item, domain in zip(domains.items(), domains.texts(), strict=True):
        if not _DOMAIN.fullmatch(domain) or domain == NO_ADDRESS:
            item.fail("must be a domain in lower case, such as example.com.", "Nothing is matched by a part.")
    return frozenset(domains.texts())


def read_teams(identities: Mapping[str, At]) -> TeamsIdentities | None:
    """Read the Entra tenant, and its people's object ids mapped to Airflow users, one to one."""
    if "teams" not in identities:
        return None
    fields = identities["teams"].object(required=("tenant",), optional=("users", "oid_is_username"))
    users: dict[str, str] = {}
    for oid, user in fields["users"].mapping().items() if "users" in fields else ():
        users[_entra_id(At(oid, user.path))] = user.text()
    by_name = fields["oid_is_username"].flag() if "oid_is_username" in fields else False
    if "users" in fields:
        check_one_account_each(fields["users"], users)
    elif not by_name:
        identities["teams"].fail("links nobody.", "It needs users, or oid_is_username: true.")
    return TeamsIdentities(_entra_id(fields["tenant"]), users, oid_is_username=by_name)


def _entra_id(at: At) -> str:
    if not is_entra_id(at.text()):
        at.fail("must be an id of Entra in lower case, such as 11111111-2222-3333-4444-555555555555.")
    return at.text()


def read_git(identities: Mapping[str, At]) -> dict[str, str]:
    """Read whose commits are by which address; one person may have several, in any case."""
    authors: dict[str, str] = {}
    for address, user in identities["git"].mapping().items() if "git" in identities else ():
        if "@" not in address or At(address, user.path).text().lower() in authors:
            user.fail("must be an e-mail address that is listed once, in whatever case.")
        authors[address.lower()] = user.text()
    return authors


def read_break_glass(at: At | None, groups: Mapping[str, Group]) -> BreakGlass | None:
    """Read who may open a gate alone, and who reviews that; absent means nobody."""
    if at is None:
        return None
    fields = at.object(
        required=("group", "reviewers", "ticket", "review_within"), optional=("reason", "uses")
    )
    glass = BreakGlass(
        group=known_group(fields["group"], groups),
        reviewers=known_group(fields["reviewers"], groups),
        reason=fields["reason"].pattern() if "reason" in fields else DEFAULT_BREAK_GLASS_REASON,
        ticket=fields["ticket"].pattern(),
        review_within=fields["review_within"].duration(),
        uses=fields["uses"].whole(1, _MOST_USES) if "uses" in fields else DEFAULT_BREAK_GLASS_USES,
    )
    check_reviewers(fields["reviewers"], glass, groups)
    return glass
