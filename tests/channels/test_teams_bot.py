from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from airflow_approvals.channels import teams_bot
from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.teams_bot import BotIdentity, Posted, TeamsBot
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import ChannelError, ConfigurationError
from tests.channels.facts_for_tests import some_facts
from tests.channels.teams_service import (
    APP_ID,
    CHANNEL,
    CHAT,
    PASSWORD,
    PEOPLE,
    TENANT,
    TeamsService,
    teams_service,
)
from tests.channels.test_teams_cards import HUGE

FACTS = some_facts(teams_accounts=(PEOPLE["alice"], PEOPLE["stranger"], PEOPLE["bob"]))


@pytest.fixture
def service() -> Iterator[TeamsService]:
    with teams_service() as running:
        yield running


def a_bot(service: TeamsService, conversation: str = CHANNEL, password: str = PASSWORD) -> TeamsBot:
    identity = BotIdentity(APP_ID, password, TENANT, service.token_url)
    return TeamsBot(identity, conversation, service.service_url)


@pytest.mark.parametrize("conversation", [CHANNEL, CHAT])
def test_a_request_is_posted_and_its_card_replaced(service: TeamsService, conversation: str) -> None:
    bot = a_bot(service, conversation)
    ref = bot.post(FACTS)
    posted = Posted.from_ref(ref)
    place, card = service.card_of("req-1")
    assert place == (posted.conversation, posted.activity)
    assert posted.conversation.startswith(conversation)
    assert card["actions"][0]["data"] == {"request": "req-1", "nonce": posted.nonce}
    assert card["refresh"]["userIds"] == [f"29:{PEOPLE['alice']}", f"29:{PEOPLE['bob']}"]
    assert service.activities[place]["summary"] == "Approval needed: export to partner-bucket"
    bot.update(ref, some_facts(state=RequestState.APPROVED, decided_because="Approved by bob."))
    assert len(service.posted) == 1
    place, card = service.card_of("req-1")
    assert "Approved by bob." in json.dumps(card)
    assert [action["type"] for action in card["actions"]] == ["Action.OpenUrl"]


def test_every_post_has_a_nonce_of_its_own(service: TeamsService) -> None:
    bot = a_bot(service)
    nonces = {Posted.from_ref(bot.post(FACTS)).nonce for _ in range(5)}
    assert len(nonces) == 5
    assert all(len(nonce) >= 22 for nonce in nonces)
    assert bot.find("req-1", since=FACTS.expires_at, place=CHANNEL) is None


@pytest.mark.parametrize("conversation", [CHANNEL, CHAT])
def test_history_goes_below_the_card_and_mentions_accounts(service: TeamsService, conversation: str) -> None:
    bot = a_bot(service, conversation)
    ref = bot.post(FACTS)
    bot.reply(ref, "Still waits. <at>everyone</at>", [PEOPLE["bob"], "not an account"], key="1")
    (below, _), message = service.posted[1], service.activities[service.posted[1]]
    assert below == Posted.from_ref(ref).conversation
    assert message["replyToId"] == Posted.from_ref(ref).activity
    entities = message["attachments"][0]["content"]["msteams"]["entities"]
    assert [entity["mentioned"]["id"] for entity in entities] == [PEOPLE["bob"]]


def test_a_private_word_goes_to_a_chat_of_its_own(service: TeamsService) -> None:
    bot = a_bot(service)
    bot.whisper(PEOPLE["bob"], "Your answer does not count.")
    assert service.posted[0][0] == f"a:29:{PEOPLE['bob']}"
    with pytest.raises(DeliveryRefusedError, match="not in the Teams conversation"):
        bot.whisper(PEOPLE["stranger"], "psst")


SIGN_IN = f"POST /{TENANT}/oauth2/v2.0/token"


def test_the_token_is_kept_and_fetched_again_when_it_is_refused(service: TeamsService) -> None:
    bot = a_bot(service)
    bot.post(some_facts())
    bot.post(some_facts())
    assert service.calls.count(SIGN_IN) == 1
    service.tokens.clear()
    bot.post(some_facts())
    assert (service.calls.count(SIGN_IN), len(service.posted)) == (2, 3)


def test_a_new_token_that_is_refused_is_an_error_and_not_kept(service: TeamsService) -> None:
    bot = a_bot(service)
    bot.post(some_facts())
    service.refuse_next += [(401, {}), (401, {})]
    for signed_in in (2, 3):
        service.refuse_next = service.refuse_next or [(401, {})]
        with pytest.raises(ChannelError, match="http_401"):
            bot.post(some_facts())
        assert service.calls.count(SIGN_IN) == signed_in
    bot.post(some_facts())
    assert (service.calls.count(SIGN_IN), len(service.posted)) == (4, 2)


def test_a_wrong_password_says_so_and_is_not_told(service: TeamsService) -> None:
    with pytest.raises(ChannelError, match="teams_app_password_file") as refused:
        a_bot(service, password="canary-wrong").post(some_facts())
    assert "canary" not in str(refused.value)
    assert "canary" not in repr(BotIdentity(APP_ID, "canary", TENANT, service.token_url))


def test_the_limits_of_the_connector(service: TeamsService) -> None:
    bot = a_bot(service)
    ref = bot.post(replace(HUGE, teams_accounts=tuple(PEOPLE.values())))
    service.refuse_next.append((429, {"Retry-After": "12"}))
    with pytest.raises(RetryLaterError) as busy:
        bot.update(ref, FACTS)
    assert busy.value.seconds == 12.0
    gone = Posted(CHANNEL, "1", "nonce-of-this-delivery").ref
    with pytest.raises(DeliveryRefusedError):
        bot.update(gone, some_facts())
    service.refuse_next.append((502, {}))
    with pytest.raises(ChannelError, match="http_502") as later:
        bot.update(ref, FACTS)
    assert not isinstance(later.value, DeliveryRefusedError)


def test_without_the_list_of_members_the_card_is_posted_all_the_same(service: TeamsService) -> None:
    bot = a_bot(service)
    service.refuse_next.append((403, {}))
    bot.post(FACTS)
    assert service.card_of("req-1")[1]["refresh"]["userIds"] == []


def test_a_failure_to_list_the_members_is_not_repeated_at_once(
    service: TeamsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = a_bot(service)
    service.refuse_next.append((500, {}))
    for _ in range(3):
        assert bot.viewers(FACTS) == ()
    assert asked(service) == 1
    monkeypatch.setattr(teams_bot, "MEMBERS_FAILED_SECONDS", 0.0)
    other = a_bot(service)
    service.refuse_next.append((500, {}))
    assert (other.viewers(FACTS), len(other.viewers(FACTS))) == ((), 2)


def test_teams_asking_to_wait_for_its_members_is_passed_on_again(service: TeamsService) -> None:
    bot = a_bot(service)
    service.refuse_next.append((429, {"Retry-After": "40"}))
    for _ in range(2):
        with pytest.raises(RetryLaterError) as busy:
            bot.whisper(next(iter(PEOPLE.values())), "no")
        assert 30 < busy.value.seconds <= 40
    assert asked(service) == 1


def test_nobody_waits_for_members_that_another_asks_for(service: TeamsService) -> None:
    bot = a_bot(service)
    with service.hang(), ThreadPoolExecutor(1) as pool:
        asking = pool.submit(bot.members)
        service.is_hanging()
        assert bot.viewers(FACTS) == ()
        with pytest.raises(ChannelError, match="still being asked for"):
            bot.members()
        service.go_on()
        assert len(asking.result()) == len(PEOPLE) - 1
    assert asked(service) == len(PEOPLE) - 1


def asked(service: TeamsService) -> int:
    return sum("pagedmembers" in call for call in service.calls)


def test_members_are_asked_once(service: TeamsService) -> None:
    bot = a_bot(service)
    for _ in range(3):
        assert bot.viewers(FACTS) == (f"29:{PEOPLE['alice']}", f"29:{PEOPLE['bob']}")
    assert sum("pagedmembers" in call for call in service.calls) == len(PEOPLE) - 1
    assert bot.viewers(some_facts()) == ()


@pytest.mark.parametrize(
    ("changes", "conversation", "service_url"),
    [
        ({}, "General", "https://smba.trafficmanager.net/teams/"),
        ({}, "19:x@thread.tacv2/../../other", "https://smba.trafficmanager.net/teams/"),
        ({}, CHANNEL, "http://smba.trafficmanager.net/teams/"),
        ({"app_id": "approvals"}, CHANNEL, "https://smba.trafficmanager.net/teams/"),
        ({"tenant": "botframework.com"}, CHANNEL, "https://smba.trafficmanager.net/teams/"),
        ({"token_url": "http://login.example/token"}, CHANNEL, "https://smba.trafficmanager.net/teams/"),
    ],
)
def test_what_is_configured_wrong_is_refused(
    changes: dict[str, str], conversation: str, service_url: str
) -> None:
    identity = BotIdentity(APP_ID, PASSWORD, TENANT, "https://login.microsoftonline.com/t/oauth2/v2.0/token")
    with pytest.raises(ConfigurationError, match=r"\[approvals\] teams_"):
        TeamsBot(replace(identity, **changes), conversation, service_url)


def test_the_largest_message_is_within_what_the_connector_takes(service: TeamsService) -> None:
    a_bot(service).post(HUGE)
    assert len(json.dumps(service.activities[service.posted[0]])) > 5000
