"""The one-time code that the toy speaks and the parent types.

    new_code() -> bytes    six ASCII digits, each code that is not trivial as likely as the others

The chip's numbers are random while its radio is on (ESP-IDF, "Random Number Generation").
"""

from os import urandom

from hushbear.pairing_wire import CODE_DIGITS

_CODES = 10**CODE_DIGITS
_EVEN = (1 << 24) // _CODES * _CODES  # below it, each code comes from equally many numbers


def new_code():
    while True:
        number = int.from_bytes(urandom(3), "big")
        if number < _EVEN:
            code = b"%06d" % (number % _CODES)
            if not _trivial(code):
                return code


def _trivial(code):
    # All digits equal, or a run up or down: what a guesser tries first
    return {b - a for a, b in zip(code, code[1:])} in ({0}, {1}, {-1})
