// Mbed TLS as far as MicroPython's cryptolib calls it: AES in plain C, single blocks and CBC.

#define MBEDTLS_AES_C
#define MBEDTLS_CIPHER_MODE_CBC
