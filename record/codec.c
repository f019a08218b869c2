/*
 * The codecs, each by its library's one-shot or streaming call, with contexts that are kept.
 *
 * What a batch's compressed records are, by codec:
 *   gzip    one gzip member or more (RFC 1952), CRC-32 and size checked.
 *   snappy  one raw block, or the framing of snappy-java ("xerial"): the 8 bytes 82 "SNAPPY" 00,
 *           version (be32, 1), lowest compatible version (be32, 1), then chunks of a be32 size and
 * a raw block. A raw block cannot begin with those 8 bytes: they would be a copy from before its
 * beginning. lz4     one LZ4 frame and nothing after it. Encoded with independent blocks and
 * without content size: Kafka's Java client reads no others. zstd    one zstd frame or more.
 *
 * INVARIANTS
 *   C1  Output never grows beyond size_max + 1 bytes (batch.c, B3), and no codec allocates by what
 *       the input merely claims above that. zstd decodes in one piece, so that its window, which
 *       the input chooses, needs no memory.
 */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/error.h"
#include "record/codec.h"

#define OUTPUT_SIZE_MAX INT32_MAX  /* bytes, whatever the caller allows: a batch's own limit */
#define OUTPUT_STEP_MIN 4096       /* bytes, the least that an output grows by */
#define SNAPPY_CHUNK_SIZE 32768    /* snappy-java's default */
#define SNAPPY_EXPANSION_MAX 64    /* a copy of 3 bytes makes 64 at most */
#define GZIP_WINDOW_BITS (15 + 16) /* 32 KiB, gzip header and trailer */
#define GZIP_MEMORY_LEVEL 8        /* zlib's default */
#define XERIAL_HEADER_SIZE 16
#define XERIAL_VERSION 1

static const uint8_t xerial_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};

struct record_codec {
    z_stream inflate;
    bool inflate_ready;
    z_stream deflate;
    bool deflate_ready;
    int deflate_level;
    LZ4F_dctx *lz4_in;
    ZSTD_CCtx *zstd_out;
    ZSTD_DCtx *zstd_in;
};

struct record_codec *record_codec_new(void)
{
    return calloc(1, sizeof(struct record_codec));
}

struct record_codec *record_codec_free(struct record_codec *c)
{
    if (c != NULL) {
        if (c->inflate_ready) {
            inflateEnd(&c->inflate);
        }
        if (c->deflate_ready) {
            deflateEnd(&c->deflate);
        }
        LZ4F_freeDecompressionContext(c->lz4_in);
        ZSTD_freeCCtx(c->zstd_out);
        ZSTD_freeDCtx(c->zstd_in);
        free(c);
    }
    return NULL;
}

/* What each codec is called and which levels it has; 0 is always its default. */
static const struct {
    const char *name;
    int level_min, level_max;
} codec_table[] = {
    [VARVE_CODEC_NONE] = {"none", 0, 0},     [VARVE_CODEC_GZIP] = {"gzip", 1, 9},
    [VARVE_CODEC_SNAPPY] = {"snappy", 0, 0}, [VARVE_CODEC_LZ4] = {"lz4", 1, 17},
    [VARVE_CODEC_ZSTD] = {"zstd", -7, 22},
};
#define CODEC_COUNT (sizeof(codec_table) / sizeof(codec_table[0]))

const char *record_codec_name(enum varve_codec codec)
{
    return (size_t)codec < CODEC_COUNT ? codec_table[codec].name : NULL;
}

bool record_codec_parse(const char *name, enum varve_codec *ret)
{
    for (size_t i = 0; i < CODEC_COUNT; i++) {
        if (strcmp(name, codec_table[i].name) == 0) {
            *ret = (enum varve_codec)i;
            return true;
        }
    }
    return false;
}

bool record_codec_level_valid(enum varve_codec codec, int level)
{
    return (size_t)codec < CODEC_COUNT && (level == 0 || (level >= codec_table[codec].level_min &&
                                                          level <= codec_table[codec].level_max));
}

static int no_memory(enum varve_codec codec, struct varve_error *err)
{
    return base_fail(err, VARVE_E_NO_MEMORY, "%s: out of memory", record_codec_name(codec));
}

static int too_large(enum varve_codec codec, size_t size_max, struct varve_error *err)
{
    return base_fail(err, VARVE_E_TOO_LARGE, "%s: decompresses to more than %zu bytes",
                     record_codec_name(codec), size_max);
}

/* ---- Output buffers. ---- */

/* Room for `size` bytes behind the content, which stays as it is. NULL: out of memory. */
static uint8_t *output_reserve(struct base_buffer *out, size_t size)
{
    uint8_t *p = base_buffer_extend(out, size);

    if (p != NULL) {
        out->size -= size;
    }
    return p;
}

/*
 * Room behind the content for a streaming decoder: what the buffer has, or as much again, but never
 * more than one byte beyond size_max (C1): a decoder that fills that byte has gone too far.
 */
static uint8_t *output_step(struct base_buffer *out, size_t size_max, size_t *ret_room)
{
    size_t room = out->capacity - out->size;

    if (room == 0) {
        room = out->size > OUTPUT_STEP_MIN ? out->size : OUTPUT_STEP_MIN;
    }
    if (room > size_max + 1 - out->size) {
        room = size_max + 1 - out->size;
    }
    *ret_room = room;
    return output_reserve(out, room);
}

/* ---- gzip. ---- */

static int gzip_compress(struct record_codec *c, int level, const void *data, size_t size,
                         struct base_buffer *out, struct varve_error *err)
{
    if (level == 0) {
        level = Z_DEFAULT_COMPRESSION;
    }
    if (c->deflate_ready && c->deflate_level != level) {
        deflateEnd(&c->deflate);
        c->deflate_ready = false;
    }
    if (!c->deflate_ready) {
        c->deflate = (z_stream){0};
        if (deflateInit2(&c->deflate, level, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEMORY_LEVEL,
                         Z_DEFAULT_STRATEGY) != Z_OK) {
            return no_memory(VARVE_CODEC_GZIP, err);
        }
        c->deflate_ready = true;
        c->deflate_level = level;
    } else {
        deflateReset(&c->deflate);
    }
    size_t bound = deflateBound(&c->deflate, size);
    uint8_t *p = output_reserve(out, bound);
    if (p == NULL) {
        return no_memory(VARVE_CODEC_GZIP, err);
    }
    c->deflate.next_in = (Bytef *)(uintptr_t)data; /* zlib does not write there */
    c->deflate.avail_in = (uInt)size;
    c->deflate.next_out = p;
    c->deflate.avail_out = (uInt)bound;
    int rc = deflate(&c->deflate, Z_FINISH);
    assert(rc == Z_STREAM_END); /* the bound holds */
    (void)rc;
    out->size += bound - c->deflate.avail_out;
    return 0;
}

static int gzip_error(const z_stream *z, int rc, struct varve_error *err)
{
    switch (rc) {
    case Z_MEM_ERROR:
        return no_memory(VARVE_CODEC_GZIP, err);
    case Z_BUF_ERROR:
        return base_fail(err, VARVE_E_CORRUPT, "gzip: the stream is cut off");
    default:
        return base_fail(err, VARVE_E_CORRUPT, "gzip: %s",
                         z->msg != NULL ? z->msg : "the stream is malformed");
    }
}

static int gzip_decompress(struct record_codec *c, const void *data, size_t size, size_t size_max,
                           struct base_buffer *out, struct varve_error *err)
{
    z_stream *z = &c->inflate;

    if (!c->inflate_ready) {
        *z = (z_stream){0};
        if (inflateInit2(z, GZIP_WINDOW_BITS) != Z_OK) {
            return no_memory(VARVE_CODEC_GZIP, err);
        }
        c->inflate_ready = true;
    }
    z->next_in = (Bytef *)(uintptr_t)data; /* zlib does not write there */
    z->avail_in = (uInt)size;
    do {
        int rc;
        inflateReset(z);
        do {
            size_t room;
            z->next_out = output_step(out, size_max, &room);
            if (z->next_out == NULL) {
                return no_memory(VARVE_CODEC_GZIP, err);
            }
            z->avail_out = (uInt)room;
            rc = inflate(z, Z_NO_FLUSH);
            out->size += room - z->avail_out;
            if (out->size > size_max) {
                return too_large(VARVE_CODEC_GZIP, size_max, err);
            }
        } while (rc == Z_OK);
        if (rc != Z_STREAM_END) {
            return gzip_error(z, rc, err);
        }
    } while (z->avail_in > 0);
    return 0;
}

/* ---- snappy. ---- */

static int snappy_compress_xerial(const uint8_t *data, size_t size, struct base_buffer *out,
                                  struct varve_error *err)
{
    uint8_t header[XERIAL_HEADER_SIZE];

    memcpy(header, xerial_magic, sizeof(xerial_magic));
    base_put_be32(header + 8, XERIAL_VERSION);
    base_put_be32(header + 12, XERIAL_VERSION);
    base_buffer_add(out, header, sizeof(header));
    while (size > 0) {
        size_t chunk = size < SNAPPY_CHUNK_SIZE ? size : SNAPPY_CHUNK_SIZE;
        size_t room = snappy_max_compressed_length(chunk);
        uint8_t *p = output_reserve(out, 4 + room);
        if (p == NULL) {
            return no_memory(VARVE_CODEC_SNAPPY, err);
        }
        snappy_status status = snappy_compress((const char *)data, chunk, (char *)p + 4, &room);
        assert(status == SNAPPY_OK); /* the room is enough */
        (void)status;
        base_put_be32(p, (uint32_t)room);
        out->size += 4 + room;
        data += chunk;
        size -= chunk;
    }
    return out->failed ? no_memory(VARVE_CODEC_SNAPPY, err) : 0;
}

/* One raw block, added to the output. */
static int snappy_block_decompress(const uint8_t *data, size_t size, size_t size_max,
                                   struct base_buffer *out, struct varve_error *err)
{
    size_t length;

    if (snappy_uncompressed_length((const char *)data, size, &length) != SNAPPY_OK ||
        length / SNAPPY_EXPANSION_MAX > size) {
        return base_fail(err, VARVE_E_CORRUPT, "snappy: a block of %zu bytes is malformed", size);
    }
    if (length > size_max - out->size) {
        return too_large(VARVE_CODEC_SNAPPY, size_max, err);
    }
    uint8_t *p = output_reserve(out, length);
    if (p == NULL) {
        return no_memory(VARVE_CODEC_SNAPPY, err);
    }
    if (snappy_uncompress((const char *)data, size, (char *)p, &length) != SNAPPY_OK) {
        return base_fail(err, VARVE_E_CORRUPT, "snappy: a block of %zu bytes is malformed", size);
    }
    out->size += length;
    return 0;
}

static int snappy_decompress(const uint8_t *data, size_t size, size_t size_max,
                             struct base_buffer *out, struct varve_error *err)
{
    if (size < sizeof(xerial_magic) || memcmp(data, xerial_magic, sizeof(xerial_magic)) != 0) {
        return snappy_block_decompress(data, size, size_max, out, err);
    }
    if (size < XERIAL_HEADER_SIZE) {
        return base_fail(err, VARVE_E_CORRUPT, "snappy: the framing's header is cut off");
    }
    uint32_t compatible = base_get_be32(data + 12);
    if (compatible > XERIAL_VERSION) {
        return base_fail(err, VARVE_E_UNSUPPORTED, "snappy: framing version %u, this is %d",
                         compatible, XERIAL_VERSION);
    }
    const uint8_t *p = data + XERIAL_HEADER_SIZE, *end = data + size;
    while (p < end) {
        if (end - p < 4 || base_get_be32(p) > (size_t)(end - p - 4)) {
            return base_fail(err, VARVE_E_CORRUPT, "snappy: a chunk of the framing is cut off");
        }
        size_t chunk = base_get_be32(p);
        int rc = snappy_block_decompress(p + 4, chunk, size_max, out, err);
        if (rc < 0) {
            return rc;
        }
        p += 4 + chunk;
    }
    return 0;
}

/* ---- lz4. ---- */

static int lz4_compress(int level, const void *data, size_t size, struct base_buffer *out,
                        struct varve_error *err)
{
    LZ4F_preferences_t preferences = {
        .frameInfo = {.blockMode = LZ4F_blockIndependent},
        .compressionLevel = level,
    };
    size_t bound = LZ4F_compressFrameBound(size, &preferences);
    uint8_t *p = output_reserve(out, bound);

    if (p == NULL) {
        return no_memory(VARVE_CODEC_LZ4, err);
    }
    size_t written = LZ4F_compressFrame(p, bound, data, size, &preferences);
    if (LZ4F_isError(written)) { /* the bound holds: only memory can be lacking */
        return no_memory(VARVE_CODEC_LZ4, err);
    }
    out->size += written;
    return 0;
}

static int lz4_frame_decompress(LZ4F_dctx *lz4, const uint8_t *data, size_t size, size_t size_max,
                                struct base_buffer *out, struct varve_error *err)
{
    const uint8_t *end = data + size;
    size_t left = 1; /* 0: the frame is complete */

    while (left != 0) {
        size_t room, taken = (size_t)(end - data);
        uint8_t *p = output_step(out, size_max, &room);
        if (p == NULL) {
            return no_memory(VARVE_CODEC_LZ4, err);
        }
        left = LZ4F_decompress(lz4, p, &room, data, &taken, NULL);
        if (LZ4F_isError(left)) {
            return base_fail(err, VARVE_E_CORRUPT, "lz4: %s", LZ4F_getErrorName(left));
        }
        if (left != 0 && room == 0 && taken == 0) {
            return base_fail(err, VARVE_E_CORRUPT, "lz4: the frame is cut off");
        }
        data += taken;
        out->size += room;
        if (out->size > size_max) {
            return too_large(VARVE_CODEC_LZ4, size_max, err);
        }
    }
    if (data != end) {
        return base_fail(err, VARVE_E_CORRUPT, "lz4: %td bytes left over after the frame",
                         end - data);
    }
    return 0;
}

static int lz4_decompress(struct record_codec *c, const void *data, size_t size, size_t size_max,
                          struct base_buffer *out, struct varve_error *err)
{
    if (c->lz4_in == NULL &&
        LZ4F_isError(LZ4F_createDecompressionContext(&c->lz4_in, LZ4F_VERSION))) {
        c->lz4_in = NULL;
        return no_memory(VARVE_CODEC_LZ4, err);
    }
    int rc = lz4_frame_decompress(c->lz4_in, data, size, size_max, out, err);
    if (rc < 0) {
        /* Resetting is not enough: liblz4 1.9.4 keeps the content size that a broken frame claimed,
         * and then refuses the next good one. */
        LZ4F_freeDecompressionContext(c->lz4_in);
        c->lz4_in = NULL;
    }
    return rc;
}

/* ---- zstd. ---- */

static int zstd_compress(struct record_codec *c, int level, const void *data, size_t size,
                         struct base_buffer *out, struct varve_error *err)
{
    if (c->zstd_out == NULL) {
        c->zstd_out = ZSTD_createCCtx();
        if (c->zstd_out == NULL) {
            return no_memory(VARVE_CODEC_ZSTD, err);
        }
    }
    size_t bound = ZSTD_compressBound(size);
    uint8_t *p = output_reserve(out, bound);
    if (p == NULL) {
        return no_memory(VARVE_CODEC_ZSTD, err);
    }
    ZSTD_CCtx_setParameter(c->zstd_out, ZSTD_c_compressionLevel, level);
    size_t written = ZSTD_compress2(c->zstd_out, p, bound, data, size);
    if (ZSTD_isError(written)) { /* the bound holds: only memory can be lacking */
        return no_memory(VARVE_CODEC_ZSTD, err);
    }
    out->size += written;
    return 0;
}

/* How much to try first: what the frame says, else what the buffer has or a usual ratio makes. */
static size_t zstd_size_guess(const void *data, size_t size, const struct base_buffer *out)
{
    unsigned long long content = ZSTD_getFrameContentSize(data, size);

    if (content != ZSTD_CONTENTSIZE_UNKNOWN && content != ZSTD_CONTENTSIZE_ERROR) {
        return content > OUTPUT_SIZE_MAX ? OUTPUT_SIZE_MAX : (size_t)content;
    }
    size_t guess = size * 8 + OUTPUT_STEP_MIN;
    return guess > out->capacity ? guess : out->capacity;
}

static int zstd_decompress(struct record_codec *c, const void *data, size_t size, size_t size_max,
                           struct base_buffer *out, struct varve_error *err)
{
    size_t room = zstd_size_guess(data, size, out);

    if (c->zstd_in == NULL) {
        c->zstd_in = ZSTD_createDCtx();
        if (c->zstd_in == NULL) {
            return no_memory(VARVE_CODEC_ZSTD, err);
        }
    }
    if (size == 0) {
        return base_fail(err, VARVE_E_CORRUPT, "zstd: no frame");
    }
    for (;;) {
        if (room > size_max) {
            room = size_max;
        }
        uint8_t *p = output_reserve(out, room);
        if (p == NULL) {
            return no_memory(VARVE_CODEC_ZSTD, err);
        }
        size_t written = ZSTD_decompressDCtx(c->zstd_in, p, room, data, size);
        if (!ZSTD_isError(written)) {
            out->size = written;
            return 0;
        }
        switch (ZSTD_getErrorCode(written)) {
        case ZSTD_error_dstSize_tooSmall:
            break;
        case ZSTD_error_memory_allocation:
            return no_memory(VARVE_CODEC_ZSTD, err);
        default:
            return base_fail(err, VARVE_E_CORRUPT, "zstd: %s", ZSTD_getErrorName(written));
        }
        if (room == size_max) {
            return too_large(VARVE_CODEC_ZSTD, size_max, err);
        }
        /* A frame that does not say its size, or more than one: all over again with more room. */
        room = room < OUTPUT_STEP_MIN ? OUTPUT_STEP_MIN : room * 4;
    }
}

/* ---- All of them. ---- */

int record_codec_compress(struct record_codec *c, enum varve_codec codec, int level,
                          const void *data, size_t size, struct base_buffer *out,
                          struct varve_error *err)
{
    if (!record_codec_level_valid(codec, level)) {
        return base_fail(err, VARVE_E_INVALID, "codec %d: no level %d", (int)codec, level);
    }
    if (size > OUTPUT_SIZE_MAX) {
        return base_fail(err, VARVE_E_TOO_LARGE, "%s: %zu bytes to compress, the limit is %d",
                         record_codec_name(codec), size, OUTPUT_SIZE_MAX);
    }
    switch (codec) {
    case VARVE_CODEC_NONE:
        base_buffer_add(out, data, size);
        return out->failed ? no_memory(codec, err) : 0;
    case VARVE_CODEC_GZIP:
        return gzip_compress(c, level, data, size, out, err);
    case VARVE_CODEC_SNAPPY:
        return snappy_compress_xerial(data, size, out, err);
    case VARVE_CODEC_LZ4:
        return lz4_compress(level, data, size, out, err);
    case VARVE_CODEC_ZSTD:
        return zstd_compress(c, level, data, size, out, err);
    }
    return base_fail(err, VARVE_E_INVALID, "codec %d is unknown", (int)codec);
}

int record_codec_decompress(struct record_codec *c, enum varve_codec codec, const void *data,
                            size_t size, size_t size_max, struct base_buffer *out,
                            struct varve_error *err)
{
    if (size > OUTPUT_SIZE_MAX) {
        return base_fail(err, VARVE_E_TOO_LARGE, "%zu bytes to decompress, the limit is %d", size,
                         OUTPUT_SIZE_MAX);
    }
    if (size_max > OUTPUT_SIZE_MAX) {
        size_max = OUTPUT_SIZE_MAX;
    }
    base_buffer_clear(out);
    switch (codec) {
    case VARVE_CODEC_NONE:
        if (size > size_max) {
            return base_fail(err, VARVE_E_TOO_LARGE, "none: %zu bytes, the limit is %zu", size,
                             size_max);
        }
        base_buffer_add(out, data, size);
        return out->failed ? no_memory(codec, err) : 0;
    case VARVE_CODEC_GZIP:
        return gzip_decompress(c, data, size, size_max, out, err);
    case VARVE_CODEC_SNAPPY:
        return snappy_decompress(data, size, size_max, out, err);
    case VARVE_CODEC_LZ4:
        return lz4_decompress(c, data, size, size_max, out, err);
    case VARVE_CODEC_ZSTD:
        return zstd_decompress(c, data, size, size_max, out, err);
    }
    return base_fail(err, VARVE_E_UNSUPPORTED, "codec %d is unknown", (int)codec);
}
