"""How every page is made: its template, and the headers that keep it from running or loading what is not ours."""

import json
from pathlib import Path

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from api.errors import problem_for

WEB = Path(__file__).parent

QUIET_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Pages that run no script."""

ACTIVE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Pages with scripts, all of them files of our own. Scripts may style elements through the object model; nothing is inline."""

environment = Environment(
    loader=FileSystemLoader(WEB / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates = Jinja2Templates(env=environment)


def page(request: Request, template: str, *, status: int = 200, policy: str = QUIET_POLICY, **values: object) -> Response:
    """The rendered template, never kept by a cache and never told to other sites as where somebody came from."""
    context = {"title": request.app.state.settings.site_title, **values}
    # Not `no-referrer`: with it browsers send forms with `Origin: null`, which is what the forms of strangers look like.
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    rendered: Response = _templates.TemplateResponse(request, template, context, status, headers)
    return rendered


def problem_page(request: Request, error: Exception) -> Response:
    """What went wrong, told to a person, with the status and the Retry-After that a program would get."""
    refusal = problem_for(request.scope, error)
    detail = json.loads(bytes(refusal.body))["detail"]
    told = page(request, "dashboard/problem.html", status=refusal.status_code, detail=detail)
    if "Retry-After" in refusal.headers:
        told.headers["Retry-After"] = refusal.headers["Retry-After"]
    return told
