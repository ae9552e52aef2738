"""Calls to Slack that somebody waits for: open a form, look up an account, write to its owner.

They are short, since a form can be opened within three seconds of a click only, and they are not
repeated: what fails here is said in another way.

Source: https://docs.slack.dev/reference/methods/ (views.open, users.info, chat.postMessage; the
latter takes a user id and writes to that user's messages from the app).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from airflow_approvals.channels import slack_text
from airflow_approvals.channels.slack_api import checked_url
from airflow_approvals.errors import ChannelError

TIMEOUT_SECONDS = 2
_CODE = re.compile(r"[a-z_]{1,60}")


@dataclass(frozen=True)
class SlackProfile:
    """What Slack says of an account: where it belongs, and why it might not count.

    ``email`` is empty unless Slack tells it, and ``email_confirmed`` is true only where Slack says so.
    """

    user: str
    team: str
    name: str
    stranger: bool
    guest: bool
    bot: bool
    deleted: bool
    email: str
    email_confirmed: bool


class SlackDesk:
    """Speaks to one workspace's Web API, quickly or not at all.

    :param token: the bot token.
    :param api_url: base URL of the Web API; ``http`` only towards this machine.
    :raises ConfigurationError: when the URL has another form.
    """

    def __init__(self, token: str, api_url: str) -> None:
        self._client = WebClient(
            token=token, base_url=checked_url(api_url), timeout=TIMEOUT_SECONDS, retry_handlers=[]
        )

    def open_form(self, trigger: str, view: Mapping[str, Any]) -> None:
        """Open a form for whoever clicked.

        :param trigger: the click's ``trigger_id``: good once, for three seconds.
        :raises ChannelError: when it was too late, or Slack could not be reached.
        """
        _call(self._client.views_open, trigger_id=trigger, view=dict(view))

    def profile(self, user: str) -> SlackProfile:
        """Return what Slack says of an account now; needs ``users:read``.

        The address comes with ``users:read.email`` only.

        :raises ChannelError: when Slack does not tell.
        """
        found = _call(self._client.users_info, user=user).get("user")
        if not isinstance(found, Mapping) or found.get("id") != user:
            raise ChannelError("Slack's answer is about another account.")
        return _profile(user, found)

    def write_to(self, user: str, text: str, link: str) -> None:
        """Send a private message with a link that Slack does not follow for a preview.

        :raises ChannelError: when it was refused or could not be sent.
        """
        blocks = [
            {"type": "section", "text": slack_text.plain(text, slack_text.MAX_SECTION)},
            {"type": "section", "text": slack_text.link(link, "Open in Airflow")},
        ]
        _call(
            self._client.chat_postMessage,
            channel=user,
            text=slack_text.fit(text, slack_text.MAX_SECTION),
            blocks=blocks,
            unfurl_links=False,
            unfurl_media=False,
        )


def _profile(user: str, found: Mapping[str, Any]) -> SlackProfile:
    more = found.get("profile")
    profile = more if isinstance(more, Mapping) else {}
    email = profile.get("email")
    return SlackProfile(
        user=user,
        team=str(found.get("team_id", "")),
        name=str(found.get("real_name") or found.get("name") or user),
        stranger=_not_false(found, "is_stranger"),
        guest=_not_false(found, "is_restricted") or _not_false(found, "is_ultra_restricted"),
        bot=_not_false(found, "is_bot") or _not_false(found, "is_workflow_bot") or user == "USLACKBOT",
        deleted=_not_false(found, "deleted"),
        email=email if isinstance(email, str) else "",
        email_confirmed=found.get("is_email_confirmed") is True,
    )


def _not_false(found: Mapping[str, Any], name: str) -> bool:
    """Whether a flag is set; Slack leaves out some that are not, and an odd value counts as set."""
    return found.get(name, False) is not False


def _call(method: Callable[..., Any], **arguments: Any) -> Mapping[str, Any]:
    """Call Slack; every failure becomes one of ours, without what was sent."""
    try:
        answer = method(**arguments)
    except SlackApiError as error:
        data = error.response.data if isinstance(error.response.data, Mapping) else {}
        named = str(data.get("error", ""))
        code = named if _CODE.fullmatch(named) else f"http_{error.response.status_code}"
        raise ChannelError(f"Slack refused the call: {code}.") from None
    except (SlackClientError, OSError, HTTPException, ValueError) as error:
        raise ChannelError(f"Slack could not be reached ({type(error).__name__}).") from None
    data = answer.data
    if not isinstance(data, Mapping):
        raise ChannelError("Slack's answer is no object.")
    return data
