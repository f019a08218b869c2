/*
 * The first byte chooses the codec, the rest is decompressed under a bound; what comes out, and the
 * input itself, survive compressing and decompressing again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "record/codec.h"

#define SIZE_BOUND (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void round_trip(struct record_codec *c, enum varve_codec codec, const uint8_t *data,
                       size_t size)
{
    struct base_buffer packed, plain;

    base_buffer_init(&packed);
    base_buffer_init(&plain);
    require(record_codec_compress(c, codec, 0, data, size, &packed, NULL) == 0);
    require(record_codec_decompress(c, codec, packed.data, packed.size, size, &plain, NULL) == 0);
    require(plain.size == size && (size == 0 || memcmp(plain.data, data, size) == 0));
    if (size > 0)
        require(record_codec_decompress(c, codec, packed.data, packed.size, size - 1, &plain,
                                        NULL) == VARVE_E_TOO_LARGE);
    base_buffer_deinit(&packed);
    base_buffer_deinit(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct record_codec *c; /* kept, as in use: a failed call must not harm the next */
    struct base_buffer out;
    enum varve_codec codec;

    if (size == 0)
        return 0;
    if (c == NULL) {
        c = record_codec_new();
        require(c != NULL);
    }
    codec = (enum varve_codec)(data[0] % 5);
    base_buffer_init(&out);
    if (record_codec_decompress(c, codec, data + 1, size - 1, SIZE_BOUND, &out, NULL) == 0) {
        require(out.size <= SIZE_BOUND);
        round_trip(c, codec, out.data, out.size);
    }
    base_buffer_deinit(&out);
    round_trip(c, codec, data + 1, size - 1);
    return 0;
}
