"""The whole mission on a real Airflow: mask, classify, ask in Slack, decide, release, verify.

``run`` plays it from beginning to end; ``up`` leaves it running for you, ``click`` presses a
Slack button as one of its people, and ``down`` ends it. Started by ``make``.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from demo_sink import count_released, objects
from demo_world import PROJECT, ROOM, World, end_recorded, fresh_room, record_processes, still_running

from tests.live.process_groups import tail
from tests.live.slack_clicks import APPROVE, REJECT, Answer, is_taken
from tests.live.slack_emulator import SlackEmulator
from tests.live.slack_people import SlackPerson

DAG = "secure_llm_export"
GATES = ("tickets.gate", "logs.gate")
BUTTONS = {"approve": APPROVE, "reject": REJECT}
STARTED = time.monotonic()


def run() -> str:
    """Play the mission; :raises RuntimeError: when any step does not go as it must."""
    world = _build()
    try:
        return play(world)
    finally:
        _say("stopping everything")
        world.stop()


def up() -> str:
    """Build the world, ask once, and leave everything running."""
    world = _build()
    try:
        record_processes(world.processes())
        world.airflow.trigger(DAG, "alice")
        _remember(world)
    except BaseException:
        world.stop()
        raise
    return _explanation(world)


def down() -> str:
    """End what ``up`` left running."""
    return f"demo: ended {end_recorded()} processes"


def press(user: str, verdict: str) -> str:
    """Press a button on every open Slack message of the demo that is up."""
    if not still_running():
        raise RuntimeError("No demo is running; start one with `make demo-up`.")
    known = json.loads((ROOM / "slack.json").read_text())
    slack = SlackEmulator(port=known["port"], folder=ROOM / "slack")
    slack.channel, slack.team, slack.users = known["channel"], known["team"], known["users"]
    person = SlackPerson(slack, known["interactions"], known["signing_secret"], user)
    messages = open_messages(slack)
    for message in messages:
        _checked(person.decide(message, BUTTONS[verdict], reason="Looked at it."))
    return f"demo: {user} decided to {verdict} {len(messages)} requests"


def _build() -> World:
    fresh_room()
    world = World()
    try:
        _say("preparing keys, policy, tables and a Slack of our own (everything is in .demo/)")
        world.prepare()
        _say("starting api-server, scheduler and dag-processor; no triggerer")
        world.start()
    except BaseException:
        _show_logs()
        world.stop()
        raise
    return world


def play(world: World) -> str:
    """Play the mission in a running world; return the closing line, with what was counted."""
    _say("alice triggers the export of tickets and logs")
    run_id = world.airflow.trigger(DAG, "alice")
    _say("tasks mask both data sets and classify the copies; then both gates park")
    for gate in GATES:
        world.airflow.wait_for_task(DAG, run_id, gate, "awaiting_input", timeout=600)
        _say(f"  {gate}: awaiting_input, no worker held")
    messages = world.airflow.wait_for(lambda: _announced(world), 300, "a Slack message for each gate")
    for message in messages:
        _say(f"  in Slack: {_headline(message)}")
    _refuse_alice(world, run_id, messages[0])
    _approve_as_bob(world, run_id, messages)
    return _proof(world)


def _refuse_alice(world: World, run_id: str, message: dict[str, Any]) -> None:
    _say("alice, who started the run, presses Approve")
    _checked(_person(world, "alice").press(message))
    words = world.airflow.wait_for(
        lambda: [text for name, text in world.slack.whispers() if name == "alice"], 300, "a private refusal"
    )
    _say(f"  refused, for her eyes only: {words[0]}")
    states = {world.airflow.task_state(DAG, run_id, gate) for gate in GATES}
    if states != {"awaiting_input"} or objects(world.bucket):
        raise RuntimeError(f"The requester's own click moved something: the gates are {states}.")


def _approve_as_bob(world: World, run_id: str, messages: list[dict[str, Any]]) -> None:
    _say("bob, a data owner who did not start it, presses Approve on both, and sends the forms")
    for message in messages:
        approve_in(world, "bob", message)
    world.airflow.wait_for_run(DAG, run_id, timeout=600)
    world.airflow.wait_for(lambda: not open_messages(world.slack), 300, "the messages to show the outcome")
    _say("the gates opened, the release tasks checked every byte, the run succeeded")


def _proof(world: World) -> str:
    released = count_released(world.bucket, world.masked)
    if not released:
        raise RuntimeError("Nothing has arrived in the bucket.")
    said = world.airflow.airflow("approvals", "ledger", "verify").stdout
    entries = re.search(r"ledger verifies \((\d+) entries\)", said)
    if entries is None:
        raise RuntimeError(f"The ledger does not verify: {said}")
    return f"demo: released {released} objects, ledger verified ({entries[1]} entries)"


def approve_in(world: World, user: str, message: dict[str, Any]) -> None:
    """Press Approve on a message and send the form, as one of the people."""
    _checked(_person(world, user).decide(message, reason="Looked at it."))


def _person(world: World, user: str) -> SlackPerson:
    return SlackPerson(world.slack, world.interactions, world.signing_secret, user)


def _checked(answer: Answer) -> None:
    """Check that it was acknowledged; a form that was taken is closed by that, or says that it is at work."""
    if answer.status != 200 or not (answer.body == "" or is_taken(answer)):
        raise RuntimeError(f"The server answered with {answer.status}: {answer.body[:500]}")


def _announced(world: World) -> list[dict[str, Any]]:
    found = open_messages(world.slack)
    return found if len(found) >= len(GATES) else []


def open_messages(slack: SlackEmulator) -> list[dict[str, Any]]:
    """Return the messages that still have buttons, oldest first."""
    return [one for one in slack.messages() if _has_buttons(one)]


def _has_buttons(message: dict[str, Any]) -> bool:
    elements = [part for block in message.get("blocks") or () for part in block.get("elements") or ()]
    return any(part.get("action_id") == APPROVE for part in elements)


def _headline(message: dict[str, Any]) -> str:
    texts = [block["text"]["text"] for block in message["blocks"] if "text" in block]
    return texts[0] if texts else message.get("text", "")


def _remember(world: World) -> None:
    file = ROOM / "slack.json"
    file.touch(mode=0o600)
    known = {
        "port": world.slack.port,
        "channel": world.slack.channel,
        "team": world.slack.team,
        "users": world.slack.users,
        "signing_secret": world.signing_secret,
        "interactions": world.interactions,
    }
    file.write_text(json.dumps(known))


def _explanation(world: World) -> str:
    people = "\n".join(f"          {name:8} {word}" for name, word in world.airflow.passwords.items())
    return f"""
Airflow   {world.airflow.url()}
{people}
Slack     {world.slack.inspector_url}  (what the channel sees)

alice has just triggered {DAG}. In a minute its two gates wait for somebody else:
  in Airflow  sign in as bob, open {DAG}, its run, tab Required Actions, Approve;
              the same as alice is refused, with the reason
  in Slack    PYTHONPATH=. .venv/bin/python docker/demo.py click bob approve

End it with: make demo-down"""


def _say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", flush=True)


def _show_logs() -> None:
    logs = [*(ROOM / "airflow" / "process-logs").glob("*.log"), ROOM / "slack" / "slack-emulator.log"]
    for log in sorted(log for log in logs if log.exists()):
        print(f"== the end of {log.relative_to(PROJECT)}\n{tail(log, 20)}", file=sys.stderr)


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Run one of the commands; every failure ends non-zero with one sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    actions: dict[str, Callable[[], str]] = {"run": run, "up": up, "down": down}
    for name in actions:
        commands.add_parser(name)
    clicks = commands.add_parser("click")
    clicks.add_argument("user", choices=("alice", "bob", "viewer"))
    clicks.add_argument("verdict", choices=tuple(BUTTONS))
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        print(press(chosen.user, chosen.verdict) if chosen.command == "click" else actions[chosen.command]())
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    except (RuntimeError, AssertionError, OSError) as error:
        print(f"demo: failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
