"""From a policy document to a :class:`~airflow_approvals.core.policy.Policy`, or to one clear error.

Everything a reader could get wrong is an error here, at load, and not a surprise at a gate:
unknown keys, unknown names, doubled ids, sinks that overlap, rules that nobody can satisfy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.matching import Compiler
from airflow_approvals.core.policy import Assurance, Policy, Sink
from airflow_approvals.core.policy_cases import read_cases
from airflow_approvals.core.policy_checks import check_sinks_apart
from airflow_approvals.core.policy_fields import At
from airflow_approvals.core.policy_people import (
    read_break_glass,
    read_git,
    read_groups,
    read_slack,
    read_teams,
)
from airflow_approvals.core.policy_rules import Known, read_rules
from airflow_approvals.core.policy_satisfiable import check_somebody_can_decide

POLICY_VERSION = 1


def parse_policy(document: Mapping[str, Any], text: str, compiler: Compiler | None = None) -> Policy:
    """Read a policy.

    :param document: what ``text`` says, as plain mappings, lists and scalars.
    :param text: the policy file as it was read; its digest is the policy's.
    :param compiler: compiles the conditions; it raises ``ValueError`` for a broken one. Without
        it a rule with ``if`` is an error.
    :raises PolicyError: naming the path of the first thing that is wrong.
    """
    fields = At(document, "").object(
        required=("version", "sinks", "groups", "rules"),
        optional=("dev_mode", "identities", "break_glass", "tests"),
    )
    fields["version"].whole(POLICY_VERSION, POLICY_VERSION)
    dev_mode = fields["dev_mode"].flag() if "dev_mode" in fields else False
    sinks = _sinks(fields["sinks"], rehearsal=dev_mode)
    groups = read_groups(fields["groups"])
    kinds = ("slack", "teams", "git")
    identities = fields["identities"].object(optional=kinds) if "identities" in fields else {}
    team, slack_users, email_domains = read_slack(identities)
    rules = read_rules(fields["rules"], Known(sinks, groups, compiler))
    policy = Policy(
        digest=sha256_digest(text.encode()),
        text=text,
        dev_mode=dev_mode,
        sinks=sinks,
        groups=groups,
        slack_team=team,
        slack_users=slack_users,
        slack_email_domains=email_domains,
        rules=rules,
        git_authors=read_git(identities),
        break_glass=read_break_glass(fields.get("break_glass"), groups),
        cases=read_cases(fields["tests"], groups, [rule.id for rule in rules]) if "tests" in fields else (),
        teams=read_teams(identities),
    )
    check_somebody_can_decide(policy)
    return policy


def _sinks(at: At, *, rehearsal: bool) -> dict[str, Sink]:
    sinks: dict[str, Sink] = {}
    for item in at.items():
        sink = _sink(item)
        if sink.id in sinks:
            item.child("id").fail(f"there are two sinks {sink.id}.")
        check_sinks_apart(item, sink, sinks.values(), rehearsal=rehearsal)
        sinks[sink.id] = sink
    return sinks


def _sink(at: At) -> Sink:
    fields = at.object(required=("id", "connection", "uri_prefix", "assurance"))
    return Sink(
        id=fields["id"].name(),
        connection=fields["connection"].name(),
        uri_prefix=_uri_prefix(fields["uri_prefix"]),
        assurance=Assurance(fields["assurance"].one_of(assurance.value for assurance in Assurance)),
    )


def _uri_prefix(at: At) -> str:
    text = at.text()
    scheme, separator, rest = text.partition("://")
    if not (scheme.isascii() and scheme.isalnum() and scheme.islower() and separator and rest) or " " in text:
        at.fail("must be a URI of the form scheme://place.")
    if ".." in rest.split("/"):
        at.fail("must not climb with '..'.")
    if "@" in rest.split("/")[0]:
        at.fail("must not name an account.", "The sink's connection holds it.")
    return text
