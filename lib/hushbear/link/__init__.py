"""The authenticated link: BLE connections, a session on each, and the answers to their requests.

    Link(radio, services)         radio: hushbear.link.radio.Radio; services: all a phone reaches
    await .run(check_in)          serve for ever; calls `check_in()` every few seconds
    .transferring                 a message is on its way

Whatever a phone does costs it its connection at most.
"""

from hushbear.link.errors import SessionOver
from hushbear.link.gate import Gate
from hushbear.link.session import Frame, Session


class Link:
    def __init__(self, radio, services):
        from hushbear.link.requests import Requests  # all that pairing has no use for

        self._services = services
        self._requests = Requests(services)
        self._radio = radio
        self._gate = Gate()
        self._frame = Frame()

    @property
    def transferring(self):
        return self._requests.transferring

    async def run(self, check_in=lambda: None):
        await self._radio.run(self._serve, check_in)

    async def _serve(self, peer):
        services = self._services
        session = Session(peer, self._frame)
        services.sessions.append(session)
        try:
            await session.run(services.keys.psks, self._gate, self._requests.handle)
        except SessionOver:
            pass
        except Exception as error:  # A defect of ours must not cost the others their link.
            services.crashlog.write(error)
        finally:
            services.sessions.remove(session)
            self._requests.forget(session)
