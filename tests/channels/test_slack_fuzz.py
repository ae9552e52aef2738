"""Whatever comes in: no fault of the server, and nothing decided."""

from __future__ import annotations

import copy
import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_approvals.api.slack import SlackDoor, router
from airflow_approvals.channels import slack_forms
from airflow_approvals.channels.demands import Demands
from airflow_approvals.chat import clicks, slack_callbacks
from airflow_approvals.core.models import Verdict
from airflow_approvals.store.tables import InboxRow
from tests.channels.facts_for_tests import some_facts
from tests.control.slack_world import World, a_world
from tests.live import slack_clicks
from tests.live.slack_emulator import SlackEmulator

pytestmark = pytest.mark.soak
SECRET = "a-secret-of-the-fuzz"
PATH = "/slack/interactions"
EXAMPLES = 2_500 if os.environ.get("APPROVALS_SOAK") else 120
FUZZ = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    # Shrinking an example of a whole server takes longer than reading it.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


DIGESTS = st.binary(min_size=32, max_size=32).map(lambda mac: b"v0=" + mac.hex().encode())


class Target:
    """The route over a real inbox; everybody is linked, so only what is checked stands in the way."""

    def __init__(self, world: World, client: TestClient) -> None:
        self.world, self.client = world, client
        self.request_id = world.announced()
        self.click = slack_clicks.payload(
            message=world.slack.message_of(self.request_id),
            channel=world.slack.channel,
            action_id=slack_clicks.APPROVE,
            user=world.slack.users["viewer"],
            team=world.slack.team,
        )
        reference = f"{self.request_id}:{secrets.token_urlsafe(24)}"
        view = slack_forms.render(some_facts(), Verdict.APPROVE, Demands(ticket=("a*",)), reference)
        self.form = slack_clicks.submission(
            view=view, user=world.slack.users["bob"], team=world.slack.team, answers={"ticket": "a"}
        )

    def post(self, body: bytes, headers: Any) -> int:
        return self.client.post(PATH, content=body, headers=headers).status_code

    def nothing_happened(self) -> None:
        clicks.process_inbox(self.world.chat_deps())
        assert (self.world.decided, self.world.opened) == ([], [])


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, slack: SlackEmulator) -> Iterator[Target]:
    with a_world(tmp_path_factory.mktemp("fuzz"), slack) as world:

        def take(callback_id: str, payload: Any) -> slack_callbacks.Answer:
            return slack_callbacks.take_with(world.chat_deps, callback_id, payload, after=lambda: None)

        app = FastAPI()
        app.include_router(router)
        app.state.slack_door = SlackDoor(secrets=lambda: (SECRET,), take=take)
        # A fault of the server is raised here.
        with TestClient(app) as client:
            yield Target(world, client)


def _kept(world: World) -> int:
    return world.run(lambda session: session.query(InboxRow).count())


@FUZZ
@given(
    timestamp=st.binary(max_size=30) | st.integers(0, 10**12).map(lambda n: str(n).encode()),
    signature=st.binary(max_size=80)
    | st.binary(min_size=32, max_size=32).map(lambda b: b"v0=" + b.hex().encode()),
    body=st.binary(max_size=300),
    more=st.lists(st.tuples(st.sampled_from([b"X-Slack-Signature", b"Content-Type"]), st.binary(max_size=9))),
)
def test_what_is_not_signed_is_refused_and_never_kept(
    target: Target, timestamp: bytes, signature: bytes, body: bytes, more: list[tuple[bytes, bytes]]
) -> None:
    before = _kept(target.world)
    headers = [(b"X-Slack-Request-Timestamp", timestamp), (b"X-Slack-Signature", signature), *more]
    try:
        request = target.client.build_request("POST", PATH, content=body, headers=headers)
    except ValueError:
        return  # what no HTTP client can send does not arrive
    # Not inside the above: a ValueError of the server is the very fault that is looked for.
    assert target.client.send(request).status_code == 401
    assert _kept(target.world) == before


@FUZZ
@given(payload=JSON | st.dictionaries(st.sampled_from(["type", "view", "user", "team", "actions"]), JSON))
def test_any_json_that_is_signed_is_refused(target: Target, payload: Any) -> None:
    body = slack_clicks.encode(payload)
    assert target.post(body, slack_clicks.sign(SECRET, body)) == 400
    target.nothing_happened()


@FUZZ
@given(body=st.binary(max_size=400))
def test_any_bytes_that_are_signed_are_refused(target: Target, body: bytes) -> None:
    assert target.post(body, slack_clicks.sign(SECRET, body)) in (400, 401)
    target.nothing_happened()


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(below, (*path, key))


@FUZZ
@given(data=st.data())
def test_a_faithful_payload_that_was_bent_decides_nothing(target: Target, data: st.DataObject) -> None:
    """Left whole, the click is somebody's who may not answer, and the form was never opened."""
    payload = copy.deepcopy(data.draw(st.sampled_from([target.click, target.form])))
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(list(_places(payload))))
        parent: Any = payload
        for key in above:
            parent = parent[key]
        if isinstance(parent, dict) and data.draw(st.booleans()):
            del parent[last]
        else:
            parent[last] = data.draw(JSON)
    body = slack_clicks.encode(payload)
    assert target.post(body, slack_clicks.sign(SECRET, body)) in (200, 400, 413)
    target.nothing_happened()
