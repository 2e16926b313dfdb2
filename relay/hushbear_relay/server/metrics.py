"""What the operator sees: health and Prometheus metrics, on an address of their own.

Requests are told by route, method and status; nothing tells one mailbox from another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "hushbear_relay_requests",
            "Requests answered.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "hushbear_relay_request_seconds",
            "From the headers of a request to the end of its answer.",
            ["route", "method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.messages = Counter(
            "hushbear_relay_messages",
            "Messages: stored (new), again (there already), fetched, deleted, expired.",
            ["what"],
            registry=self.registry,
        )
        self.bytes = Counter(
            "hushbear_relay_message_bytes",
            "Bytes of message bodies: stored, fetched.",
            ["what"],
            registry=self.registry,
        )
        self.problems = Counter(
            "hushbear_relay_problems", "Requests refused.", ["code"], registry=self.registry
        )
        self.polls = Gauge(
            "hushbear_relay_long_polls", "Long polls waiting.", registry=self.registry
        )
        self.uploads = Gauge(
            "hushbear_relay_uploads", "Bodies being taken in.", registry=self.registry
        )


def application(metrics: Metrics, ready: Callable[[], Awaitable[str | None]]) -> Starlette:
    """Return the application with /health/live, /health/ready and /metrics.

    `ready` returns None, or in a few words why requests should go elsewhere.
    """

    async def live(_: Request) -> Response:
        return PlainTextResponse("live\n")

    async def answer_ready(_: Request) -> Response:
        reason = await ready()
        return PlainTextResponse(f"{reason or 'ready'}\n", 503 if reason else 200)

    async def expose(_: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", answer_ready),
            Route("/metrics", expose),
        ]
    )
