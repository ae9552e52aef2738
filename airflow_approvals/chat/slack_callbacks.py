"""What Slack sends back, taken by one function whatever way it came: over HTTP or by a socket.

A transport proves that a callback is Slack's, gives it an id, and calls :func:`take` with the
JSON payload. ``take`` writes the callback down before it returns, so that the transport may
acknowledge at once and nothing is lost when the process dies then: Slack does not send an
interaction again. It never waits longer than :data:`PATIENCE_SECONDS` for an outcome, because
Slack shows an error after three seconds without an acknowledgement.

How a transport uses it::

    try:
        answer = take(callback_id, payload)     # in a thread: it waits for the database
    except ContractError:
        ...                                     # no interaction of ours: HTTP answers 400,
                                                # a socket acknowledges and forgets it
    ...                                         # acknowledge, with answer.body when it has one
    if answer.after is not None:
        answer.after()                          # after the acknowledgement, in a thread

* ``callback_id`` has the form of a digest (``sha256:<64 hex>``), the same for every delivery of
  one callback and for nothing else: it makes a replay a no-op. HTTP takes it from timestamp and
  signature, a socket from the envelope, by :func:`id_of_envelope`.
* ``answer.body`` is the JSON object of the acknowledgement: the body of the HTTP answer
  (``response_action``), or ``payload`` of a socket's acknowledgement. ``None``: acknowledge with nothing.
* ``answer.after`` may take seconds (it calls Slack and the auth manager), never raises, and may
  be dropped when the process ends: the dispatcher works on what was left.
* Any number of calls may run at once, in any number of processes.
* What ``take`` raises besides ``ContractError`` (the database is away, say) means that the callback
  was not written down: do not acknowledge it.

Source: https://docs.slack.dev/interactivity/handling-user-interaction/ (three seconds);
https://docs.slack.dev/apis/events-api/using-socket-mode/ (envelopes and their acknowledgement).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Any

from airflow_approvals.channels import slack_forms
from airflow_approvals.channels.slack_interaction import (
    REASON_BLOCK,
    TICKET_BLOCK,
    Closed,
    Submission,
    parse_interaction,
)
from airflow_approvals.chat import click_work, clicks, messages
from airflow_approvals.chat.click_work import ChatDeps, Outcome
from airflow_approvals.control import faults
from airflow_approvals.core.digest import sha256_digest

#: How long an acknowledgement may wait for the outcome of a form: Slack gives three seconds in all.
PATIENCE_SECONDS = 2.0
#: How much longer for an outcome that is being committed.
_GRACE_SECONDS = 0.4
#: Forms that are worked on at once in this process; each may hold a database connection.
_AT_ONCE = 6
_IN_TIME = BoundedSemaphore(_AT_ONCE)
#: Callbacks that are written down at once: more would wait for each other in the interpreter, and
#: open connections beyond those that Airflow's pool keeps, which takes longer than the writing.
_WRITERS = BoundedSemaphore(4)

LATER = "Your answer is being worked on. What comes of it is told to you in private, in the channel."
#: Where to show what the form itself lacks: code of the refusal, block of the form.
_ERRORS = {
    "reason_required": REASON_BLOCK,
    "reason_too_long": REASON_BLOCK,
    "ticket_required": TICKET_BLOCK,
    "ticket_too_long": TICKET_BLOCK,
}


@dataclass(frozen=True)
class Answer:
    """How to acknowledge a callback, and what to do once that is done; see above."""

    body: Mapping[str, Any] | None = None
    after: Callable[[], object] | None = None


def take(callback_id: str, payload: Mapping[str, Any]) -> Answer:
    """Take one callback that is proven to be Slack's.

    :param callback_id: ``sha256:<64 hex>``; the same again has no second effect.
    :param payload: the interaction, as Slack documents it for ``block_actions``,
        ``view_submission`` and ``view_closed``.
    :raises ContractError: when it is no interaction with one of our messages or forms.
    """
    return take_with(
        messages.chat_deps, callback_id, payload, after=messages.deliver, later=messages.base_url
    )


def take_with(
    make_deps: Callable[[], ChatDeps],
    callback_id: str,
    payload: Mapping[str, Any],
    *,
    after: Callable[[], object],
    later: Callable[[], str] = lambda: "",
    patience: float = PATIENCE_SECONDS,
) -> Answer:
    """Take a callback, given what working on it rests on.

    :param after: delivers what follows.
    :param later: where to look for an outcome that is not there in time.
    """
    started = time.monotonic()
    said = parse_interaction(payload)
    if isinstance(said, Closed):
        return Answer()
    deps = make_deps()
    now = deps.clock()
    with _WRITERS:
        is_new = clicks.keep(deps.run, callback_id, said, now=now, at_work=isinstance(said, Submission))
    if not is_new:
        # Delivered once more: with nothing said the form would close as if all were done.
        return Answer(_update(LATER, later()) if isinstance(said, Submission) else None)
    if not isinstance(said, Submission):
        return Answer(after=partial(_quietly, partial(clicks.process, deps, callback_id), after))
    work = partial(_quietly, after)
    waiting = _Waiting(deps, callback_id, said, now)
    outcome = waiting.until(started + patience)
    if outcome is None:
        return Answer(_update(LATER, later()), work)
    return Answer(_answer_to(outcome), work)


def id_of_envelope(envelope_id: str) -> str:
    """Return the callback id of what came by a socket: an envelope may be delivered twice."""
    return sha256_digest(f"slack-socket:{envelope_id}".encode())


class _Waiting:
    """Somebody waits for what comes of a form, and a thread that works on it.

    Either the outcome is claimed while they wait, and then it is their answer, or they have left,
    and then it is told otherwise; one lock decides which. The thread is a daemon: what it leaves
    when the process ends is in the inbox.
    """

    def __init__(self, deps: ChatDeps, callback_id: str, said: Submission, received_at: datetime) -> None:
        self._deps, self._callback_id, self._said, self._received_at = deps, callback_id, said, received_at
        self._lock = Lock()
        self._left = self._claimed = self._gone = False
        self._done = Event()
        self._outcome: Outcome | None = None

    def claim(self) -> bool:
        """Whether the person still waits; from then on they wait for this outcome."""
        with self._lock:
            self._claimed = self._claimed or not self._left
            return self._claimed

    def until(self, deadline: float) -> Outcome | None:
        """Start the work and return its outcome, ``None`` when it is not there in time."""
        Thread(target=self._run, args=(deadline,), name="approvals-slack-form", daemon=True).start()
        self._done.wait(max(deadline - time.monotonic(), 0.0))
        with self._lock:
            self._left = not self._claimed
        if self._claimed and not self._done.wait(_GRACE_SECONDS):
            with self._lock:
                self._gone = not self._done.is_set()
        return None if self._gone else self._outcome

    def _run(self, deadline: float) -> None:
        try:
            if _IN_TIME.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
                try:
                    self._finish(self._work())
                finally:
                    _IN_TIME.release()
            else:
                clicks.put_back(self._deps.run, self._callback_id)
        except Exception as error:
            faults.report("work on a form at once", error)
        finally:
            self._done.set()

    def _finish(self, outcome: Outcome | None) -> None:
        with self._lock:
            self._outcome = outcome
            self._done.set()
            gone = self._gone
        if gone and outcome is not None:
            # Claimed in time, but committed so slowly that they were sent away all the same.
            click_work.whisper(self._deps, self._said, outcome)

    def _work(self) -> Outcome | None:
        return clicks.process_kept(
            self._deps, self._callback_id, self._said, received_at=self._received_at, reply=self
        )


def _answer_to(outcome: Outcome) -> Mapping[str, Any]:
    refusal = outcome.refusal
    if refusal is None or refusal.code in click_work.UNTOLD:
        return {"response_action": "clear"}
    if (block := _ERRORS.get(refusal.code)) is not None:
        return {"response_action": "errors", "errors": {block: refusal.sentence}}
    return _update(refusal.sentence, outcome.url)


def _update(sentence: str, url: str) -> Mapping[str, Any]:
    return {"response_action": "update", "view": slack_forms.notice(sentence, url)}


def _quietly(*works: Callable[[], object]) -> None:
    for work in works:
        try:
            work()
        except Exception as error:
            faults.report("work on what Slack sent", error)
