/* The journal of unfinished uploads: its format, and that nothing depends on it. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "tests/support/data.h"
#include "tests/support/env.h"
#include "tests/support/file.h"
#include "tiering/journal.h"

static const struct tiering_journal_what what = {
    .base_offset = 100,
    .end_offset = 200,
    .segment_size = 12345678,
    .epoch = 3,
    .part_bytes = 5242880,
    .block_bytes = 1048576,
    .index_interval_bytes = 4096,
    .compression_level = -1,
    .compressor_version = 10504,
};

static struct tiering_journal *journal_open(struct support_env *e)
{
    struct tiering_journal *j;

    assert_int_equal(
        tiering_journal_open(&e->env, support_tmpdir_path(e->dir, "uploads"), &j, NULL), 0);
    return j;
}

static struct base_id id_of(uint8_t byte)
{
    struct base_id id;

    memset(id.bytes, byte, sizeof(id.bytes));
    return id;
}

static struct cold_part part_of(unsigned number)
{
    struct cold_part part = {.number = number, .size = 5242880 + number};

    snprintf(part.etag.text, sizeof(part.etag.text), "\"etag-%u\"", number);
    return part;
}

static struct tiering_journal_entry *begin(struct tiering_journal *j, uint8_t n)
{
    struct tiering_journal_what of = what;
    struct base_id attempt = id_of(n);
    struct cold_upload upload = {"upload-id"};

    of.base_offset += n * 100;
    of.end_offset += n * 100;
    return tiering_journal_begin(j, tiering_journal_ask(j, &of, &attempt, "logs/orders/0/@/x.zst"),
                                 &upload);
}

/* Two uploads, the first with parts 1 and 3, the second over. */
static void write_some(struct tiering_journal *j)
{
    struct tiering_journal_entry *first = begin(j, 0), *second = begin(j, 1);
    struct cold_part part;

    assert_non_null(first);
    assert_non_null(second);
    part = part_of(3);
    tiering_journal_part(j, first, &part, 0x33333333);
    part = part_of(1);
    tiering_journal_part(j, second, &part, 7);
    tiering_journal_part(j, first, &part, 0x11111111);
    tiering_journal_end(j, second);
}

static void the_format_is_the_golden_one(void **state)
{
    struct support_env *e = *state;
    struct tiering_journal *j = journal_open(e);
    uint8_t *data;
    size_t size;

    write_some(j);
    tiering_journal_close(j);
    data = support_file_read(support_tmpdir_path(e->dir, "uploads"), &size);
    assert_true(support_data_equal("tiering/uploads-v1.bin", data, size));
    free(data);
}

static void the_next_life_finds_what_was_left_over(void **state)
{
    struct tiering_journal *j = journal_open(*state);
    struct tiering_journal_what other = what;
    struct tiering_journal_entry *entry;
    struct base_id first = id_of(0), second = id_of(1);

    write_some(j);
    assert_int_equal(tiering_journal_left(j), 0); /* in use */
    tiering_journal_close(j);
    j = journal_open(*state);
    assert_int_equal(tiering_journal_left(j), 1);
    assert_true(tiering_journal_names(j, &first));
    assert_false(tiering_journal_names(j, &second));
    other.compressor_version++;
    assert_null(tiering_journal_take(j, &other, ""));
    assert_null(tiering_journal_take(j, &what, "logs/orders/1/"));
    entry = tiering_journal_take(j, &what, "");
    assert_non_null(entry);
    assert_null(tiering_journal_take(j, &what, "")); /* J2: by one only */
    assert_true(tiering_journal_names(j, &first));
    assert_true(base_id_equal(&entry->attempt, &first));
    assert_string_equal(entry->key, "logs/orders/0/@/x.zst");
    assert_string_equal(entry->upload.id, "upload-id");
    assert_int_equal(entry->part_count, 3);
    assert_int_equal(entry->parts[0].part.number, 1);
    assert_int_equal(entry->parts[0].crc32c, 0x11111111);
    assert_int_equal(entry->parts[0].part.size, 5242881);
    assert_string_equal(entry->parts[0].part.etag.text, "\"etag-1\"");
    assert_int_equal(entry->parts[1].part.number, 0);
    assert_int_equal(entry->parts[2].part.number, 3);
    tiering_journal_leave(j, entry);
    assert_int_equal(tiering_journal_left(j), 1);
    entry = tiering_journal_take(j, &what, "");
    tiering_journal_end(j, entry);
    tiering_journal_close(j);
}

static bool any(void *ctx, const struct tiering_journal_entry *entry)
{
    (void)ctx;
    (void)entry;
    return true;
}

/* J1: killed before the store has answered. Its key is known, and nothing goes on with it. */
static void what_was_asked_for_and_not_answered_is_known_by_its_key(void **state)
{
    struct tiering_journal *j = journal_open(*state);
    struct tiering_journal_entry *entry;
    struct base_id attempt = id_of(9);

    assert_non_null(tiering_journal_ask(j, &what, &attempt, "logs/orders/0/@/y.zst"));
    tiering_journal_close(j);
    j = journal_open(*state);
    assert_int_equal(tiering_journal_left(j), 1);
    assert_true(tiering_journal_names(j, &attempt));
    assert_null(tiering_journal_take(j, &what, ""));
    entry = tiering_journal_take_if(j, any, NULL);
    assert_non_null(entry);
    assert_string_equal(entry->key, "logs/orders/0/@/y.zst");
    assert_string_equal(entry->upload.id, "");
    tiering_journal_end(j, entry);
    tiering_journal_close(j);
}

static void the_file_is_emptied_when_the_last_upload_ends(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "uploads");
    struct tiering_journal *j = journal_open(e);
    struct tiering_journal_entry *entry;

    assert_false(support_file_exists(path)); /* nothing was begun yet */
    for (int i = 0; i < 3; i++) {
        entry = begin(j, 0);
        assert_true(support_file_size(path) > 64);
        tiering_journal_end(j, entry);
        assert_int_equal(support_file_size(path), 0);
    }
    tiering_journal_close(j);
    j = journal_open(e);
    assert_int_equal(tiering_journal_left(j), 0);
    tiering_journal_close(j);
}

/* Whatever a crash leaves of the file: what was whole is read, and writing goes on behind it. */
static void a_torn_end_does_not_exist(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "uploads");
    struct tiering_journal *j = journal_open(e);
    uint8_t *data;
    size_t size;

    write_some(j);
    tiering_journal_close(j);
    data = support_file_read(path, &size);
    for (size_t keep = 0; keep < size; keep++) {
        unsigned left;

        support_file_write(path, data, keep);
        j = journal_open(e);
        left = tiering_journal_left(j);
        assert_true(left <= 3); /* the second as asked for, and as begun */
        assert_non_null(begin(j, 5));
        tiering_journal_close(j);
        j = journal_open(e);
        assert_int_equal(tiering_journal_left(j), left + 1);
        tiering_journal_close(j);
    }
    free(data);
}

static int count_lines(void *arg, const struct tiering_journal_line *line)
{
    (void)line;
    ++*(unsigned *)arg;
    return 0;
}

static void a_flip_in_any_byte_that_counts_is_found(void **state)
{
    struct support_env *e = *state;
    struct tiering_journal *j = journal_open(e);
    struct varve_error err;
    unsigned lines = 0;
    size_t size, valid;
    uint8_t *data;

    write_some(j);
    tiering_journal_close(j);
    data = support_file_read(support_tmpdir_path(e->dir, "uploads"), &size);
    assert_int_equal(tiering_journal_decode(data, size, count_lines, &lines, &valid, &err), 0);
    assert_int_equal(lines, 10);
    assert_int_equal(valid, size);
    for (size_t i = 0; i < size; i++) {
        if (i >= 28 && i < 64)
            continue; /* zeros of the header that nothing covers */
        data[i] ^= 0x10;
        lines = 0;
        err.msg[0] = '\0';
        assert_int_equal(tiering_journal_decode(data, size, count_lines, &lines, &valid, &err),
                         VARVE_E_CORRUPT);
        assert_true(err.msg[0] != '\0' && valid <= i && lines < 10);
        data[i] ^= 0x10;
    }
    free(data);
}

static void a_journal_of_a_later_version_is_reported_and_replaced(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "uploads");
    struct tiering_journal *j = journal_open(e);
    struct varve_error err;
    unsigned lines = 0;
    uint8_t *data;
    size_t size, valid;

    write_some(j);
    tiering_journal_close(j);
    data = support_file_read(path, &size);
    data[20] = 1; /* a feature that must be understood */
    base_put_le32(data + 24, base_crc32c(0, data, 24));
    assert_int_equal(tiering_journal_decode(data, size, count_lines, &lines, &valid, &err),
                     VARVE_E_VERSION);
    support_file_write(path, data, size);
    free(data);
    j = journal_open(e);
    assert_int_equal(support_logger_count(e->logger, -1, "found by collection only"), 1);
    assert_int_equal(tiering_journal_left(j), 0);
    assert_non_null(begin(j, 0));
    tiering_journal_close(j);
    j = journal_open(e);
    assert_int_equal(tiering_journal_left(j), 1);
    tiering_journal_close(j);
}

/* Each I/O call failing once: uploads go on, and what is read back later was so. */
static void a_disk_that_fails_costs_the_journal_only(void **state)
{
    struct support_env *e = *state;
    bool hit = true;

    for (uint64_t nth = 1; hit; nth++) {
        struct support_io_fault fault = {
            .call = SUPPORT_IO_ANY, .nth = nth, .sys_errno = ENOSPC, .torn_size = 20};
        struct tiering_journal *j;
        struct tiering_journal_entry *first, *second;
        struct cold_part part = part_of(1);

        support_io_fail(e->io, &fault);
        j = journal_open(e);
        first = begin(j, 0);
        second = begin(j, 1);
        if (second)
            tiering_journal_part(j, second, &part, 9);
        tiering_journal_end(j, first);
        hit = support_io_failed(e->io) > 0;
        support_io_fail(e->io, NULL);
        if (second)
            tiering_journal_leave(j, second);
        tiering_journal_close(j);
        j = journal_open(e);
        assert_true(tiering_journal_left(j) <= 3);
        second =
            tiering_journal_take(j, &what, ""); /* the first: its end was lost, or it is over */
        tiering_journal_end(j, second);
        tiering_journal_close(j);
        assert_int_equal(
            base_tree_remove(&base_io_posix, support_tmpdir_path(e->dir, "uploads"), NULL), 0);
        assert_true(nth < 100);
        if (!hit)
            assert_true(nth > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(the_format_is_the_golden_one),
        support_env_test(the_next_life_finds_what_was_left_over),
        support_env_test(what_was_asked_for_and_not_answered_is_known_by_its_key),
        support_env_test(the_file_is_emptied_when_the_last_upload_ends),
        support_env_test(a_torn_end_does_not_exist),
        support_env_test(a_flip_in_any_byte_that_counts_is_found),
        support_env_test(a_journal_of_a_later_version_is_reported_and_replaced),
        support_env_test(a_disk_that_fails_costs_the_journal_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
