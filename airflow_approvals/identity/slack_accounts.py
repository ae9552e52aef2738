"""Whose Slack account it is: by the policy's map, by the owner's own link, by a confirmed address.

1. An account that is a stranger's (Slack Connect), a guest's, a program's, deleted, or of another
   workspace is nobody's, whatever map or link says. Slack is asked each time, or was within five
   minutes; when it cannot be asked, the account is nobody's either.
2. The map of the active policy wins over a link, and a link over an address. Where two of them
   name different people, or one person by two accounts, the account is nobody's.
3. An address counts only where the policy lists its domain, Slack says that it is confirmed, and
   exactly one active Airflow user has it. It is as trustworthy as those who administer Slack and
   Airflow; for a person or an account that ever had a link it counts no more.

Source: https://docs.slack.dev/reference/objects/user-object/ (the flags);
https://docs.slack.dev/apis/slack-connect/ (members of other workspaces click in shared channels).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from airflow_approvals.channels.slack_desk import SlackProfile
from airflow_approvals.core.models import Channel, Refusal
from airflow_approvals.core.policy import Policy
from airflow_approvals.core.policy_people import NO_ADDRESS
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.identity import slack_profiles
from airflow_approvals.identity.auth_managers import AuthManagerKind, running_kind
from airflow_approvals.store import account_links, fab_users, policies
from airflow_approvals.store.chat_tables import AccountLinkRow
from airflow_approvals.store.session import run_read

_SLACK = Channel.SLACK.value

NO_WORKSPACE = Refusal("slack_not_in_policy", "The active policy does not name a Slack workspace.", 403)
FOREIGN_WORKSPACE = Refusal("foreign_workspace", "Clicks from another workspace do not count.", 403)
STRANGER = Refusal(
    "slack_stranger", "Your account belongs to another organisation, so what you do here does not count.", 403
)
GUEST = Refusal("slack_guest", "Guests of this workspace cannot decide, so your click does not count.", 403)
BOT = Refusal("slack_bot", "Programs cannot decide.", 403)
DELETED = Refusal("slack_deleted", "Your Slack account is deactivated.", 403)
CANNOT_ASK = Refusal(
    "slack_unavailable",
    "Slack cannot be asked about your account at the moment, so your click does not count. "
    "Please answer in Airflow.",
    409,
)
NOT_LINKED = Refusal(
    "not_linked",
    "Your Slack account is not linked to an Airflow user, so your click does not count. "
    "Link it, or answer in Airflow.",
    403,
)
CONFLICT = Refusal(
    "identity_conflict",
    "Your Slack account is tied to different people, or you to different accounts, so it counts for "
    "nobody. Answer in Airflow, and ask for the approvals policy to be corrected.",
    403,
)
WAITS_FOR_SOMEBODY = Refusal(
    "link_unvouched",
    "Your Slack account was linked anew, which somebody else who decides requests has to confirm first. "
    "Until then, answer in Airflow.",
    403,
)
COOLING_DOWN = Refusal(
    "link_cooling_down",
    "Your Slack account was linked anew less than a day ago; until then, answer in Airflow.",
    403,
)
AMBIGUOUS = Refusal(
    "email_ambiguous",
    "No Airflow user, or more than one, has your e-mail address, so your click does not count. "
    "Link your account, or answer in Airflow.",
    403,
)


class Tie(enum.StrEnum):
    """By what an account is somebody's."""

    MAP = "map"
    LINK = "link"
    EMAIL = "email"


@dataclass(frozen=True)
class Account:
    """A Slack account: the workspace it belongs to (``T…``) and its id there (``U…``)."""

    team: str
    user: str


@dataclass(frozen=True)
class Owner:
    """Whose an account is. ``name`` is an id or name of an Airflow user.

    ``person_id`` is the id that user has to have, where it is known: somebody else may have been
    given the name since.
    """

    name: str
    tie: Tie
    person_id: str = ""


def owner_of(account: Account) -> Owner | Refusal:
    """Return whose account it is now, or why it is nobody's. No transaction may be open: Slack is asked."""
    policy, claim = run_read(lambda session: _claim(session, account))
    if policy is None:
        return NO_WORKSPACE
    if account.team != policy.slack_team:
        return FOREIGN_WORKSPACE
    try:
        profile = slack_profiles.profile_of(account.user)
    except ApprovalsError:
        return CANNOT_ASK
    refusal = why_nobodys(profile, account.team)
    if refusal is None and isinstance(claim, Owner) and _is_contradicted(claim, profile, policy):
        return CONFLICT
    return refusal or claim or _by_address(account, profile, policy)


def accounts_of(session: Session, people: Collection[str]) -> dict[str, str]:
    """Return the accounts of people, and to whom each belongs, by the id or name it is tied to.

    By map and link, whether or not they vote by it at the moment. An account that only an
    address ties to somebody is not found: Slack would have to be asked for everybody.

    :param people: ids or names of Airflow users.
    """
    policy = policies.active_policy(session)
    if policy is None or policy.slack_team is None:
        return {}
    linked = {
        link.account: link.person_name
        for link in account_links.standing(session, _SLACK, policy.slack_team)
        if {link.person_id, link.person_name} & set(people)
    }
    mapped = {account: name for account, name in policy.slack_users.items() if name in people}
    return dict(sorted({**linked, **mapped}.items()))


def voters(session: Session, policy: Policy) -> Mapping[str, str]:
    """Return the accounts that vote, by map and link, each with the id or name of its owner.

    Whether Slack still knows the account as a full member is asked when it votes.
    """
    found = dict(policy.slack_users)
    for link in account_links.standing(session, _SLACK, policy.slack_team or ""):
        owner = _linked(link, policy)
        found.pop(link.account, None)
        if isinstance(owner, Owner):
            found[link.account] = owner.person_id or owner.name
    return found


def why_nobodys(profile: SlackProfile, team: str) -> Refusal | None:
    """Return why an account can be nobody's, as far as Slack tells; ``None`` for a full member."""
    if profile.stranger:
        return STRANGER
    if profile.team != team:
        return FOREIGN_WORKSPACE
    if profile.bot:
        return BOT
    if profile.deleted:
        return DELETED
    return GUEST if profile.guest else None


def _claim(session: Session, account: Account) -> tuple[Policy | None, Owner | Refusal | None]:
    """Return the active policy, when it names a workspace, and what map and links say."""
    policy = policies.active_policy(session)
    if policy is None or policy.slack_team is None:
        return None, None
    mapped = policy.slack_users.get(account.user)
    link = account_links.of_account(session, _SLACK, account.team, account.user)
    if link is None:
        return policy, Owner(mapped, Tie.MAP) if mapped else None
    return policy, _linked(link, policy)


def _linked(link: AccountLinkRow, policy: Policy) -> Owner | Refusal:
    """Return whose a linked account is, once the policy's map has had its say."""
    names = {link.person_id, link.person_name}
    mapped = policy.slack_users.get(link.account)
    if mapped is not None:
        return Owner(mapped, Tie.MAP) if mapped in names else CONFLICT
    if names & set(policy.slack_users.values()):
        return CONFLICT
    if link.votes_from is None:
        return WAITS_FOR_SOMEBODY
    if datetime.now(UTC) < link.votes_from:
        return COOLING_DOWN
    return Owner(link.person_name, Tie.LINK, link.person_id)


def _is_contradicted(owner: Owner, profile: SlackProfile, policy: Policy) -> bool:
    """Whether somebody linked an account whose address is another person's.

    Whoever can be talked into confirming a link would otherwise lend their vote to the account's
    real owner, who may be the requester.
    """
    if owner.tie is not Tie.LINK or not _has_usable_address(profile, policy):
        return False
    people = run_read(lambda session: fab_users.active_users_with_email(session, profile.email))
    return bool(people) and owner.person_id not in people.values()


def _by_address(account: Account, profile: SlackProfile, policy: Policy) -> Owner | Refusal:
    if not _has_usable_address(profile, policy):
        return NOT_LINKED
    return run_read(lambda session: _with_address(session, account, profile, policy))


def _has_usable_address(profile: SlackProfile, policy: Policy) -> bool:
    domain = profile.email.rpartition("@")[2].lower()
    usable = profile.email_confirmed and profile.email.isascii() and domain != NO_ADDRESS
    # No other auth manager keeps addresses.
    return usable and domain in policy.slack_email_domains and running_kind() is AuthManagerKind.FAB


def _with_address(
    session: Session, account: Account, profile: SlackProfile, policy: Policy
) -> Owner | Refusal:
    people = fab_users.active_users_with_email(session, profile.email)
    if len(people) != 1:
        return AMBIGUOUS
    ((name, key),) = people.items()
    mapped = {name, key} & set(policy.slack_users.values())
    if mapped or account_links.of_person(session, _SLACK, profile.team, {name, key}):
        return CONFLICT
    # Who administers Airflow can write any address beside a name: whoever once proved which account
    # is theirs has no other by address, and an account that was somebody's is nobody else's.
    if account_links.was_linked(session, _SLACK, account.team, account.user, key):
        return CONFLICT
    return Owner(name, Tie.EMAIL, key)
