/* The checksums of a body, computed while it arrives. */
#ifndef FAKES3_DIGEST_H
#define FAKES3_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fakes3_digest {
    bool want_md5, want_sha256, want_crc32c;
    struct evp_md_ctx_st *md5_ctx, *sha256_ctx;
    uint8_t md5[16];
    uint8_t sha256[32];
    uint8_t crc32c[4]; /* big-endian, as S3 encodes it */
    uint32_t crc;
};

/* With `want_*` set, the rest zero. */
void fakes3_digest_init(struct fakes3_digest *digest);
void fakes3_digest_update(struct fakes3_digest *digest, const void *data, size_t size);
/* Fills md5, sha256 and crc32c where they are wanted. */
void fakes3_digest_final(struct fakes3_digest *digest);
void fakes3_digest_deinit(struct fakes3_digest *digest);

/* Of bytes that are there. */
void fakes3_digest_md5(const void *data, size_t size, uint8_t ret[16]);
void fakes3_digest_sha256(const void *data, size_t size, uint8_t ret[32]);
void fakes3_digest_hmac(const void *key, size_t key_size, const void *data, size_t size,
                        uint8_t ret[32]);

#endif
