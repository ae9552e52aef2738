"""The directory: who is in which group of the policy, asked anew for every decision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from airflow_approvals.core.groups import Group, GroupSource
from airflow_approvals.core.models import Person, Refusal
from airflow_approvals.core.policy import Policy
from airflow_approvals.core.seats import Names, people_behind
from airflow_approvals.identity import fab_roles, simple_roles, slack_usergroups
from airflow_approvals.identity.answers import Answers, CannotAskError

log = logging.getLogger(__name__)

_SIGN_IN = "sign out of Airflow, sign in again and decide then."


@dataclass(frozen=True)
class Membership:
    """Who is in which group of one policy, as resolved at one moment.

    ``groups`` hold ids and names of Airflow users. A group that could not be asked is empty and
    stands in ``unresolved`` with the reason: nobody fills its seats until it can be asked again.
    ``aliases`` are what one person each is called, where a source gives both id and name.
    ``stale`` are those whose last login is too long ago for a group that they would be in.
    """

    policy: str
    groups: Mapping[str, frozenset[str]]
    unresolved: Mapping[str, str] = field(default_factory=dict)
    aliases: frozenset[Names] = frozenset()
    stale: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def people_in(self, groups: Iterable[str]) -> list[Names]:
        """Return the people in any of the groups, each once, as all they are called."""
        names = frozenset[str]().union(*(self.groups.get(group, frozenset()) for group in groups))
        return people_behind(names, self.aliases)

    def explain(self, refusal: Refusal | None, person: Person, groups: Collection[str]) -> Refusal | None:
        """Say with a refusal for want of a group why this person is in none of these groups now.

        Named are the groups that could not be asked, and those that want a younger login.
        """
        if refusal is None or refusal.code != "not_eligible":
            return refusal
        sentence = refusal.sentence
        if missing := [
            f"{name}: {self.unresolved[name]}" for name in sorted(groups & self.unresolved.keys())
        ]:
            sentence += f" Groups that could not be asked have no members now ({' '.join(missing)})"
        called = {person.id, person.name}
        if late := [name for name in sorted(groups) if called & self.stale.get(name, frozenset())]:
            sentence += f" Your last login is too long ago for {', '.join(late)}; {_SIGN_IN}"
        return replace(refusal, sentence=sentence)


_Ask = Callable[[Policy, Mapping[str, Group]], Answers]
_SOURCES: Mapping[GroupSource, _Ask] = {
    GroupSource.USERS: lambda policy, groups: _unmistakable(Answers({n: g.users for n, g in groups.items()})),
    GroupSource.SIMPLE_ROLE: simple_roles.members,
    GroupSource.FAB_ROLE: fab_roles.members,
    GroupSource.SLACK_USERGROUP: lambda policy, groups: _unmistakable(
        slack_usergroups.members(policy, groups)
    ),
}


def _unmistakable(answers: Answers) -> Answers:
    """Leave out who is called by what is one user's id and another's name, as among holders of a role."""
    wrong = fab_roles.mistakable(frozenset[str]().union(*answers.members.values()))
    return replace(answers, members={name: people - wrong for name, people in answers.members.items()})


def resolve(policy: Policy) -> Membership:
    """Ask for the members of every group of a policy; each source is asked once. Never raises.

    It may call other services, so it is called before a transaction and never under locks.
    """
    members: dict[str, frozenset[str]] = {}
    unresolved: dict[str, str] = {}
    aliases = frozenset[Names]()
    stale: dict[str, frozenset[str]] = {}
    for source, ask in _SOURCES.items():
        groups = {name: group for name, group in policy.groups.items() if group.source is source}
        if groups:
            answers = _asked(source, ask, policy, groups)
            members |= answers.members
            unresolved |= answers.unresolved
            aliases |= answers.aliases
            stale |= answers.stale
    return Membership(policy.digest, members, unresolved, aliases, stale)


def _asked(source: GroupSource, ask: _Ask, policy: Policy, groups: Mapping[str, Group]) -> Answers:
    try:
        return ask(policy, groups)
    except CannotAskError as error:
        return Answers.none(groups, str(error))
    except Exception as error:
        # Whatever it is: nobody is in a group that cannot be asked, and other groups still count.
        log.exception("approvals directory: groups by %s could not be asked", source.value)
        return Answers.none(groups, f"Its members could not be looked up ({type(error).__name__}).")
