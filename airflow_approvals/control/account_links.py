"""Linking a Slack account to an Airflow user, by the one who has both.

1. An account that acts in Slack without being linked gets an address. Whoever opens it, signed in
   to Airflow, sees which account it is and asks for a proof.
2. The proof is a one-time number, sent to that account alone, good for ten minutes and in that
   person's session only. When it comes back, the account is theirs.
3. A link is written once: it is ended by its person, never changed, and nobody writes another's. One
   account has one person, and the other way round. The policy's map goes before any link.
4. Whoever links again, or an account that was somebody's before, needs a second person who decides
   requests, and then waits a day before the link votes: a stolen session is not enough.

Every step but looking is in the ledger.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import machines
from airflow_approvals.core.models import Channel, Person, Refusal
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.identity import slack_accounts, slack_profiles
from airflow_approvals.identity.slack_accounts import Account
from airflow_approvals.store import account_links as links
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.chat_forms import hash_of
from airflow_approvals.store.chat_tables import AccountLinkRow, LinkAttemptRow
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.session import run_read, run_transaction

LIFE = timedelta(minutes=10)
PAGE = "/approvals/links"
_SLACK = Channel.SLACK.value
_NONCE_BYTES = 24

OVER = Refusal(
    "attempt_over",
    "This link was used, or is too old. Press a button in Slack again; you get another one.",
    409,
)
NOT_YOURS = Refusal(
    "not_your_attempt",
    "This proof was asked for by another Airflow user, so it does not count in your session.",
    403,
)
NOT_SENT = Refusal(
    "proof_not_sent", "Slack did not take the message with the proof; press a button in Slack again.", 409
)
MAPPED = Refusal(
    "already_mapped",
    "The approvals policy says already whose account that is, or which account is yours.",
    409,
)
LINKED = Refusal(
    "already_linked",
    "That account, or your user, is linked already; the old link has to be ended first.",
    409,
)
NO_LINK = Refusal("unknown_link", "There is no such link, or it has ended.", 404)
NOT_YOUR_LINK = Refusal("not_your_link", "Only the person who linked an account can end that.", 403)


@dataclass(frozen=True)
class Linked:
    """A link as it stands now. Without ``votes_from`` it waits for a second person."""

    id: int
    account: str
    person: str
    votes_from: datetime | None


@dataclass(frozen=True)
class Asked:
    """The proof is on its way to the account; it is good until ``expires_at``."""

    account: str
    expires_at: datetime


def invite(session: Session, account: Account, *, now: datetime) -> str:
    """Return the address at which whoever has the account can link it, good for ten minutes."""
    attempt = links.open_attempt(session, _SLACK, account.team, account.user, now=now)
    if attempt is None:
        attempt = LinkAttemptRow(
            id=secrets.token_urlsafe(16),
            channel=_SLACK,
            team=account.team,
            account=account.user,
            created_at=now,
            expires_at=now + LIFE,
        )
        session.add(attempt)
        session.flush()
    return f"{Settings.load().base_url}{PAGE}?attempt={quote(attempt.id)}"


def account_in(attempt_id: str) -> Account | Refusal:
    """Return the account that an address is about, as long as nobody has taken it up."""
    return run_read(lambda session: _account_in(session, attempt_id, datetime.now(UTC)))


def proved_account(nonce: str, person: Person) -> Account | Refusal:
    """Return the account that a proof is about, as long as it is good and this person asked for it."""

    def read(session: Session) -> Account | Refusal:
        found = _proof_of(session, nonce, person, datetime.now(UTC))
        return found if isinstance(found, Refusal) else Account(found.team, found.account)

    return run_read(read)


def ask(attempt_id: str, person: Person) -> Asked | Refusal:
    """Send the account a proof that only this person can bring back."""
    account = account_in(attempt_id)
    if isinstance(account, Refusal):
        return account
    if (refusal := _not_a_member(account)) is not None:
        return _refuse(account, person, refusal)
    nonce = secrets.token_urlsafe(_NONCE_BYTES)
    outcome = run_transaction(lambda session: _ask(session, attempt_id, person, nonce, datetime.now(UTC)))
    if isinstance(outcome, Refusal):
        return _refuse(account, person, outcome)
    text = (
        f"Airflow user {person.name} wants to link this Slack account, so that what it decides here counts "
        "as theirs. If that is you, open this in the browser where you are signed in to Airflow, within "
        "ten minutes. If it is not, do nothing, and pass this on to nobody."
    )
    try:
        address = f"{Settings.load().base_url}{PAGE}?proof={quote(nonce)}"
        slack_profiles.desk().write_to(account.user, text, address)
    except ApprovalsError:
        return _refuse(account, person, NOT_SENT)
    return outcome


def confirm(nonce: str, person: Person) -> Linked | Refusal:
    """Link the account that the proof was sent to."""
    account = run_read(lambda session: _proved(session, nonce))
    if account is None:
        return OVER
    if (refusal := _not_a_member(account)) is not None:
        return _refuse(account, person, refusal)
    outcome = run_transaction(lambda session: _confirm(session, nonce, person, datetime.now(UTC)))
    return _refuse(account, person, outcome) if isinstance(outcome, Refusal) else outcome


def end(link_id: int, person: Person) -> Linked | Refusal:
    """End one's own link; what the account decides does not count from now on."""
    return run_transaction(lambda session: _end(session, link_id, person, datetime.now(UTC)))


def of_person(session: Session, person: Person) -> Linked | None:
    """Return the standing link of a person in the workspace of the active policy."""
    policy = policies.active_policy(session)
    team = policy.slack_team if policy is not None else None
    link = links.of_person(session, _SLACK, team or "", {person.id})
    return linked(link) if link is not None else None


def _account_in(session: Session, attempt_id: str, now: datetime) -> Account | Refusal:
    attempt = session.get(LinkAttemptRow, attempt_id)
    if attempt is None or attempt.nonce_hash is not None or attempt.expires_at <= now:
        return OVER
    return Account(attempt.team, attempt.account)


def _proved(session: Session, nonce: str) -> Account | None:
    attempt = links.attempt_with(session, hash_of(nonce))
    return Account(attempt.team, attempt.account) if attempt is not None else None


def _not_a_member(account: Account) -> Refusal | None:
    """Ask Slack whether the account is one that could be linked at all."""
    try:
        return slack_accounts.why_nobodys(slack_profiles.profile_of(account.user), account.team)
    except ApprovalsError:
        return slack_accounts.CANNOT_ASK


def _ask(session: Session, attempt_id: str, person: Person, nonce: str, now: datetime) -> Asked | Refusal:
    attempt = session.get(LinkAttemptRow, attempt_id, with_for_update=True, populate_existing=True)
    if attempt is None or attempt.nonce_hash is not None or attempt.expires_at <= now:
        return OVER
    account = Account(attempt.team, attempt.account)
    if (refusal := _obstacle(session, account, person)) is not None:
        return refusal
    attempt.person_id, attempt.person_name = person.id, person.name
    attempt.nonce_hash, attempt.expires_at = hash_of(nonce), now + LIFE
    session.flush()
    enter(session, EntryKind.LINK_ASKED, account, person, now)
    return Asked(account.user, attempt.expires_at)


def _confirm(session: Session, nonce: str, person: Person, now: datetime) -> Linked | Refusal:
    attempt = _proof_of(session, nonce, person, now)
    if isinstance(attempt, Refusal):
        return attempt
    account = Account(attempt.team, attempt.account)
    if (refusal := _obstacle(session, account, person)) is not None:
        return refusal
    again = links.was_linked(session, _SLACK, account.team, account.user, person.id)
    link = _new_link(account, person, None if again else now, now)
    try:
        with session.begin_nested():
            session.add(link)
    except IntegrityError:
        return LINKED  # somebody was faster by an instant
    attempt.used_at = now
    session.flush()
    enter(session, EntryKind.ACCOUNT_LINKED, account, person, now, again=again)
    return linked(link)


def _proof_of(session: Session, nonce: str, person: Person, now: datetime) -> LinkAttemptRow | Refusal:
    attempt = links.attempt_with(session, hash_of(nonce))
    if attempt is None or attempt.used_at is not None or attempt.expires_at <= now:
        return OVER
    return attempt if (attempt.person_id, attempt.person_name) == (person.id, person.name) else NOT_YOURS


def _new_link(account: Account, person: Person, votes_from: datetime | None, now: datetime) -> AccountLinkRow:
    return AccountLinkRow(
        channel=_SLACK,
        team=account.team,
        account=account.user,
        person_id=person.id,
        person_name=person.name,
        standing=True,
        linked_at=now,
        vouched_by=None,
        votes_from=votes_from,
        ended_at=None,
    )


def _obstacle(session: Session, account: Account, person: Person) -> Refusal | None:
    """Return why the two cannot be linked, whoever proves what."""
    policy = policies.active_policy(session)
    if policy is None or policy.slack_team is None:
        return slack_accounts.NO_WORKSPACE
    if account.team != policy.slack_team:
        return slack_accounts.FOREIGN_WORKSPACE
    names = {person.id, person.name}
    if account.user in policy.slack_users or names & set(policy.slack_users.values()):
        return MAPPED
    taken = links.of_account(session, _SLACK, account.team, account.user)
    if taken or links.of_person(session, _SLACK, account.team, names):
        return LINKED
    return machines.refused(person)


def _end(session: Session, link_id: int, person: Person, now: datetime) -> Linked | Refusal:
    link = session.get(AccountLinkRow, link_id, with_for_update=True, populate_existing=True)
    if link is None or not link.standing:
        return NO_LINK
    account = Account(link.team, link.account)
    if link.person_id != person.id:
        enter(session, EntryKind.LINK_REFUSED, account, person, now, code=NOT_YOUR_LINK.code, act="end")
        return NOT_YOUR_LINK
    link.standing, link.ended_at = None, now
    session.flush()
    enter(session, EntryKind.LINK_ENDED, account, person, now)
    return linked(link)


def _refuse(account: Account, person: Person, refusal: Refusal) -> Refusal:
    """Record a refusal in a transaction of its own, and return it."""
    kind, now = EntryKind.LINK_REFUSED, datetime.now(UTC)
    run_transaction(lambda s: enter(s, kind, account, person, now, code=refusal.code, act="link"))
    return refusal


def enter(
    session: Session, kind: EntryKind, account: Account, person: Person, now: datetime, **more: object
) -> None:
    """Enter what somebody does, or tries, about the link of an account."""
    details = {"account": account.user, "team": account.team, "name": person.name, **more}
    ledger.append(session, kind, at=now, actor=person.id, channel=Channel.UI, details=details)


def linked(link: AccountLinkRow) -> Linked:
    """Return a link as it stands."""
    return Linked(link.id, link.account, link.person_name, link.votes_from)
