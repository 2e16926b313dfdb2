"""The tables. What is in them is all that the relay knows: hashes, sizes, times, and bodies.

Names are the bytes of names.py. Times are Unix seconds; `position` and `last` are microseconds,
raised where the clock did not move, so that a mailbox that was restored from a backup goes on
above whatever position its owner has seen. Counters stand beside what they count: no request adds
up rows.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows by itself only in a column that is INTEGER to the letter.
_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

mailboxes = sa.Table(
    "mailboxes",
    metadata,
    sa.Column("id", sa.LargeBinary(32), primary_key=True),
    sa.Column("seen", sa.Integer, nullable=False),  # the day on which the owner last came
    sa.Column("last", sa.BigInteger, nullable=False),  # position of the newest message
    sa.Column("messages", sa.Integer, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Index("ix_mailboxes_seen", "seen"),
)

members = sa.Table(
    "members",
    metadata,
    sa.Column("mailbox", sa.ForeignKey("mailboxes.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("id", sa.LargeBinary(32), primary_key=True),
    sa.Column("messages", sa.Integer, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("number", _Number, primary_key=True, autoincrement=True),
    sa.Column("mailbox", sa.ForeignKey("mailboxes.id", ondelete="CASCADE"), nullable=False),
    sa.Column("id", sa.LargeBinary(16), nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("member", sa.LargeBinary(32), nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),  # SHA-256 of the body
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Column("object", sa.LargeBinary(16)),  # where the body is in S3; else it is in `bodies`
    sa.UniqueConstraint("mailbox", "id"),
    sa.Index("ix_messages_position", "mailbox", "position"),
    sa.Index("ix_messages_expires", "expires"),
    sqlite_autoincrement=True,  # a number is never used again
)

bodies = sa.Table(
    "bodies",
    metadata,
    sa.Column("message", sa.ForeignKey("messages.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),  # ciphertext: not worth compressing
)

# Objects in S3 that no message has: being uploaded, or left behind. Purging deletes those due.
loose = sa.Table(
    "loose_objects",
    metadata,
    sa.Column("object", sa.LargeBinary(16), primary_key=True),
    sa.Column("due", sa.BigInteger, nullable=False),  # from when on it may be deleted
    sa.Index("ix_loose_objects_due", "due"),
)

# Signed requests that have come, by a hash of key and nonce, for as long as they could be replayed
nonces = sa.Table(
    "nonces",
    metadata,
    sa.Column("nonce", sa.LargeBinary(16), primary_key=True),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Index("ix_nonces_expires", "expires"),
    sqlite_with_rowid=False,
)

# How often something came in a minute from one of 65,536 groups of sources: see guard.py
tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("minute", sa.BigInteger, primary_key=True),
    sa.Column("what", sa.SmallInteger, primary_key=True),
    sa.Column("source", sa.Integer, primary_key=True),
    sa.Column("times", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

rendezvous = sa.Table(
    "rendezvous",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("first", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("second", sa.LargeBinary(32)),
    sa.Column("closed", sa.Boolean, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Index("ix_rendezvous_expires", "expires"),
)

rendezvous_messages = sa.Table(
    "rendezvous_messages",
    metadata,
    sa.Column(
        "rendezvous", sa.ForeignKey("rendezvous.number", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("of_first", sa.Boolean, primary_key=True),
    sa.Column("place", sa.SmallInteger, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
