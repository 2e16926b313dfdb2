# What bluetooth.py here and toy_ble.py on the host say to each other: one op a frame on the BLE
# channel. All integers are little-endian; a UUID is its length, then its bytes.

# Calls from the device. The answer starts with an errno as MicroPython raises it (<h), 0 = done.
ACTIVE = 0x01  # <B on
SET = 0x02  # <B what, then the value
ADVERTISE = 0x03  # <iBbb interval in us (-1 = stop), connectable, two sizes (-1 = as before)
DISCONNECT = 0x04  # <H conn
REGISTER = 0x05  # services; the answer goes on with the handles, <H each
NOTIFY = 0x06  # <HH conn, handle; value
INDICATE = 0x07  # <HH conn, handle; value
UPDATED = 0x08  # <H handle; value, for whoever subscribed
ADDRESS = 0x09  # the answer goes on with <B type, 6 bytes

MTU, ADDR_MODE, GAP_NAME = 0, 1, 2  # what SET sets: <H, <B, name

# Events to the device, in order. To each the device sends DONE when its handler has returned:
# <B what the handler made of it (ATT error of a READ, else 0), then the value that READ asked for.
DONE = 0x0F
CONNECTED = 0x20  # <HB6s conn, address type, address
DISCONNECTED = 0x21  # <HB6s
WRITTEN = 0x22  # <HH conn, handle; value
READ = 0x23  # <HH conn, handle
MTU_EXCHANGED = 0x24  # <HH conn, mtu
INDICATED = 0x25  # <HHB conn, handle, status
UPDATE = 0x26  # <HHHHH conn, interval, latency, timeout, status
ENCRYPTED = 0x27  # <HBBBB conn, encrypted, authenticated, bonded, key size
