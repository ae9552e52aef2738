"""Who is calling: an Airflow session or bearer token, and what may be done with each.

A plugin's routes have no authentication of their own, so every router of this app but the
signed callbacks depends on :func:`signed_in`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials
from fastapi.security.utils import get_authorization_scheme_param

from airflow_approvals.config.settings import Settings
from airflow_approvals.core.models import Channel, Person
from airflow_approvals.identity.users import person_of

#: A browser sends this header across origins only after a preflight, which we never grant.
CUSTOM_HEADER = "x-approvals-request"


@dataclass(frozen=True)
class Caller:
    """A signed-in user and the channel their call came in by."""

    user: BaseUser
    person: Person
    channel: Channel


async def caller_of(request: Request) -> Caller:
    """Return who is calling; a bearer token wins over the session cookie, as in Airflow.

    :raises HTTPException: 401 or 403, as Airflow answers them.
    """
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    bearer = HTTPAuthorizationCredentials(scheme=scheme, credentials=token) if token else None
    user = await get_user(request, None, bearer)
    by_token = bearer is not None and scheme.lower() == "bearer"
    return Caller(user, person_of(user), Channel.API if by_token else Channel.UI)


async def signed_in(request: Request) -> Caller:
    """Dependency of every closed router."""
    return await caller_of(request)


async def signed_in_to_change(request: Request) -> Caller:
    """Dependency of every route that changes something.

    A browser session has to prove that the page that calls is ours: JSON, a custom header,
    and a same-origin ``Origin``.
    """
    caller = await caller_of(request)
    if caller.channel is Channel.UI:
        custom = CUSTOM_HEADER in request.headers
        if not (custom and _is_json(request) and same_origin(request)):
            raise HTTPException(
                403, f"A browser session needs JSON, the header {CUSTOM_HEADER} and a same-origin call."
            )
    return caller


def same_origin(request: Request) -> bool:
    """Whether the browser says that the call comes from a page of this very server."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = _host_in(request.headers.get("origin", ""))
    # Behind a proxy the host may be an inner name; people's browsers know the base URL.
    return origin != "" and origin in {request.headers.get("host"), _host_in(Settings.load().base_url)}


def _host_in(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:  # such as http://[
        return ""


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return kind == "application/json"


SignedIn = Annotated[Caller, Depends(signed_in)]
SignedInToChange = Annotated[Caller, Depends(signed_in_to_change)]
