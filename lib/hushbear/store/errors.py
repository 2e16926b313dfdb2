"""What can go wrong in the store."""

from hushbear import wire

ENOSPC = 28  # not in MicroPython's errno


class StoreError(Exception):
    """The store refused or failed; nothing that was confirmed is touched.

    `status` is what a phone is told:

        FULL        (StoreFull) no room, and nothing stored that may go
        BUSY        the message is open, or another one is being received or recorded
        NOT_FOUND   no such message
        RANGE       the bytes do not continue where the last ones ended, or run past the end
        MALFORMED   no message can have this size or header
        DAMAGED     what was received is not what was announced
        FAILED      the flash did not do what it was asked
    """

    def __init__(self, status, *what):
        super().__init__(status, *what)
        self.status = status


class StoreFull(StoreError):
    def __init__(self):
        super().__init__(wire.FULL)


def from_os(error):
    """Return the StoreError for an OSError of the file system."""
    if error.errno == ENOSPC:
        return StoreFull()
    return StoreError(wire.FAILED, "flash error %s" % error.errno)
