from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_approvals.core import explaining
from airflow_approvals.core.bar import Effect, Escalation, EvidenceDemand, Standing, Unattributed
from airflow_approvals.core.classification import Label
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.groups import Group, GroupSource
from airflow_approvals.core.models import Channel
from airflow_approvals.core.policy import Assurance, BreakGlass
from airflow_approvals.core.policy_parsing import parse_policy
from airflow_approvals.core.seats import Seat
from airflow_approvals.errors import PolicyError
from tests.core.policies import EXAMPLE, FULL, rule, with_rules


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
    assert policy.groups == {"data-owners": Group.of("bob", "carol")}
    assert (policy.slack_team, policy.slack_users) == ("T0001", {"U0001": "bob", "U0002": "alice"})
    assert policy.slack_email_domains == frozenset()
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
        ("identities.discord", {}, "identities.discord: unknown key"),
        ("identities.slack.team", ..., "identities.slack.team: is missing"),
        (
            "identities.slack.users",
            {"U1": "bob", "U2": "bob"},
            "identities.slack.users.U2: bob is mapped from U1",
        ),
        ("identities.slack.email", {}, "identities.slack.email.domains: is missing"),
        ("identities.slack.email", {"domains": []}, "identities.slack.email.domains: must not be empty"),
        ("identities.slack.email", {"domains": ["*.x.com"]}, "identities.slack.email.domains[0]: must be a"),
        ("identities.slack.email", {"domains": ["X.com"]}, "identities.slack.email.domains[0]: must be a"),
        (
            "identities.slack.email",
            {"domains": ["x.com", "email.notfound"]},
            "identities.slack.email.domains[1]: must be a domain",
        ),
        ("rules.0.if", "true", "rules[0].if: conditions are written in CEL, which is not installed"),
        ("groups.data-owners", {}, "groups.data-owners: must say where its members come from"),
        ("groups.data-owners.simple_role", "op", "groups.data-owners: must say where its members come from"),
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


def two_sinks(*assurances, **changes):
    """The example with two sinks side by side on one connection."""
    first, second = (
        {**EXAMPLE["sinks"][0], "id": name, "uri_prefix": f"file:///srv/{name}", "assurance": assurance}
        for name, assurance in zip(("lax", "strict"), assurances, strict=True)
    )
    return {**with_rules(rule("a")), "sinks": [first, {**second, **changes}]}


@pytest.mark.parametrize(
    "assurances",
    [("run-bound", "run-bound"), ("run-bound", "content-bound"), ("content-bound", "run-bound")],
)
@pytest.mark.parametrize("connection", ["training_bucket", "Training_Bucket"])
def test_a_connection_that_a_task_gets_opens_one_sink_only(assurances, connection):
    with pytest.raises(PolicyError, match=r"sinks\[1\].connection: sinks lax and strict share") as refused:
        parse_policy(two_sinks(*assurances, connection=connection), "")
    assert "connection of its own, or make both content-bound" in str(refused.value)


def test_sinks_that_only_the_custodian_writes_to_may_share_one():
    assert len(parse_policy(two_sinks("content-bound", "content-bound"), "").sinks) == 2


def test_sinks_may_share_one_in_a_rehearsal():
    assert parse_policy({**two_sinks("run-bound", "run-bound"), "dev_mode": True}, "").dev_mode


def test_sinks_of_two_connections_may_be_one_place():
    other = {**EXAMPLE["sinks"][0], "id": "other", "connection": "other"}
    assert len(parse_policy({**EXAMPLE, "sinks": [*EXAMPLE["sinks"], other]}, "").sinks) == 2


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


TENANT = "11111111-2222-3333-4444-555555555555"
BOB_IN_ENTRA = "aaaaaaaa-0000-4000-8000-00000000000b"


def with_teams(**teams):
    return {**EXAMPLE, "identities": {"teams": {"tenant": TENANT, **teams}}}


def test_accounts_of_teams_are_linked_by_a_map_or_by_the_name_being_the_account():
    mapped = parse_policy(with_teams(users={BOB_IN_ENTRA: "bob"}), "").teams
    assert (mapped.tenant, mapped.name_of(BOB_IN_ENTRA), mapped.name_of(TENANT)) == (TENANT, "bob", None)
    assert mapped.accounts_of({"bob", "carol", TENANT}) == (BOB_IN_ENTRA,)
    named = parse_policy(with_teams(users={BOB_IN_ENTRA: "bob"}, oid_is_username=True), "").teams
    assert (named.name_of(BOB_IN_ENTRA), named.name_of(TENANT)) == ("bob", TENANT)
    assert named.accounts_of({"bob", "carol", TENANT, BOB_IN_ENTRA}) == (TENANT, BOB_IN_ENTRA)


@pytest.mark.parametrize(
    ("teams", "message"),
    [
        ({}, "identities.teams: links nobody"),
        ({"oid_is_username": False}, "identities.teams: links nobody"),
        ({"tenant": "AAAAAAAA" + TENANT[8:], "users": {}}, "identities.teams.tenant: must be an id of Entra"),
        ({"users": {"bob@example.com": "bob"}}, r"identities.teams.users.bob@example.com: must be an id"),
        ({"users": {BOB_IN_ENTRA: "bob", TENANT: "bob"}}, f"{TENANT}: bob is mapped from"),
        ({"users": {BOB_IN_ENTRA: "bob"}, "team": "T"}, "identities.teams.team: unknown key"),
        ({"users": {}, "oid_is_username": "yes"}, "oid_is_username: must be true or false"),
    ],
)
def test_what_the_teams_map_must_not_be(teams, message):
    with pytest.raises(PolicyError, match=message):
        parse_policy(with_teams(**teams), "")


def test_where_only_chats_decide_people_of_any_of_them_count():
    document = with_rules(rule("chat", channels={"slack": "decide", "teams": "decide"}))
    document["groups"] = {"data-owners": {"users": ["bob", "carol"]}}
    document["rules"][0]["seats"] = [{"group": "data-owners", "count": 2}]
    document["identities"] = {
        "slack": {"team": "T1", "users": {"U1": "carol"}},
        "teams": {"tenant": TENANT, "users": {BOB_IN_ENTRA: "bob"}},
    }
    assert parse_policy(document, "")
    document["identities"]["teams"]["users"] = {BOB_IN_ENTRA: "alice"}
    with pytest.raises(PolicyError, match=r"whom identities\.slack or identities\.teams maps"):
        parse_policy(document, "")


def test_rules_whose_chats_differ_need_people_in_the_one_that_both_let_decide():
    both = rule("both", channels={"slack": "decide", "teams": "decide"}, when={"action": "export"})
    teams = rule("teams", channels={"teams": "decide"}, when={"label": "restricted"})
    document = with_rules(both, teams)
    document["identities"] = {
        "slack": {"team": "T1", "users": {"U1": "bob"}},
        "teams": {"tenant": TENANT, "users": {BOB_IN_ENTRA: "alice"}},
    }
    with pytest.raises(PolicyError, match=r"whom identities\.teams maps"):
        parse_policy(document, "")
    document["identities"]["teams"]["users"] = {BOB_IN_ENTRA: "carol"}
    assert parse_policy(document, "")


def test_times_to_live_have_defaults_that_bind_nobody_else():
    document = with_rules(
        {"id": "open", "when": {"label": "public"}, "effect": "permit"},
        rule("slow", request_ttl="P3D", grant_ttl="PT2H"),
    )
    bar = parse_policy(document, "").judge(Facts("export", "training-bucket", Label.PUBLIC))
    assert bar.effect is Effect.REQUIRE
    assert (bar.request_ttl, bar.grant_ttl) == (timedelta(days=3), timedelta(hours=1))


def test_what_is_permitted_waits_for_the_custodian_where_the_rule_says_so():
    document = with_rules(
        {"id": "open", "when": {"label": "public"}, "effect": "permit", "evidence": "verified"}
    )
    bar = parse_policy(document, "").judge(Facts("export", "training-bucket", Label.PUBLIC))
    assert (bar.effect, bar.evidence) == (Effect.PERMIT, EvidenceDemand.VERIFIED)
    assert (bar.request_ttl, bar.grant_ttl) == (timedelta(hours=24), timedelta(hours=1))
    document["rules"][0]["request_ttl"] = "PT2H"
    assert parse_policy(document, "").rules[0].bar.request_ttl == timedelta(hours=2)
    del document["rules"][0]["evidence"]
    with pytest.raises(PolicyError, match=r"rules\[0\]\.request_ttl: means nothing with effect: permit"):
        parse_policy(document, "")


def test_keys_that_are_not_text_are_named():
    with pytest.raises(PolicyError, match=r"identities\.slack\.users: the key 17 must be text"):
        parse_policy(edited("identities.slack.users", {17: "bob"}), "")


def test_every_key_is_read():
    policy = parse_policy(FULL, "")
    assert policy.sinks["partner-bucket"].assurance is Assurance.CONTENT_BOUND
    assert policy.groups["security"] == Group(
        GroupSource.FAB_ROLE,
        value="Security Officer",
        max_login_age=timedelta(hours=12),
        from_provider=True,
    )
    assert policy.groups["platform"] == Group(GroupSource.SIMPLE_ROLE, value="op")
    assert policy.groups["on-call"] == Group(GroupSource.SLACK_USERGROUP, value="S0123")
    assert policy.git_authors == {"bob@example.com": "bob", "bob@home.example": "bob"}
    assert policy.break_glass == BreakGlass(
        "commanders", "commanders", ".{20,}", "INC-[0-9]{1,7}", timedelta(days=2), 3
    )
    bar = policy.rules[2].bar
    assert bar.requester_reason == (".{10,}",)
    assert bar.approver_reason == ("(?:checked|sampled) .{3,}",)
    assert bar.ticket == ("[A-Z]{2,10}-[0-9]{1,7}",)
    assert bar.remind == (timedelta(hours=1), timedelta(hours=4))
    assert bar.escalate == (Escalation(timedelta(hours=6), "on-call"),)
    assert (bar.evidence, bar.unattributed) == (EvidenceDemand.VERIFIED, Unattributed.FORBID)
    assert (bar.veto, bar.standing) == (False, Standing(5, timedelta(days=7)))


CLEAN = Facts(
    "export",
    "partner-bucket",
    Label.INTERNAL,
    dag_id="export_daily",
    rows=1000,
    objects=1,
    size=10,
    profile="llm-training",
    residual=0,
    scanned=98,
    total=100,
)


@pytest.mark.parametrize(
    ("change", "mismatch"),
    [
        ({}, []),
        ({"sink": "training-bucket"}, ["sink"]),
        ({"dag_id": "import_daily"}, ["dag"]),
        ({"label": Label.CONFIDENTIAL}, ["label"]),
        ({"rows": 1001}, ["rows"]),
        ({"objects": 2}, ["objects"]),
        ({"size": 0}, ["bytes"]),
        ({"size": 1_000_001}, ["bytes"]),
        ({"residual": 1}, ["residual"]),
        ({"residual": None}, ["residual"]),
        ({"scanned": 97}, ["coverage"]),
        ({"scanned": 0, "total": 0}, ["coverage"]),
        ({"unattributed": True}, ["unattributed"]),
    ],
)
def test_every_matcher_matches_and_says_when_not(change, mismatch):
    assert list(parse_policy(FULL, "").rules[1].mismatches(replace(CLEAN, **change))) == mismatch


def test_what_is_not_known_never_helps():
    document = with_rules(
        {"id": "clean", "when": {"residual": 0}, "effect": "permit"},
        {"id": "dirty", "when": {"residual": {"gte": 100}}, "effect": "forbid"},
    )
    facts = Facts("export", "training-bucket", Label.PUBLIC, residual=None)
    policy = parse_policy(document, "")
    assert policy.judge(facts).rules == ("dirty",)
    assert policy.judge(replace(facts, residual=0)).effect is Effect.PERMIT


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("groups.security.max_login_age", "12h", "groups.security.max_login_age: must be an ISO 8601"),
        ("groups.platform.max_login_age", "PT1H", "groups.platform.max_login_age: goes with fab_role only"),
        ("groups.on-call.slack_usergroup", 7, "groups.on-call.slack_usergroup: must be text"),
        ("identities.git.bob", "bob", "identities.git.bob: must be an e-mail address"),
        ("identities.git.bob@EXAMPLE.com", "eve", "identities.git.bob@EXAMPLE.com: must be an e-mail"),
        ("rules.1.when.rows", "many", "rules[1].when.rows: must be a whole number"),
        ("rules.1.when.rows", {"lte": -1}, "rules[1].when.rows.lte: must be a whole number"),
        ("rules.1.when.rows", {"gte": 2, "lte": 1}, "rules[1].when.rows: no number is"),
        ("rules.1.when.rows", {"eq": 2, "lte": 1}, "rules[1].when.rows.lte: unknown key"),
        ("rules.1.when.rows", {"in": [1]}, "rules[1].when.rows.in: unknown key"),
        ("rules.1.when.rows", {}, "rules[1].when.rows: an empty condition"),
        ("rules.1.when.coverage", {"gte": 98}, "rules[1].when.coverage.gte: must be a number from 0 to 1"),
        ("rules.1.when.coverage", True, "rules[1].when.coverage: must be a number from 0 to 1"),
        ("rules.1.when.unattributed", "no", "rules[1].when.unattributed: must be true or false"),
        ("rules.1.when.dag", {"in": ["a"], "glob": "b*"}, "rules[1].when.dag: nothing in the list fits"),
        ("rules.1.when.label", {"gte": "restricted", "lte": "public"}, "rules[1].when.label: no label is"),
        ("rules.1.veto", True, "rules[1].veto: means nothing with effect: permit"),
        ("rules.2.ticket", "(a+)+", "rules[2].ticket: can be gone through in too many ways"),
        ("rules.2.ticket", "(", "rules[2].ticket: is no regular expression"),
        ("rules.2.requester_reason", "x" * 201, "rules[2].requester_reason: is longer than 200"),
        ("rules.2.approver_reason", "(?=a)a", "rules[2].approver_reason: must do without look-around"),
        ("rules.2.remind", ["PT8H"], "rules[2].remind[0]: comes when the request is over"),
        ("rules.2.remind", ["PT60M", "PT1H"], "rules[2].remind[1]: is listed twice"),
        ("rules.2.escalate.0.after", "P1D", "rules[2].escalate[0].after: comes when the request is over"),
        ("rules.2.escalate.0.group", "x", "rules[2].escalate[0].group: there is no group x"),
        ("rules.2.escalate.0.seats", [], "rules[2].escalate[0].seats: unknown key"),
        ("rules.2.evidence", "none", "rules[2].evidence: must be one of reported, verified"),
        ("rules.2.unattributed", "allow", "rules[2].unattributed: must be one of two_people, forbid"),
        ("rules.2.when.unattributed", True, "rules[2].unattributed: forbids every request"),
        ("rules.2.veto", "no", "rules[2].veto: must be true or false"),
        ("rules.2.standing.uses", 0, "rules[2].standing.uses: must be a whole number from 1"),
        ("rules.2.standing.within", "P91D", "rules[2].standing.within: must be at most P90D"),
        ("rules.2.standing.within", ..., "rules[2].standing.within: is missing"),
        ("rules.2.when.not_scanned", {"gte": 1}, "rules[2].standing: the rule is about data that was not"),
        ("break_glass.group", "x", "break_glass.group: there is no group x"),
        ("break_glass.ticket", ..., "break_glass.ticket: is missing"),
        ("break_glass.uses", 0, "break_glass.uses: must be a whole number from 1"),
        ("groups.commanders.users", ["dana"], "break_glass.reviewers: nobody else is in commanders"),
    ],
)
def test_mistake_in_the_whole_language_is_refused_by_its_path(path, value, expected):
    *parents, last = path.split(".", 2) if path.startswith("identities.git") else path.split(".")
    document = copy.deepcopy(FULL)
    place: Any = document
    for step in parents:
        place = place[int(step) if step.isdigit() else step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    with pytest.raises(PolicyError) as caught:
        parse_policy(document, "")
    assert expected in caught.value.message


def test_seats_of_asked_groups_do_not_hide_that_listed_ones_cannot_be_filled():
    groups = {"owners": {"users": ["bob"]}, "security": {"users": ["bob"]}, "ops": {"simple_role": "op"}}
    seats = [{"group": name, "count": 1} for name in groups]
    with pytest.raises(PolicyError, match="Nobody can satisfy rule all"):
        parse_policy({**with_rules(rule("all", seats=seats)), "groups": groups}, "")


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ({"rows": {"lte": 5}}, {"rows": {"gte": 6}}, False),
        ({"rows": {"lte": 5}}, {"rows": {"gte": 5}}, True),
        ({"dag": "a"}, {"dag": "b"}, False),
        ({"dag": "a"}, {"dag": {"glob": "a*"}}, True),
        ({"coverage": {"gte": 0.5}}, {"coverage": {"lte": 0.4}}, False),
        ({"unattributed": True}, {"unattributed": False}, False),
        ({"label": "public"}, {"label": {"gte": "internal"}}, False),
        # Without a scan nobody knows, and both apply.
        ({"residual": 0}, {"residual": {"gte": 1}}, True),
    ],
)
def test_rules_are_held_together_only_where_both_can_apply(one, other, together):
    groups = {"owners": {"users": ["bob"]}, "security": {"users": ["bob"]}, "more": {"users": ["x", "y"]}}
    more = {"group": "more", "count": 1}
    rules = [
        rule("one", when=one, seats=[{"group": "owners", "count": 1}, more]),
        rule("other", when=other, seats=[{"group": "security", "count": 1}, more]),
    ]
    document = {**with_rules(*rules), "groups": groups}
    if together:
        with pytest.raises(PolicyError, match="Nobody can satisfy rule one, other"):
            parse_policy(document, "")
    else:
        assert parse_policy(document, "")
    forbid = {"id": "never", "when": {}, "effect": "forbid"}
    assert parse_policy({**document, "rules": [*rules, forbid]}, "")


def test_a_rule_about_unattributed_runs_needs_two_people():
    groups = {"owners": {"users": ["bob"]}}
    lonely = rule("night", when={"unattributed": True}, seats=[{"group": "owners", "count": 1}])
    with pytest.raises(PolicyError, match="Nobody can satisfy rule night: a run that nobody can be named"):
        parse_policy({**with_rules(lonely), "groups": groups}, "")


def test_rules_that_overlap_without_end_are_refused_soon():
    groups = {f"g{n}": {"users": ["bob"]} for n in range(12)}
    rules = [
        rule(
            f"r{n}",
            when={"dag": {"in": [f"d{m}" for m in range(12) if m != n]}},
            seats=[{"group": f"g{n}", "count": 1}],
        )
        for n in range(12)
    ]
    with pytest.raises(PolicyError, match=r"overlap in too many ways|Nobody can satisfy"):
        parse_policy({**with_rules(*rules), "groups": groups}, "")


def test_a_role_may_be_said_to_come_from_the_identity_provider():
    role = {"fab_role": "Owner", "max_login_age": "PT8H", "managed_by": "identity_provider"}
    policy = parse_policy({**EXAMPLE, "groups": {"data-owners": role}}, "")
    assert policy.groups["data-owners"].from_provider
    assert not policy.groups["data-owners"].editable_in_airflow
    assert list(explaining.warnings(policy)) == []
    assert "checks that FAB is set up so" in next(explaining.notes(policy))


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (
            {"fab_role": "Owner", "managed_by": "identity_provider"},
            "goes with fab_role and max_login_age only",
        ),
        ({"users": ["bob"], "managed_by": "identity_provider"}, "goes with fab_role and max_login_age only"),
        (
            {"fab_role": "Owner", "max_login_age": "PT8H", "managed_by": "us"},
            "must be one of identity_provider",
        ),
    ],
)
def test_who_manages_a_group_is_said_of_bounded_roles_only(group, message):
    with pytest.raises(PolicyError, match=rf"groups.data-owners.managed_by: {message}"):
        parse_policy({**EXAMPLE, "groups": {"data-owners": group}}, "")
