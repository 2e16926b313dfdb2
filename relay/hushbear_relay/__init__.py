"""The relay: keeps sealed messages until they are fetched, and can read none of them.

    names      mailboxes, members, messages: what they are called, and by which hash
    signing    requests signed by HTTP Message Signatures (RFC 9421), on both sides
    problems   what can be wrong, as problem details (RFC 9457), on both sides
    client     a mailbox's owner and those who write to it; needs no server installed
    server     the service and the `hushbear-relay` command

docs/relay.md says what the relay promises, to whom, and how to run one.
"""
