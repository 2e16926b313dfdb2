"""What a request costs does not grow with what is stored: no statement of any request reads a
whole table, whatever is in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from host_tests.relay.people import Person
from host_tests.relay.running import served, settings
from hushbear_relay.client.http import Relay
from hushbear_relay.client.rendezvous import Rendezvous
from hushbear_relay.server import upkeep

# How many numbers are taken is counted among the invitations of ten minutes; a newest number is
# looked up at the end of its index.
_ALLOWED = ("count(*) AS count_1 \nFROM rendezvous", "max(messages.number)")


async def test_no_request_reads_a_whole_table(tmp_path: Path) -> None:
    asked: dict[str, Any] = {}
    async with served(settings(tmp_path / "relay")) as (url, service):

        @sa.event.listens_for(service.database.engine, "before_cursor_execute")
        def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
            asked[statement] = parameters

        async with Relay(url) as relay:
            owner, member, gone = (Person(relay) for _ in range(3))
            message = os.urandom(16)
            await owner.mailbox.put([member.member_at(owner), gone.member_at(owner)])
            await owner.mailbox.put([member.member_at(owner)])
            await member.at(owner).put(message, b"x")
            await member.at(owner).put(message, b"x")
            assert await member.at(owner).has(message)
            await owner.mailbox.list(wait=1)
            await owner.mailbox.get(message)
            await member.at(owner).withdraw(message)
            await owner.mailbox.remove(message)
            begun = await Rendezvous.begin(relay)
            await Rendezvous.join(relay, begun.number).send(b"x")
            await begun.receive(5)
            await begun.close()
            await owner.mailbox.delete()
        upkeep.purge(service.database, None, service.settings)
        plans = {}
        with service.database.reading() as connection:
            for statement, parameters in list(asked.items()):
                if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                    rows = connection.exec_driver_sql(
                        f"EXPLAIN QUERY PLAN {statement}", parameters
                    )
                    plans[statement] = [row[3] for row in rows]
    assert len(plans) > 25
    for statement, plan in plans.items():
        if not any(allowed in statement for allowed in _ALLOWED):
            scans = [step for step in plan if step.startswith("SCAN") and "USING" not in step]
            assert not scans or scans == ["SCAN anon_1"], f"{statement}: {plan}"
