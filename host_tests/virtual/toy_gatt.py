"""The GATT table of a toy: what a phone finds there, and may read and write.

Bumble leaves permissions to the values, so every value here refuses what its flags do not allow,
as the NimBLE host does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from bumble import att, gatt
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt_server import Server

FLAG_READ, FLAG_WRITE_NO_RESPONSE, FLAG_WRITE, FLAG_INDICATE = 0x02, 0x04, 0x08, 0x20
PROPERTIES = 0xFF  # the rest of the flags say what security a characteristic wants
ACCESSIBLE = att.Attribute.READABLE | att.Attribute.WRITEABLE

Read: TypeAlias = Callable[[Connection, int], bytes | Awaitable[bytes]]  # connection, handle
Write: TypeAlias = Callable[[Connection, int, bytes], Awaitable[object]]


class Table:
    """What is registered. `read` and `write` are called with the handles that are permitted;
    the answer to the phone waits for what they return."""

    def __init__(self, server: Server, read: Read, write: Write) -> None:
        self._server = server
        self._read = read
        self._write = write
        self.name = b""  # of the device, in the GAP service

    def publish(self, services: list[gatt.Service]) -> None:
        """Make these, after the two that are always there, the whole table."""
        server = self._server
        server.services.clear()
        server.attributes.clear()
        server.attributes_by_handle.clear()
        name = self._characteristic(
            gatt.GATT_DEVICE_NAME_CHARACTERISTIC, FLAG_READ, lambda *_: self.name
        )
        appearance = self._characteristic(
            gatt.GATT_APPEARANCE_CHARACTERISTIC, FLAG_READ, lambda *_: bytes(2)
        )
        changed = self._characteristic(gatt.GATT_SERVICE_CHANGED_CHARACTERISTIC, FLAG_INDICATE)
        server.add_services(
            [
                gatt.Service(gatt.GATT_GENERIC_ACCESS_SERVICE, [name, appearance]),
                gatt.Service(gatt.GATT_GENERIC_ATTRIBUTE_SERVICE, [changed]),
                *services,
            ]
        )
        for attribute in server.attributes:
            if isinstance(attribute.value, bytes):  # a declaration
                attribute.value = att.AttributeValue(
                    read=lambda _, value=attribute.value: value, write=_not_permitted
                )

    def parse(self, data: bytes) -> tuple[list[gatt.Service], list[att.Attribute]]:
        """Read a REGISTER call: the services, and the attributes whose handles it wants, in
        order."""
        at = 0

        def take(count: int) -> bytes:
            nonlocal at
            at += count
            return data[at - count : at]

        def entry() -> tuple[UUID, int]:
            uuid = UUID.from_bytes(take(take(1)[0]))
            return uuid, int.from_bytes(take(2), "little")

        services: list[gatt.Service] = []
        attributes: list[att.Attribute] = []
        for _ in range(take(1)[0]):
            service_uuid, count = entry()
            characteristics = []
            for _ in range(count):
                characteristic = self._characteristic(*entry())
                attributes.append(characteristic)
                descriptors = [self._descriptor(*entry()) for _ in range(take(1)[0])]
                attributes += descriptors
                characteristic.descriptors = descriptors
                characteristics.append(characteristic)
            services.append(gatt.Service(service_uuid, characteristics))
        return services, attributes

    def _characteristic(
        self, uuid: UUID, flags: int, read: Read | None = None
    ) -> gatt.Characteristic:
        properties = gatt.Characteristic.Properties(flags & PROPERTIES)
        characteristic = gatt.Characteristic(uuid, properties, ACCESSIBLE)
        self._give_value(characteristic, flags, read)
        return characteristic

    def _descriptor(self, uuid: UUID, flags: int) -> gatt.Descriptor:
        descriptor = gatt.Descriptor(uuid, ACCESSIBLE)
        self._give_value(descriptor, flags)
        return descriptor

    def _give_value(self, attribute: att.Attribute, flags: int, read: Read | None = None) -> None:
        def permitted_read(connection: Connection) -> bytes | Awaitable[bytes]:
            if not flags & FLAG_READ:
                raise att.ATT_Error(error_code=att.ATT_READ_NOT_PERMITTED_ERROR)
            return (read or self._read)(connection, attribute.handle)

        def permitted_write(connection: Connection, value: bytes) -> Awaitable[object]:
            if not flags & (FLAG_WRITE | FLAG_WRITE_NO_RESPONSE):
                _not_permitted(connection, value)
            return self._write(connection, attribute.handle, value)

        attribute.value = att.AttributeValue(read=permitted_read, write=permitted_write)


def _not_permitted(_connection: Connection, _value: bytes) -> None:
    raise att.ATT_Error(error_code=att.ATT_WRITE_NOT_PERMITTED_ERROR)
