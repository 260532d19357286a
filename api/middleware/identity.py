"""Who is asking, and whether they ask too often: resolved once, before routing."""

import time
from collections import OrderedDict

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.client import client_info
from api.errors import problem_for
from api.web.rendering import problem_page
from api.web.signin import viewer_of
from services.errors import RateLimitedError
from services.settings import Settings
from services.users.sessions import SessionService

_MAX_SUBJECTS = 50_000
_GATEWAYS = "/api/v1/payments/webhooks/"
_PAGES = ("/dashboard", "/admin", "/account")  # whatever a person does in a browser but read the front page


class IdentityMiddleware:
    """Puts `viewer` and `client` into the request's state and counts the request against its caller's window.

    People are counted by their account, everyone else, an invalid token's holder too, by network address. Pages are counted
    alike, by whom their cookie names; what people look at takes nothing from what their programs may ask. Of the webhooks of
    payment gateways, which tell of everybody's payments from a few addresses, only refused ones count. The windows are kept in
    this process: they bound load. Limits on guessing are kept in the database (`services.ratelimits`).
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self._windows: OrderedDict[str, tuple[int, int]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(("/api/", *_PAGES)):
            await self.app(scope, receive, send)
            return
        if scope["path"].startswith(_PAGES):
            await self._page(scope, receive, send)
            return
        state = scope["state"]
        state["client"] = client = client_info(scope, self.settings.trusted_proxies)
        token = _bearer_token(scope)
        viewer = await SessionService.find_viewer(token) if token else None
        state["viewer"] = viewer
        tells = scope["path"].startswith(_GATEWAYS)
        if viewer is None or tells:
            wait = self._count(scope, client.address, self.settings.anonymous_requests, takes=not tells)
        else:
            wait = self._count(scope, str(viewer.user_id), self.settings.user_requests)
        if wait:
            await problem_for(scope, RateLimitedError(wait))(scope, receive, send)
            return
        await self.app(scope, receive, self._counting_refusals(scope, client.address, send) if tells else send)

    def _counting_refusals(self, scope: Scope, address: str, send: Send) -> Send:
        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start" and 400 <= message["status"] < 500:
                self._count(scope, address, self.settings.anonymous_requests)
            await send(message)

        return send_and_count

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            viewer = await viewer_of(request)
        except Exception as error:
            await problem_page(request, error)(scope, receive, send)
            return
        if viewer is None:
            wait = self._count(scope, client_info(scope, self.settings.trusted_proxies).address, self.settings.anonymous_requests)
        else:
            wait = self._count(scope, f"pages of {viewer.user_id}", self.settings.user_requests)
        answer = problem_page(request, RateLimitedError(wait)) if wait else self.app
        await answer(scope, receive, send)

    def _count(self, scope: Scope, subject: str, quota: int, *, takes: bool = True) -> int:
        """Seconds to wait, 0 when within the quota. Leaves the RateLimit headers for the answer."""
        length = self.settings.rate_window_seconds
        now = int(time.time())
        number = now // length
        window, taken = self._windows.get(subject, (number, 0))
        taken = (taken if window == number else 0) + takes
        self._windows[subject] = (number, taken)
        self._windows.move_to_end(subject)
        if len(self._windows) > _MAX_SUBJECTS:
            self._windows.popitem(last=False)
        left = length - now % length
        scope["state"]["rate_limit"] = [
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (quota, length)),
            (b"ratelimit", b'"default";r=%d;t=%d' % (max(0, quota - taken), left)),
        ]
        return left if taken + (not takes) > quota else 0


def _bearer_token(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            token: str = value[7:].strip().decode("latin-1")
            return token if len(token) <= 200 else None
    return None
