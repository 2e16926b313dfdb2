"""What can go wrong, one class for each thing that a caller handles differently.

A message says what happened, `hint` what to try next. `code` is the stable name that `--json`
prints, `exit_code` what the command returns.
"""

from __future__ import annotations


class HushbearError(Exception):
    """Base of every error that the companion raises on purpose."""

    code = "failed"
    exit_code = 1
    hint = ""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(HushbearError):
    """The command was called in a way that makes no sense."""

    code = "usage"
    exit_code = 2


class BadLink(UsageError):
    """A text that is no hushbear:// link."""

    code = "bad-link"
    hint = "Copy the whole hushbear:// line that set-up printed, or scan its QR code again."


class BadCode(UsageError):
    """A text that is no code of a pairing window."""

    code = "bad-code"
    hint = "Type the digits that the toy spoke; a tap on a paw lets it say them again."


class BadInvitation(UsageError):
    """A text that is no code of an invitation."""

    code = "bad-code"
    hint = "Type the number and the two words that `hushbear invite` has printed over there."


class NoToyInSight(HushbearError):
    """No toy advertises near by."""

    code = "not-found"
    exit_code = 3
    hint = "Bring the toy within a few metres, see that it is switched on, and try again."


class NoOpenWindow(NoToyInSight):
    """No toy near by is ready to be paired with."""

    code = "no-window"
    hint = (
        "Hold both paws for 5 s, until the toy says a code, and stay within a few metres; "
        "one that knows 8 phones says that it is full: remove one first (`hushbear revoke`)."
    )


class SeveralWindows(HushbearError):
    """Several toys near by are ready to be paired with."""

    code = "several-windows"
    exit_code = 13
    hint = (
        "Wait until the others' windows close (2 minutes); "
        "or hold yours to this computer and add --nearest."
    )


class WindowClosed(HushbearError):
    """The toy's pairing window is no longer open."""

    code = "window-closed"
    exit_code = 13
    hint = "Hold both paws for 5 s until the toy says a new code."


class WrongCode(HushbearError):
    """The code that was typed is not the one that the toy spoke. `left` is how many attempts its
    window has left."""

    code = "wrong-code"
    exit_code = 13

    def __init__(self, left: int) -> None:
        super().__init__(
            f"The toy did not take that code: {attempts_in_words(left)}.",
            "Tap a paw to hear it again." if left else WindowClosed.hint,
        )
        self.left = left


class WrongInvitation(HushbearError):
    """The two sides of an invitation did not have the same code, so that it ended."""

    code = "wrong-code"
    exit_code = 13
    hint = "Nobody was let in. Make a new one with `hushbear invite`, and say its code again."


class InvitationOver(HushbearError):
    """An invitation that was used, stopped, or not taken in time."""

    code = "invitation-over"
    exit_code = 13
    hint = "A code is good once, for ten minutes: make a new one with `hushbear invite`."


class InvitationUnsure(InvitationOver):
    """The last word of an invitation did not come: the relative may have joined."""

    code = "invitation-unsure"
    hint = "If not: `hushbear remove` them, and invite them again."


def attempts_in_words(left: int) -> str:
    """Return in words how many attempts a pairing window has left."""
    return f"{left or 'no'} attempt{'' if left == 1 else 's'} left"


class NotThisToy(HushbearError):
    """A toy did not answer to the key: it is another family's, or it has forgotten this phone."""

    code = "refused"
    exit_code = 4
    hint = (
        "Bring your own toy nearer; if it is this one, it has forgotten this phone: "
        "pair again (`hushbear pair`)."
    )


class LinkLost(HushbearError):
    """The connection ended, or the toy stopped answering. What was confirmed stays."""

    code = "link-lost"
    exit_code = 5
    hint = "Go nearer to the toy and run the same command again; it goes on where it stopped."


class PairingUnsure(LinkLost):
    """The link was lost when the toy had been told to remember this phone: perhaps it does."""

    code = "unsure"
    hint = (
        "Try `hushbear status` near the toy. If it does not answer to the key, "
        "`hushbear toys forget` it here and pair again."
    )


class BadAudio(HushbearError):
    """A file that cannot be sent."""

    code = "bad-file"
    exit_code = 6


class BadVoice(HushbearError):
    """What the toy is to say cannot be used: a voice's table, a prompt, a name."""

    code = "bad-voice"
    exit_code = 6


class BadMessage(HushbearError):
    """Bytes that are not a message."""

    code = "bad-message"
    exit_code = 6
    hint = "Update the companion, or send the recording again."


class UnknownEpoch(BadMessage):
    """A message that was sealed with a family key which this phone does not have."""

    code = "unknown-epoch"
    hint = (
        "Connect to the toy once, with `hushbear status`: it gives this phone the family's keys."
    )

    def __init__(self, epoch: int) -> None:
        super().__init__(f"The message is sealed with family key {epoch}, which is unknown here.")
        self.epoch = epoch


class BrokenMessage(BadMessage):
    """A chunk of a message is not as it was sealed: altered, moved, or of another message."""

    code = "broken"
    hint = "Get it again from where it came; if it stays so, somebody or something altered it."

    def __init__(self, chunk: int) -> None:
        super().__init__(f"The message was altered: its chunk {chunk} does not open.")
        self.chunk = chunk


class CutShort(BadMessage):
    """A message whose end is missing."""

    code = "cut-short"
    hint = "Get it again from where it came."

    def __init__(self, chunk: int) -> None:
        super().__init__(f"The message is cut short: it ends before its chunk {chunk} does.")
        self.chunk = chunk


class FileProblem(HushbearError):
    """A file or directory that could not be read or written."""

    code = "file-problem"
    exit_code = 6


class ToyFull(HushbearError):
    """The toy has no room."""

    code = "toy-full"
    exit_code = 7
    hint = "Delete messages (`hushbear list`, `hushbear delete ID`), or let the child hear some."


class PhonesFull(HushbearError):
    """The toy has no place for another phone."""

    code = "phones-full"
    exit_code = 7
    hint = "Remove one from another phone: `hushbear phones`, `hushbear revoke NAME`."


class InboxFull(HushbearError):
    """The inbox has as many messages as it takes."""

    code = "inbox-full"
    exit_code = 7
    hint = "Approve or refuse some first: `hushbear inbox`."


class NoSuchMessage(HushbearError):
    """No message, or no toy, of that name."""

    code = "no-such-message"
    exit_code = 8
    hint = "See `hushbear list`."


class NoSuchToy(HushbearError):
    """No toy of that name is known here."""

    code = "no-such-toy"
    exit_code = 8


class NoSuchPhone(HushbearError):
    """The toy knows no phone of that name or slot."""

    code = "no-such-phone"
    exit_code = 8
    hint = "See `hushbear phones`."


class UnknownLanguage(HushbearError):
    """The toy has no voice in that language."""

    code = "unknown-language"
    exit_code = 8
    hint = "Bring a voice in it onto the toy with `tools/flash.sh PORT --update --language …`."

    def __init__(self, language: str) -> None:
        super().__init__(f"The toy does not speak {language!r}; nothing was changed.")


class NoSuchMember(HushbearError):
    """Nobody of that name or id is in the family, as far as this phone knows."""

    code = "no-such-member"
    exit_code = 8
    hint = "Name one as `hushbear phones` or `hushbear inbox` shows it, or by its id."


class ToyBusy(HushbearError):
    """Another phone is sending, or the message is being played."""

    code = "toy-busy"
    exit_code = 9
    hint = "Wait a moment and try again."


class ToyFailed(HushbearError):
    """The toy answered that it could not do it."""

    code = "toy-failed"
    exit_code = 10
    hint = "Read the toy's crash log with `hushbear crashlog`, and try again."


class Damaged(ToyFailed):
    """A message does not match its digest, again and again."""

    code = "damaged"
    hint = "Try again; if it stays so, delete that message."


class ToyMisbehaves(HushbearError):
    """A toy that has the key said something impossible."""

    code = "misbehaves"
    exit_code = 10
    hint = "Update the toy and the companion to the same version."


class NoFamily(HushbearError):
    """A toy without a family key: nothing can be sealed for it."""

    code = "no-family"
    exit_code = 10
    hint = "Run the toy's set-up again, or pair this phone with it: `hushbear pair`."


class FirmwareTooOld(HushbearError):
    """The toy does not know a request that this companion cannot do without."""

    code = "firmware-too-old"
    exit_code = 10
    hint = "Update the toy's firmware."


class KeysUnsafe(HushbearError):
    """The keys file can be read by others, or is damaged."""

    code = "keys-unsafe"
    exit_code = 11


class NoBluetooth(HushbearError):
    """This computer's Bluetooth cannot be used."""

    code = "no-bluetooth"
    exit_code = 12
    hint = "Switch Bluetooth on and allow this program to use it."


class NoSpeech(HushbearError):
    """espeak-ng, which speaks for the toy, is not there or does not know the voice."""

    code = "no-speech"
    exit_code = 14


class NoPlayer(HushbearError):
    """No program here plays a sound."""

    code = "no-player"
    exit_code = 14
    hint = "Write it as a WAV: `hushbear play ID --out message.wav`; or set HUSHBEAR_PLAYER."


class NoRelay(HushbearError):
    """This phone uses no relay, or cannot."""

    code = "no-relay"
    exit_code = 15
    hint = "Name one that the whole family uses: `hushbear relay https://…`."


class RelayUnreachable(HushbearError):
    """The relay does not answer, or not as a relay does."""

    code = "relay-unreachable"
    exit_code = 15
    hint = "See that this computer is on the network, and try again; nothing is lost."


class RelayRefused(HushbearError):
    """The relay answered that it would not do it."""

    code = "relay-refused"
    exit_code = 15
    hint = "Wait a minute and try again."


class FarAway(HushbearError):
    """A toy that this phone was invited to, and has no key of: only the relay reaches it."""

    code = "far-away"
    exit_code = 15
    hint = "Messages go by the relay: `hushbear send`, `hushbear run`. Near it, `hushbear pair`."
