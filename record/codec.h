/*
 * The five codecs of a batch's records. snappy decodes both raw blocks (librdkafka) and the xerial
 * framing (Java); it encodes xerial framing. lz4 is the frame format. Sources: KIP-57, KIP-110,
 * Kafka's `compress` package.
 */
#ifndef RECORD_CODEC_H
#define RECORD_CODEC_H

#include <varve/record.h>

#include "base/bytes.h"

/* Contexts kept between calls, made when first used. One thread at a time. */
struct record_codec;
struct record_codec *record_codec_new(void); /* NULL: out of memory */
struct record_codec *record_codec_free(struct record_codec *c);

/* Appends the compressed bytes to `out`. Level 0: the codec's default. */
int record_codec_compress(struct record_codec *c, enum varve_codec codec, int level,
                          const void *data, size_t size, struct base_buffer *out,
                          struct varve_error *err);

/* Replaces the content of `out`. VARVE_E_CORRUPT; VARVE_E_TOO_LARGE when more than `size_max` bytes
 * would come. */
int record_codec_decompress(struct record_codec *c, enum varve_codec codec, const void *data,
                            size_t size, size_t size_max, struct base_buffer *out,
                            struct varve_error *err);

/* "none", "gzip", "snappy", "lz4", "zstd". NULL / false for others. */
const char *record_codec_name(enum varve_codec codec);
bool record_codec_parse(const char *name, enum varve_codec *ret);

/* Whether the codec is known and has that level. 0 is every codec's default; gzip 1 to 9, lz4 1 to
 * 17 (Kafka's range, 12 and above are one), zstd -7 to 22; none and snappy have no other. */
bool record_codec_level_valid(enum varve_codec codec, int level);

#endif
