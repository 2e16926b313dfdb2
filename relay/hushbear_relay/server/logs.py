"""Logs: one JSON object a line on stderr, with what happened and how long it took.

No mailbox, member, message, key, address or header is ever given to a log function, and errors
come without the values of statements. The web server's own log goes the same way.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback

import structlog

_FRAMES = 8


def _without_values(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Say of an exception its type and where it came from; its text may quote what was stored.
    Of what a library says, the first line."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0]:
        event["error"] = info[0].__name__
        event["where"] = [
            f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(info[2])[-_FRAMES:]
        ]
    event["event"] = str(event.get("event", "")).splitlines()[0] if event.get("event") else ""
    return event


def configure(level: str) -> None:
    """Send all logs of this process to stderr as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_values,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = name != "uvicorn.access"
    if level != "debug":  # who sends nonsense writes no line for each piece of it
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for name in ("asyncio", "alembic", "botocore", "boto3", "urllib3", "s3transfer"):
        logging.getLogger(name).setLevel(logging.WARNING)
