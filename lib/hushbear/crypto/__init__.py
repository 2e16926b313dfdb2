"""The toy's cryptography: standard constructions on what official firmware offers.

Kernels without I/O: x25519 and sha512 in viper, gcm on cryptolib's AES, kdf on hashlib's SHA-256;
noise on x25519, gcm and kdf, for each session; cpace on x25519 and sha512, for pairing. Import the
module that is needed; this package imports none of them.
"""
