"""Below the application: headers that come slowly or without end, and clients that do not read.

uvicorn bounds neither the size of headers (with httptools) nor how long a client may take over
them or over reading an answer. The deadlines are armed here; its own keep-alive timeout does the
rest.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX = 16 * 1024  # bytes of a request's line and headers; ours have 1 kB


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with bounds. `head_seconds`: within which a request's line and headers
    have to be there; `read_seconds`: within which a client reads something of an answer, and how
    long the rest of a body is read that nobody wants any more, so that it gets its answer."""

    head_seconds = 10.0
    read_seconds = 30.0

    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _rest: asyncio.TimerHandle | None = None
    _head_size = 0
    _in_head = True
    _in_message = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._end_rest()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_size += len(data)
            if self._head is None:
                self._begin_head()
        super().data_received(data)
        if self._in_head and self._head_size > HEAD_MAX:
            self._refuse(431, b"Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        self._in_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_size = True, 0  # of the next request, once it begins
        self._in_message = False
        self._end_rest()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_message and self._rest is None:
            self._rest = self.loop.call_later(self.read_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _begin_head(self) -> None:
        self._in_head = True
        self._head = self.loop.call_later(self.head_seconds, self._refuse, 408, b"Request Timeout")

    def _end_head(self) -> None:
        self._in_head, self._head_size = False, 0
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _end_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _refuse(self, status: int, reason: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            line = b"HTTP/1.1 %d %s\r\n" % (status, reason)
            self.transport.write(line + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
