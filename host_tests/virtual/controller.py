"""A Bluetooth LE controller on the virtual air: bumble's, with time and distance added.

Bumble's own sends data from its random address whichever it was connected by, repeats the
advertisement as the scan response, and completes and delivers everything at once. Here a packet
belongs to a connection rather than to an address, is delivered by the air at a connection event,
and gives its buffer back to the host only then: that is what makes hosts feel back-pressure.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bumble import hci, ll
from bumble.controller import Connection, Controller, LegacyAdvertiser
from bumble.core import PhysicalTransport

from .air import Advertisement, Air, Packet

if TYPE_CHECKING:
    from .air import AirConnection

ADVERTISING_UNIT = 0.000625  # s
ADVERTISING_DELAY = 0.010  # s, at most: each advertising event comes a random bit late
INTERVAL_UNIT = 0.00125  # s
TIMEOUT_UNIT = 0.01  # s
Advertising = hci.HCI_LE_Set_Advertising_Parameters_Command.AdvertisingType
Report = hci.HCI_LE_Advertising_Report_Event


class End(Connection):  # type: ignore[misc]
    """One end of a connection, as its controller sees it."""

    def __init__(self, air: AirConnection, **fields: Any) -> None:
        super().__init__(**fields)
        self.air = air
        self.queue: deque[Packet] = deque()
        self._ending = False
        self._pdu = bytearray()  # L2CAP PDU being sent, as far as it has crossed

    def can_receive(self, waiting: int) -> bool:
        return self.controller.can_receive is None or self.controller.can_receive(waiting)

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        self._enqueue(packet)

    def send_ll_control_pdu(self, packet: ll.ControlPdu) -> None:
        self._enqueue(packet)

    def _enqueue(self, packet: Packet) -> None:
        if not self._ending:
            self.queue.append(packet)
            self._ending = isinstance(packet, ll.TerminateInd)
            self.air.wake()

    def sent(self, packets: deque[Packet]) -> None:
        """The peer's radio has acknowledged these."""
        data = [packet for packet in packets if isinstance(packet, hci.HCI_AclDataPacket)]
        if data:
            self.controller.send_hci_packet(
                hci.HCI_Number_Of_Completed_Packets_Event(
                    connection_handles=[self.handle], num_completed_packets=[len(data)]
                )
            )
        for packet in data:
            self._pdu += packet.data
            size = 4 + int.from_bytes(self._pdu[:2], "little")
            if len(self._pdu) >= size:
                if self.controller.on_pdu_sent is not None:
                    self.controller.on_pdu_sent(self.handle, bytes(self._pdu))
                self._pdu.clear()
        if isinstance(packets[-1], ll.TerminateInd):
            self.lost(hci.HCI_ErrorCode.CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR)

    def receive(self, packets: deque[Packet]) -> None:
        if self.controller.le_connections.get(self.peer_address) is not self:
            return
        for packet in packets:
            if isinstance(packet, ll.TerminateInd):
                self.air.close()
                self.lost(packet.error_code)
            elif isinstance(packet, ll.ControlPdu):
                if isinstance(packet, ll.ConnectionUpdateInd):
                    self.air.set_interval(packet.interval * INTERVAL_UNIT)
                self.controller.on_ll_control_pdu(self.peer_address, packet)
            else:
                first = packet.pb_flag != 1
                self.controller.send_hci_packet(
                    hci.HCI_AclDataPacket(
                        self.handle, 2 if first else 1, 0, len(packet.data), packet.data
                    )
                )

    def lost(self, reason: int) -> None:
        """Tell the host that the connection is over."""
        self.queue.clear()
        self._ending = True
        if self.controller.le_connections.get(self.peer_address) is self:
            self.controller.on_le_disconnected(self, reason)


class AirAdvertiser(LegacyAdvertiser):  # type: ignore[misc]
    """Advertises at the interval that was asked for, plus the random delay of the standard."""

    def _on_timer_fired(self) -> None:
        controller = self.controller
        self.timer_handle = asyncio.get_running_loop().call_later(
            self.advertising_interval_min * ADVERTISING_UNIT
            + controller.link.random.uniform(0, ADVERTISING_DELAY),
            self._on_timer_fired,
        )
        controller.send_advertising_pdu(
            Advertisement(
                advertiser_address=self.address,
                data=self.advertising_data,
                sender=controller,
                scan_response=self.scan_response_data,
                connectable=self.advertising_type == Advertising.ADV_IND,
            )
        )


class AirController(Controller):  # type: ignore[misc]
    """A controller of the Bluetooth 4.2 kind, as in the ESP32: legacy advertising, 1M PHY."""

    link: Air

    le_features = (
        hci.LeFeatureMask.LE_ENCRYPTION
        | hci.LeFeatureMask.CONNECTION_PARAMETERS_REQUEST_PROCEDURE
        | hci.LeFeatureMask.PERIPHERAL_INITIATED_FEATURE_EXCHANGE
        | hci.LeFeatureMask.LE_DATA_PACKET_LENGTH_EXTENSION
    )

    def __init__(
        self,
        name: str,
        air: Air,
        *,
        host_source: Any = None,
        host_sink: Any = None,
        interval: float | None = None,
        buffers: int = 10,
    ) -> None:
        """`interval` is what this controller asks for as a central, if not the air's;
        `buffers` is how many packets it takes from its host before some have crossed."""
        identity = air.random_address()
        super().__init__(
            name,
            host_source=host_source,
            host_sink=host_sink,
            link=air,
            public_address=hci.Address(bytes(identity), hci.Address.PUBLIC_DEVICE_ADDRESS),
        )
        self.interval = interval
        self.in_range = True
        self.capacity = 8  # connections at once
        self.can_receive: Callable[[int], bool] | None = None  # given how many are on the way
        self.on_pdu_sent: Callable[[int, bytes], None] | None = None  # handle, L2CAP PDU
        self.le_acl_data_packet_length = air.model.payload
        self.total_num_le_acl_data_packets = buffers
        self.le_legacy_advertiser = AirAdvertiser(self)

    def silence(self) -> None:
        """The radio stops at once: its host loses the connections now, the peers in time."""
        self.le_legacy_advertiser.stop()
        self.pending_le_connection = None
        self.le_scan_enable = False
        for connection in list(self.link.connections):
            for end in (connection.central, connection.peripheral):
                if end.controller is self:
                    end.lost(hci.HCI_ErrorCode.CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR)
                    connection.gone = True
                    connection.range_changed()

    def leave(self) -> None:
        """The connections are ended properly, as an operating system does for its programs."""
        self.le_legacy_advertiser.stop()
        self.pending_le_connection = None
        self.le_scan_enable = False
        for end in list(self.le_connections.values()):
            end.send_ll_control_pdu(
                ll.TerminateInd(hci.HCI_ErrorCode.REMOTE_USER_TERMINATED_CONNECTION_ERROR)
            )

    # Advertising and scanning

    def on_advertising_pdu(self, pdu: Advertisement) -> None:
        if self.le_scan_enable:
            kind = (
                Report.EventType.ADV_IND if pdu.connectable else Report.EventType.ADV_NONCONN_IND
            )
            self._report(pdu, kind, pdu.data)
            if self.le_scan_type and pdu.connectable:  # active: it asks for the scan response
                self._report(pdu, Report.EventType.SCAN_RSP, pdu.scan_response)
        pending = self.pending_le_connection
        if (
            pending is not None
            and pending.peer_address == pdu.advertiser_address
            and pdu.connectable
            and pdu.advertiser_address not in self.le_connections
            and self._own_address(pending) not in pdu.sender.le_connections
            and pdu.sender.le_legacy_advertiser.enabled
            and len(pdu.sender.le_connections) < pdu.sender.capacity
        ):
            self.link.connect(self, pdu)

    def _report(self, pdu: Advertisement, kind: int, data: bytes) -> None:
        self.send_hci_packet(
            Report(
                [
                    Report.Report(
                        event_type=kind,
                        address_type=pdu.advertiser_address.address_type,
                        address=pdu.advertiser_address,
                        data=data,
                        rssi=self.link.model.rssi + self.link.random.randint(-3, 3),
                    )
                ]
            )
        )

    # Connections

    def _own_address(self, pending: Any) -> hci.Address:
        public = pending.own_address_type == hci.OwnAddressType.PUBLIC
        return self.public_address if public else self.random_address

    def open_central_end(self, air: AirConnection, peer_address: hci.Address) -> End:
        own_address = self._own_address(self.pending_le_connection)
        self.pending_le_connection = None
        return self._open_end(air, hci.Role.CENTRAL, own_address, peer_address)

    def open_peripheral_end(
        self, air: AirConnection, own_address: hci.Address, peer_address: hci.Address
    ) -> End:
        self.le_legacy_advertiser.stop()
        return self._open_end(air, hci.Role.PERIPHERAL, own_address, peer_address)

    def _open_end(
        self, air: AirConnection, role: hci.Role, own: hci.Address, peer: hci.Address
    ) -> End:
        end = End(
            controller=self,
            handle=self.allocate_connection_handle(),
            role=role,
            self_address=own,
            peer_address=peer,
            link=self.link,
            transport=PhysicalTransport.LE,
            link_type=hci.HCI_Connection_Complete_Event.LinkType.ACL,
            air=air,
        )
        self.le_connections[peer] = end
        self.send_hci_packet(
            hci.HCI_LE_Connection_Complete_Event(
                status=hci.HCI_ErrorCode.SUCCESS,
                connection_handle=end.handle,
                role=role,
                peer_address_type=peer.address_type,
                peer_address=peer,
                connection_interval=round(air.interval / INTERVAL_UNIT),
                peripheral_latency=0,
                supervision_timeout=round(air.supervision_timeout / TIMEOUT_UNIT),
                central_clock_accuracy=0,
            )
        )
        return end

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        if (pending := self.pending_le_connection) is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        self.pending_le_connection = None
        event = hci.HCI_LE_Connection_Complete_Event(
            status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            connection_handle=0,
            role=hci.Role.CENTRAL,
            peer_address_type=pending.peer_address.address_type,
            peer_address=pending.peer_address,
            connection_interval=0,
            peripheral_latency=0,
            supervision_timeout=0,
            central_clock_accuracy=0,
        )
        asyncio.get_running_loop().call_soon(self.send_hci_packet, event)
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_disconnect_command(self, command: hci.HCI_Disconnect_Command) -> None:
        end = self.find_le_connection_by_handle(command.connection_handle)
        if end is None:
            self._send_hci_command_status(
                hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, command.op_code
            )
            return
        self._send_hci_command_status(hci.HCI_COMMAND_STATUS_PENDING, command.op_code)
        end.send_ll_control_pdu(ll.TerminateInd(command.reason))
