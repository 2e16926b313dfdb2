"""The wire under the bus, and the chip's clock, of a MicroPython process: a TCP connection."""

import os
import sigio
import socket
from micropython import heap_locked as locked  # noqa: F401

import uselect

virtual = os.getenv("HUSHBEAR_TIME") == "virtual"

_stream = socket.socket()
_host, _port = os.getenv("HUSHBEAR_BUS").split(":")
_stream.connect(socket.getaddrinfo(_host, int(_port))[0][-1])
_stream.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: frames are small and one waits for them
_poll = uselect.poll()
_poll.register(_stream, uselect.POLLIN)

write = _stream.write
read = _stream.read
micros = sigio.micros
clock = sigio.clock


def ready():
    """Return whether read() has something to read."""
    return _poll.poll(0)


def watch(callback):
    """Call callback(_) between bytecodes whenever there is something to read."""
    sigio.watch(_stream.fileno(), callback)


def lost():
    """The host is gone: leave no process behind."""
    os.system("kill -9 $PPID")
