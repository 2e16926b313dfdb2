"""The phone's side of Hushbear: find a toy, talk to it, send and fetch voice messages.

    link, keystore       the key of a toy: from the link that set-up printed to a private file
    transport            Bluetooth by bleak, or by any backend of bleak's
    framing, noise, records, session
                         bytes → frames → sealed records → one conversation
    client               requests and transfers, resumed after a lost link
    audio, adpcm, message
                         a sound file → samples → blocks → a message, and back to WAV
    recordings, outbox, partfile
                         what is on its way, safe on this disk
    inbox, delivery, members, player
                         what other members send: heard here, approved, brought to the toy
    cli, output          the `hushbear` command

`hushbear.wire` and `hushbear.container` of the device library are the layouts that both sides use.
"""
