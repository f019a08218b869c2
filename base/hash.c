/* CRC32C over ISA-L, SHA-256 over OpenSSL. */
#include "base/hash.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include <isa-l/crc.h>
#include <openssl/evp.h>

/*
 * ISA-L computes the bare remainder: the inversions at both ends are ours. It takes an int for the
 * size, and a pointer to bytes that it only reads.
 */
uint32_t base_crc32c(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *pos = data;

    crc = ~crc;
    while (size > 0) {
        int part = size > INT_MAX ? INT_MAX : (int)size;

        crc = crc32_iscsi((unsigned char *)(uintptr_t)pos, part, crc);
        pos += part;
        size -= (size_t)part;
    }
    return ~crc;
}

/* The Castagnoli polynomial, reflected: bit 31 is x^0. */
#define POLYNOMIAL UINT32_C(0x82f63b78)

/* shift_bytes[k] is x^(8 * 2^k) modulo the polynomial: the effect of 2^k bytes of zeros. */
static const uint32_t shift_bytes[64] = {
    0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
    0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
    0xfe7740e6, 0xf946610b, 0x3c204f8f, 0x538586e3, 0x59726915, 0x734d5309, 0xbc1ac763, 0x7d0722cc,
    0xd289cabe, 0xe94ca9bc, 0x05b74f3f, 0xa51e1f42, 0x40000000, 0x20000000, 0x08000000, 0x00800000,
    0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7, 0x88e56f72,
    0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc, 0xfe7740e6,
    0xf946610b, 0x3c204f8f, 0x538586e3, 0x59726915, 0x734d5309, 0xbc1ac763, 0x7d0722cc, 0xd289cabe,
    0xe94ca9bc, 0x05b74f3f, 0xa51e1f42, 0x40000000, 0x20000000, 0x08000000, 0x00800000, 0x00008000,
};

/* a * b modulo the polynomial. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (uint32_t bit = UINT32_C(1) << 31; bit; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
    }
    return product;
}

/* A followed by B is A shifted by size_b bytes, plus B; the inversions cancel out. */
uint32_t base_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b)
{
    for (unsigned k = 0; size_b; k++, size_b >>= 1) {
        if (size_b & 1)
            crc_a = multiply(shift_bytes[k], crc_a);
    }
    return crc_a ^ crc_b;
}

struct base_sha256 {
    EVP_MD_CTX *ctx;
};

/* Fetching walks the providers under locks, so it is done once; the algorithm lives as long as the
 * process. NULL when it could not be had. */
static EVP_MD *sha256_md;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void sha256_fetch(void)
{
    sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
}

struct base_sha256 *base_sha256_new(void)
{
    struct base_sha256 *h;

    pthread_once(&sha256_once, sha256_fetch);
    if (!sha256_md)
        return NULL;
    h = malloc(sizeof(*h));
    if (!h)
        return NULL;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || !EVP_DigestInit_ex2(h->ctx, sha256_md, NULL))
        return base_sha256_free(h);
    return h;
}

struct base_sha256 *base_sha256_free(struct base_sha256 *h)
{
    if (h)
        EVP_MD_CTX_free(h->ctx);
    free(h);
    return NULL;
}

/* Once a context is initialised these calls allocate nothing, and fail only when misused. */
void base_sha256_reset(struct base_sha256 *h)
{
    if (!EVP_DigestInit_ex2(h->ctx, NULL, NULL))
        abort();
}

void base_sha256_update(struct base_sha256 *h, const void *data, size_t size)
{
    if (size > 0 && !EVP_DigestUpdate(h->ctx, data, size))
        abort();
}

void base_sha256_final(struct base_sha256 *h, uint8_t ret[BASE_SHA256_SIZE])
{
    if (!EVP_DigestFinal_ex(h->ctx, ret, NULL))
        abort();
}
