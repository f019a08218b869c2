/* The codecs: round trips, the framings of other encoders, broken input and decompression bombs. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "record/codec.h"

#define LARGE_SIZE 300000 /* several blocks of every codec */

struct fixture {
    struct record_codec *codec;
    struct base_buffer packed, plain;
    uint8_t *large; /* text-like, then noise */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    uint32_t seed = 1;

    f->codec = record_codec_new();
    base_buffer_init(&f->packed);
    base_buffer_init(&f->plain);
    f->large = malloc(LARGE_SIZE);
    for (size_t i = 0; i < LARGE_SIZE; i++) {
        seed = seed * 1103515245 + 12345;
        f->large[i] = i < LARGE_SIZE / 2 ? "abc def\n"[(seed >> 16) % 8] : (uint8_t)(seed >> 16);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    record_codec_free(f->codec);
    base_buffer_deinit(&f->packed);
    base_buffer_deinit(&f->plain);
    free(f->large);
    free(f);
    return 0;
}

static void pack(struct fixture *f, enum varve_codec codec, int level, const void *data,
                 size_t size)
{
    base_buffer_clear(&f->packed);
    assert_int_equal(record_codec_compress(f->codec, codec, level, data, size, &f->packed, NULL),
                     0);
}

static int unpack(struct fixture *f, enum varve_codec codec, size_t size_max,
                  struct varve_error *err)
{
    return record_codec_decompress(f->codec, codec, f->packed.data, f->packed.size, size_max,
                                   &f->plain, err);
}

static void every_size_comes_back_with_exactly_its_bound(void **state)
{
    static const size_t sizes[] = {0,     1,     2,     100,   4095,  4096,      4097,
                                   32767, 32768, 32769, 65536, 65537, LARGE_SIZE};
    struct fixture *f = *state;
    struct varve_error err;

    for (int c = VARVE_CODEC_NONE; c <= VARVE_CODEC_ZSTD; c++) {
        enum varve_codec codec = (enum varve_codec)c;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            pack(f, codec, 0, f->large, sizes[i]);
            assert_int_equal(unpack(f, codec, sizes[i], NULL), 0);
            assert_int_equal(f->plain.size, sizes[i]);
            if (sizes[i] > 0) {
                assert_memory_equal(f->plain.data, f->large, sizes[i]);
                assert_int_equal(unpack(f, codec, sizes[i] - 1, &err), VARVE_E_TOO_LARGE);
                assert_non_null(strstr(err.msg, record_codec_name(codec)));
            }
        }
    }
}

static void every_level_comes_back(void **state)
{
    struct fixture *f = *state;
    size_t count = 0;

    for (int c = VARVE_CODEC_NONE; c <= VARVE_CODEC_ZSTD; c++) {
        for (int level = -10; level <= 30; level++) {
            struct varve_error err;
            if (record_codec_level_valid((enum varve_codec)c, level)) {
                pack(f, (enum varve_codec)c, level, f->large, 3000);
                assert_int_equal(unpack(f, (enum varve_codec)c, 3000, NULL), 0);
                assert_memory_equal(f->plain.data, f->large, 3000);
                count++;
            } else {
                assert_int_equal(record_codec_compress(f->codec, (enum varve_codec)c, level, "x", 1,
                                                       &f->packed, &err),
                                 VARVE_E_INVALID);
                assert_non_null(strstr(err.msg, "level"));
            }
        }
    }
    assert_int_equal(count, 1 + 10 + 1 + 18 + 30);
}

static void compressing_adds_to_the_output(void **state)
{
    struct fixture *f = *state;

    for (int c = VARVE_CODEC_NONE; c <= VARVE_CODEC_ZSTD; c++) {
        base_buffer_clear(&f->packed);
        base_buffer_add(&f->packed, "head", 4);
        assert_int_equal(record_codec_compress(f->codec, (enum varve_codec)c, 0, f->large, 1000,
                                               &f->packed, NULL),
                         0);
        assert_memory_equal(f->packed.data, "head", 4);
        assert_int_equal(record_codec_decompress(f->codec, (enum varve_codec)c, f->packed.data + 4,
                                                 f->packed.size - 4, 1000, &f->plain, NULL),
                         0);
        assert_int_equal(f->plain.size, 1000);
    }
}

static void broken_input_is_corrupt_and_harms_no_later_call(void **state)
{
    struct fixture *f = *state;

    for (int c = VARVE_CODEC_GZIP; c <= VARVE_CODEC_ZSTD; c++) {
        enum varve_codec codec = (enum varve_codec)c;
        pack(f, codec, 0, f->large, 2000);
        size_t size = f->packed.size;
        for (size_t cut = 0; cut < size; cut++) {
            struct varve_error err = {0};
            uint8_t *copy = malloc(cut > 0 ? cut : 1); /* exactly as much, for the sanitizer */
            assert_non_null(copy);
            memcpy(copy, f->packed.data, cut);
            int rc = record_codec_decompress(f->codec, codec, copy, cut, 4000, &f->plain, &err);
            free(copy);
            if (rc == 0) { /* between two chunks of the snappy framing */
                assert_int_equal(codec, VARVE_CODEC_SNAPPY);
                assert_int_equal(cut, 16);
                continue;
            }
            assert_int_equal(rc, VARVE_E_CORRUPT);
            assert_non_null(strstr(err.msg, record_codec_name(codec)));
        }
        for (size_t i = 0; i < size; i++) {
            f->packed.data[i] ^= 0x55;
            (void)unpack(f, codec, 4000, NULL); /* the batch's CRC finds it; here: no harm */
            f->packed.data[i] ^= 0x55;
            assert_int_equal(unpack(f, codec, 2000, NULL), 0);
            assert_int_equal(f->plain.size, 2000);
            assert_memory_equal(f->plain.data, f->large, 2000);
        }
    }
}

static void bytes_after_the_end_are_corrupt(void **state)
{
    static const enum varve_codec codecs[] = {VARVE_CODEC_GZIP, VARVE_CODEC_SNAPPY, VARVE_CODEC_LZ4,
                                              VARVE_CODEC_ZSTD};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        pack(f, codecs[i], 0, f->large, 2000);
        base_buffer_u8(&f->packed, 0x7f);
        assert_int_equal(unpack(f, codecs[i], 4000, NULL), VARVE_E_CORRUPT);
    }
}

static void gzip_members_and_zstd_frames_may_follow_each_other(void **state)
{
    static const enum varve_codec codecs[] = {VARVE_CODEC_GZIP, VARVE_CODEC_ZSTD};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        base_buffer_clear(&f->packed);
        for (size_t part = 0; part < 3; part++) {
            assert_int_equal(record_codec_compress(f->codec, codecs[i], 0, f->large + part * 5000,
                                                   5000, &f->packed, NULL),
                             0);
        }
        assert_int_equal(unpack(f, codecs[i], 15000, NULL), 0);
        assert_int_equal(f->plain.size, 15000);
        assert_memory_equal(f->plain.data, f->large, 15000);
        assert_int_equal(unpack(f, codecs[i], 14999, NULL), VARVE_E_TOO_LARGE);
    }
}

/* ---- Bombs: a few KiB that would become many MiB. ---- */

static void a_bomb_is_refused_within_its_bound_by_every_codec(void **state)
{
    struct fixture *f = *state;
    size_t bomb_size = 64 << 20, bound = 1 << 20;
    uint8_t *zeros = calloc(1, bomb_size);

    assert_non_null(zeros);
    for (int c = VARVE_CODEC_GZIP; c <= VARVE_CODEC_ZSTD; c++) {
        struct record_codec *codec = record_codec_new();
        struct base_buffer out;
        struct varve_error err;

        base_buffer_init(&out);
        pack(f, (enum varve_codec)c, 0, zeros, bomb_size);
        assert_true(f->packed.size < bomb_size / 20);
        assert_int_equal(record_codec_decompress(codec, (enum varve_codec)c, f->packed.data,
                                                 f->packed.size, bound, &out, &err),
                         VARVE_E_TOO_LARGE);
        assert_non_null(strstr(err.msg, "more than 1048576 bytes"));
        assert_true(out.capacity <= 4 * bound);
        base_buffer_deinit(&out);
        record_codec_free(codec);
    }
    free(zeros);
}

static void a_snappy_block_that_claims_much_and_holds_little_is_corrupt(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;

    base_buffer_clear(&f->packed);
    base_buffer_add(&f->packed, "\x80\x80\x80\x08\x00x", 6); /* 16 MiB out of one byte */
    assert_int_equal(unpack(f, VARVE_CODEC_SNAPPY, 1 << 30, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "snappy: a block of 6 bytes is malformed"));
    assert_true(f->plain.capacity < 16 << 20);
}

static void a_zstd_frame_that_claims_more_than_the_bound_allocates_no_more(void **state)
{
    struct fixture *f = *state;
    /* Magic, single segment with 8 bytes of content size (2^60), one empty raw last block. */
    static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0,    0, 0,
                                    0,    0,    0,    0,    0x10, 0x01, 0, 0};

    base_buffer_clear(&f->packed);
    base_buffer_add(&f->packed, frame, sizeof(frame));
    assert_true(unpack(f, VARVE_CODEC_ZSTD, 1 << 16, NULL) < 0);
    assert_true(f->plain.capacity <= 1 << 20);
}

/* ---- snappy's two framings. ---- */

static void snappy_is_written_in_the_xerial_framing(void **state)
{
    struct fixture *f = *state;

    pack(f, VARVE_CODEC_SNAPPY, 0, f->large, 1000);
    assert_memory_equal(f->packed.data, "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
    assert_int_equal(base_get_be32(f->packed.data + 16), f->packed.size - 20);

    /* What is in the chunk is the raw block that librdkafka would have written. */
    assert_int_equal(record_codec_decompress(f->codec, VARVE_CODEC_SNAPPY, f->packed.data + 20,
                                             f->packed.size - 20, 1000, &f->plain, NULL),
                     0);
    assert_int_equal(f->plain.size, 1000);
    assert_memory_equal(f->plain.data, f->large, 1000);
}

static void wrong_xerial_framing_is_refused(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;

    pack(f, VARVE_CODEC_SNAPPY, 0, f->large, 1000);
    base_put_be32(f->packed.data + 8, 7); /* a later version that says version 1 can read it */
    assert_int_equal(unpack(f, VARVE_CODEC_SNAPPY, 1000, NULL), 0);
    base_put_be32(f->packed.data + 12, 2);
    assert_int_equal(unpack(f, VARVE_CODEC_SNAPPY, 1000, &err), VARVE_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "framing version 2"));
    base_put_be32(f->packed.data + 12, 1);
    uint32_t chunk = base_get_be32(f->packed.data + 16);
    base_put_be32(f->packed.data + 16, chunk + 1);
    assert_int_equal(unpack(f, VARVE_CODEC_SNAPPY, 1000, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "a chunk of the framing is cut off"));
    base_put_be32(f->packed.data + 16, UINT32_MAX);
    assert_int_equal(unpack(f, VARVE_CODEC_SNAPPY, 1000, NULL), VARVE_E_CORRUPT);
}

/* liblz4 keeps the content size that a frame claimed when its context is only reset. */
static void an_lz4_frame_that_fails_does_not_break_the_next(void **state)
{
    struct fixture *f = *state;
    /* Header of a frame with content size 2^40 - 1; its checksum byte is tried out below. */
    uint8_t frame[15] = {0x04, 0x22, 0x4d, 0x18, 0x68, 0x40, 0xff, 0xff,
                         0xff, 0xff, 0xff, 0,    0,    0,    0};

    for (int checksum = 0; checksum < 256; checksum++) {
        frame[14] = (uint8_t)checksum;
        assert_int_equal(record_codec_decompress(f->codec, VARVE_CODEC_LZ4, frame, sizeof(frame),
                                                 1000, &f->plain, NULL),
                         VARVE_E_CORRUPT);
        pack(f, VARVE_CODEC_LZ4, 0, f->large, 15);
        assert_int_equal(unpack(f, VARVE_CODEC_LZ4, 15, NULL), 0);
    }
}

/* Kafka's Java client refuses frames with dependent blocks. */
static void lz4_frames_have_independent_blocks_and_no_content_size(void **state)
{
    struct fixture *f = *state;

    pack(f, VARVE_CODEC_LZ4, 0, f->large, LARGE_SIZE);
    assert_int_equal(base_get_le32(f->packed.data), 0x184d2204);
    assert_int_equal(f->packed.data[4] & 0xe8, 0x60); /* version 1, independent, no content size */
}

static void what_no_codec_can_do_is_refused_before_it_is_tried(void **state)
{
    static const struct {
        int codec, level;
    } bad[] = {{VARVE_CODEC_NONE, 1},
               {VARVE_CODEC_GZIP, 10},
               {VARVE_CODEC_GZIP, -1},
               {VARVE_CODEC_LZ4, 18},
               {VARVE_CODEC_ZSTD, 23},
               {VARVE_CODEC_ZSTD, -8},
               {5, 0},
               {-1, 0}};
    struct fixture *f = *state;
    struct varve_error err = {0};
    char text[32];

    base_buffer_clear(&f->packed);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(record_codec_compress(f->codec, (enum varve_codec)bad[i].codec,
                                               bad[i].level, "x", 1, &f->packed, &err),
                         VARVE_E_INVALID);
        snprintf(text, sizeof(text), "codec %d: no level %d", bad[i].codec, bad[i].level);
        assert_string_equal(err.msg, text);
    }
    /* Nothing is read of what is too large to be a batch. */
    assert_int_equal(record_codec_compress(f->codec, VARVE_CODEC_ZSTD, 0, "x",
                                           (size_t)INT32_MAX + 1, &f->packed, &err),
                     VARVE_E_TOO_LARGE);
    assert_non_null(strstr(err.msg, "zstd: 2147483648 bytes to compress"));
    assert_int_equal(f->packed.size, 0);
    assert_int_equal(record_codec_decompress(f->codec, VARVE_CODEC_GZIP, "x", (size_t)INT32_MAX + 1,
                                             SIZE_MAX, &f->plain, &err),
                     VARVE_E_TOO_LARGE);
    assert_non_null(strstr(err.msg, "2147483648 bytes to decompress"));
    /* A caller that knows no bound is given the largest batch for one. */
    for (int codec = VARVE_CODEC_NONE; codec <= VARVE_CODEC_ZSTD; codec++) {
        pack(f, (enum varve_codec)codec, 0, "some text", 9);
        assert_int_equal(unpack(f, (enum varve_codec)codec, SIZE_MAX, &err), 0);
        assert_int_equal(f->plain.size, 9);
        assert_memory_equal(f->plain.data, "some text", 9);
    }
    for (int codec = -1; codec <= 5; codec += 6) {
        assert_int_equal(record_codec_decompress(f->codec, (enum varve_codec)codec, "x", 1, 100,
                                                 &f->plain, &err),
                         VARVE_E_UNSUPPORTED);
        assert_non_null(strstr(err.msg, "is unknown"));
    }
}

static void names_and_codecs_match(void **state)
{
    enum varve_codec codec = VARVE_CODEC_LZ4;

    (void)state;
    for (int c = VARVE_CODEC_NONE; c <= VARVE_CODEC_ZSTD; c++) {
        assert_true(record_codec_parse(record_codec_name((enum varve_codec)c), &codec));
        assert_int_equal(codec, c);
    }
    assert_string_equal(record_codec_name(VARVE_CODEC_ZSTD), "zstd");
    assert_null(record_codec_name((enum varve_codec)5));
    assert_null(record_codec_name((enum varve_codec) - 1));
    assert_false(record_codec_parse("ZSTD", &codec));
    assert_false(record_codec_parse("", &codec));
    assert_int_equal(codec, VARVE_CODEC_ZSTD);
    assert_null(record_codec_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_comes_back_with_exactly_its_bound),
        cmocka_unit_test(every_level_comes_back),
        cmocka_unit_test(compressing_adds_to_the_output),
        cmocka_unit_test(broken_input_is_corrupt_and_harms_no_later_call),
        cmocka_unit_test(bytes_after_the_end_are_corrupt),
        cmocka_unit_test(gzip_members_and_zstd_frames_may_follow_each_other),
        cmocka_unit_test(a_bomb_is_refused_within_its_bound_by_every_codec),
        cmocka_unit_test(a_snappy_block_that_claims_much_and_holds_little_is_corrupt),
        cmocka_unit_test(a_zstd_frame_that_claims_more_than_the_bound_allocates_no_more),
        cmocka_unit_test(snappy_is_written_in_the_xerial_framing),
        cmocka_unit_test(wrong_xerial_framing_is_refused),
        cmocka_unit_test(an_lz4_frame_that_fails_does_not_break_the_next),
        cmocka_unit_test(lz4_frames_have_independent_blocks_and_no_content_size),
        cmocka_unit_test(what_no_codec_can_do_is_refused_before_it_is_tried),
        cmocka_unit_test(names_and_codecs_match),
    };
    return cmocka_run_group_tests_name("record codec", tests, setup, teardown);
}
