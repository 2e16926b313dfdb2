"""The client: typed, for each thing that the API knows, and what keeps messages from being lost.

errors           what a caller handles differently
http             one relay: signed requests, its clock, its problems
mailbox          an owner's mailbox, and a member's way into somebody else's
rendezvous       a numbered channel for an invitation
envelope         messages and receipts, sealed between two, alike from outside
ledger           what was sent and not confirmed, and what has arrived, on this disk
correspondence   all of it: what is sent arrives, once, whatever happens to the relay
"""
