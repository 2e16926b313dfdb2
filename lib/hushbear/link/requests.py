"""What a paired phone can ask of the toy: transfers here, a method a request, and through modules
that are loaded for one request the rest.

`services` is all that a request can reach: the store, the settings, the clock, the crash log and
the toy's state. The microphone and the paws are not among them.
"""

import asyncio
import struct

from hushbear import wire
from hushbear.link.errors import Refused, SessionOver, fields
from hushbear.link.transfer import Download, Upload
from hushbear.once import once
from hushbear.store import StoreError

_FAMILY = const(0x0E)  # from here on, the kinds of family_wire.py ...
_NAME = const(0x12)  # ... but for this one, of upkeep_wire.py as those before


class Requests:
    """Answers the records of every session. One upload at a time, one transfer a session."""

    def __init__(self, services):
        self._services = services
        self._upload = None
        self._downloads = {}  # by session

    @property
    def transferring(self):
        """Whether a message is on its way, in either direction."""
        return bool(self._upload or self._downloads)

    async def handle(self, session, kind, tag, body):
        """Act on one record of an authenticated phone. The caller holds the session's frame."""
        if kind == wire.DATA:
            await self._data(session, tag, body)
        elif kind == wire.GRANT:
            download = self._downloads.get(session)
            if download and len(body) == struct.calcsize(wire.GRANT_BODY):
                download.grant(tag, struct.unpack(wire.GRANT_BODY, body)[0])
        elif kind in _ANSWERS:
            await self._answer(session, kind, tag, _ANSWERS[kind](self, session, tag, body))
        elif kind < wire.DATA:
            await self._answer(session, kind, tag, self._seldom(session, kind, tag, body))

    def forget(self, session):
        """End the transfers of a session. What has arrived of an upload stays in the store."""
        if self._upload and self._upload.session is session:
            self._upload = None
            self._services.store.suspend()
        if session in self._downloads:
            self._downloads.pop(session).stop()

    async def _answer(self, session, kind, tag, work):
        """Await `work` and respond with what it returns, or with why it failed."""
        status, answer = await self._outcome(work)
        if answer is not None:
            await self._respond(session, kind, tag, status, answer)

    async def _outcome(self, work):
        """Await `work` and return (status, what it returned, or b"" where it failed)."""
        try:
            return wire.OK, await work
        except (Refused, StoreError) as error:
            if error.status == wire.FAILED:
                self._services.crashlog.write(error)
            return error.status, b""
        except (OSError, MemoryError) as error:
            self._services.crashlog.write(error)
            return wire.FAILED, b""

    async def _respond(self, session, kind, tag, status, body=b""):
        await session.send(kind | wire.RESPONSE, tag, bytes((status,)) + body)

    # A method for each request (see _ANSWERS): (session, tag, body) -> the response's body after
    # its status, or None where it has responded itself.

    async def _send(self, session, tag, body):
        message_id, size, digest = fields(wire.SEND_REQUEST, body)
        if self._upload and self._upload.session is not session:
            raise Refused(wire.BUSY)
        self.forget(session)
        offset = self._services.store.offer(message_id, size, digest)
        upload = Upload(session, tag, message_id, size, offset)
        if offset < size:
            if not session.peer.widen():
                self._services.store.suspend()
                raise Refused(wire.BUSY)
            self._upload = upload
        return struct.pack(wire.SEND_RESPONSE, offset, upload.limit)

    async def _data(self, session, tag, body):
        upload = self._upload
        if not upload or upload.session is not session or upload.tag != tag:
            return  # The rest of an upload that has ended.
        await self._answer(session, wire.SEND, tag, self._append(upload, body))

    async def _append(self, upload, body):
        head = struct.calcsize(wire.DATA_HEAD)
        size = len(body) - head
        try:
            if size <= 0:
                raise Refused(wire.MALFORMED)
            (offset,) = struct.unpack_from(wire.DATA_HEAD, body)
            if not upload.fits(offset, size):
                raise Refused(wire.RANGE)
            self._services.store.append(offset, body, head, size)
        except BaseException:
            self.forget(upload.session)
            raise
        upload.offset += size
        # Once for all that has arrived: not while another record is waiting.
        if upload.due() and upload.session.peer.rx.used() < wire.FRAME_MAX:
            upload.grant()
            grant = struct.pack(wire.GRANT_BODY, upload.limit)
            await upload.session.send(wire.GRANT, upload.tag, grant)

    async def _commit(self, session, tag, body):
        (message_id,) = fields(wire.MESSAGE_ID, body)
        upload = self._upload
        if upload and upload.session is not session:
            raise Refused(wire.BUSY)
        if upload and upload.message_id != message_id:
            self.forget(session)
        self._upload = None
        await self._services.store.commit(message_id)
        return b""

    async def _fetch(self, session, tag, body):
        message_id, offset, limit = fields(wire.FETCH_REQUEST, body)
        self.forget(session)
        store = self._services.store
        # Also from the inbox: what turned out to be broken there can be looked at.
        box = wire.OUTBOX if store.find(wire.OUTBOX, message_id) else wire.INBOX
        reader = store.open(box, message_id)
        if offset > reader.size:
            reader.close()
            raise Refused(wire.RANGE)
        download = self._downloads[session] = Download(session, tag, reader, offset, limit)
        asyncio.create_task(self._download(download))

    async def _download(self, download):
        session, tag = download.session, download.tag
        lock = session.frame.lock
        try:
            size = struct.pack(wire.FETCH_RESPONSE, download.size)
            async with lock:
                await self._respond(session, wire.FETCH, tag, wire.OK, size)
            status, _ = await self._outcome(download.run())
            if status:
                async with lock:
                    await self._respond(session, wire.FETCH, tag, status)
        except SessionOver:
            pass  # The session's own task sees it too, and ends the session.
        finally:
            download.close()
        if self._downloads.get(session) is download:
            del self._downloads[session]

    async def _fetched(self, session, tag, body):
        (message_id,) = fields(wire.MESSAGE_ID, body)
        self._services.store.mark_done(wire.OUTBOX, message_id)
        return b""

    async def _seldom(self, session, kind, tag, body):
        module = "upkeep" if kind < _FAMILY or kind == _NAME else "family"
        answers = once("hushbear.link." + module).ANSWERS
        if kind not in answers:
            raise Refused(wire.UNKNOWN)
        answer = answers[kind](self._services, session, body)
        if not isinstance(answer, int):
            return answer
        session.frame.body[0] = wire.OK
        await session.send_body(kind | wire.RESPONSE, tag, 1 + answer)

    async def _cancel(self, session, tag, body):
        fields("", body)
        self.forget(session)
        return b""


_ANSWERS = {
    wire.SEND: Requests._send,
    wire.COMMIT: Requests._commit,
    wire.FETCH: Requests._fetch,
    wire.FETCHED: Requests._fetched,
    wire.CANCEL: Requests._cancel,
}
