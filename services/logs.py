"""Structured logs: one JSON object a line for machines, coloured lines for a terminal."""

import logging
import sys
from typing import Any, Literal

import orjson
import structlog

# At DEBUG these libraries write down what goes over the wire, and mask next to nothing of it: the commands of the database with
# card tokens and the digests of passwords and sessions, a gateway's requests, a socket's handshake with its Authorization.
_WIRES = ("pymongo.command", "stripe", "uvicorn.error")


def hold_back_wires() -> None:
    """Keep secrets out of the logs whatever level somebody sets: what these libraries say at DEBUG is dropped, the rest stays."""
    for name in _WIRES:
        logging.getLogger(name).addFilter(_is_above_debug)  # once, however often


def _is_above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def configure_logs(level: str, *, style: Literal["json", "console"]) -> None:
    """Set up structlog for the process. Context bound with `structlog.contextvars` (the request id) is on every line.

    Tracebacks are plain in both styles: the values of local variables would hold passwords and tokens.
    """
    hold_back_wires()
    rank = logging.getLevelNamesMapping()[level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style == "json":
        structlog.configure(
            processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(orjson.dumps)],
            wrapper_class=structlog.make_filtering_bound_logger(rank),
            logger_factory=structlog.BytesLoggerFactory(file=sys.stderr.buffer),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[*shared, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)],
            wrapper_class=structlog.make_filtering_bound_logger(rank),
            logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
            cache_logger_on_first_use=True,
        )
