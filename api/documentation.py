"""`/openapi.json`, and `/docs` and `/redoc`, which show it, from an installed package: no CDN, and no inline script but the one
whose hash is named.
"""

import asyncio
import base64
import hashlib
import re
from pathlib import Path

import fastapi_offline
import orjson
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse, Response

from api.conditional import digest_of, etag, tagged

_ASSETS = "/static/documentation"
_ASSET_FOLDER = Path(fastapi_offline.__file__).parent / "static"
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def _pages() -> dict[str, bytes]:
    swagger = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Agora: try the API",
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon.png",
        swagger_ui_parameters={"docExpansion": "none", "persistAuthorization": True},
    )
    redoc = get_redoc_html(
        openapi_url="/openapi.json",
        title="Agora: the API",
        redoc_js_url=f"{_ASSETS}/redoc.standalone.js",
        redoc_favicon_url=f"{_ASSETS}/favicon.png",
        with_google_fonts=False,
    )
    return {"/docs": bytes(swagger.body), "/redoc": bytes(redoc.body)}


def _policy(page: bytes) -> str:
    """Scripts of our own and the page's inline one by its hash; the viewers style their elements inline."""
    scripts = _INLINE_SCRIPT.findall(page.decode())
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; worker-src blob:; child-src blob:; base-uri 'none'; frame-ancestors 'none'"
    )


PAGES = _pages()
POLICIES = {path: _policy(page) for path, page in PAGES.items()}


class _Document:
    """The OpenAPI document as bytes. Made when first asked for, in a thread: others are answered in that second and a half."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._making = asyncio.Lock()
        self._made: tuple[bytes, str] | None = None

    async def get(self) -> tuple[bytes, str]:
        """The document and its tag."""
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
        return self._made

    def _make(self) -> tuple[bytes, str]:
        body = orjson.dumps(self._app.openapi())
        return body, etag(0, digest_of(body))


def install(app: FastAPI) -> None:
    made = _Document(app)

    async def document(request: Request) -> Response:
        body, tag = await made.get()
        return tagged(request, body, tag=tag)

    app.add_route("/openapi.json", document, include_in_schema=False)
    app.mount(_ASSETS, StaticFiles(directory=_ASSET_FOLDER), name="documentation_assets")

    async def page(request: Request) -> Response:
        path = request.scope["path"]
        return HTMLResponse(PAGES[path], headers={"Content-Security-Policy": POLICIES[path]})

    for path in PAGES:
        app.add_route(path, page, include_in_schema=False)
