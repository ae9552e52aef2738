"""Asking through the API: start a gate's DAG, and learn where the request will stand."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, ConfigDict, Field, field_validator

from airflow_approvals.api.auth import SignedInToChange, signed_in
from airflow_approvals.api.refusals import RefusedError
from airflow_approvals.api.schemas import ErrorOut
from airflow_approvals.control import asking
from airflow_approvals.core.models import Refusal
from airflow_approvals.identity import users

MAX_CONF_BYTES = 64 * 1024
NOT_PERMITTED = Refusal("not_permitted", "Airflow does not let you start runs of this DAG.", 403)

router = APIRouter(
    prefix="/api/v1/requests",
    tags=["requests"],
    dependencies=[Depends(signed_in)],
    responses={code: {"model": ErrorOut} for code in (401, 403, 409, 422)},
)


class AskIn(BaseModel):
    """A DAG that holds a gate, and the configuration of the run that asks."""

    model_config = ConfigDict(extra="forbid")
    dag_id: str = Field(min_length=1, max_length=250)
    conf: dict[str, Any] = Field(default_factory=dict)

    @field_validator("conf")
    @classmethod
    def _bounded(cls, conf: dict[str, Any]) -> dict[str, Any]:
        # What no JSON column takes is no configuration: NaN, and half of a surrogate pair.
        text = json.dumps(conf, ensure_ascii=False, allow_nan=False)
        if len(text.encode()) > MAX_CONF_BYTES:
            raise ValueError("too large")
        return conf


class AskedOut(BaseModel):
    """The run that asks. ``requests`` is the address that lists what it has asked for so far."""

    dag_id: str
    run_id: str
    requests: str
    again: bool


@router.post("", status_code=202)
def ask(
    body: AskIn,
    caller: SignedInToChange,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
) -> AskedOut:
    """Start the run as the caller, who becomes its requester; the same key again starts nothing."""
    if not users.may_trigger(caller.user, body.dag_id):
        raise RefusedError(NOT_PERMITTED)
    outcome = asking.ask(
        body.dag_id, body.conf, key=idempotency_key, person=caller.person, channel=caller.channel
    )
    if isinstance(outcome, Refusal):
        raise RefusedError(outcome)
    query = urlencode({"dag_id": outcome.dag_id, "run_id": outcome.run_id})
    address = f"/approvals/api/v1/requests?{query}"
    return AskedOut(dag_id=outcome.dag_id, run_id=outcome.run_id, requests=address, again=outcome.again)
