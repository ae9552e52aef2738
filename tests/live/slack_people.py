"""What people do in Slack: press a button, fill in the form that opens, send it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.live import slack_clicks
from tests.live.slack_clicks import Answer
from tests.live.slack_emulator import SlackEmulator

#: A trigger is good for three seconds, as Slack's is: a busy server may be too late for it.
PATIENCE_SECONDS = 6.0
TRIES = 6


class SlackPerson:
    """Somebody of the emulated workspace, in front of a server that answers interactions.

    :param url: the whole interactivity URL, ``…/approvals/slack/interactions``.
    :param secret: the signing secret.
    """

    def __init__(self, slack: SlackEmulator, url: str, secret: str, name: str) -> None:
        self.slack, self.url, self.secret, self.name = slack, url, secret, name
        self.user = slack.users[name]

    def press(self, message: Mapping[str, Any], action: str = slack_clicks.APPROVE) -> Answer:
        """Press a button of a message."""
        return slack_clicks.click(
            self.url,
            self.secret,
            message=message,
            channel=self.slack.channel,
            action_id=action,
            user=self.user,
            team=self.slack.team,
            user_name=self.name,
            trigger_id=self.slack.trigger(self.user),
        )

    def open_form(self, message: Mapping[str, Any], action: str = slack_clicks.APPROVE) -> dict[str, Any]:
        """Press a button and return the form that this opens; :raises AssertionError: when none does.

        As a person would, press again when nothing opens.
        """
        request_id = slack_clicks.request_of(message, action)
        before = len(self.slack.forms(request_id))
        for _ in range(TRIES):
            answer = self.press(message, action)
            assert answer.status == 200, f"The click was answered with {answer.status}: {answer.body[:200]}"
            if forms := _in_time(lambda: self.slack.forms(request_id)[before:]):
                return forms[0]
        raise AssertionError(f"no form opened for {self.name}")

    def send(self, view: Mapping[str, Any], **answers: str) -> Answer:
        """Send a form with these answers, by the action ids of its inputs."""
        sent = slack_clicks.submission(view=view, user=self.user, team=self.slack.team, answers=answers)
        body = slack_clicks.encode(sent)
        return slack_clicks.post(self.url, body, slack_clicks.sign(self.secret, body))

    def decide(
        self, message: Mapping[str, Any], action: str = slack_clicks.APPROVE, *, reason: str = ""
    ) -> Answer:
        """Press a button and send the form."""
        return self.send(self.open_form(message, action), **({"reason": reason} if reason else {}))


def _in_time(look: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    return []
