from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from airflow_approvals.core.classification import Label
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.models import Channel
from airflow_approvals.core.policy import Effect, Facts, Seat
from airflow_approvals.core.policy_parsing import parse_policy
from airflow_approvals.errors import PolicyError
from tests.core.policies import EXAMPLE, rule, with_rules


def edited(path: str, value: Any) -> dict[str, Any]:
    """The example with one place changed; ``path`` is dotted, numbers index lists."""
    document = copy.deepcopy(EXAMPLE)
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place: Any = document
    for step in parents:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def test_example_is_read_whole():
    policy = parse_policy(EXAMPLE, "the text")
    assert policy.digest == sha256_digest(b"the text")
    assert policy.text == "the text"
    assert policy.dev_mode is False
    assert policy.groups == {"data-owners": frozenset({"bob", "carol"})}
    assert (policy.slack_team, policy.slack_users) == ("T0001", {"U0001": "bob", "U0002": "alice"})
    assert policy.protected_connections == {"training_bucket"}
    (only,) = policy.rules
    assert only.bar.seats == (Seat("data-owners", 1),)
    assert only.bar.deciding == {Channel.SLACK, Channel.UI}
    assert (only.bar.request_ttl, only.bar.grant_ttl) == (timedelta(hours=24), timedelta(hours=1))


def test_projection_holds_ids_and_places_and_nothing_else():
    assert parse_policy(EXAMPLE, "").projection() == {
        "version": 1,
        "sinks": {"training-bucket": {"connection": "training_bucket", "uri_prefix": "file:///srv/training"}},
    }


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("version", 2, "version: must be a whole number from 1 to 1"),
        ("version", True, "version: must be a whole number"),
        ("version", ..., "version: is missing"),
        ("dev_mode", "no", "dev_mode: must be true or false"),
        ("sinks", {}, "sinks: must be a list"),
        ("sinks.0.tls", True, "sinks[0].tls: unknown key"),
        ("sinks.0.assurance", "content-bound", "sinks[0].assurance: content-bound comes with the custodian"),
        ("sinks.0.assurance", "none", "sinks[0].assurance: must be one of"),
        ("sinks.0.uri_prefix", "/srv/training", "sinks[0].uri_prefix: must be a URI"),
        ("sinks.0.uri_prefix", "s3://a/../b", "sinks[0].uri_prefix: must not climb"),
        ("sinks.0.uri_prefix", "s3://me@bucket/a", "sinks[0].uri_prefix: must not name an account"),
        ("sinks.0.connection", "", "sinks[0].connection: must be 1 to"),
        ("sinks.0.id", 7, "sinks[0].id: must be text"),
        ("groups.data-owners.users", [], "groups.data-owners.users: must not be empty"),
        ("groups.data-owners.users", ["bob", "bob"], "groups.data-owners.users[1]: bob is listed twice"),
        ("groups.data-owners.members", ["x"], "groups.data-owners.members: unknown key"),
        ("groups.data owners", {"users": ["x"]}, "groups.data owners: must be made of letters"),
        ("identities.teams", {}, "identities.teams: unknown key"),
        ("identities.slack.team", ..., "identities.slack.team: is missing"),
        (
            "identities.slack.users",
            {"U1": "bob", "U2": "bob"},
            "identities.slack.users.U2: bob is mapped from U1",
        ),
        ("rules.0.if", "true", "rules[0].if: unknown key"),
        ("rules.0.when", ..., "rules[0].when: is missing"),
        ("rules.0.when.sinks", "x", "rules[0].when.sinks: unknown key"),
        ("rules.0.when.sink", "trainig-bucket", "rules[0].when.sink: there is no sink trainig-bucket"),
        ("rules.0.when.sink", {"glob": "prod-*"}, "rules[0].when.sink: no sink fits prod-*"),
        ("rules.0.when.action", {}, "rules[0].when.action: an empty condition"),
        ("rules.0.when.action", {"gte": "a"}, "rules[0].when.action.gte: unknown key"),
        ("rules.0.when.action", {"in": []}, "rules[0].when.action.in: must not be empty"),
        ("rules.0.when.label", "secret", "rules[0].when.label: must be one of public"),
        ("rules.0.when.label", {"gte": 3}, "rules[0].when.label.gte: must be one of"),
        ("rules.0.when.label", {"glob": "*"}, "rules[0].when.label.glob: unknown key"),
        ("rules.0.effect", "deny", "rules[0].effect: must be one of forbid, require, permit"),
        ("rules.0.seats", ..., "rules[0].seats: at least one seat"),
        ("rules.0.seats", [], "rules[0].seats: at least one seat"),
        ("rules.0.seats.0.group", "owners", "rules[0].seats[0].group: there is no group owners"),
        ("rules.0.seats.0.count", 0, "rules[0].seats[0].count: must be a whole number from 1"),
        ("rules.0.seats.0.count", 3, "rules[0].seats[0].count: group data-owners has only 2 members"),
        ("rules.0.channels", ..., "rules[0].channels: at least one channel"),
        ("rules.0.channels", {"api": "view"}, "rules[0].channels: at least one channel"),
        ("rules.0.channels.email", "decide", "rules[0].channels.email: unknown key"),
        ("rules.0.channels.slack", "yes", "rules[0].channels.slack: must be one of decide, view"),
        ("rules.0.request_ttl", "24h", "rules[0].request_ttl: must be an ISO 8601 duration"),
        ("rules.0.grant_ttl", "P400D", "rules[0].grant_ttl: must be longer than nothing and at most"),
        ("rules.0.effect", "forbid", "rules[0].seats: means nothing with effect: forbid"),
    ],
)
def test_mistake_is_refused_by_its_path(path, value, expected):
    with pytest.raises(PolicyError) as caught:
        parse_policy(edited(path, value), "")
    assert expected in caught.value.message


def test_doubled_ids_are_refused():
    with pytest.raises(PolicyError, match=r"rules\[1\].id: there are two rules a"):
        parse_policy(with_rules(rule("a"), rule("a")), "")
    sinks = [*EXAMPLE["sinks"], {**EXAMPLE["sinks"][0], "uri_prefix": "file:///other"}]
    with pytest.raises(PolicyError, match=r"sinks\[1\].id: there are two sinks training-bucket"):
        parse_policy({**EXAMPLE, "sinks": sinks}, "")


@pytest.mark.parametrize(
    "prefix", ["file:///srv/training", "file:///srv/training/eu", "file:///srv/", "file:///"]
)
def test_sinks_of_one_connection_must_lie_side_by_side(prefix):
    second = {**EXAMPLE["sinks"][0], "id": "second", "uri_prefix": prefix}
    with pytest.raises(PolicyError, match=r"sinks\[1\].uri_prefix: overlaps with sink training-bucket"):
        parse_policy({**EXAMPLE, "sinks": [*EXAMPLE["sinks"], second]}, "")


def test_sinks_side_by_side_or_of_two_connections_are_fine():
    beside = {**EXAMPLE["sinks"][0], "id": "beside", "uri_prefix": "file:///srv/training-eu"}
    other = {**EXAMPLE["sinks"][0], "id": "other", "connection": "other"}
    assert len(parse_policy({**EXAMPLE, "sinks": [*EXAMPLE["sinks"], beside, other]}, "").sinks) == 3


def test_seats_need_distinct_people():
    groups = {"owners": {"users": ["bob"]}, "security": {"users": ["bob"]}}
    seats = [{"group": "owners", "count": 1}, {"group": "security", "count": 1}]
    with pytest.raises(PolicyError, match="Nobody can satisfy rule both"):
        parse_policy({**with_rules(rule("both", seats=seats)), "groups": groups}, "")
    groups["security"]["users"] = ["bob", "dana"]
    assert parse_policy({**with_rules(rule("both", seats=seats)), "groups": groups}, "")


def test_rules_that_only_together_ask_too_much_are_refused():
    groups = {"owners": {"users": ["bob"]}, "security": {"users": ["bob"]}}
    owners = rule("owners-say", seats=[{"group": "owners", "count": 1}], when={"action": {"glob": "exp*"}})
    security = rule("security-says", seats=[{"group": "security", "count": 1}], when={"label": "restricted"})
    with pytest.raises(PolicyError, match="Nobody can satisfy rule owners-say, security-says"):
        parse_policy({**with_rules(owners, security), "groups": groups}, "")


def test_where_only_slack_decides_people_must_be_mapped():
    document = with_rules(rule("chat", channels={"slack": "decide"}))
    assert parse_policy(document, "")
    document["identities"] = {"slack": {"team": "T1", "users": {"U1": "alice"}}}
    with pytest.raises(PolicyError, match=r"whom identities\.slack maps"):
        parse_policy(document, "")


def test_times_to_live_have_defaults_that_bind_nobody_else():
    document = with_rules(
        {"id": "open", "when": {"label": "public"}, "effect": "permit"},
        rule("slow", request_ttl="P3D", grant_ttl="PT2H"),
    )
    bar = parse_policy(document, "").judge(Facts("export", "training-bucket", Label.PUBLIC))
    assert bar.effect is Effect.REQUIRE
    assert (bar.request_ttl, bar.grant_ttl) == (timedelta(days=3), timedelta(hours=1))


def test_keys_that_are_not_text_are_named():
    with pytest.raises(PolicyError, match=r"identities\.slack\.users: the key 17 must be text"):
        parse_policy(edited("identities.slack.users", {17: "bob"}), "")
