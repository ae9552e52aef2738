"""The gate: a sensor that parks the run until the right people have decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.sensor import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from airflow_approvals.core.ask import ASK_PARAM, MAX_TEXT, MAX_TICKET, Ask, ReportedData, ReportedEvidence
from airflow_approvals.core.gate import APPROVE_OPTION, GATE_MARKER, OUTCOME_KEY, REJECT_OPTION
from airflow_approvals.core.manifest import Reference
from airflow_approvals.errors import ContractError

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Airflow's own deadline lies this far after the server's, so that its sweep is only a net.
SWEEP_MARGIN = timedelta(minutes=10)


class ApprovalRefusedError(AirflowFailException):
    """The gate stays shut: rejected, expired, withdrawn or forbidden. Never retried."""


class ApprovalSensor(BaseSensorOperator):
    """Park the run, holding no worker, until this data may go to this sink.

    The sensor says what is asked for; the policy on the server says who has to agree and for
    how long they may think. Its return value is the grant reference that
    :class:`~airflow_approvals.operators.release.ReleaseDataOperator` takes as ``gate``.
    A rejection, an expiry or a withdrawal fails the task without a retry, or skips it with
    ``soft_fail``. Silence never approves.

    :param action: what is to happen, a word the policy knows (``export``, ``retrain``).
    :param sink: id of a sink in the policy.
    :param manifest: reference (``{"uri", "digest"}``) that ``MaskDataOperator`` returned.
    :param evidence: reference that ``ClassifyDataOperator`` returned; without it the data
        counts as restricted.
    :param reason: why; shown to approvers as the author's words.
    :param subject: author's headline, shown below the facts.
    :param body: author's explanation, shown below the facts.
    :param ticket: number of the change or incident, where the policy asks for one; at most 100
        characters.
    :param timeout: how long the request may stay open; the policy may say less.
    :param soft_fail: skip instead of failing when the gate stays shut.
    :param deferrable: always ``True``. A gate that held a worker for a day would starve the
        deployment, so ``False`` is an error.
    """

    template_fields: Sequence[str] = (
        "action",
        "sink",
        "manifest",
        "evidence",
        "reason",
        "subject",
        "body",
        "ticket",
        GATE_MARKER,
    )
    ui_color = "#f6e3b5"

    def __init__(
        self,
        *,
        action: str,
        sink: str,
        manifest: Any,
        evidence: Any = None,
        reason: str | None = None,
        subject: str | None = None,
        body: str | None = None,
        ticket: str | None = None,
        timeout: timedelta | float = timedelta(days=1),
        soft_fail: bool = False,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=timeout, soft_fail=soft_fail, **kwargs)
        if not deferrable:
            raise ValueError(
                "ApprovalSensor(deferrable=False) is not possible: waiting for people would hold a "
                "worker slot for hours. Leave deferrable at True."
            )
        if self.timeout < 1:
            raise ValueError("ApprovalSensor: timeout must be at least one second.")
        self.deferrable = True
        self.action = action
        self.sink = sink
        self.manifest = manifest
        self.evidence = evidence
        self.reason = reason
        self.subject = subject
        self.body = body
        self.ticket = ticket
        self.approvals_gate = "1"

    def execute(self, context: Context) -> Any:
        """Hand the ask to the server and park.

        :raises ContractError: when manifest or evidence is not what its reference says.
        """
        ask = self._ask()
        upsert_hitl_detail(
            ti_id=context["ti"].id,
            options=[APPROVE_OPTION, REJECT_OPTION],
            subject=f"{ask.action} to {ask.sink}: being registered",
            body="The approvals server has not registered this request yet.",
            params={ASK_PARAM: ask.to_document()},
        )
        self.log.info("Asked for %s to %s; data %s.", ask.action, ask.sink, ask.data.digest)
        raise TaskAwaitingInput(
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) + SWEEP_MARGIN,
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the grant reference, or keep the gate shut.

        :raises ApprovalRefusedError: for every outcome but an approval.
        """
        outcome = event.get(OUTCOME_KEY)
        if not isinstance(outcome, Mapping):
            raise ApprovalRefusedError(_why_unproven(event))
        because = str(outcome.get("because", ""))
        if outcome.get("outcome") != "approved":
            raise ApprovalRefusedError(f"The gate stays shut: {because}")
        self.log.info("The gate opens: %s", because)
        return dict(outcome["grant"])

    def _ask(self) -> Ask:
        from airflow_approvals.data.references import load_evidence, load_manifest

        reference = _reference(self.manifest, "manifest")
        data = ReportedData.of(reference.uri, load_manifest(reference))
        evidence = None
        if self.evidence is not None:
            evidence = ReportedEvidence.of(load_evidence(_reference(self.evidence, "evidence")))
        return Ask(
            action=_word(self.action, "action"),
            sink=_word(self.sink, "sink"),
            data=data,
            evidence=evidence,
            reason=_cut(self.reason),
            subject=_cut(self.subject),
            body=_cut(self.body),
            timeout_seconds=int(self.timeout),
            ticket=None if self.ticket is None else str(self.ticket).strip()[:MAX_TICKET],
        )


def _reference(value: object, what: str) -> Reference:
    try:
        return Reference.from_document(value)
    except ContractError as error:
        raise ContractError(
            f"ApprovalSensor: {what} is not a reference.",
            f"Pass the output of the operator that wrote the {what}.",
        ) from error


def _word(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ContractError(f"ApprovalSensor: {what} must be a word, and it is empty.")
    return value.strip()


def _cut(text: str | None) -> str | None:
    return None if text is None else str(text)[:MAX_TEXT]


def _why_unproven(event: Mapping[str, Any]) -> str:
    if event.get("error_type") == "timeout":
        return "The gate stays shut: nobody decided in time."
    return "The gate stays shut: the answer did not come from the approvals server."
