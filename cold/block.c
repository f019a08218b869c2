/* Blocks: one zstd frame each, made and undone with one call. */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_d_forceIgnoreChecksum; the library refuses it or knows it \
                                  */
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/error.h"
#include "base/hash.h"
#include "cold/object.h"

#define BLOCK_RAW_MAX (1u << 30) /* the seekable format's readers take no larger frame */

/*
 * Blocks of what is compressed, encrypted or random already cost the most time and give the least.
 * Samples of a block tell: where they do not shrink the whole is made at the fastest level, which
 * stores what it cannot compress.
 */
#define SAMPLE_COUNT 4
#define SAMPLE_BYTES 8192
#define SAMPLED_MIN_BYTES (16 * SAMPLE_BYTES) /* of a smaller block samples would cost too much */
#define LEVEL_SAMPLE 1
#define LEVEL_DENSE (-5)
#define SCHEME 1u /* how a level is chosen: one more whenever the same bytes become others */

struct cold_compressor {
    ZSTD_CCtx *ctx;
};

struct cold_compressor *cold_compressor_new(void)
{
    struct cold_compressor *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->ctx = ZSTD_createCCtx();
    if (!c->ctx || ZSTD_isError(ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_checksumFlag, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_contentSizeFlag, 1)))
        return cold_compressor_free(c);
    return c;
}

struct cold_compressor *cold_compressor_free(struct cold_compressor *c)
{
    if (c)
        ZSTD_freeCCtx(c->ctx);
    free(c);
    return NULL;
}

uint32_t cold_compressor_version(void)
{
    return ZSTD_versionNumber() + (SCHEME << 24);
}

static size_t compress_at(struct cold_compressor *c, int level, const void *data, size_t size,
                          void *room, size_t capacity)
{
    size_t rc = ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_compressionLevel, level);

    return ZSTD_isError(rc) ? rc : ZSTD_compress2(c->ctx, room, capacity, data, size);
}

/* Whether compressing is no use. `room` is written over. */
static bool is_dense(struct cold_compressor *c, const uint8_t *data, size_t size, void *room,
                     size_t capacity)
{
    size_t step = (size - SAMPLE_BYTES) / (SAMPLE_COUNT - 1), stored = 0;

    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        size_t n = compress_at(c, LEVEL_SAMPLE, data + i * step, SAMPLE_BYTES, room, capacity);

        if (ZSTD_isError(n)) /* the block itself will say why */
            return false;
        stored += n;
    }
    return stored >= SAMPLE_COUNT * SAMPLE_BYTES;
}

int cold_block_compress(struct cold_compressor *c, int level, const void *data, size_t size,
                        struct base_buffer *out, struct cold_block_info *ret,
                        struct varve_error *err)
{
    size_t bound, start = out->size, stored;
    uint8_t *room;

    if (size == 0 || size > BLOCK_RAW_MAX)
        return base_fail(err, VARVE_E_INVALID, "compress a block of %zu bytes: it must have 1..%u",
                         size, BLOCK_RAW_MAX);
    bound = ZSTD_compressBound(size);
    room = base_buffer_extend(out, bound);
    if (!room)
        return base_fail(err, VARVE_E_NO_MEMORY, "compress a block: out of memory");
    if (level > LEVEL_DENSE && size >= SAMPLED_MIN_BYTES && is_dense(c, data, size, room, bound))
        level = LEVEL_DENSE;
    stored = compress_at(c, level, data, size, room, bound);
    if (ZSTD_isError(stored)) { /* with room enough only memory can be missing */
        out->size = start;
        return base_fail(err, VARVE_E_NO_MEMORY, "compress a block: %s", ZSTD_getErrorName(stored));
    }
    out->size = start + stored;
    ret->stored_size = (uint32_t)stored;
    ret->raw_size = (uint32_t)size;
    ret->crc32c = base_crc32c(0, room, stored);
    ret->content_checksum = base_get_le32(room + stored - 4);
    return 0;
}

struct cold_decompressor {
    ZSTD_DCtx *ctx;
};

struct cold_decompressor *cold_decompressor_new(void)
{
    struct cold_decompressor *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->ctx = ZSTD_createDCtx();
    if (!d->ctx)
        return cold_decompressor_free(d);
    /* The CRC32C of the stored bytes has been checked by then; a second sum over the larger raw
     * bytes finds nothing more. A library that does not know the parameter checks anyway. */
    (void)ZSTD_DCtx_setParameter(d->ctx, ZSTD_d_forceIgnoreChecksum, ZSTD_d_ignoreChecksum);
    return d;
}

struct cold_decompressor *cold_decompressor_free(struct cold_decompressor *d)
{
    if (d)
        ZSTD_freeDCtx(d->ctx);
    free(d);
    return NULL;
}

int cold_block_decompress(struct cold_decompressor *d, const struct cold_block_info *block,
                          const void *stored, void *raw, struct varve_error *err)
{
    uint32_t crc32c = base_crc32c(0, stored, block->stored_size);
    size_t size;

    if (crc32c != block->crc32c) /* I9 */
        return base_fail(err, VARVE_E_CORRUPT, "checksum is %08x, not %08x", crc32c, block->crc32c);
    size = ZSTD_decompressDCtx(d->ctx, raw, block->raw_size, stored, block->stored_size);
    if (ZSTD_isError(size)) {
        if (ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation)
            return base_fail(err, VARVE_E_NO_MEMORY, "decompress: out of memory");
        return base_fail(err, VARVE_E_CORRUPT, "decompress: %s", ZSTD_getErrorName(size));
    }
    if (size != block->raw_size)
        return base_fail(err, VARVE_E_CORRUPT, "decompressed to %zu bytes, not %u", size,
                         block->raw_size);
    return 0;
}
