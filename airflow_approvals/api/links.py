"""Linking one's own Slack account: a small page, and what its buttons call.

The page changes nothing: opening an address, or having it opened by a preview, does not link. Only
a browser session does, since the proof has to come back through it.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from airflow_approvals.api.auth import Caller, SignedIn, SignedInToChange, signed_in
from airflow_approvals.api.refusals import RefusedError
from airflow_approvals.api.schemas import ErrorOut
from airflow_approvals.channels.slack_text import one_line, showable
from airflow_approvals.control import account_links, vouching
from airflow_approvals.control.account_links import Linked
from airflow_approvals.core.models import Channel, Refusal
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.identity import slack_profiles
from airflow_approvals.identity.slack_accounts import Account
from airflow_approvals.store.session import run_read

router = APIRouter(
    tags=["links"],
    dependencies=[Depends(signed_in)],
    responses={code: {"model": ErrorOut} for code in (401, 403, 404, 409, 422)},
)

_pages = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
)
_ON_A_PAGE = Refusal("session_needed", "This takes a signed-in session on a page of Airflow.", 403)


LinkId = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]


class ProofIn(BaseModel):
    """What the private message in Slack leads back with."""

    model_config = ConfigDict(extra="forbid")
    proof: str = Field(min_length=1, max_length=100)


class LinkOut(BaseModel):
    """What a step came to; without ``votes_from`` the link waits for a second person."""

    account: str
    sentence: str
    votes_from: datetime | None = None


@router.get("/links", response_class=HTMLResponse)
def links_page(
    caller: SignedIn,
    attempt: Annotated[str, Query(max_length=100)] = "",
    proof: Annotated[str, Query(max_length=100)] = "",
) -> HTMLResponse:
    """Show one's own link, what can be linked or confirmed now, and links that wait for somebody."""
    account = _account(caller, attempt, proof)
    csp_nonce = secrets.token_urlsafe(16)
    mine, waiting = run_read(lambda session: _links(session, caller))
    # Whose account was linked anew is told to those only who could confirm it.
    waiting = waiting if waiting and vouching.may_vouch(caller.person) else []
    page = _pages.get_template("links.html").render(
        csp_nonce=csp_nonce,
        person=caller.person,
        attempt=attempt,
        account=account if isinstance(account, Account) else None,
        account_name=_name_of(account) if isinstance(account, Account) else "",
        over=account.sentence if isinstance(account, Refusal) else "",
        proof=proof,
        mine=mine,
        waiting=waiting,
        now=datetime.now(UTC),
    )
    return HTMLResponse(page, headers=_headers(csp_nonce))


@router.post("/api/v1/links/attempts/{attempt_id}")
def ask_for_a_proof(attempt_id: str, caller: SignedInToChange) -> LinkOut:
    """Send the account a private message that only the caller's session can bring back."""
    _require_session(caller)
    asked = account_links.ask(attempt_id, caller.person)
    if isinstance(asked, Refusal):
        raise RefusedError(asked)
    sentence = "A private message is on its way to that Slack account. Open the address in it here."
    return LinkOut(account=asked.account, sentence=sentence)


@router.post("/api/v1/links/confirm")
def confirm(said: ProofIn, caller: SignedInToChange) -> LinkOut:
    """Link the account that the proof was sent to."""
    _require_session(caller)
    return _out(account_links.confirm(said.proof, caller.person), "The account is linked to you.")


@router.post("/api/v1/links/{link_id}/vouch")
def vouch(link_id: LinkId, caller: SignedInToChange) -> LinkOut:
    """Confirm as a second person that an account was rightly linked again."""
    _require_session(caller)
    return _out(vouching.vouch(link_id, caller.person), "The new link is confirmed.")


@router.delete("/api/v1/links/{link_id}")
def end(link_id: LinkId, caller: SignedInToChange) -> LinkOut:
    """End one's own link."""
    _require_session(caller)
    return _out(account_links.end(link_id, caller.person), "The link has ended.")


def _account(caller: Caller, attempt: str, proof: str) -> Account | Refusal | None:
    """Return the account that the page is about; what is pressed on it is checked anew."""
    if attempt:
        return account_links.account_in(attempt)
    return account_links.proved_account(proof, caller.person) if proof else None


def _links(session: Session, caller: Caller) -> tuple[Linked | None, list[Linked]]:
    mine = account_links.of_person(session, caller.person)
    return mine, [link for link in vouching.waiting(session) if mine is None or link.id != mine.id]


def _name_of(account: Account) -> str:
    """Return what the account calls itself, for show only; nothing when Slack does not tell."""
    try:
        return one_line(showable(slack_profiles.profile_of(account.user).name))
    except ApprovalsError:
        return ""


def _require_session(caller: Caller) -> None:
    if caller.channel is not Channel.UI:
        raise RefusedError(_ON_A_PAGE)


def _out(outcome: Linked | Refusal, sentence: str) -> LinkOut:
    if isinstance(outcome, Refusal):
        raise RefusedError(outcome)
    if outcome.votes_from is None:
        sentence = f"{sentence} It votes once somebody else who decides requests has confirmed it."
    return LinkOut(account=outcome.account, sentence=sentence, votes_from=outcome.votes_from)


def _headers(csp_nonce: str) -> dict[str, str]:
    policy = (
        f"default-src 'none'; script-src 'nonce-{csp_nonce}'; style-src 'nonce-{csp_nonce}'; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        # The address of the page may hold a proof.
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
