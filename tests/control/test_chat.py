"""From clicks and forms to decisions, over the real tables and a Slack to talk to."""

from __future__ import annotations

import threading

import pytest

from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.slack_interaction import Click
from airflow_approvals.chat import clicks, forms
from airflow_approvals.control import outbox, vote_demands
from airflow_approvals.core.models import Channel, Person, RequestState, Verdict
from airflow_approvals.identity import slack_accounts
from airflow_approvals.identity.slack_accounts import Owner, Tie
from airflow_approvals.store import inbox
from airflow_approvals.store.chat_tables import ChatFormRow
from tests.control.slack_world import AIRFLOW, CLOSED, SELF_APPROVAL, a_world
from tests.live.slack_emulator import SlackEmulator


@pytest.fixture(scope="module")
def slack():
    with SlackEmulator() as emulator:
        yield emulator


@pytest.fixture
def world(tmp_path, slack):
    with a_world(tmp_path, slack) as made:
        yield made


def process(world, **changes):
    return clicks.process_inbox(world.chat_deps(**changes))


def whispered(world, request_id):
    """The private words queued for a request, as (Slack user, text)."""
    rows = world.outbox_rows(request_id)
    return [(row.recipient, row.text) for row in rows if row.kind == "whisper"]


def told(world, request_id):
    """What was said in private, without the address below it."""
    return [(user, text.partition("\n")[0]) for user, text in whispered(world, request_id)]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_click_opens_a_form_and_the_form_decides_once_and_closes_the_message(world, verdict):
    request_id = world.announced()
    view = world.form(request_id, "bob", verdict)
    assert world.decided == []
    assert whispered(world, request_id) == []
    callback_id = world.sent(view, "bob")
    assert process(world) == 1
    assert world.decided == [(request_id, "bob", verdict, Channel.SLACK)]
    assert world.inbox_state(callback_id) == "done"
    # Nobody waited for the answer at hand, so it is told in private.
    assert whispered(world, request_id) == [(world.slack.users["bob"], f"{verdict} by bob.")]
    assert process(world) == 0

    outbox.deliver_due(world.outbox_deps())
    message = world.slack.message_of(request_id)
    assert all(block["type"] != "actions" for block in message["blocks"])
    assert f"bob: {verdict} (slack" in str(message["blocks"])


def test_the_requester_is_refused_in_private_and_the_request_stays_open(world):
    request_id = world.announced()
    world.clicked(request_id, "alice")
    assert process(world) == 1
    assert (world.decided, world.opened) == ([], [])
    outbox.deliver_due(world.outbox_deps())
    assert world.slack.whispers()[0] == ("alice", SELF_APPROVAL.sentence)
    assert any(block["type"] == "actions" for block in world.slack.message_of(request_id)["blocks"])
    assert [code for _, code in world.refusals()] == ["self_approval"]


def test_an_account_that_is_not_linked_is_refused_and_told_where_to_link_it(world):
    request_id = world.announced()
    world.people = {}
    world.clicked(request_id, "bob")
    process(world)
    user = world.slack.users["bob"]
    address = f"{AIRFLOW}/approvals/links?attempt={user}"
    assert whispered(world, request_id) == [(user, f"{slack_accounts.NOT_LINKED.sentence}\n{address}")]
    assert world.refusals() == [(f"slack:{world.slack.team}:{user}", "not_linked")]
    assert world.decided == []


def test_an_account_linked_to_nobody_active_is_refused(world):
    request_id = world.announced()
    world.airflow.discard("bob")
    world.clicked(request_id, "bob")
    process(world)
    assert whispered(world, request_id) == [(world.slack.users["bob"], clicks.NO_SUCH_USER.sentence)]
    assert [code for _, code in world.refusals()] == ["no_such_user"]
    assert world.opened == []


def test_a_name_that_somebody_else_was_given_since_is_refused(world):
    request_id = world.announced()
    world.clicked(request_id, "bob")
    process(world, owner_of=lambda account: Owner("bob", Tie.LINK, "id-of-the-old-bob"))
    assert [code for _, code in world.refusals()] == ["no_such_user"]
    assert world.opened == []


def test_somebody_whom_airflow_would_not_let_answer_is_refused(world):
    request_id = world.announced()
    world.clicked(request_id, "viewer")
    process(world)
    assert whispered(world, request_id) == [(world.slack.users["viewer"], clicks.NOT_PERMITTED.sentence)]
    assert [code for _, code in world.refusals()] == ["not_permitted"]
    assert world.opened == []


@pytest.mark.parametrize("changes", [{"team": "T0OTHER"}, {"user_team": "T0OTHER"}])
def test_another_workspace_is_refused_recorded_and_told_nothing(world, changes):
    request_id = world.announced()
    world.clicked(request_id, "bob", **changes)
    assert process(world) == 1
    assert world.opened == []
    assert whispered(world, request_id) == []
    assert [code for _, code in world.refusals()] == ["foreign_workspace"]


@pytest.mark.parametrize(
    ("refusal", "tells"),
    [
        (slack_accounts.STRANGER, False),
        (slack_accounts.BOT, False),
        (slack_accounts.GUEST, True),
        (slack_accounts.CANNOT_ASK, True),
        (slack_accounts.CONFLICT, True),
    ],
)
def test_an_account_that_is_nobodys_is_refused_and_recorded(world, refusal, tells):
    request_id = world.announced()
    world.clicked(request_id, "bob")
    process(world, owner_of=lambda account: refusal)
    assert world.opened == []
    assert [code for _, code in world.refusals()] == [refusal.code]
    assert told(world, request_id) == ([(world.slack.users["bob"], refusal.sentence)] if tells else [])


def test_when_slack_cannot_be_asked_the_way_out_is_the_page(world):
    request_id = world.announced()
    world.clicked(request_id, "bob")
    process(world, owner_of=lambda account: slack_accounts.CANNOT_ASK)
    ((_, text),) = whispered(world, request_id)
    assert text.endswith(f"\n{AIRFLOW}/requests/{request_id}")


def test_without_a_workspace_in_the_policy_nothing_counts(world):
    request_id = world.announced()
    world.clicked(request_id, "bob")
    process(world, team=lambda session: None)
    assert world.opened == []
    assert [code for _, code in world.refusals()] == ["slack_not_in_policy"]


@pytest.mark.parametrize("changes", [{"message_ts": "1700000000.000001"}, {"channel": "C0OTHER"}])
def test_a_click_on_another_message_is_refused(world, changes):
    request_id = world.announced()
    world.clicked(request_id, "bob", **changes)
    process(world)
    assert world.opened == []
    assert [code for _, code in world.refusals()] == ["unknown_message"]


def test_the_message_of_one_request_opens_no_form_of_another(world):
    shown, meant = world.announced(), world.announced()
    world.clicked(meant, "bob", message_ts=world.delivery(shown).message.split(":")[1])
    process(world)
    assert world.opened == []
    assert [(entry.request_id, entry.details["code"]) for entry in world.entries] == [
        (meant, "unknown_message")
    ]


def test_a_request_that_never_was_is_refused(world):
    request_id = world.announced()
    world.clicked(request_id, "bob", request_id="made-up")
    process(world)
    (entry,) = world.entries
    assert (entry.request_id, entry.details["code"]) == (None, "unknown_message")


def test_a_click_on_a_closed_request_says_so_and_closes_the_message(world):
    request_id = world.announced()
    world.clicked(request_id, "bob")
    world.closed[request_id] = RequestState.EXPIRED
    process(world)
    assert whispered(world, request_id) == [(world.slack.users["bob"], CLOSED.sentence)]
    outbox.deliver_due(world.outbox_deps())
    assert world.slack.message_of(request_id)["text"].startswith("Expired")


def test_a_form_that_is_sent_after_the_request_closed_says_so(world):
    request_id = world.announced()
    view = world.form(request_id, "bob")
    world.closed[request_id] = RequestState.EXPIRED
    world.sent(view, "bob")
    process(world)
    assert world.decided == []
    assert told(world, request_id) == [(world.slack.users["bob"], CLOSED.sentence)]


def test_a_trigger_that_has_expired_ends_in_a_private_word_with_an_address(world):
    request_id = world.announced()
    world.dead_triggers.add("old.1")
    world.clicked(request_id, "bob", trigger="old.1")
    assert process(world) == 1
    ((user, text),) = whispered(world, request_id)
    assert user == world.slack.users["bob"]
    assert text == f"{forms.COULD_NOT_OPEN.sentence}\n{AIRFLOW}/requests/{request_id}"
    assert world.refusals() == []


def test_a_double_click_opens_two_forms_and_each_is_counted_once(world):
    request_id = world.announced()
    first, second = world.form(request_id, "bob"), world.form(request_id, "bob")
    world.sent(first, "bob")
    world.sent(first, "bob")
    world.sent(second, "bob")
    assert process(world) == 3
    assert len(world.decided) == 1


def test_a_form_that_was_sent_before_does_not_count_again(world):
    request_id = world.announced()
    view = world.form(request_id, "bob")
    world.sent(view, "bob")
    process(world)
    del world.closed[request_id]  # as a rule with two seats would leave it
    world.sent(view, "bob")
    process(world)
    assert len(world.decided) == 1
    assert told(world, request_id)[-1] == (world.slack.users["bob"], forms.ALREADY_SENT.sentence)
    assert [code for _, code in world.refusals()] == ["form_already_sent"]


def test_a_request_that_changed_since_its_form_was_opened_is_not_decided_by_it(world):
    request_id = world.announced()
    view = world.form(request_id, "bob")
    world.changed["residual"] = (("PERSON", 4),)
    world.sent(view, "bob")
    process(world)
    assert world.decided == []
    assert told(world, request_id) == [(world.slack.users["bob"], forms.CHANGED.sentence)]
    assert [code for _, code in world.refusals()] == ["form_outdated"]


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "U0ELSE"},
        {"nonce": "x" * 32},
        {"request_id": "another"},
    ],
)
def test_a_form_counts_for_its_own_account_and_request_only(world, changes):
    request_id = world.announced()
    other = world.announced()
    view = world.form(request_id, "bob")
    world.people["U0ELSE"] = "bob"
    if "request_id" in changes:
        changes = {"request_id": other}
    world.sent(view, "bob", **changes)
    process(world)
    assert world.decided == []
    assert [code for _, code in world.refusals()] == ["unknown_form"]


def test_a_form_that_was_open_for_too_long_has_to_be_opened_again(world):
    request_id = world.announced()
    view = world.form(request_id, "bob")
    world.later(hours=1)
    world.sent(view, "bob")
    process(world)
    assert world.decided == []
    assert told(world, request_id) == [(world.slack.users["bob"], forms.TOO_OLD.sentence)]


def test_what_a_form_lacks_is_said_and_the_form_can_be_sent_again(world):
    request_id = world.announced()
    world.demands = Demands(reason_needed=True, ticket=("OPS-[0-9]+",))
    view = world.form(request_id, "bob")
    for reason, ticket in (("  ", "OPS-1"), ("looked", "none")):
        world.sent(view, "bob", reason=reason, ticket=ticket)
        process(world)
    assert world.decided == []
    assert [sentence for _, sentence in told(world, request_id)] == [
        vote_demands.SAY_WHY.sentence,
        "The ticket has to be of the form OPS-[0-9]+.",
    ]
    world.sent(view, "bob", reason=" looked ", ticket=" OPS-1 ")
    process(world)
    assert world.reasons == [("looked", "OPS-1")]


def test_forms_that_are_long_past_are_dropped(world):
    request_id = world.announced()
    world.form(request_id, "bob")
    world.later(days=2)
    world.form(request_id, "bob")
    assert world.run(lambda session: session.query(ChatFormRow).count()) == 1


def test_a_click_before_the_post_is_recorded_waits_for_the_record(world):
    request_id = world.announced()
    delivery = world.delivery(request_id)
    ref = delivery.message

    def set_message(message):
        def work(session):
            session.merge(delivery).message = message

        world.run(work)

    callback_id = world.clicked(request_id, "bob")
    set_message("")
    assert process(world) == 0
    assert world.inbox_state(callback_id) == "new"
    set_message(ref)
    assert process(world) == 1
    assert len(world.opened) == 1


class Died(BaseException):
    """The process is gone."""


def dies(*arguments, **named):
    raise Died


def test_a_process_that_dies_before_the_decision_leaves_the_form_to_another(world):
    request_id = world.announced()
    callback_id = world.sent(world.form(request_id, "bob"), "bob")
    with pytest.raises(Died):
        process(world, decide=dies)
    assert world.inbox_state(callback_id) == "taken-1"
    assert process(world) == 0  # it might still be at work
    world.later(minutes=1)
    assert process(world) == 1
    assert world.decided == [(request_id, "bob", Verdict.APPROVE, Channel.SLACK)]


def a_vote_whose_process_died_right_after_it(world):
    request_id = world.announced()
    world.sent(world.form(request_id, "bob"), "bob")

    def decides_and_dies(*arguments, **named):
        world.decide(*arguments, **named)
        raise Died

    with pytest.raises(Died):
        process(world, decide=decides_and_dies)
    return request_id


def test_a_process_that_dies_after_the_decision_does_not_have_it_refused(world):
    request_id = a_vote_whose_process_died_right_after_it(world)
    world.later(minutes=1)
    # Nobody is asked again: a second vote would enter a refusal before anything else is looked at.
    assert process(world, decide=dies, find_person=dies) == 1
    assert len(world.decided) == 1
    assert told(world, request_id) == [(world.slack.users["bob"], "Your vote was counted.")]
    assert world.refusals() == []


def test_a_vote_that_was_counted_is_not_called_given_up_hours_later(world):
    request_id = a_vote_whose_process_died_right_after_it(world)
    world.later(hours=3)
    assert process(world) == 1
    assert told(world, request_id) == [(world.slack.users["bob"], "Your vote was counted.")]
    assert world.refusals() == []


def test_a_fault_never_counts_as_a_vote_and_ends_in_a_refusal(world):
    request_id = world.announced()
    world.clicked(request_id, "bob")

    def down(name):
        raise ConnectionError("the identity service is down")

    for _ in range(11):
        process(world, find_person=down)
        world.later(minutes=1)
    assert world.opened == []
    assert told(world, request_id) == [(world.slack.users["bob"], clicks.NOT_PROCESSED.sentence)]
    assert [code for _, code in world.refusals()] == ["not_processed"]
    assert process(world) == 0


def test_one_form_that_fails_does_not_hold_up_the_others(world):
    bad, good = world.announced(), world.announced()
    for view in [world.form(request_id, "bob") for request_id in (bad, good)]:
        world.sent(view, "bob")

    def decide(request_id, **vote):
        if request_id == bad:
            raise RuntimeError("a fault")
        return world.decide(request_id, **vote)

    assert process(world, decide=decide) == 1
    assert [request_id for request_id, *_ in world.decided] == [good]


def test_what_another_version_wrote_holds_up_no_other_and_is_closed_in_the_end(world):
    request_id, strange = world.announced(), "0" * 64
    payload = '{"of": "the next version"}'
    world.run(lambda s: inbox.keep(s, strange, channel="slack", payload=payload, now=world.now))
    world.clicked(request_id, "bob")
    assert process(world) == 1
    assert len(world.opened) == 1
    assert world.inbox_state(strange) == inbox.FIRST_ATTEMPT, "that version may still work on it"
    for _ in range(11):
        world.later(minutes=1)
        process(world)
    assert world.inbox_state(strange) == inbox.DONE


def test_a_replay_is_not_kept_again(world):
    request_id = world.announced()
    callback_id = world.clicked(request_id, "bob")
    process(world)
    replayed = Click(request_id, Verdict.REJECT, "T0", "T0", "U0", "A0", "C0", "1.1", "1.2.abc")
    assert not clicks.keep(world.run, callback_id, replayed, now=world.now)
    assert process(world) == 0
    assert len(world.opened) == 1


def test_many_processes_at_once_decide_each_form_once(world):
    requests = [world.announced() for _ in range(6)]
    for view in [world.form(request_id, "bob") for request_id in requests]:
        world.sent(view, "bob")
    together = threading.Barrier(4)
    settled = []

    def work():
        together.wait()
        settled.append(process(world))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(settled) == len(requests)
    assert sorted(request_id for request_id, *_ in world.decided) == sorted(requests)


def test_a_person_of_a_session_only_auth_manager_is_sent_to_the_page(world):
    from airflow_approvals.identity.users import PAGE_ONLY

    request_id = world.announced()
    world.clicked(request_id, "bob")
    process(world, find_person=lambda name: PAGE_ONLY)
    ((_, text),) = whispered(world, request_id)
    assert text == f"{PAGE_ONLY.sentence}\n{AIRFLOW}/requests/{request_id}"


def test_a_vote_by_form_is_cast_for_the_person_airflow_knows(world):
    request_id = world.announced()
    world.sent(world.form(request_id, "bob"), "bob")
    voters = []

    def decide(request_id, **vote):
        voters.append(vote["person"])
        return world.decide(request_id, **vote)

    process(world, decide=decide)
    assert voters == [Person("id-bob", "bob")]
