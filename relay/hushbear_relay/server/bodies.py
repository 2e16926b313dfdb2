"""Where message bodies are: in the database, in the transaction of their message, or in an
S3-compatible store (boto3), under random names.

An object is written before its message is committed, and deleted after. In between it is in
`loose_objects`, so whatever is killed when, no object is forgotten.
"""

from __future__ import annotations

import os
import time
from typing import Any, cast

import sqlalchemy as sa

from .database import Database
from .errors import RelayError
from .schema import loose
from .settings import Settings

OBJECT_SIZE = 16
UPLOAD_SECONDS = 3600  # after which an object without a message is given up
_AT_ONCE = 1000  # objects that S3 deletes in one request


class StoreFailed(Exception):
    """The store of bodies did not do what it was asked."""


class S3:
    """Bodies as objects in one bucket. Methods block, and may be called from any thread."""

    def __init__(self, settings: Settings) -> None:
        try:
            import boto3
            import botocore.config
        except ImportError:
            raise RelayError(
                "Bodies in S3 need boto3.", "Install it: pip install 'hushbear-relay[s3]'."
            ) from None
        self._bucket = settings.s3_bucket
        self._prefix = settings.s3_prefix
        self._client = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            region_name=settings.s3_region,
            config=botocore.config.Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=settings.threads,
                request_checksum_calculation="when_required",  # not every store knows them
                response_checksum_validation="when_required",
            ),
        )

    def check(self) -> None:
        """Raise RelayError unless the bucket is there and may be written to."""
        name = os.urandom(OBJECT_SIZE)
        try:
            self.put(name, b"check")
            self.delete([name])
        except StoreFailed as error:
            raise RelayError(f"The bucket {self._bucket} cannot be used: {error}.") from None

    def put(self, name: bytes, body: bytes) -> None:
        """Store an object; raises StoreFailed."""
        self._ask("put_object", Key=self._key(name), Body=body)

    def get(self, name: bytes) -> bytes | None:
        """Return an object, or None if there is none; raises StoreFailed."""
        found = self._ask("get_object", Key=self._key(name))
        if found is None:
            return None
        try:
            return cast(bytes, found["Body"].read())
        except Exception as error:
            raise StoreFailed(type(error).__name__) from error

    def delete(self, names: list[bytes]) -> None:
        """Delete objects, there or not; raises StoreFailed."""
        for at in range(0, len(names), _AT_ONCE):
            keys = [{"Key": self._key(name)} for name in names[at : at + _AT_ONCE]]
            answer = self._ask("delete_objects", Delete={"Objects": keys, "Quiet": True})
            if answer and answer.get("Errors"):
                raise StoreFailed(str(answer["Errors"][0].get("Code")))

    def _key(self, name: bytes) -> str:
        return self._prefix + name.hex()

    def _ask(self, what: str, **arguments: Any) -> Any:
        import botocore.exceptions

        try:
            return getattr(self._client, what)(Bucket=self._bucket, **arguments)
        except botocore.exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("NoSuchKey", "404") and what == "get_object":
                return None
            raise StoreFailed(code) from error
        except botocore.exceptions.BotoCoreError as error:
            raise StoreFailed(type(error).__name__) from error


def open_store(settings: Settings) -> S3 | None:
    """Return the S3 store that the settings name, or None if bodies are in the database."""
    return S3(settings) if settings.bodies == "s3" else None


def note(connection: sa.Connection, now: int) -> bytes:
    """Return the name of an object that is going to be written, and note it as loose."""
    name = os.urandom(OBJECT_SIZE)
    connection.execute(loose.insert().values(object=name, due=now + UPLOAD_SECONDS))
    return name


def clear(database: Database, store: S3, limit: int = _AT_ONCE) -> int:
    """Delete up to `limit` objects that no message has, and say how many."""
    now = int(time.time())
    with database.writing() as connection:
        due = sa.select(loose.c.object).where(loose.c.due <= now).limit(limit)
        names = list(connection.execute(due.with_for_update(skip_locked=True)).scalars())
        if names:
            store.delete(names)
            connection.execute(loose.delete().where(loose.c.object.in_(names)))
    return len(names)
