// AES-128 and AES-256 (FIPS 197), ECB and CBC, for the test targets.

#include <stdbool.h>
#include <string.h>

#include "mbedtls/aes.h"

static uint8_t sbox[256], inverse_sbox[256];
static bool ready;

static uint8_t xtime(uint8_t a) {
    return (uint8_t)(a << 1) ^ (a & 0x80 ? 0x1b : 0);
}

static uint8_t rotate(uint8_t a, int n) {
    return (uint8_t)(a << n | a >> (8 - n));
}

// p runs through all non-zero field elements as powers of 3, q through their inverses.
static void make_sboxes(void) {
    uint8_t p = 1, q = 1;
    do {
        p ^= xtime(p);
        q ^= (uint8_t)(q << 1);
        q ^= (uint8_t)(q << 2);
        q ^= (uint8_t)(q << 4);
        q ^= q & 0x80 ? 0x09 : 0;
        sbox[p] = 0x63 ^ q ^ rotate(q, 1) ^ rotate(q, 2) ^ rotate(q, 3) ^ rotate(q, 4);
    } while (p != 1);
    sbox[0] = 0x63;
    for (int i = 0; i < 256; i++) {
        inverse_sbox[sbox[i]] = (uint8_t)i;
    }
    ready = true;
}

void mbedtls_aes_init(mbedtls_aes_context *aes) {
    memset(aes, 0, sizeof(*aes));
}

int mbedtls_aes_setkey_enc(mbedtls_aes_context *aes, const uint8_t *key, unsigned bits) {
    if (!ready) {
        make_sboxes();
    }
    const int words = bits / 32;
    aes->rounds = (uint8_t)(words + 6);
    uint8_t *w = aes->keys[0];
    memcpy(w, key, bits / 8);
    uint8_t rcon = 1;
    for (int i = words; i < 4 * (aes->rounds + 1); i++) {
        uint8_t t[4];
        memcpy(t, w + 4 * (i - 1), 4);
        if (i % words == 0) {
            const uint8_t first = t[0];
            t[0] = sbox[t[1]] ^ rcon;
            t[1] = sbox[t[2]];
            t[2] = sbox[t[3]];
            t[3] = sbox[first];
            rcon = xtime(rcon);
        } else if (words > 6 && i % words == 4) {
            for (int j = 0; j < 4; j++) {
                t[j] = sbox[t[j]];
            }
        }
        for (int j = 0; j < 4; j++) {
            w[4 * i + j] = w[4 * (i - words) + j] ^ t[j];
        }
    }
    return 0;
}

int mbedtls_aes_setkey_dec(mbedtls_aes_context *aes, const uint8_t *key, unsigned bits) {
    return mbedtls_aes_setkey_enc(aes, key, bits);
}

static void add_round_key(uint8_t s[16], const uint8_t key[16]) {
    for (int i = 0; i < 16; i++) {
        s[i] ^= key[i];
    }
}

static void mix_columns(uint8_t s[16]) {
    for (uint8_t *c = s; c < s + 16; c += 4) {
        const uint8_t first = c[0], all = c[0] ^ c[1] ^ c[2] ^ c[3];
        c[0] ^= all ^ xtime(c[0] ^ c[1]);
        c[1] ^= all ^ xtime(c[1] ^ c[2]);
        c[2] ^= all ^ xtime(c[2] ^ c[3]);
        c[3] ^= all ^ xtime(c[3] ^ first);
    }
}

// The inverse is the square of the cube: mixing four times is the identity.
static void unmix_columns(uint8_t s[16]) {
    mix_columns(s);
    mix_columns(s);
    mix_columns(s);
}

static void encrypt(const mbedtls_aes_context *aes, uint8_t s[16]) {
    uint8_t t[16];
    add_round_key(s, aes->keys[0]);
    for (int round = 1; round <= aes->rounds; round++) {
        for (int i = 0; i < 16; i++) {
            t[i] = sbox[s[(5 * i) % 16]];
        }
        if (round < aes->rounds) {
            mix_columns(t);
        }
        memcpy(s, t, 16);
        add_round_key(s, aes->keys[round]);
    }
}

static void decrypt(const mbedtls_aes_context *aes, uint8_t s[16]) {
    uint8_t t[16];
    for (int round = aes->rounds; round > 0; round--) {
        add_round_key(s, aes->keys[round]);
        if (round < aes->rounds) {
            unmix_columns(s);
        }
        for (int i = 0; i < 16; i++) {
            t[(5 * i) % 16] = inverse_sbox[s[i]];
        }
        memcpy(s, t, 16);
    }
    add_round_key(s, aes->keys[0]);
}

int mbedtls_aes_crypt_ecb(mbedtls_aes_context *aes, int mode, const uint8_t in[16], uint8_t out[16]) {
    uint8_t s[16];
    memcpy(s, in, 16);
    (mode == MBEDTLS_AES_ENCRYPT ? encrypt : decrypt)(aes, s);
    memcpy(out, s, 16);
    return 0;
}

int mbedtls_aes_crypt_cbc(mbedtls_aes_context *aes, int mode, size_t size, uint8_t iv[16],
    const uint8_t *in, uint8_t *out) {
    for (size_t at = 0; at < size; at += 16) {
        uint8_t s[16], next[16];
        memcpy(s, in + at, 16);
        memcpy(next, s, 16);
        if (mode == MBEDTLS_AES_ENCRYPT) {
            add_round_key(s, iv);
            encrypt(aes, s);
            memcpy(next, s, 16);
        } else {
            decrypt(aes, s);
            add_round_key(s, iv);
        }
        memcpy(iv, next, 16);
        memcpy(out + at, s, 16);
    }
    return 0;
}
