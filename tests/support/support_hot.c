#include "tests/support/support_hot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "record/builder.h"
#include "record/iterator.h"
#include "tests/support/tiny.h"

struct hot_set_options support_hot_options(void)
{
    return (struct hot_set_options){.durability = HOT_DURABILITY_OS,
                                    .segment_bytes =
                                        support_tiny() ? SUPPORT_TINY_SEGMENT_BYTES : 65536,
                                    .segment_ms = -1,
                                    .flush_ms = -1,
                                    .index_interval_bytes = 512};
}

static size_t value_fill(int64_t number, size_t size, char *buf, size_t buf_size)
{
    int n = snprintf(buf, buf_size, "record %lld ", (long long)number);
    size_t used = (size_t)n;
    for (; used < size && used < buf_size; used++)
        buf[used] = (char)('a' + (number + (int64_t)used) % 26);
    return used;
}

void *support_hot_batch(int64_t first, int count, size_t value_size, struct hot_append *ret)
{
    struct varve_batch *batch;
    struct varve_error err;
    const void *data;
    size_t size;
    char value[4096];
    assert_int_equal(varve_batch_new(VARVE_CODEC_NONE, 0, 1 << 26, &batch, &err), 0);
    for (int i = 0; i < count; i++) {
        size_t n = value_fill(first + i, value_size, value, sizeof(value));
        struct varve_record record = {
            .timestamp = SUPPORT_HOT_TIME + first + i, .value = value, .value_size = n};
        assert_int_equal(varve_batch_add(batch, &record, &err), 0);
    }
    assert_int_equal(record_builder_encode(batch, &data, &size, &err), 0);
    void *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    varve_batch_free(batch);
    *ret = (struct hot_append){.data = copy,
                               .size = size,
                               .record_count = count,
                               .first_timestamp = SUPPORT_HOT_TIME + first,
                               .max_timestamp = SUPPORT_HOT_TIME + first + count - 1};
    return copy;
}

struct hot_set *support_hot_open(struct support_env *e, const struct hot_set_options *options,
                                 struct hot_recovery *ret_recovery)
{
    struct varve_error err = {0};
    struct hot_set *set = NULL;
    int rc = hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), options, &set, ret_recovery,
                          &err);
    if (rc != 0)
        fail_msg("open: %s", err.msg);
    return set;
}

int support_hot_append(struct hot_set *set, int count, size_t value_size, struct varve_error *err)
{
    struct hot_append append;
    struct hot_range range;
    int64_t offset = -7;
    hot_set_range(set, &range);
    void *batch = support_hot_batch(range.end, count, value_size, &append);
    int rc = hot_set_append(set, &append, 1, 3, &offset, err);
    free(batch);
    assert_int_equal(offset, rc == 0 ? range.end : -7);
    return rc;
}

int64_t support_hot_read(struct hot_set *set, int64_t from)
{
    struct hot_reader *reader;
    struct record_iterator *it;
    struct varve_error err;
    struct record_batch batch;
    struct varve_record record;
    const void *data;
    char value[4096];
    int rc;
    assert_int_equal(hot_reader_new(set, &reader, &err), 0);
    assert_int_equal(record_iterator_new(&it, &err), 0);
    rc = hot_reader_seek(reader, from, &err);
    if (rc < 0)
        fail_msg("seek to %lld: %s", (long long)from, err.msg);
    int64_t next = -1;
    while ((rc = hot_reader_next(reader, &data, &batch, &err)) == 0) {
        assert_true(next < 0 ? batch.base_offset <= from && from <= batch.last_offset
                             : batch.base_offset == next);
        assert_int_equal(record_iterator_start(it, data, &batch, 1 << 26, &err), 0);
        next = batch.base_offset;
        while ((rc = record_iterator_next(it, &record, &err)) == 0) {
            size_t n = value_fill(next, record.value_size, value, sizeof(value));
            assert_int_equal(record.offset, next);
            assert_int_equal(record.timestamp, SUPPORT_HOT_TIME + next);
            assert_int_equal(record.value_size, n);
            assert_memory_equal(record.value, value, n);
            next++;
        }
        assert_int_equal(rc, VARVE_E_END);
        assert_int_equal(next, batch.last_offset + 1);
        assert_int_equal(next, hot_reader_offset(reader));
    }
    if (rc != VARVE_E_END)
        fail_msg("read at %lld: %s", (long long)hot_reader_offset(reader), err.msg);
    record_iterator_free(it);
    hot_reader_free(reader);
    return next < 0 ? from : next;
}

const char *support_hot_path(struct support_env *e, int64_t base, const char *ext)
{
    return support_tmpdir_path(e->dir, "log/%020lld.%s", (long long)base, ext);
}
