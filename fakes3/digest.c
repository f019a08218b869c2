#include "fakes3/digest.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/bytes.h"
#include "base/hash.h"

/* OpenSSL refuses nothing here but for want of memory, or where MD5 is forbidden by its
 * configuration. */
static void must(int ok)
{
    if (ok == 1)
        return;
    fputs("varve-fakes3: OpenSSL refuses MD5 or SHA-256\n", stderr);
    exit(1);
}

static EVP_MD_CTX *started(const EVP_MD *type)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    must(ctx && EVP_DigestInit_ex(ctx, type, NULL));
    return ctx;
}

void fakes3_digest_init(struct fakes3_digest *digest)
{
    digest->crc = 0;
    if (digest->want_md5)
        digest->md5_ctx = started(EVP_md5());
    if (digest->want_sha256)
        digest->sha256_ctx = started(EVP_sha256());
}

void fakes3_digest_update(struct fakes3_digest *digest, const void *data, size_t size)
{
    if (digest->md5_ctx)
        must(EVP_DigestUpdate(digest->md5_ctx, data, size));
    if (digest->sha256_ctx)
        must(EVP_DigestUpdate(digest->sha256_ctx, data, size));
    if (digest->want_crc32c)
        digest->crc = base_crc32c(digest->crc, data, size);
}

void fakes3_digest_final(struct fakes3_digest *digest)
{
    if (digest->md5_ctx)
        must(EVP_DigestFinal_ex(digest->md5_ctx, digest->md5, NULL));
    if (digest->sha256_ctx)
        must(EVP_DigestFinal_ex(digest->sha256_ctx, digest->sha256, NULL));
    base_put_be32(digest->crc32c, digest->crc);
}

void fakes3_digest_deinit(struct fakes3_digest *digest)
{
    EVP_MD_CTX_free(digest->md5_ctx);
    EVP_MD_CTX_free(digest->sha256_ctx);
    *digest = (struct fakes3_digest){0};
}

void fakes3_digest_md5(const void *data, size_t size, uint8_t ret[16])
{
    must(EVP_Digest(data, size, ret, NULL, EVP_md5(), NULL));
}

void fakes3_digest_sha256(const void *data, size_t size, uint8_t ret[32])
{
    must(EVP_Digest(data, size, ret, NULL, EVP_sha256(), NULL));
}

void fakes3_digest_hmac(const void *key, size_t key_size, const void *data, size_t size,
                        uint8_t ret[32])
{
    unsigned char *done = HMAC(EVP_sha256(), key, (int)key_size, data, size, ret, NULL);

    must(done ? 1 : 0);
}
