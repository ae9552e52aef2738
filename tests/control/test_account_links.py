"""Linking a Slack account: asked for by it, proved to it, confirmed in one person's session."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.control import account_links, requesters, vouching
from airflow_approvals.control.account_links import Asked, Linked
from airflow_approvals.control.requesters import TRIGGERED, Requesters
from airflow_approvals.core.models import Person, Refusal
from airflow_approvals.identity import slack_accounts, slack_profiles
from airflow_approvals.identity.slack_accounts import Account, Owner, Tie, owner_of
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.chat_tables import AccountLinkRow, LinkAttemptRow
from airflow_approvals.store.session import run_read, run_transaction
from tests.conftest import Database
from tests.identity.test_slack_accounts import POLICY
from tests.live.slack_emulator import SlackEmulator
from tests.live.slack_proxy import SlackProxy

ON_SQLITE = pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
CAROL, DAVE, ALICE = Person("7", "carol"), Person("8", "dave"), Person("9", "alice")


@pytest.fixture(scope="module")
def emulator() -> Iterator[SlackEmulator]:
    with SlackEmulator() as running:
        yield running


@pytest.fixture
def proxy(emulator: SlackEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SlackProxy]:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(emulator.token)
    with SlackProxy(emulator.url) as between:
        monkeypatch.setenv("AIRFLOW__APPROVALS__SLACK_BOT_TOKEN_FILE", str(token))
        monkeypatch.setenv("AIRFLOW__APPROVALS__SLACK_API_URL", between.url)
        slack_profiles.forget()
        yield between


class Scene:
    """carol's account is nobody's yet; the policy maps bob's and lets alice, bob and carol decide."""

    def __init__(self, database: Database, emulator: SlackEmulator, proxy: SlackProxy) -> None:
        self.database, self.proxy, self.users, self.team = database, proxy, emulator.users, emulator.team
        text = POLICY.replace("TEAM", self.team).replace("MAPPED", self.users["bob"])
        policy = read_policy_text(text, "the test's policy")
        run_transaction(lambda s: policies.store_and_activate(s, policy, actor="t", now=datetime.now(UTC)))

    def account(self, name: str) -> Account:
        return Account(self.team, self.users[name])

    def attempt(self, name: str = "carol") -> str:
        """What an account is sent after it clicked."""
        now = datetime.now(UTC)
        return _in(run_transaction(lambda s: account_links.invite(s, self.account(name), now=now)), "attempt")

    def proof(self, person: Person = CAROL, name: str = "carol") -> str:
        """What the account is sent once somebody has asked for it."""
        asked = account_links.ask(self.attempt(name), person)
        assert isinstance(asked, Asked), asked
        call = self.proxy.asked("chat.postMessage")[-1]
        assert call["channel"] == self.users[name]
        return _in(str(call["blocks"]).split("<", 1)[1].split("|", 1)[0], "proof")

    def link(self, person: Person = CAROL, name: str = "carol") -> Linked:
        linked = account_links.confirm(self.proof(person, name), person)
        assert isinstance(linked, Linked), linked
        return linked

    def entries(self) -> list[tuple[str, str | None, str]]:
        """Kind, who, and the code of a refusal, of everything entered on links."""
        found = run_read(lambda s: ledger.entries(s, limit=1000))
        return [(e["kind"], e["actor"], e["details"].get("code", "")) for e in found if "link" in e["kind"]]

    def age_attempts(self, by: timedelta) -> None:
        def work(session):  # type: ignore[no-untyped-def]
            for row in session.scalars(select(LinkAttemptRow)):
                row.expires_at -= by

        run_transaction(work)


def _in(address: str, name: str) -> str:
    return parse_qs(urlsplit(address).query)[name][0]


@pytest.fixture
def scene(database: Database, emulator: SlackEmulator, proxy: SlackProxy) -> Scene:
    return Scene(database, emulator, proxy)


@ON_SQLITE
def test_an_account_is_linked_by_the_one_who_has_both(scene: Scene) -> None:
    assert owner_of(scene.account("carol")) == slack_accounts.NOT_LINKED
    linked = scene.link()
    assert (linked.account, linked.person) == (scene.users["carol"], "carol")
    assert owner_of(scene.account("carol")) == Owner("carol", Tie.LINK, "7")
    assert scene.entries() == [("link_asked", "7", ""), ("account_linked", "7", "")]


@ON_SQLITE
def test_nothing_that_could_prove_it_is_kept_in_the_clear(scene: Scene) -> None:
    proof = scene.proof()
    with scene.database.engine.connect() as connection:
        kept = [str(tuple(row)) for row in connection.exec_driver_sql("SELECT * FROM approvals_link_attempt")]
    bodies = run_read(lambda s: str(ledger.entries(s, limit=100)))
    assert proof not in "".join(kept) + bodies


@ON_SQLITE
def test_a_proof_counts_in_the_session_of_whoever_asked_for_it_only(scene: Scene) -> None:
    proof = scene.proof()
    assert account_links.confirm(proof, DAVE) == account_links.NOT_YOURS
    assert account_links.confirm(proof, Person("70", "carol")) == account_links.NOT_YOURS
    assert isinstance(account_links.confirm(proof, CAROL), Linked)
    assert [code for kind, _, code in scene.entries() if kind == "link_refused"] == ["not_your_attempt"] * 2


@ON_SQLITE
def test_a_proof_counts_once_for_ten_minutes_and_nothing_else_is_one(scene: Scene) -> None:
    proof = scene.proof()
    assert account_links.confirm("x" * 32, CAROL) == account_links.OVER
    scene.age_attempts(timedelta(minutes=10))
    assert account_links.confirm(proof, CAROL) == account_links.OVER
    fresh = scene.proof()
    assert isinstance(account_links.confirm(fresh, CAROL), Linked)
    assert account_links.confirm(fresh, CAROL) == account_links.OVER


@ON_SQLITE
def test_an_address_is_taken_up_once_and_for_ten_minutes(scene: Scene) -> None:
    attempt = scene.attempt()
    assert scene.attempt() == attempt  # clicking again and again makes no more of them
    assert account_links.account_in(attempt) == scene.account("carol")
    scene.age_attempts(timedelta(minutes=10))
    assert account_links.ask(attempt, CAROL) == account_links.OVER
    another = scene.attempt()
    assert isinstance(account_links.ask(another, CAROL), Asked)
    # Somebody else would otherwise have the account written to as often as they like.
    assert account_links.ask(another, DAVE) == account_links.OVER
    assert account_links.account_in(another) == account_links.OVER
    assert account_links.account_in("made-up") == account_links.OVER


@ON_SQLITE
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"is_restricted": True}, slack_accounts.GUEST),
        ({"is_stranger": True}, slack_accounts.STRANGER),
        ({"is_bot": True}, slack_accounts.BOT),
        ({"deleted": True}, slack_accounts.DELETED),
    ],
)
def test_an_account_that_could_be_nobodys_is_not_linked(
    scene: Scene, said: dict[str, bool], expected: Refusal
) -> None:
    proof = scene.proof()
    scene.proxy.people[scene.users["carol"]] = said
    slack_profiles.forget()
    assert account_links.ask(scene.attempt(), CAROL) == expected
    assert account_links.confirm(proof, CAROL) == expected
    assert owner_of(scene.account("carol")) == expected


@ON_SQLITE
def test_when_slack_is_away_nothing_is_linked(scene: Scene) -> None:
    proof, attempt = scene.proof(), scene.attempt()
    scene.proxy.down.add("chat.postMessage")
    assert account_links.ask(attempt, CAROL) == account_links.NOT_SENT
    scene.proxy.down.add("users.info")
    slack_profiles.forget()
    assert account_links.confirm(proof, CAROL) == slack_accounts.CANNOT_ASK


@ON_SQLITE
def test_the_policys_map_goes_before_any_link(scene: Scene) -> None:
    assert account_links.ask(scene.attempt("bob"), CAROL) == account_links.MAPPED
    assert account_links.ask(scene.attempt("carol"), Person("3", "bob")) == account_links.MAPPED


@ON_SQLITE
def test_an_account_has_one_person_and_a_person_one_account(scene: Scene) -> None:
    late = scene.proof(DAVE, "carol")
    scene.link(CAROL, "carol")
    assert account_links.confirm(late, DAVE) == account_links.LINKED
    assert account_links.ask(scene.attempt("carol"), DAVE) == account_links.LINKED
    assert account_links.ask(scene.attempt("viewer"), CAROL) == account_links.LINKED


@ON_SQLITE
def test_nobody_ends_anothers_link(scene: Scene) -> None:
    linked = scene.link()
    assert account_links.end(linked.id, DAVE) == account_links.NOT_YOUR_LINK
    assert isinstance(account_links.end(linked.id, CAROL), Linked)
    assert account_links.end(linked.id, CAROL) == account_links.NO_LINK
    assert owner_of(scene.account("carol")) == slack_accounts.NOT_LINKED
    assert scene.entries()[-2:] == [("link_refused", "8", "not_your_link"), ("link_ended", "7", "")]


@ON_SQLITE
@pytest.mark.parametrize(("person", "name"), [(CAROL, "carol"), (DAVE, "carol"), (CAROL, "viewer")])
def test_linking_again_takes_a_second_person_and_a_day(scene: Scene, person: Person, name: str) -> None:
    account_links.end(scene.link().id, CAROL)
    again = scene.link(person, name)
    assert again.votes_from is None
    assert owner_of(scene.account(name)) == slack_accounts.WAITS_FOR_SOMEBODY
    assert run_read(vouching.waiting) == [again]
    vouched = vouching.vouch(again.id, ALICE)
    assert isinstance(vouched, Linked)
    assert vouched.votes_from is not None
    assert vouched.votes_from - datetime.now(UTC) > timedelta(hours=23, minutes=59)
    assert owner_of(scene.account(name)) == slack_accounts.COOLING_DOWN
    assert vouching.vouch(again.id, ALICE) == vouching.NOTHING_TO_VOUCH
    run_transaction(lambda s: _let_a_day_pass(s.get_one(AccountLinkRow, again.id)))
    assert owner_of(scene.account(name)) == Owner(person.name, Tie.LINK, person.id)


def _let_a_day_pass(link: AccountLinkRow) -> None:
    assert link.votes_from is not None
    link.votes_from -= timedelta(hours=24)


@ON_SQLITE
def test_neither_party_nor_a_bystander_confirms_a_new_link(scene: Scene) -> None:
    account_links.end(scene.link(CAROL).id, CAROL)
    again = scene.link(DAVE)
    assert vouching.vouch(again.id, DAVE) == vouching.A_PARTY
    assert vouching.vouch(again.id, CAROL) == vouching.A_PARTY
    assert vouching.vouch(again.id, Person("5", "eve")) == vouching.NOT_A_DECIDER
    assert vouching.vouch(again.id + 1, ALICE) == account_links.NO_LINK


@ON_SQLITE
def test_a_program_is_not_linked(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__APPROVALS__SERVICE_ACCOUNTS", "carol")
    refused = account_links.ask(scene.attempt(), CAROL)
    assert isinstance(refused, Refusal)
    assert refused.code == "service_account"


@ON_SQLITE
def test_the_linked_account_of_a_requester_is_barred(scene: Scene) -> None:
    scene.link()
    found = run_read(lambda s: requesters.with_chat_accounts(s, Requesters((("carol", TRIGGERED),))))
    assert scene.users["carol"] in found.names


def test_two_people_who_prove_one_account_at_once_leave_one_link(scene: Scene) -> None:
    """On PostgreSQL they truly overlap; the second one meets the constraint."""
    proofs = [(scene.proof(person), person) for person in (CAROL, DAVE)]
    slack_profiles.profile_of(scene.users["carol"])
    together = threading.Barrier(2)
    outcomes: list[Linked | Refusal] = []

    def confirm(proof: str, person: Person) -> None:
        together.wait()
        outcomes.append(account_links.confirm(proof, person))

    threads = [threading.Thread(target=confirm, args=pair) for pair in proofs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Linked", "Refusal"]
    assert account_links.LINKED in outcomes
    found = select(AccountLinkRow.account, AccountLinkRow.standing)
    assert run_read(lambda s: s.execute(found).all()) == [(scene.users["carol"], True)]
