"""Plotly's script, served from its installed package: no CDN, one file, kept by browsers for as long as its version stands."""

import asyncio
import gzip
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, Response

VERSION = version("plotly")
PATH = "/static/charts/plotly.min.js"
URL = f"{PATH}?v={VERSION}"
GLOBAL_STYLE_ID = "plotly.js-style-global"
"""The element whose style sheet Plotly adds its rules to. One of ours, so that it makes none inline, which the policy refuses."""
MAP_STYLE_ID = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53"
"""Plotly makes an inline style for maps unless an element has this id. We draw no maps."""
_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


@cache
def script_file() -> Path:
    """Where the package keeps it. Found without importing the package: that would take longer."""
    found = find_spec("plotly")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "package_data" / "plotly.min.js"


@cache
def _compressed() -> bytes:
    """A third of its 4.8 MB; made once, by the first who asks."""
    return gzip.compress(script_file().read_bytes(), 6, mtime=0)


async def _script(request: Request) -> Response:
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = await asyncio.to_thread(_compressed)
        return Response(body, 200, {**_HEADERS, "Content-Encoding": "gzip"}, "text/javascript")
    return FileResponse(script_file(), headers=_HEADERS, media_type="text/javascript")


def install(app: FastAPI) -> None:
    app.add_route(PATH, _script, methods=["GET"], include_in_schema=False)
