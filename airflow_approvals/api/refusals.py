"""How refusals and faults leave the server: a stable code and a sentence, never a trace."""

from __future__ import annotations

import logging
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import DBAPIError

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import faults
from airflow_approvals.core.models import Refusal
from airflow_approvals.errors import ApprovalsError

log = logging.getLogger(__name__)

_CODES = {401: "not_signed_in", 403: "not_permitted", 404: "not_found", 405: "method_not_allowed"}


class RefusedError(Exception):
    """Carries a refusal out of a route."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def install(app: FastAPI) -> None:
    """Register the handlers on the app."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return _answer(error.refusal.status, error.refusal.code, error.refusal.sentence)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 401 and _is_for_a_page(request):
            return RedirectResponse(_login(request), 303)
        return _answer(error.status_code, _CODES.get(error.status_code, "refused"), str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # The places are named; the values that came in are not sent back.
        places = sorted({".".join(str(part) for part in problem["loc"]) for problem in error.errors()})
        return _answer(422, "invalid", f"Not valid: {', '.join(places)}.")

    @app.exception_handler(DBAPIError)
    async def unavailable(request: Request, error: DBAPIError) -> JSONResponse:
        faults.report("ask the database for a call", error)
        return _answer(503, "unavailable", "The database could not be asked; try again in a moment.")

    @app.exception_handler(ApprovalsError)
    async def fault(request: Request, error: ApprovalsError) -> JSONResponse:
        log.error("approvals: %s", error)
        return _answer(409, error.code, str(error))


def _is_for_a_page(request: Request) -> bool:
    """Whether a browser is about to show what comes back."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _login(request: Request) -> str:
    """Return Airflow's login, which leads back here."""
    query = f"?{request.url.query}" if request.url.query else ""
    back = quote(f"{request.url.path}{query}", safe="")
    return f"{Settings.load().base_url}/api/v2/auth/login?next={back}"


def _answer(status: int, code: str, detail: str) -> JSONResponse:
    return JSONResponse({"code": code, "detail": detail}, status)
