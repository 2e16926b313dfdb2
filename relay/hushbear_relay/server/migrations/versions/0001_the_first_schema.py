"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "loose_objects",
        sa.Column("object", sa.LargeBinary(length=16), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("object", name=op.f("pk_loose_objects")),
    )
    op.create_index("ix_loose_objects_due", "loose_objects", ["due"], unique=False)
    op.create_table(
        "mailboxes",
        sa.Column("id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailboxes")),
    )
    op.create_index("ix_mailboxes_seen", "mailboxes", ["seen"], unique=False)
    op.create_table(
        "nonces",
        sa.Column("nonce", sa.LargeBinary(length=16), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_nonces")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_nonces_expires", "nonces", ["expires"], unique=False)
    op.create_table(
        "rendezvous",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first", sa.LargeBinary(length=32), nullable=False),
        sa.Column("second", sa.LargeBinary(length=32), nullable=True),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rendezvous")),
        sa.UniqueConstraint("first", name=op.f("uq_rendezvous_first")),
    )
    op.create_index("ix_rendezvous_expires", "rendezvous", ["expires"], unique=False)
    op.create_table(
        "tallies",
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.SmallInteger(), nullable=False),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "what", "source", name=op.f("pk_tallies")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "members",
        sa.Column("mailbox", sa.LargeBinary(length=32), nullable=False),
        sa.Column("id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["mailbox"], ["mailboxes.id"], name=op.f("fk_members_mailbox"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("mailbox", "id", name=op.f("pk_members")),
    )
    op.create_table(
        "messages",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("mailbox", sa.LargeBinary(length=32), nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("member", sa.LargeBinary(length=32), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("object", sa.LargeBinary(length=16), nullable=True),
        sa.ForeignKeyConstraint(
            ["mailbox"], ["mailboxes.id"], name=op.f("fk_messages_mailbox"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_messages")),
        sa.UniqueConstraint("mailbox", "id", name=op.f("uq_messages_mailbox")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_expires", "messages", ["expires"], unique=False)
    op.create_index("ix_messages_position", "messages", ["mailbox", "position"], unique=False)
    op.create_table(
        "rendezvous_messages",
        sa.Column("rendezvous", sa.Integer(), nullable=False),
        sa.Column("of_first", sa.Boolean(), nullable=False),
        sa.Column("place", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rendezvous"],
            ["rendezvous.number"],
            name=op.f("fk_rendezvous_messages_rendezvous"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "rendezvous", "of_first", "place", name=op.f("pk_rendezvous_messages")
        ),
    )
    op.create_table(
        "bodies",
        sa.Column("message", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message"], ["messages.number"], name=op.f("fk_bodies_message"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message", name=op.f("pk_bodies")),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE bodies ALTER COLUMN body SET STORAGE EXTERNAL")  # ciphertext


def downgrade() -> None:
    op.drop_table("bodies")
    op.drop_table("rendezvous_messages")
    op.drop_index("ix_messages_position", table_name="messages")
    op.drop_index("ix_messages_expires", table_name="messages")
    op.drop_table("messages")
    op.drop_table("members")
    op.drop_table("tallies")
    op.drop_index("ix_rendezvous_expires", table_name="rendezvous")
    op.drop_table("rendezvous")
    op.drop_index("ix_nonces_expires", table_name="nonces")
    op.drop_table("nonces")
    op.drop_index("ix_mailboxes_seen", table_name="mailboxes")
    op.drop_table("mailboxes")
    op.drop_index("ix_loose_objects_due", table_name="loose_objects")
    op.drop_table("loose_objects")
