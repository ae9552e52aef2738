"""What hangs behind a chat's route takes no thread from the rest of the server."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from airflow_approvals.api import slack, teams

#: More than the forty threads that all synchronous routes of a server share.
MANY = 90


class Hanging:
    """Work that does not come to an end until it may."""

    def __init__(self) -> None:
        self.at_work = 0
        self.begun, self.over = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def __call__(self, *_: Any) -> Any:
        with self._lock:
            self.at_work += 1
        self.begun.set()
        assert self.over.wait(30)
        return None


def _app(hangs: Hanging) -> FastAPI:
    app = FastAPI()
    for router in (slack.router, teams.router):
        app.include_router(router)
    app.state.slack_door = slack.SlackDoor(secrets=lambda: hangs() or (), take=lambda *_: slack.Answer())
    app.state.teams_door = teams.TeamsDoor(gate=hangs, begin=lambda *_: dict)

    @app.get("/other")
    def other() -> str:
        return "served"

    return app


@pytest.mark.parametrize(("path", "threads"), [("/teams/messages", 16), ("/slack/interactions", 64)])
def test_a_flood_while_something_hangs_leaves_the_server_to_others(path: str, threads: int) -> None:
    hangs = Hanging()

    async def story() -> None:
        transport = httpx.ASGITransport(app=_app(hangs))
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
            flood = [asyncio.ensure_future(client.post(path, content=b"x")) for _ in range(MANY)]
            try:
                while not hangs.begun.is_set():
                    await asyncio.sleep(0.01)
                served = await asyncio.wait_for(client.get("/other"), 20)
                assert served.json() == "served"
                assert not any(one.done() for one in flood)
                assert hangs.at_work <= threads
            finally:
                hangs.over.set()
            assert {answer.status_code for answer in await asyncio.gather(*flood)} == {503}
            assert hangs.at_work == MANY

    asyncio.run(story())


def test_what_was_clicked_last_is_worked_on_first() -> None:
    """A form opens within three seconds or never: a crowd of older clicks must not stand before it."""
    hangs, order = Hanging(), []

    async def story() -> None:
        async with asyncio.TaskGroup() as clicks:
            for _ in range(8):
                clicks.create_task(slack._afterwards(hangs))
            while hangs.at_work < 8:
                await asyncio.sleep(0.01)
            for name in ("a stranger", "another", "whoever may decide"):
                clicks.create_task(slack._afterwards(partial(order.append, name)))
                await asyncio.sleep(0)
            hangs.over.set()

    asyncio.run(story())
    assert sorted(order) == ["a stranger", "another", "whoever may decide"]
    assert order[0] == "whoever may decide"
