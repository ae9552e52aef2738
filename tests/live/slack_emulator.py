"""A Slack to talk to: a service of ``emulate`` (see ``emulator``), with a channel and people.

It is stateful and speaks the Web API; it does not check Block Kit, does not rate-limit and
sends no clicks (see ``slack_clicks``).
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request

from tests.live.emulator import Emulator, direct

TOKEN = "xoxb-approvals-emulated"
#: The token of another app in the same workspace.
OTHER_TOKEN = "xoxb-another-app"
#: Reads what the bot wrote in private; the bot's own token may not.
READER_TOKEN = "xoxb-approvals-reader"
CHANNEL_NAME = "approvals"
PEOPLE = ("alice", "bob", "carol", "dave", "viewer")


class SlackEmulator(Emulator):
    """A workspace.

    ``url`` is the base URL of the Web API, ``token`` the bot token, ``channel`` the id of the
    one channel everybody is in, ``team`` the workspace id, ``users`` name → user id.
    """

    service = "slack"
    preloads = ("loopback.cjs", "remember_forms.cjs")
    token = TOKEN

    def __init__(self, *, port: int | None = None, folder: Path | None = None) -> None:
        super().__init__(port=port, folder=folder)
        self.team = self.channel = ""
        self.users: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"{self.inspector_url}api/"

    @property
    def inspector_url(self) -> str:
        """A page that shows the messages, for people."""
        return f"http://127.0.0.1:{self.port}/"

    def is_ready(self) -> bool:
        return bool(self.call("auth.test")["ok"])

    def learn(self) -> None:
        self.team = self.call("auth.test")["team_id"]
        self.users = {user["name"]: user["id"] for user in self.call("users.list")["members"]}
        channels = self.call("conversations.list")["channels"]
        self.channel = next(one["id"] for one in channels if one["name"] == CHANNEL_NAME)

    def seed(self) -> dict[str, Any]:
        scopes = ["chat:write", "channels:history", "channels:read", "users:read", "users:read.email"]
        people = [{"name": name, "email": f"{name}@example.com"} for name in PEOPLE]
        return {
            "slack": {
                "team": {"name": "Approvals", "domain": "approvals"},
                "users": [*people, {"name": "approvals-app"}, {"name": "another-app"}],
                "channels": [{"name": CHANNEL_NAME, "topic": "Requests for approval"}],
                "tokens": [
                    {"token": TOKEN, "type": "bot", "user": "approvals-app", "scopes": scopes},
                    {
                        "token": READER_TOKEN,
                        "type": "bot",
                        "user": "approvals-app",
                        "scopes": ["im:read", "im:write", "im:history"],
                    },
                    {"token": OTHER_TOKEN, "type": "bot", "user": "another-app", "scopes": scopes},
                ],
                "strict_scopes": True,
            }
        }

    def call(self, method: str, *, token: str = TOKEN, **arguments: Any) -> dict[str, Any]:
        """Call a Web API method the way a client would; return its JSON."""
        request = Request(
            self.url + method,
            data=urlencode(arguments).encode(),
            headers={"Authorization": f"Bearer {token}"},
            method="POST",
        )
        with direct.open(request, timeout=10) as answer:
            parsed: dict[str, Any] = json.load(answer)
        return parsed

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages of the channel, oldest first."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.call("conversations.history", channel=self.channel, limit=200, cursor=cursor)
            found += page["messages"]
            cursor = page["response_metadata"]["next_cursor"]
            if not cursor:
                return found[::-1]

    def message_of(self, request_id: str) -> dict[str, Any]:
        """Return the one message about a request; :raises AssertionError: unless there is one."""
        block_id = f"approvals.request.{request_id}"
        found = [m for m in self.messages() if (m.get("blocks") or [{}])[0].get("block_id") == block_id]
        assert len(found) == 1, f"{len(found)} messages about request {request_id}"
        return found[0]

    def forms(self, request_id: str) -> list[dict[str, Any]]:
        """Return the forms that were opened for a request, oldest first."""
        kept = self._folder / "opened-forms.jsonl"
        answers = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
        views: list[dict[str, Any]] = [answer["view"] for answer in answers if answer["ok"]]
        return [view for view in views if view["private_metadata"].startswith(f"{request_id}:")]

    def trigger(self, user: str) -> str:
        """Return a ``trigger_id`` of the user, as a click carries it: good once, for three seconds."""
        return str(self.call("views.generateTriggerId", user_id=user)["trigger_id"])

    def thread_of(self, request_id: str) -> list[dict[str, Any]]:
        """Return the replies below the one message about a request, oldest first."""
        parent = self.message_of(request_id)["ts"]
        answer = self.call("conversations.replies", channel=self.channel, ts=parent)
        return [message for message in answer["messages"] if message["ts"] != parent]

    def direct_messages(self, name: str) -> list[dict[str, Any]]:
        """Return what the bot wrote to one person in private, oldest first."""
        opened = self.call("conversations.open", token=READER_TOKEN, users=self.users[name])
        place = opened["channel"]["id"]
        answer = self.call("conversations.history", token=READER_TOKEN, channel=place)
        found: list[dict[str, Any]] = answer["messages"]
        return found[::-1]

    def whispers(self) -> list[tuple[str, str]]:
        """Return (user name, text) of the newest private words in the channel, newest first.

        The Web API does not list them; the inspector page does, the newest twenty.
        """
        url = f"{self.inspector_url}?tab=messages&channel={self.channel}"
        with direct.open(url, timeout=10) as answer:
            page = answer.read().decode()
        section = page.split("<h2>Ephemeral</h2>", 1)[1].split("<h2>", 1)[0]
        rows = re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)
        cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
        return [(_text(row[1]).removesuffix("ephemeral").strip(), _text(row[2])) for row in cells if row]


def _text(cell: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
