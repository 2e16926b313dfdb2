// The part of Mbed TLS's AES interface that MicroPython's cryptolib calls. It stands in for the
// library, which Debian has for neither 32-bit target: no foreign architecture, nothing more to
// fetch. Small, not fast, not constant in time: for tests only.

#include <stddef.h>
#include <stdint.h>

#define MBEDTLS_AES_DECRYPT (0)
#define MBEDTLS_AES_ENCRYPT (1)

typedef struct {
    uint8_t rounds;
    uint8_t keys[15][16];
} mbedtls_aes_context;

void mbedtls_aes_init(mbedtls_aes_context *aes);
int mbedtls_aes_setkey_enc(mbedtls_aes_context *aes, const uint8_t *key, unsigned bits);
int mbedtls_aes_setkey_dec(mbedtls_aes_context *aes, const uint8_t *key, unsigned bits);
int mbedtls_aes_crypt_ecb(mbedtls_aes_context *aes, int mode, const uint8_t in[16], uint8_t out[16]);
int mbedtls_aes_crypt_cbc(mbedtls_aes_context *aes, int mode, size_t size, uint8_t iv[16],
    const uint8_t *in, uint8_t *out);
