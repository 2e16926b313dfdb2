"""The toy's cryptography: standard constructions on what official firmware offers.

Kernels without I/O: x25519 on Python integers, gcm on cryptolib's AES, kdf on hashlib's SHA-256,
noise on those three. Import the module that is needed; this package imports none of them.
"""
