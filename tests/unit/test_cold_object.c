/* The segment object: what is encoded decodes, what is damaged is found, what others can read they
 * read. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/env.h"
#include "base/text.h"
#include "cold/object.h"
#include "record/builder.h"
#include "tests/support/random.h"
#include "tests/support/support_object.h"

#define LOG_NAME "orders/0"
#define GOLDEN TEST_DATA_DIR "/object-v1.zst"
#define SEEK_FOOTER_SIZE 9
#define SEEK_ENTRY_SIZE 12

static void object_fill(struct support_object *o, unsigned batches)
{
    struct base_id log_id = support_id(1);

    support_object_init(o, LOG_NAME, &log_id, 1000);
    o->epoch = 1;
    for (unsigned i = 0; i < batches; i++)
        support_object_batch(o, 10, 100, 1431900000000 + (i % 3 ? i : -(int64_t)i) * 1000,
                             i % 4 == 3);
}

static void object_make(struct support_object *o, unsigned batches, size_t block_bytes)
{
    struct base_id attempt = support_id(2);

    object_fill(o, batches);
    support_object_finish(o, block_bytes, 3, &attempt, NULL);
}

static const uint8_t *index_of(const struct support_object *o)
{
    return o->object.data + o->entry.index_pos;
}

static size_t tail_size(const struct support_object *o)
{
    return o->object.size - o->entry.index_pos;
}

static void table_of(const struct support_object *o, struct cold_table_view *ret)
{
    assert_int_equal(cold_table_decode(index_of(o), o->entry.table_size, ret, NULL), 0);
}

static void the_table_says_what_the_builder_was_told(void **state)
{
    struct support_object o;
    struct cold_table_view t;
    struct cold_block_info b, previous = {0};

    (void)state;
    object_make(&o, 40, 4096);
    table_of(&o, &t);
    assert_int_equal(t.info.log_name_size, strlen(LOG_NAME));
    assert_memory_equal(t.info.log_name, LOG_NAME, strlen(LOG_NAME));
    assert_true(base_id_equal(&t.info.log_id, &o.log_id));
    assert_true(base_id_equal(&t.info.attempt, &o.entry.attempt));
    assert_int_equal(t.info.epoch, 1);
    assert_int_equal(t.info.base_offset, 1000);
    assert_int_equal(t.info.end_offset, 1400);
    assert_int_equal(t.info.segment_size, o.segment.size);
    assert_memory_equal(t.info.segment_sha256, o.entry.segment_sha256, BASE_SHA256_SIZE);
    assert_memory_equal(t.info.chain_hash, o.entry.chain_hash, BASE_SHA256_SIZE);
    assert_true(t.block_count > 5);
    for (size_t i = 0; i < t.block_count; i++) {
        cold_table_block(&t, i, &b);
        assert_int_equal(b.pos, previous.pos + previous.stored_size);
        assert_int_equal(b.raw_pos, previous.raw_pos + previous.raw_size);
        assert_true(b.raw_size <= 4096);
        previous = b;
    }
    assert_int_equal(previous.pos + previous.stored_size, o.entry.index_pos);
    support_object_deinit(&o);
}

static void blocks_decompress_to_the_segment(void **state)
{
    struct support_object o;
    struct cold_table_view t;
    struct cold_decompressor *d = cold_decompressor_new();
    uint8_t *raw;

    (void)state;
    object_make(&o, 40, 4096);
    table_of(&o, &t);
    raw = malloc(o.segment.size);
    assert_non_null(raw);
    for (size_t i = 0; i < t.block_count; i++) {
        struct cold_block_info b;

        cold_table_block(&t, i, &b);
        assert_int_equal(cold_block_decompress(d, &b, o.object.data + b.pos, raw + b.raw_pos, NULL),
                         0);
    }
    assert_memory_equal(raw, o.segment.data, o.segment.size);
    free(raw);
    cold_decompressor_free(d);
    support_object_deinit(&o);
}

static void a_damaged_block_is_refused_at_every_byte(void **state)
{
    struct support_object o;
    struct cold_table_view t;
    struct cold_block_info b;
    struct cold_decompressor *d = cold_decompressor_new();
    uint8_t raw[8192];

    (void)state;
    object_make(&o, 4, 8192);
    table_of(&o, &t);
    cold_table_block(&t, 0, &b);
    for (size_t i = 0; i < b.stored_size; i++) {
        struct varve_error err = {0};

        o.object.data[i] ^= 0x10;
        assert_int_equal(cold_block_decompress(d, &b, o.object.data, raw, &err), VARVE_E_CORRUPT);
        assert_non_null(strstr(err.msg, "checksum"));
        o.object.data[i] ^= 0x10;
    }
    b.raw_size--; /* a table that lies about the size */
    assert_int_equal(cold_block_decompress(d, &b, o.object.data, raw, NULL), VARVE_E_CORRUPT);
    b.raw_size += 2;
    assert_int_equal(cold_block_decompress(d, &b, o.object.data, raw, NULL), VARVE_E_CORRUPT);
    cold_decompressor_free(d);
    support_object_deinit(&o);
}

static void each_flipped_byte_of_the_tail_is_found(void **state)
{
    struct support_object o;
    struct cold_index_view v;
    uint8_t *tail;
    size_t size;

    (void)state;
    object_make(&o, 12, 4096);
    tail = o.object.data + o.entry.index_pos;
    size = tail_size(&o);
    assert_int_equal(cold_tail_decode(tail, size, &v, NULL), 0);
    for (size_t i = 0; i < size; i++) {
        for (unsigned bit = 0; bit < 8; bit += 7) {
            struct varve_error err = {0};

            tail[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(cold_tail_decode(tail, size, &v, &err), VARVE_E_CORRUPT);
            assert_true(strlen(err.msg) > 0);
            tail[i] ^= (uint8_t)(1u << bit);
        }
    }
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(cold_tail_decode(tail, cut, &v, NULL), VARVE_E_CORRUPT);
    support_object_deinit(&o);
}

static void a_failed_decode_leaves_the_output_untouched(void **state)
{
    struct support_object o;
    struct cold_index_view v = {.sparse_size = 77}, before = v;
    uint64_t pos = 7;
    uint32_t size = 8;

    (void)state;
    object_make(&o, 2, 4096);
    o.object.data[o.entry.index_pos + 300] ^= 1;
    assert_int_equal(cold_index_decode(index_of(&o), o.entry.index_size, &v, NULL),
                     VARVE_E_CORRUPT);
    assert_memory_equal(&v, &before, sizeof(v));
    assert_int_equal(cold_table_decode(index_of(&o), o.entry.table_size, &v.table, NULL),
                     VARVE_E_CORRUPT);
    assert_memory_equal(&v, &before, sizeof(v));
    assert_int_equal(cold_object_find_index("short", 5, 5, &pos, &size, NULL), VARVE_E_CORRUPT);
    assert_int_equal(pos, 7);
    assert_int_equal(size, 8);
    support_object_deinit(&o);
}

/* Changes a header field and makes the table's checksum right again. */
static void table_patch(struct support_object *o, size_t pos, uint32_t value)
{
    uint8_t *h = o->object.data + o->entry.index_pos;

    base_put_le32(h + pos, value);
    base_put_le32(h + o->entry.table_size - 4, base_crc32c(0, h, o->entry.table_size - 4));
}

static void a_newer_version_and_an_unknown_must_feature_are_refused(void **state)
{
    struct support_object o;
    struct cold_table_view t;

    (void)state;
    object_make(&o, 2, 4096);
    table_patch(&o, 24, 0xffff); /* features that may be ignored */
    table_of(&o, &t);
    table_patch(&o, 28, 1);
    assert_int_equal(cold_table_decode(index_of(&o), o.entry.table_size, &t, NULL),
                     VARVE_E_VERSION);
    table_patch(&o, 28, 0);
    table_patch(&o, 16, 2);
    assert_int_equal(cold_table_decode(index_of(&o), o.entry.table_size, &t, NULL),
                     VARVE_E_VERSION);
    support_object_deinit(&o);
}

static void unknown_sections_are_skipped_unless_they_must_be_understood(void **state)
{
    struct support_object o;
    struct cold_index_view v;
    uint8_t *section;
    uint32_t size;

    (void)state;
    object_make(&o, 2, 4096);
    section = o.object.data + o.entry.index_pos + o.entry.table_size;
    size = base_get_le32(section + 8);
    base_put_le32(section, 4711);
    base_put_le32(section + 12, base_crc32c(base_crc32c(0, section, 12), section + 16, size));
    assert_int_equal(cold_index_decode(index_of(&o), o.entry.index_size, &v, NULL), 0);
    assert_null(v.sparse);
    base_put_le32(section + 4, 1);
    base_put_le32(section + 12, base_crc32c(base_crc32c(0, section, 12), section + 16, size));
    assert_int_equal(cold_index_decode(index_of(&o), o.entry.index_size, &v, NULL),
                     VARVE_E_VERSION);
    support_object_deinit(&o);
}

static void offsets_and_times_lead_to_their_blocks(void **state)
{
    struct support_object o;
    struct cold_table_view t;
    struct cold_block_info b;
    size_t found = 99;

    (void)state;
    object_make(&o, 40, 4096);
    table_of(&o, &t);
    for (int64_t offset = 1000; offset < 1400; offset++) {
        size_t i = cold_table_find_offset(&t, offset);

        cold_table_block(&t, i, &b);
        assert_true(b.first_offset <= offset);
        if (i + 1 < t.block_count) {
            cold_table_block(&t, i + 1, &b);
            assert_true(offset < b.first_offset);
        }
    }
    for (size_t from = 0; from < t.block_count; from++) {
        int64_t timestamp = t.info.max_timestamp - 5000;

        for (int64_t min_offset = 990; min_offset < 1410; min_offset += 7) {
            size_t expected = from;

            for (; expected < t.block_count; expected++) {
                int64_t end = t.info.end_offset;

                if (expected + 1 < t.block_count) {
                    cold_table_block(&t, expected + 1, &b);
                    end = b.first_offset;
                }
                cold_table_block(&t, expected, &b);
                if (end > min_offset && b.max_timestamp >= timestamp)
                    break;
            }
            if (cold_table_find_time(&t, from, timestamp, min_offset, &found))
                assert_int_equal(found, expected);
            else
                assert_int_equal(expected, t.block_count);
        }
    }
    assert_false(cold_table_find_time(&t, 0, t.info.max_timestamp + 1, 0, &found));
    support_object_deinit(&o);
}

static void the_sparse_index_is_that_of_the_segment(void **state)
{
    struct support_object o;
    struct cold_index_view v;
    struct index_sparse s;
    struct index_sparse_entry e;
    uint32_t end = 0;

    (void)state;
    object_make(&o, 40, 8192);
    assert_int_equal(cold_index_decode(index_of(&o), o.entry.index_size, &v, NULL), 0);
    assert_int_equal(index_sparse_init(&s, v.sparse, v.sparse_size, 1000, NULL), 0);
    assert_int_equal(index_sparse_check(&s, NULL), 0);
    for (size_t i = 0; i < s.count; i++) {
        assert_int_equal(index_sparse_get(&s, i, &e, NULL), 0);
        assert_int_equal(e.pos, end);
        end = e.pos + e.size;
    }
    assert_int_equal(end, o.segment.size);
    support_object_deinit(&o);
}

static void the_index_is_found_from_the_last_bytes(void **state)
{
    struct support_object o;
    uint64_t pos = 0;
    uint32_t size = 0;

    (void)state;
    object_make(&o, 40, 4096);
    assert_int_equal(cold_object_find_index(o.object.data + o.object.size - COLD_TAIL_PROBE,
                                            COLD_TAIL_PROBE, o.object.size, &pos, &size, NULL),
                     0);
    assert_int_equal(pos, o.entry.index_pos);
    assert_int_equal(size, o.entry.index_size);
    for (size_t cut = 1; cut < 64; cut++)
        assert_int_equal(cold_object_find_index(o.object.data, o.object.size - cut,
                                                o.object.size - cut, &pos, &size, NULL),
                         VARVE_E_CORRUPT);
    support_object_deinit(&o);
}

/* A reader of the seekable format as its specification has it, knowing nothing of varve. */
static void the_seek_table_leads_a_foreign_reader_through_the_object(void **state)
{
    struct support_object o;
    const uint8_t *end, *entry;
    uint32_t count;
    size_t pos = 0, raw_pos = 0, table_size;
    uint8_t raw[8192];

    (void)state;
    object_make(&o, 40, 4096);
    end = o.object.data + o.object.size;
    assert_int_equal(base_get_le32(end - 4), 0x8F92EAB1);
    assert_int_equal(end[-5] & 0x7c, 0);
    assert_int_equal(end[-5] >> 7, 1);
    count = base_get_le32(end - SEEK_FOOTER_SIZE);
    table_size = (size_t)count * SEEK_ENTRY_SIZE + SEEK_FOOTER_SIZE;
    assert_int_equal(base_get_le32(end - table_size - 8), 0x184D2A5E);
    assert_int_equal(base_get_le32(end - table_size - 4), table_size);
    entry = end - table_size;
    for (uint32_t i = 0; i < count; i++, entry += SEEK_ENTRY_SIZE) {
        uint32_t stored = base_get_le32(entry), size = base_get_le32(entry + 4);

        if (size > 0) {
            assert_int_equal(ZSTD_findFrameCompressedSize(o.object.data + pos, stored), stored);
            assert_int_equal(ZSTD_decompress(raw, sizeof(raw), o.object.data + pos, stored), size);
            assert_memory_equal(raw, o.segment.data + raw_pos, size);
            assert_int_equal(base_get_le32(o.object.data + pos + stored - 4),
                             base_get_le32(entry + 8));
        }
        pos += stored;
        raw_pos += size;
    }
    assert_int_equal(pos, o.object.size - table_size - 8);
    assert_int_equal(raw_pos, o.segment.size);
    support_object_deinit(&o);
}

static void libzstd_sees_exactly_the_segment(void **state)
{
    struct support_object o;
    uint8_t *raw;

    (void)state;
    object_make(&o, 40, 4096);
    raw = malloc(o.segment.size + 1);
    assert_non_null(raw);
    assert_int_equal(ZSTD_decompress(raw, o.segment.size + 1, o.object.data, o.object.size),
                     o.segment.size);
    assert_memory_equal(raw, o.segment.data, o.segment.size);
    free(raw);
    support_object_deinit(&o);
}

static void file_write(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void the_zstd_program_accepts_an_object(void **state)
{
    char dir[] = "/tmp/varve-object-XXXXXX", command[512], path[64], log[64];
    struct support_object o;

    (void)state;
    if (system("zstd --version >/dev/null 2>&1") != 0)
        skip();
    object_make(&o, 40, 4096);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/o.zst", dir);
    snprintf(log, sizeof(log), "%s/o.log", dir);
    file_write(path, o.object.data, o.object.size);
    file_write(log, o.segment.data, o.segment.size);
    snprintf(command, sizeof(command),
             "zstd -q -t %s && zstd -q -l %s >/dev/null && zstd -q -dc %s | cmp - %s", path, path,
             path, log);
    assert_int_equal(system(command), 0);
    unlink(path);
    unlink(log);
    rmdir(dir);
    support_object_deinit(&o);
}

static void producers_add(struct cold_object_builder *b, int64_t id, int16_t epoch,
                          int32_t sequence, int64_t base_offset, int64_t last_offset)
{
    struct record_batch batch = {.base_offset = base_offset,
                                 .last_offset = last_offset,
                                 .size = 100,
                                 .max_timestamp = 5000 + last_offset,
                                 .producer_id = id,
                                 .producer_epoch = epoch,
                                 .base_sequence = sequence};

    assert_int_equal(cold_object_builder_batch(b, &batch, (uint32_t)(base_offset * 100), NULL), 0);
}

/* Finishes with one block that covers `segment_size`. */
static void builder_finish(struct cold_object_builder *b, uint64_t segment_size, int64_t end_offset,
                           struct cold_index_view *ret)
{
    struct cold_object_info info = {.log_name = "x",
                                    .log_name_size = 1,
                                    .end_offset = end_offset,
                                    .segment_size = segment_size};
    struct cold_block_info block = {.stored_size = 10, .raw_size = (uint32_t)segment_size};
    const void *tail;
    size_t size;
    uint32_t table_size, index_size;

    assert_int_equal(cold_object_builder_block(b, &block, NULL), 0);
    assert_int_equal(
        cold_object_builder_finish(b, &info, &tail, &size, &table_size, &index_size, NULL), 0);
    assert_int_equal(cold_tail_decode(tail, size, ret, NULL), 0);
}

static void producers_and_aborted_ranges_come_back(void **state)
{
    struct cold_object_builder *b = NULL;
    struct cold_index_view v;
    struct cold_producer p;
    int64_t id, first, last;

    (void)state;
    assert_int_equal(cold_object_builder_new(4096, &b, NULL), 0);
    producers_add(b, 70, 1, 0, 0, 4);
    producers_add(b, -1, -1, -1, 5, 5);
    producers_add(b, 9, 0, INT32_MAX, 6, 7); /* the sequence wraps to 0 */
    producers_add(b, 70, 2, 5, 8, 9);
    producers_add(b, 70, 2, -1, 10, 10); /* a marker has no sequence */
    assert_int_equal(cold_object_builder_aborted(b, 70, 8, 9, NULL), 0);
    builder_finish(b, 1100, 11, &v);
    assert_int_equal(v.producer_count, 2);
    cold_index_producer(&v, 0, &p);
    assert_int_equal(p.producer_id, 9);
    assert_int_equal(p.last_sequence, 0);
    assert_int_equal(p.last_offset, 7);
    cold_index_producer(&v, 1, &p);
    assert_int_equal(p.producer_id, 70);
    assert_int_equal(p.producer_epoch, 2);
    assert_int_equal(p.last_sequence, 6);
    assert_int_equal(p.last_offset, 10);
    assert_int_equal(p.last_timestamp, 5010);
    assert_int_equal(v.aborted_count, 1);
    cold_index_aborted(&v, 0, &id, &first, &last);
    assert_int_equal(id, 70);
    assert_int_equal(first, 8);
    assert_int_equal(last, 9);
    cold_object_builder_free(b);
}

static void above_the_limit_the_producers_that_wrote_last_are_kept(void **state)
{
    struct cold_object_builder *b = NULL;
    struct cold_index_view v;
    struct cold_producer p;
    int64_t count = COLD_PRODUCERS_MAX + 10;

    (void)state;
    assert_int_equal(cold_object_builder_new(4096, &b, NULL), 0);
    for (int64_t i = 0; i < count; i++)
        producers_add(b, i, 0, 0, i, i);
    builder_finish(b, (uint64_t)count * 100, count, &v);
    assert_int_equal(v.producer_count, COLD_PRODUCERS_MAX / 2 + 10);
    cold_index_producer(&v, 0, &p);
    assert_int_equal(p.producer_id, COLD_PRODUCERS_MAX / 2);
    cold_object_builder_free(b);
}

static void a_builder_refuses_what_does_not_fit_together(void **state)
{
    struct cold_object_builder *b = NULL;
    struct cold_object_info info = {
        .log_name = "x", .log_name_size = 1, .end_offset = 5, .segment_size = 100};
    struct cold_block_info block = {.stored_size = 10, .raw_size = 99};
    struct varve_error err = {0};
    const void *tail = "untouched", *before = tail;
    size_t size;
    uint32_t table_size, index_size;

    (void)state;
    assert_int_equal(cold_object_builder_new(4096, &b, NULL), 0);
    assert_int_equal(
        cold_object_builder_finish(b, &info, &tail, &size, &table_size, &index_size, &err),
        VARVE_E_INVALID);
    assert_string_equal(err.msg, "an object without blocks");
    assert_int_equal(cold_object_builder_block(b, &block, NULL), 0);
    assert_int_equal(cold_object_builder_block(b, &block, &err), VARVE_E_INVALID);
    assert_string_equal(err.msg, "block 1 does not follow the block before it");
    assert_int_equal(
        cold_object_builder_finish(b, &info, &tail, &size, &table_size, &index_size, &err),
        VARVE_E_INVALID);
    assert_string_equal(err.msg, "blocks hold 99 bytes of a segment of 100");
    assert_ptr_equal(tail, before);
    cold_object_builder_free(b);
}

/*
 * The golden object. Frames differ between versions of libzstd, so what must be byte-identical is
 * the tail made from the golden file's own frames.
 */
static void golden_tail(const struct support_object *o, const uint8_t *golden,
                        const struct cold_table_view *t, struct base_buffer *out)
{
    struct cold_object_builder *b = NULL;
    struct record_batch batch;
    const void *tail;
    size_t size;
    uint32_t table_size, index_size;

    assert_int_equal(cold_object_builder_new(4096, &b, NULL), 0);
    for (size_t pos = 0; pos < o->segment.size; pos += batch.size) {
        assert_int_equal(
            record_batch_check(o->segment.data + pos, o->segment.size - pos, &batch, NULL), 0);
        assert_int_equal(cold_object_builder_batch(b, &batch, (uint32_t)pos, NULL), 0);
    }
    for (size_t i = 0; i < t->block_count; i++) {
        struct cold_block_info block;

        cold_table_block(t, i, &block);
        block.crc32c = base_crc32c(0, golden + block.pos, block.stored_size);
        block.content_checksum = base_get_le32(golden + block.pos + block.stored_size - 4);
        assert_int_equal(cold_object_builder_block(b, &block, NULL), 0);
    }
    assert_int_equal(
        cold_object_builder_finish(b, &t->info, &tail, &size, &table_size, &index_size, NULL), 0);
    base_buffer_add(out, tail, size);
    cold_object_builder_free(b);
}

static void the_golden_object_reads_and_encodes_as_ever(void **state)
{
    struct support_object o;
    struct cold_index_view v;
    struct base_buffer tail;
    void *golden = NULL;
    size_t size = 0;
    uint64_t pos = 0;
    uint32_t index_size = 0;
    uint8_t raw[16384];

    (void)state;
    object_make(&o, 8, 4096);
    if (getenv("VARVE_GOLDEN_WRITE"))
        file_write(GOLDEN, o.object.data, o.object.size);
    assert_int_equal(base_file_read(&base_io_posix, GOLDEN, 1 << 20, &golden, &size, NULL), 0);
    assert_int_equal(cold_object_find_index(golden, size, size, &pos, &index_size, NULL), 0);
    assert_int_equal(cold_tail_decode((uint8_t *)golden + pos, size - pos, &v, NULL), 0);
    assert_int_equal(ZSTD_decompress(raw, sizeof(raw), golden, size), o.segment.size);
    assert_memory_equal(raw, o.segment.data, o.segment.size);
    base_buffer_init(&tail);
    golden_tail(&o, golden, &v.table, &tail);
    assert_int_equal(tail.size, size - pos);
    assert_memory_equal(tail.data, (uint8_t *)golden + pos, tail.size);
    base_buffer_deinit(&tail);
    free(golden);
    support_object_deinit(&o);
}

static void an_empty_block_cannot_be_compressed(void **state)
{
    struct cold_compressor *c = cold_compressor_new();
    struct cold_block_info info = {.pos = 5};
    struct base_buffer out;

    (void)state;
    base_buffer_init(&out);
    assert_int_equal(cold_block_compress(c, 3, "", 0, &out, &info, NULL), VARVE_E_INVALID);
    assert_int_equal(out.size, 0);
    assert_int_equal(cold_block_compress(c, 3, "x", 1, &out, &info, NULL), 0);
    assert_int_equal(info.pos, 5);
    assert_int_equal(info.raw_size, 1);
    assert_int_equal(info.stored_size, out.size);
    base_buffer_deinit(&out);
    cold_compressor_free(c);
}

/* A block of `size` bytes made at two levels: the sizes that it is stored in. Both read back. */
static void stored_sizes(const uint8_t *data, size_t size, int low, int high, size_t ret[2])
{
    struct cold_compressor *c = cold_compressor_new();
    struct cold_decompressor *d = cold_decompressor_new();
    uint8_t *raw = malloc(size);

    assert_non_null(raw);
    for (size_t i = 0; i < 2; i++) {
        struct cold_block_info info = {0};
        struct base_buffer out;

        base_buffer_init(&out);
        assert_int_equal(cold_block_compress(c, i ? high : low, data, size, &out, &info, NULL), 0);
        assert_int_equal(cold_block_decompress(d, &info, out.data, raw, NULL), 0);
        assert_memory_equal(raw, data, size);
        ret[i] = out.size;
        base_buffer_deinit(&out);
    }
    free(raw);
    cold_decompressor_free(d);
    cold_compressor_free(c);
}

static void a_block_that_does_not_shrink_is_made_fast_whatever_the_level(void **state)
{
    const size_t size = 256 * 1024;
    uint8_t *data = malloc(size);
    struct support_random random;
    size_t stored[2];

    (void)state;
    assert_non_null(data);
    support_random_init(&random, 7);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)support_random_u64(&random);
    /* What shrinks at any level but the fastest, between the samples: seen only if it is tried. */
    memset(data + 20000, 'x', 2000);
    stored_sizes(data, size, -5, 19, stored);
    assert_int_equal(stored[0], stored[1]);
    for (size_t i = 0; i < size; i++) /* six bits of eight: entropy coding is the whole gain */
        data[i] = (uint8_t)(data[i] & 0x3f);
    stored_sizes(data, size, -5, 3, stored);
    assert_true(stored[1] < size / 100 * 80);
    assert_true(stored[1] <= stored[0]);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_says_what_the_builder_was_told),
        cmocka_unit_test(blocks_decompress_to_the_segment),
        cmocka_unit_test(a_damaged_block_is_refused_at_every_byte),
        cmocka_unit_test(each_flipped_byte_of_the_tail_is_found),
        cmocka_unit_test(a_failed_decode_leaves_the_output_untouched),
        cmocka_unit_test(a_newer_version_and_an_unknown_must_feature_are_refused),
        cmocka_unit_test(unknown_sections_are_skipped_unless_they_must_be_understood),
        cmocka_unit_test(offsets_and_times_lead_to_their_blocks),
        cmocka_unit_test(the_sparse_index_is_that_of_the_segment),
        cmocka_unit_test(the_index_is_found_from_the_last_bytes),
        cmocka_unit_test(the_seek_table_leads_a_foreign_reader_through_the_object),
        cmocka_unit_test(libzstd_sees_exactly_the_segment),
        cmocka_unit_test(the_zstd_program_accepts_an_object),
        cmocka_unit_test(producers_and_aborted_ranges_come_back),
        cmocka_unit_test(above_the_limit_the_producers_that_wrote_last_are_kept),
        cmocka_unit_test(a_builder_refuses_what_does_not_fit_together),
        cmocka_unit_test(the_golden_object_reads_and_encodes_as_ever),
        cmocka_unit_test(an_empty_block_cannot_be_compressed),
        cmocka_unit_test(a_block_that_does_not_shrink_is_made_fast_whatever_the_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
