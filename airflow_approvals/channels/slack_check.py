"""Whether a Slack set-up works, tried step by step as the outbox would.

Source: https://docs.slack.dev/reference/methods/auth.test (the header ``x-oauth-scopes`` of every
answer lists the token's scopes); https://docs.slack.dev/reference/objects/conversation-object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slack_sdk import WebClient

from airflow_approvals.channels.slack_api import answered, call, text_of
from airflow_approvals.channels.slack_manifest import SCOPES
from airflow_approvals.errors import ChannelError

TEST_MESSAGE = "Test of airflow_approvals. It is removed at once."


@dataclass(frozen=True)
class Step:
    """One thing that was tried: ``said`` is what came of it, ``fix`` the way out when it failed."""

    name: str
    ok: bool
    said: str
    fix: str = ""


def check(client: WebClient, channel: str, team: str | None) -> Iterator[Step]:
    """Try the set-up; yield each step, and stop where the next ones can only fail as well.

    :param channel: id of the conversation that requests are posted to.
    :param team: the workspace that the active policy names, when there is one.
    """
    try:
        identity, headers = answered(client.auth_test)
    except ChannelError as error:
        yield _failed("token", error)
        return
    yield Step("token", ok=True, said=f"accepted, as {identity.get('user')} of {identity.get('team')}")
    yield _workspace(str(identity.get("team_id")), team)
    yield _scopes(headers.get("x-oauth-scopes"))
    yield from _channel(client, channel)
    yield from _post_and_remove(client, channel)


def _failed(name: str, error: ChannelError, fix: str = "") -> Step:
    return Step(name, ok=False, said=error.message, fix=error.hint or fix)


def _workspace(found: str, team: str | None) -> Step:
    if team is None:
        fix = f"Write `identities: {{slack: {{team: {found}}}}}` into the policy and activate it."
        return Step("workspace", ok=False, said="the active policy names no Slack workspace", fix=fix)
    if found != team:
        said = f"the token belongs to {found}, and the active policy names {team}"
        return Step("workspace", ok=False, said=said, fix="Install the app in the workspace of the policy.")
    return Step("workspace", ok=True, said=f"{team}, as in the active policy")


def _scopes(header: str | None) -> Step:
    if header is None:
        said = "Slack did not say which scopes the token has"
        return Step("scopes", ok=False, said=said, fix="Check [approvals] slack_api_url.")
    granted = {scope.strip() for scope in header.split(",")}
    if missing := sorted(SCOPES.keys() - granted):
        said = "missing: " + "; ".join(f"{scope} ({SCOPES[scope]})" for scope in missing)
        fix = "Add them under OAuth & Permissions, or paste the manifest again, and reinstall the app."
        return Step("scopes", ok=False, said=said, fix=fix)
    more = ", ".join(sorted(granted - SCOPES.keys() - {""}))
    return Step("scopes", ok=True, said=f"all there{f'; not needed: {more}' if more else ''}")


def _channel(client: WebClient, channel: str) -> Iterator[Step]:
    try:
        found = call(client.conversations_info, channel=channel).get("channel") or {}
    except ChannelError as error:
        if "missing_scope" not in error.message:
            yield _failed("channel", error)
            return
        # Nothing else needs channels:read. Whoever may read the history is a member.
        found = {"is_member": True, **_readable(client, channel)}
    if not found.get("is_member"):
        fix = "Invite the app: type /invite in the channel."
        yield Step("channel", ok=False, said=f"the app is no member of {channel}", fix=fix)
    elif found.get("is_archived"):
        yield Step("channel", ok=False, said=f"{channel} is archived", fix="Name another in slack_channel.")
    elif found.get("is_ext_shared"):
        said = f"member of {channel}, which another organisation sees as well; their clicks are refused"
        yield Step("channel", ok=True, said=said)
    else:
        yield Step("channel", ok=True, said=f"member of {channel}")


def _readable(client: WebClient, channel: str) -> dict[str, bool]:
    try:
        call(client.conversations_history, channel=channel, limit=1)
    except ChannelError:
        return {"is_member": False}
    return {}


def _post_and_remove(client: WebClient, channel: str) -> Iterator[Step]:
    try:
        posted = call(client.chat_postMessage, channel=channel, text=TEST_MESSAGE)
        place, ts = text_of(posted, "channel"), text_of(posted, "ts")
    except ChannelError as error:
        yield _failed("post", error)
        return
    yield Step("post", ok=True, said=f"a test message stands in {channel}")
    try:
        call(client.chat_delete, channel=place, ts=ts)
    except ChannelError as error:
        yield _failed("remove", error, "Delete the test message by hand.")
        return
    yield Step("remove", ok=True, said="and is removed again")
