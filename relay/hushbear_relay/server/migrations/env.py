"""Alembic's entry: the connection comes from Database.prepare, or the URL from -x url=…"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from hushbear_relay.server.schema import metadata


def _run(connection: sa.Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata)
    context.run_migrations()


if (given := context.config.attributes.get("connection")) is not None:
    _run(given)
else:
    url = context.get_x_argument(as_dictionary=True)["url"]
    with sa.create_engine(url).begin() as opened:
        _run(opened)
