"""One conversation in Slack, as far as approvals need it: post, update, reply, whisper, tell, find again.

No call retries by itself: the outbox decides when to try again.

Source: https://docs.slack.dev/reference/methods/ (chat.postMessage, chat.update,
chat.postEphemeral, conversations.history, conversations.replies, auth.test).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from airflow_approvals.channels import slack_text
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.slack_api import call, client, text_of
from airflow_approvals.channels.slack_messages import (
    block_id_of,
    outcome_blocks,
    render,
    reply_block_id,
    reply_blocks,
    whisper_blocks,
)
from airflow_approvals.errors import ChannelError, ConfigurationError

HISTORY_PAGE = 200
MAX_HISTORY_PAGES = 5

_CHANNEL = re.compile(r"[CG][A-Z0-9]{2,30}")
_EVENT_TYPE = "approvals_request"


class SlackChannel:
    """One conversation in one Slack workspace, as a :class:`~airflow_approvals.channels.courier.Courier`.

    :param token: the bot token.
    :param channel: id of the conversation (``C…``); names are not accepted, they can be re-used.
    :param api_url: base URL of the Web API; ``http`` only towards this machine.
    :param own_url: base URL of Airflow; only what lies below it ever becomes a link in a private word.
    :raises ConfigurationError: when the channel or the URL has another form.
    """

    medium = "slack"

    def __init__(
        self, token: str, channel: str, api_url: str = "https://slack.com/api/", own_url: str = ""
    ) -> None:
        if not _CHANNEL.fullmatch(channel):
            raise ConfigurationError(
                "[approvals] slack_channel must be the id of a conversation, such as C0123456789.",
                "Slack shows it at the end of the channel's details.",
            )
        self.channel = self.recipient = channel
        self._own_url = own_url
        self._client = client(token, api_url)

    def post(self, facts: RequestFacts) -> str:
        """Post the message about a request; return its reference, ``channel:ts``.

        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when it was refused, or nobody knows whether it arrived.
        """
        message = render(facts)
        answer = call(
            self._client.chat_postMessage,
            channel=self.channel,
            text=message.text,
            blocks=message.blocks,
            metadata={"event_type": _EVENT_TYPE, "event_payload": {"request_id": facts.request_id}},
            unfurl_links=False,
            unfurl_media=False,
        )
        return f"{text_of(answer, 'channel')}:{text_of(answer, 'ts')}"

    def update(self, ref: str, facts: RequestFacts) -> None:
        """Bring a posted message up to date.

        :param ref: what :meth:`post` returned.
        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when it was refused or could not be sent.
        """
        channel, ts = ref.split(":")
        message = render(facts)
        call(self._client.chat_update, channel=channel, ts=ts, text=message.text, blocks=message.blocks)

    def whisper(self, user: str, text: str, *, ref: str | None = None) -> None:
        """Say something to one user in a channel, seen by nobody else.

        :param user: Slack user id.
        :param text: one or two sentences; shown as they are, without markup or mentions. An address of
            ours on a last line of its own becomes a link.
        :param ref: what :meth:`post` returned, for the conversation it stands in.
        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when it was refused or could not be sent.
        """
        where = ref.split(":")[0] if ref else self.channel
        shown = slack_text.fit(text, slack_text.MAX_SECTION)
        blocks = whisper_blocks(text, self._own_url)
        call(self._client.chat_postEphemeral, channel=where, user=user, text=shown, blocks=blocks)

    def reply(self, ref: str, text: str, mentions: Sequence[str] = (), *, key: str) -> None:
        """Say something in the thread of a posted message, where everybody in the channel can read it.

        :param ref: what :meth:`post` returned.
        :param text: a few sentences; shown as they are, without markup or mentions.
        :param mentions: Slack user ids of those it is for.
        :param key: by which :meth:`has_reply` finds it again.
        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when it was refused or could not be sent.
        """
        channel, ts = ref.split(":")
        call(
            self._client.chat_postMessage,
            channel=channel,
            thread_ts=ts,
            text=slack_text.fit(text, slack_text.MAX_SECTION),
            blocks=reply_blocks(text, mentions, key),
            unfurl_links=False,
            unfurl_media=False,
        )

    def has_reply(self, ref: str, key: str) -> bool:
        """Whether our reply of that key stands in the thread of a posted message.

        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when the thread cannot be read to its end; then nothing is known.
        """
        channel, ts = ref.split(":")
        replies = self._pages(self._client.conversations_replies, channel=channel, ts=ts)
        return self._own(replies, reply_block_id(key)) is not None

    def tell(self, account: str, text: str, facts: RequestFacts) -> None:
        """Send one user a private message about a request, in the app's own conversation with them.

        :param account: Slack user id.
        :param text: one or two sentences; shown as they are, without markup or mentions.
        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when it was refused or could not be sent.
        """
        call(
            self._client.chat_postMessage,
            channel=account,
            text=slack_text.fit(text, slack_text.MAX_SECTION),
            blocks=outcome_blocks(text, facts),
            unfurl_links=False,
            unfurl_media=False,
        )

    def find(self, request_id: str, *, since: datetime, place: str) -> str | None:
        """Return the reference of our message about a request, when there is one in the channel.

        Asked after a crash, when it is not known whether a post arrived. A message of another
        account with the same block id is not ours.

        :param since: how far to look back.
        :param place: the channel to look in.
        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when the history cannot be read to its end; then nothing is known.
        """
        since_then = {"channel": place, "oldest": f"{since.timestamp():.6f}"}
        found = self._own(
            self._pages(self._client.conversations_history, **since_then), block_id_of(request_id)
        )
        return f"{place}:{text_of(found, 'ts')}" if found is not None else None

    def _own(self, messages: Iterator[Mapping[str, Any]], block_id: str) -> Mapping[str, Any] | None:
        """Return our message whose first block has that id; one of another account is not ours."""
        own_user = self._own_user
        for message in messages:
            blocks = message.get("blocks") or [{}]
            if message.get("user") == own_user and blocks[0].get("block_id") == block_id:
                return message
        return None

    def usergroup_members(self, usergroup: str) -> frozenset[str]:
        """Return the ids (``U…``) of the accounts in a user group (``S…``); needs usergroups:read.

        :raises ChannelError: when Slack does not tell.
        """
        users = call(self._client.usergroups_users_list, usergroup=usergroup).get("users")
        if not isinstance(users, list):
            raise ChannelError("Slack's answer holds no users.")
        return frozenset(str(user) for user in users)

    @cached_property
    def _own_user(self) -> str:
        return text_of(call(self._client.auth_test), "user_id")

    def _pages(self, method: Callable[..., Any], **arguments: str) -> Iterator[Mapping[str, Any]]:
        cursor: str | None = None
        for _ in range(MAX_HISTORY_PAGES):
            page = call(method, limit=HISTORY_PAGE, cursor=cursor, **arguments)
            yield from page.get("messages") or ()
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return
        raise ChannelError("The history is too long to look through for a lost message.")
