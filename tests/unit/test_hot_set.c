/* A set as its users see it: append, seal, read, evict, close and open again, follow. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/file.h"
#include "tests/support/support_hot.h"

static void append_many(struct hot_set *set, int batches, int count, size_t value_size)
{
    struct varve_error err;
    for (int i = 0; i < batches; i++) {
        if (support_hot_append(set, count, value_size, &err) != 0)
            fail_msg("append: %s", err.msg);
    }
}

static void what_is_appended_is_read_back_also_after_opening_again(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct hot_range range;

    struct hot_set *set = support_hot_open(e, &options, &recovery);
    assert_false(recovery.unclean);
    assert_int_equal(support_hot_read(set, 0), 0);
    append_many(set, 500, 7, 100);
    hot_set_range(set, &range);
    assert_int_equal(range.floor, 0);
    assert_int_equal(range.end, 3500);
    assert_true(range.segments > 5);
    assert_int_equal(support_hot_read(set, 0), 3500);
    assert_int_equal(support_hot_read(set, 1234), 3500);
    assert_int_equal(support_hot_read(set, 3499), 3500);
    assert_int_equal(support_hot_read(set, 3500), 3500);
    assert_null(hot_set_close(set));

    set = support_hot_open(e, &options, &recovery);
    assert_int_equal(recovery.scanned_bytes, 0);
    assert_int_equal(recovery.indexes_rebuilt, 0);
    assert_false(recovery.unclean);
    assert_int_equal(recovery.truncated_at, -1);
    struct hot_range again;
    hot_set_range(set, &again);
    assert_int_equal(again.end, 3500);
    assert_int_equal(again.synced, 3500);
    assert_int_equal(again.bytes, range.bytes);
    assert_int_equal(support_hot_read(set, 0), 3500);
    append_many(set, 100, 3, 10);
    for (int64_t from = 0; from <= 3800; from += 61)
        assert_int_equal(support_hot_read(set, from), 3800);
    hot_set_close(set);
}

static void segment_files_hold_batches_back_to_back_with_offsets_and_epoch_set(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_append append[3];
    void *data[3];
    size_t size, pos = 0;
    int64_t base = -1;

    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 3; i++)
        data[i] = support_hot_batch(10 * i, 10, 50, &append[i]);
    uint8_t *before = malloc(append[1].size);
    memcpy(before, data[1], append[1].size);
    assert_int_equal(hot_set_append(set, append, 3, 42, &base, NULL), 0);
    assert_int_equal(base, 0);
    assert_memory_equal(before, data[1], append[1].size);
    uint8_t *file = support_file_read(support_hot_path(e, 0, "log"), &size);
    for (int i = 0; i < 3; i++) {
        struct record_batch batch;
        assert_int_equal(record_batch_check(file + pos, size - pos, &batch, NULL), 0);
        assert_int_equal(batch.base_offset, 10 * i);
        assert_int_equal(batch.leader_epoch, 42);
        assert_memory_equal(file + pos + 16, (uint8_t *)data[i] + 16, append[i].size - 16);
        pos += append[i].size;
        free(data[i]);
    }
    assert_int_equal(pos, size); /* preallocated space does not show */
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FALLOCATE), 1);
    free(before);
    free(file);
    hot_set_close(set);
}

static void wrong_appends_are_refused_and_change_nothing(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_append append;
    int64_t base = -7;
    options.segment_bytes = 4096;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    void *data = support_hot_batch(0, 50, 100, &append);

    assert_int_equal(hot_set_append(set, &append, 1, 0, &base, &err), VARVE_E_TOO_LARGE);
    assert_non_null(strstr(err.msg, "4096"));
    assert_int_equal(hot_set_append(set, &append, 0, 0, &base, &err), VARVE_E_INVALID);
    append.size--;
    assert_int_equal(hot_set_append(set, &append, 1, 0, &base, &err), VARVE_E_INVALID);
    assert_int_equal(base, -7);
    assert_int_equal(support_file_size(support_hot_path(e, 0, "log")), 0);
    free(data);

    options.segment_bytes = 100;
    struct hot_set *other = NULL;
    assert_int_equal(hot_set_open(&e->env, "x", &options, &other, NULL, &err), VARVE_E_INVALID);
    assert_null(other);
    hot_set_close(set);
}

static void a_second_writer_is_refused_and_readers_are_not(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    struct hot_set *other = NULL;
    assert_int_equal(
        hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), &options, &other, NULL, &err),
        VARVE_E_BUSY);
    assert_null(other);
    options.read_only = true;
    other = support_hot_open(e, &options, NULL);
    assert_true(hot_set_has_writer(set));
    assert_true(hot_set_has_writer(other));
    struct hot_append append;
    int64_t base;
    void *data = support_hot_batch(0, 1, 1, &append);
    assert_int_equal(hot_set_append(other, &append, 1, 0, &base, &err), VARVE_E_READ_ONLY);
    assert_int_equal(hot_set_seal(other, &err), VARVE_E_READ_ONLY);
    assert_int_equal(hot_set_sync(other, &err), VARVE_E_READ_ONLY);
    assert_int_equal(hot_set_evict(other, 0, NULL, NULL, &err), VARVE_E_READ_ONLY);
    free(data);
    hot_set_close(set);
    assert_false(hot_set_has_writer(other));
    hot_set_close(other);
}

/* Both were due at once, again and again. */
static void ages_without_end_are_never_due(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_range range;
    struct varve_error err;
    int64_t next = INT64_MAX;

    options.durability = HOT_DURABILITY_OS;
    options.segment_ms = INT64_MAX;
    options.flush_ms = INT64_MAX;
    struct hot_set *set = support_hot_open(e, &options, NULL);

    append_many(set, 1, 1, 10);
    support_clock_advance_ms(&e->clock, 1000);
    assert_int_equal(hot_set_tick(set, &next, &err), 0);
    assert_true(next > SUPPORT_ENV_WALL_MS + 1000);
    hot_set_range(set, &range);
    assert_int_equal(range.segments, 1);
    hot_set_close(set);
}

static void segments_roll_on_size_age_and_request(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_range range;
    struct varve_error err;
    int64_t next;
    options.segment_bytes = 65536;
    options.segment_ms = 1000;
    struct hot_set *set = support_hot_open(e, &options, NULL);

    assert_int_equal(hot_set_seal(set, &err), 0); /* nothing to seal */
    hot_set_range(set, &range);
    assert_int_equal(range.segments, 1);
    append_many(set, 1, 1, 10);
    assert_int_equal(hot_set_rolls(set), 0);
    assert_int_equal(hot_set_seal(set, &err), 0);
    assert_int_equal(hot_set_rolls(set), 1);
    hot_set_range(set, &range);
    assert_int_equal(range.segments, 2);
    append_many(set, 1, 1, 10);
    support_clock_advance_ms(&e->clock, 999);
    assert_int_equal(hot_set_tick(set, &next, &err), 0);
    assert_int_equal(next, SUPPORT_ENV_WALL_MS + 1000);
    hot_set_range(set, &range);
    assert_int_equal(range.segments, 2);
    support_clock_advance_ms(&e->clock, 1);
    assert_int_equal(hot_set_tick(set, &next, &err), 0);
    hot_set_range(set, &range);
    assert_int_equal(range.segments, 3);
    append_many(set, 1, 1, 10);
    support_clock_advance_ms(&e->clock, 1000);
    append_many(set, 1, 1, 10); /* an append does not put itself into a segment that is too old */
    hot_set_range(set, &range);
    assert_int_equal(range.segments, 4);
    while (range.segments == 4) {
        append_many(set, 1, 10, 300);
        hot_set_range(set, &range);
    }
    assert_true(support_file_size(support_hot_path(e, 3, "log")) <= 65536);
    assert_true(support_file_size(support_hot_path(e, 3, "log")) > 60000);
    assert_int_equal(support_hot_read(set, 0), range.end);
    hot_set_close(set);
}

static void eviction_stops_at_a_pin_and_at_the_offset(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_range range;
    struct varve_error err;
    struct hot_segment *pinned, *plain;
    uint64_t bytes;
    unsigned count;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 6; i++) {
        append_many(set, 1, 10, 100);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    assert_int_equal(hot_set_evict(set, 9, &bytes, &count, &err), 0);
    assert_int_equal(count, 0);
    assert_int_equal(hot_segment_find(set, 5, false, &plain, &err), 0);
    assert_int_equal(hot_segment_find(set, 25, true, &pinned, &err), 0);
    assert_int_equal(hot_set_evict(set, 1000, &bytes, &count, &err), 0);
    assert_int_equal(count, 2);
    hot_set_range(set, &range);
    assert_int_equal(range.floor, 20);
    assert_int_equal(range.segments, 5);
    assert_false(support_file_exists(support_hot_path(e, 0, "log")));
    assert_false(support_file_exists(support_hot_path(e, 0, "index")));
    assert_true(support_file_exists(support_hot_path(e, 20, "log")));

    /* Referenced, it is readable though it is gone. */
    char buf[100];
    size_t got;
    assert_int_equal(hot_segment_read(plain, buf, sizeof(buf), 0, &got, &err), 0);
    assert_int_equal(got, 100);
    assert_int_equal(hot_segment_verify(plain, &err), 0);
    hot_segment_unref(plain);
    assert_int_equal(hot_segment_find(set, 5, false, &plain, &err), VARVE_E_OUT_OF_RANGE);

    hot_segment_unref(pinned);
    assert_int_equal(hot_set_evict(set, 1000, &bytes, &count, &err), 0);
    assert_int_equal(count, 4);
    hot_set_range(set, &range);
    assert_int_equal(range.floor, 60); /* the active one stays */
    assert_int_equal(range.end, 60);
    hot_set_close(set);
    struct hot_recovery recovery;
    set = support_hot_open(e, &options, &recovery);
    assert_false(recovery.unclean);
    hot_set_range(set, &range);
    assert_int_equal(range.end, 60);
    hot_set_close(set);
}

static void a_reader_pins_where_it_stands_and_falls_out_when_evicted_ahead(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_reader *reader;
    struct record_batch batch;
    struct varve_error err;
    const void *data;
    unsigned count;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 4; i++) {
        append_many(set, 1, 10, 100);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    assert_int_equal(hot_reader_new(set, &reader, &err), 0);
    assert_int_equal(hot_reader_seek(reader, 12, &err), 0);
    assert_int_equal(hot_reader_next(reader, &data, &batch, &err), 0);
    assert_int_equal(batch.base_offset, 10);
    assert_int_equal(hot_reader_offset(reader), 20);
    assert_int_equal(hot_set_evict(set, 40, NULL, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(hot_segment_discard(set, 20, &err), 0); /* not stopped by pins */
    assert_int_equal(hot_reader_next(reader, &data, &batch, &err), VARVE_E_OUT_OF_RANGE);
    assert_int_equal(hot_reader_offset(reader), 20);
    assert_int_equal(hot_segment_discard(set, 20, &err), VARVE_E_NOT_FOUND);
    assert_int_equal(hot_reader_seek(reader, 5, &err), VARVE_E_OUT_OF_RANGE);
    assert_int_equal(hot_reader_offset(reader), 20);
    hot_reader_free(reader);
    hot_set_close(set);
}

static void info_is_the_same_before_and_after_a_restart(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_segment_info before[3], after;
    struct hot_segment *segment;
    struct varve_error err;
    int64_t offsets[3] = {0, 35, 70};
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 2; i++) {
        append_many(set, 5, 7, 100);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    append_many(set, 1, 7, 100);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hot_segment_find(set, offsets[i], false, &segment, &err), 0);
        assert_int_equal(hot_segment_info(segment, &before[i], &err), 0);
        assert_int_equal(before[i].base_offset, offsets[i]);
        assert_int_equal(before[i].sealed, i < 2);
        assert_int_equal(before[i].first_timestamp, SUPPORT_HOT_TIME + offsets[i]);
        assert_int_equal(before[i].max_timestamp, SUPPORT_HOT_TIME + before[i].end_offset - 1);
        assert_int_equal(before[i].append_time, SUPPORT_ENV_WALL_MS);
        hot_segment_unref(segment);
    }
    hot_set_close(set);
    for (int reading = 0; reading < 2; reading++) {
        options.read_only = reading;
        set = support_hot_open(e, &options, NULL);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(hot_segment_find(set, offsets[i], false, &segment, &err), 0);
            assert_int_equal(hot_segment_info(segment, &after, &err), 0);
            assert_int_equal(after.base_offset, before[i].base_offset);
            assert_int_equal(after.end_offset, before[i].end_offset);
            assert_int_equal(after.first_timestamp, before[i].first_timestamp);
            assert_int_equal(after.max_timestamp, before[i].max_timestamp);
            assert_int_equal(after.size, before[i].size);
            assert_int_equal(after.sealed, before[i].sealed);
            assert_int_equal(hot_segment_verify(segment, &err), 0);
            hot_segment_unref(segment);
        }
        hot_set_close(set);
    }
}

static void a_reader_set_follows_the_writer_across_rolls_and_evictions(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_range range;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    append_many(set, 1, 10, 100);
    options.read_only = true;
    struct hot_set *follower = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(follower, 0), 10);
    assert_int_equal(hot_set_wait(follower, 10, 1000000, &err), VARVE_E_TIMEOUT);
    for (int i = 0; i < 20; i++) {
        append_many(set, 3, 10, 300);
        if (i % 3 == 0)
            assert_int_equal(hot_set_seal(set, &err), 0);
        assert_int_equal(hot_set_wait(follower, 10 + 30 * i, 1000000000, &err), 0);
        hot_set_range(follower, &range);
        assert_int_equal(range.end, 10 + 30 * (i + 1));
        assert_int_equal(support_hot_read(follower, range.floor), range.end);
    }
    assert_int_equal(hot_set_evict(set, 300, NULL, NULL, &err), 0);
    assert_int_equal(hot_set_refresh(follower, &err), 0);
    struct hot_range truth;
    hot_set_range(set, &truth);
    hot_set_range(follower, &range);
    assert_int_equal(range.floor, truth.floor);
    assert_int_equal(range.bytes, truth.bytes);
    assert_int_equal(range.segments, truth.segments);
    hot_set_publish_root(set, 77);
    assert_int_equal(hot_set_published_root(follower), 77);
    hot_set_interrupt(follower);
    assert_int_equal(hot_set_wait(follower, 100000, 1000000000, &err), VARVE_E_CANCELLED);
    hot_set_close(set);
    assert_int_equal(support_hot_read(follower, range.floor), range.end);

    set = support_hot_open(
        e,
        &(struct hot_set_options){
            .segment_bytes = 65536, .segment_ms = -1, .flush_ms = -1, .index_interval_bytes = 512},
        NULL);
    assert_int_equal(hot_set_published_root(set), 77);
    append_many(set, 2, 5, 30);
    assert_int_equal(hot_set_refresh(follower, &err), 0);
    assert_int_equal(support_hot_read(follower, range.floor), range.end + 10);
    hot_set_close(set);
    hot_set_close(follower);
}

static void a_reset_goes_on_at_the_offset_given(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_range range;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    append_many(set, 100, 10, 300);
    hot_set_close(set);
    set = support_hot_open(e, &options, NULL);
    assert_int_equal(hot_set_reset(set, 5000, &err), 0);
    hot_set_range(set, &range);
    assert_int_equal(range.floor, 5000);
    assert_int_equal(range.end, 5000);
    assert_int_equal(range.segments, 1);
    append_many(set, 3, 10, 300);
    assert_int_equal(support_hot_read(set, 5000), 5030);
    assert_false(support_file_exists(support_hot_path(e, 0, "log")));
    hot_set_abandon(set);
    set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(set, 5000), 5030);
    hot_set_close(set);
}

static void a_divergent_tail_is_moved_aside_whole(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_range range;
    const char *aside = support_tmpdir_path(e->dir, "divergent/x");
    options.segment_bytes = 65536;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 4; i++) {
        append_many(set, 5, 10, 100);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    append_many(set, 5, 10, 100);
    hot_set_close(set);
    int64_t size = support_file_size(support_hot_path(e, 100, "log"));

    set = support_hot_open(e, &options, NULL);
    assert_int_equal(hot_set_move_tail(set, 120, aside, &err), 0);
    hot_set_range(set, &range);
    assert_int_equal(range.end, 120);
    assert_int_equal(range.segments, 3);
    assert_int_equal(support_hot_read(set, 0), 120);
    assert_int_equal(support_file_size(support_tmpdir_path(e->dir, "divergent/x/%020d.log", 100)),
                     size);
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "divergent/x/%020d.log", 150)));
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "divergent/x/%020d.log", 200)));
    append_many(set, 5, 10, 100);
    assert_int_equal(support_hot_read(set, 0), 170);

    assert_int_equal(hot_set_move_tail(set, 50, aside, &err), 0); /* at a segment's border */
    hot_set_range(set, &range);
    assert_int_equal(range.end, 50);
    append_many(set, 1, 10, 100);
    assert_int_equal(support_hot_read(set, 0), 60);
    hot_set_close(set);
    set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(set, 0), 60);
    hot_set_close(set);
}

/* A loss of power had kept both names of the rename: the segment was cut that was to be copied. */
static void a_leftover_that_is_another_name_of_a_segment_is_not_cut(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    append_many(set, 5, 10, 100);
    assert_int_equal(link(support_hot_path(e, 0, "log"), support_hot_path(e, 0, "log.tmp")), 0);
    assert_int_equal(hot_set_move_tail(set, 20, support_tmpdir_path(e->dir, "divergent/x"), &err),
                     0);
    assert_int_equal(support_hot_read(set, 0), 20);
    assert_false(support_file_exists(support_hot_path(e, 0, "log.tmp")));
    hot_set_close(set);
}

/* Five segments of 50 records each, the last one active. */
static struct hot_set *open_five(struct support_env *e, struct hot_set_options *options)
{
    struct varve_error err;
    options->segment_bytes = 65536;
    struct hot_set *set = support_hot_open(e, options, NULL);
    for (int i = 0; i < 4; i++) {
        append_many(set, 5, 10, 100);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    append_many(set, 5, 10, 100);
    return set;
}

/* Closing wrote a checkpoint for a file that had gone already. */
static void a_tail_that_was_moved_in_part_does_not_keep_the_log_from_opening(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    const char *aside = support_tmpdir_path(e->dir, "divergent/x");
    struct hot_set *set = open_five(e, &options);
    support_io_fail(e->io,
                    &(struct support_io_fault){
                        .call = SUPPORT_IO_UNLINK, .path = "0100.log", .nth = 1, .sys_errno = EIO});
    assert_int_equal(hot_set_move_tail(set, 50, aside, &err), VARVE_E_IO);
    assert_int_equal(support_hot_append(set, 1, 10, &err), VARVE_E_FAILED);
    hot_set_close(set);
    set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(set, 0), 150); /* 150 and 200 have gone */
    assert_int_equal(hot_set_move_tail(set, 50, aside, &err), 0);
    assert_int_equal(support_hot_read(set, 0), 50);
    for (int base = 50; base <= 200; base += 50)
        assert_true(
            support_file_exists(support_tmpdir_path(e->dir, "divergent/x/%020d.log", base)));
    hot_set_close(set);
}

/* Power was lost while files were renamed one by one: the rename of one in the middle survived, and
 * the next opening cut what stood behind the hole. */
static void a_tail_is_aside_durably_before_any_of_it_goes(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    const struct support_io_step *linked, *synced, *gone, *vouched;
    struct hot_set *set = open_five(e, &options);
    support_io_reset(e->io);
    assert_int_equal(hot_set_move_tail(set, 120, support_tmpdir_path(e->dir, "divergent/x"), &err),
                     0);
    vouched = support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, "published", NULL);
    gone = support_io_trace_find(e->io, 0, SUPPORT_IO_UNLINK, ".log", NULL);
    for (int base = 100; base <= 200; base += 50) {
        size_t at;
        char name[32];
        snprintf(name, sizeof(name), "x/%020d.log", base);
        linked = support_io_trace_find(e->io, 0, SUPPORT_IO_LINK, name, &at);
        assert_non_null(linked);
        synced = support_io_trace_find(e->io, at, SUPPORT_IO_FSYNC, "divergent/x", NULL);
        assert_true(support_io_before(linked, synced));
        assert_true(support_io_before(synced, gone));
        assert_true(support_io_before(vouched, gone));
    }
    hot_set_close(set);
}

/* What vouched for the tail was taken back first: a damaged batch was a torn tail then, and all
 * behind it was dropped, set aside or not. */
static void damage_in_a_tail_that_is_not_yet_aside_is_not_cut(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_set *set = open_five(e, &options);
    support_io_fail(
        e->io, &(struct support_io_fault){.call = SUPPORT_IO_LINK, .nth = 2, .sys_errno = EIO});
    assert_int_equal(hot_set_move_tail(set, 0, support_tmpdir_path(e->dir, "divergent/x"), &err),
                     VARVE_E_IO);
    hot_set_close(set);
    support_file_flip(support_hot_path(e, 50, "log"), 100, 1);
    set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(set, 100), 250);
    hot_set_close(set);
}

static void files_of_another_log_are_aside_durably_before_any_of_them_goes(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    const struct support_io_step *linked, *synced, *gone, *vouched, *last;
    const char *dir = support_tmpdir_path(e->dir, "log"),
               *aside = support_tmpdir_path(e->dir, "divergent/x");
    unsigned count = 77;
    struct hot_set *set = open_five(e, &options);
    assert_int_equal(hot_set_clear(&e->env, dir, aside, &count, &err), VARVE_E_BUSY);
    assert_int_equal(count, 77);
    hot_set_close(set);
    support_file_flip(support_hot_path(e, 50, "log"), 100, 1); /* that is nobody's business here */
    support_io_reset(e->io);
    assert_int_equal(hot_set_clear(&e->env, dir, aside, &count, &err), 0);
    assert_int_equal(count, 5);
    vouched = support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, "published", NULL);
    for (int base = 0; base <= 200; base += 50) {
        size_t at, out;
        char name[32];
        snprintf(name, sizeof(name), "x/%020d.log", base);
        linked = support_io_trace_find(e->io, 0, SUPPORT_IO_LINK, name, &at);
        assert_non_null(linked);
        synced = support_io_trace_find(e->io, at, SUPPORT_IO_FSYNC, "divergent/x", NULL);
        gone = support_io_trace_find(e->io, 0, SUPPORT_IO_UNLINK, name + 2, &out);
        last = support_io_trace_find(e->io, out, SUPPORT_IO_FSYNC, dir, NULL);
        assert_true(support_io_before(linked, synced));
        assert_true(support_io_before(synced, vouched));
        assert_true(support_io_before(vouched, gone));
        assert_true(support_io_before(gone, last));
        assert_true(
            support_file_exists(support_tmpdir_path(e->dir, "divergent/x/%020d.log", base)));
    }
    options.start_offset = 7; /* and nothing says any more that there was something */
    set = support_hot_open(e, &options, NULL);
    append_many(set, 1, 10, 100);
    assert_int_equal(support_hot_read(set, 7), 17);
    hot_set_close(set);
}

/* Cleared in part, and before that was gone on with the log that it had been was written to. */
static void a_file_of_another_log_never_takes_the_place_of_one_that_is_aside(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    const char *dir = support_tmpdir_path(e->dir, "log"),
               *aside = support_tmpdir_path(e->dir, "divergent/x");
    unsigned count;
    options.segment_bytes = 65536;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    append_many(set, 5, 10, 100);
    hot_set_close(set);
    int64_t size = support_file_size(support_hot_path(e, 0, "log"));
    support_io_fail(e->io,
                    &(struct support_io_fault){
                        .call = SUPPORT_IO_UNLINK, .path = ".log", .nth = 1, .sys_errno = EIO});
    assert_int_equal(hot_set_clear(&e->env, dir, aside, &count, &err), VARVE_E_IO);
    assert_int_equal(hot_set_clear(&e->env, dir, aside, &count, &err), 0); /* the same file */
    assert_int_equal(count, 1);
    assert_false(support_file_exists(support_tmpdir_path(e->dir, "divergent/x-2")));
    set = support_hot_open(e, &options, NULL);
    append_many(set, 1, 10, 100);
    hot_set_close(set);
    assert_int_equal(hot_set_clear(&e->env, dir, aside, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(support_file_size(support_tmpdir_path(e->dir, "divergent/x/%020d.log", 0)),
                     size);
    assert_true(support_file_size(support_tmpdir_path(e->dir, "divergent/x-2/%020d.log", 0)) <
                size);
}

static void files_of_another_log_that_nobody_wants_just_go(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    unsigned count;
    hot_set_close(open_five(e, &options));
    assert_int_equal(hot_set_clear(&e->env, support_tmpdir_path(e->dir, "log"), NULL, &count, &err),
                     0);
    assert_int_equal(count, 0);
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(set, 0), 0);
    hot_set_close(set);
}

/* Its second name is that of the same file: cutting the one cut the other. */
static void a_tail_that_is_aside_stays_whole_when_it_is_cut_in_its_old_place(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct varve_error err;
    const char *aside = support_tmpdir_path(e->dir, "divergent/x");
    struct hot_set *set = open_five(e, &options);
    int64_t size = support_file_size(support_hot_path(e, 0, "log"));
    support_io_fail(e->io,
                    &(struct support_io_fault){
                        .call = SUPPORT_IO_UNLINK, .path = "0200.log", .nth = 1, .sys_errno = EIO});
    assert_int_equal(hot_set_move_tail(set, 0, aside, &err), VARVE_E_IO);
    hot_set_close(set);
    support_file_flip(support_hot_path(e, 0, "log"), size - 10, 1);
    set = support_hot_open(e, &options, &recovery);
    assert_int_equal(recovery.truncated_at, 40);
    assert_int_equal(support_hot_read(set, 0), 40);
    assert_true(support_file_size(support_hot_path(e, 0, "log")) < size);
    assert_int_equal(support_file_size(support_tmpdir_path(e->dir, "divergent/x/%020d.log", 0)),
                     size);
    append_many(set, 1, 10, 100);
    assert_int_equal(support_hot_read(set, 0), 50);
    hot_set_close(set);
}

/* The old `published`, which power had kept, said that the first file was longer than the new one
 * of that name is. */
static void what_vouches_for_files_is_taken_back_durably_before_a_reset(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    const struct support_io_step *vouched, *gone;
    struct hot_set *set = open_five(e, &options);
    support_io_reset(e->io);
    assert_int_equal(hot_set_reset(set, 5000, &err), 0);
    vouched = support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, "published", NULL);
    gone = support_io_trace_find(e->io, 0, SUPPORT_IO_UNLINK, ".log", NULL);
    assert_non_null(vouched);
    assert_non_null(gone);
    assert_true(support_io_before(vouched, gone));
    hot_set_close(set);
}

/* Segments of a diverged history came back beside new ones: nobody had synced their unlinking. */
static void names_that_went_are_synced_before_a_segment_is_made(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    const struct support_io_step *gone, *synced, *made;
    size_t at;
    struct hot_set *set = open_five(e, &options);
    support_io_reset(e->io);
    assert_int_equal(hot_set_reset(set, 5000, &err), 0);
    gone = support_io_trace_find(e->io, 0, SUPPORT_IO_UNLINK, "0000.log", &at);
    synced = support_io_trace_find(e->io, at, SUPPORT_IO_FSYNC, "/log", NULL);
    made = support_io_trace_find(e->io, at, SUPPORT_IO_OPEN, "5000.log", NULL);
    assert_true(support_io_before(gone, synced));
    assert_true(support_io_before(synced, made));
    hot_set_close(set);
    assert_int_equal(unlink(support_hot_path(e, 5000, "log")), 0);
    options.start_offset = 5000;
    support_io_reset(e->io);
    set = support_hot_open(e, &options, NULL); /* as after a kill in front of that sync */
    synced = support_io_trace_find(e->io, 0, SUPPORT_IO_FSYNC, "/log", NULL);
    made = support_io_trace_find(e->io, 0, SUPPORT_IO_OPEN, "5000.log", NULL);
    assert_true(support_io_before(synced, made));
    hot_set_close(set);
}

/* An eviction that power has half undone left one; opening bore it, setting aside did not. */
static void a_hole_that_the_cold_tier_fills_does_not_keep_a_tail_from_its_place(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_range range;
    struct hot_set *set = open_five(e, &options);
    hot_set_close(set);
    assert_int_equal(unlink(support_hot_path(e, 50, "log")), 0);
    options.start_offset = 150;
    set = support_hot_open(e, &options, NULL);
    assert_int_equal(hot_set_move_tail(set, 220, support_tmpdir_path(e->dir, "divergent/x"), &err),
                     0);
    hot_set_range(set, &range);
    assert_int_equal(range.end, 220);
    assert_int_equal(support_hot_read(set, 100), 220);
    hot_set_close(set);
}

/* Of the unlinkings power had kept one in the middle: that was damage, as nothing vouched any more.
 */
static void a_reset_that_power_has_half_undone_does_not_keep_the_log_from_opening(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct hot_range range;
    struct varve_error err;
    size_t first_size, last_size;
    struct hot_set *set = open_five(e, &options);
    void *first = support_file_read(support_hot_path(e, 0, "log"), &first_size);
    void *last = support_file_read(support_hot_path(e, 200, "log"), &last_size);
    support_io_fail(e->io,
                    &(struct support_io_fault){
                        .call = SUPPORT_IO_OPEN, .path = "5000.log", .nth = 1, .sys_errno = EIO});
    assert_int_equal(hot_set_reset(set, 5000, &err), VARVE_E_IO);
    hot_set_abandon(set);
    support_file_write(support_hot_path(e, 0, "log"), first, first_size);
    support_file_write(support_hot_path(e, 200, "log"), last, last_size);
    free(first);
    free(last);
    set = support_hot_open(e, &options, &recovery);
    hot_set_range(set, &range);
    assert_int_equal(range.end, 50);
    assert_int_equal(recovery.truncated_at, 50);
    hot_set_close(set);
}

static void a_full_disk_refuses_appends_until_there_is_room(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    options.segment_bytes = 65536;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    append_many(set, 3, 10, 100);
    struct support_io_fault fault = {.call = SUPPORT_IO_PWRITEV,
                                     .path = ".log",
                                     .nth = 1,
                                     .sys_errno = ENOSPC,
                                     .keep = true,
                                     .torn_size = 500};
    int64_t size = support_file_size(support_hot_path(e, 0, "log"));
    support_io_fail(e->io, &fault);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(support_hot_append(set, 10, 100, &err), VARVE_E_NO_SPACE);
        assert_true(err.retriable);
        assert_int_equal(support_file_size(support_hot_path(e, 0, "log")), size);
        assert_int_equal(support_hot_read(set, 0), 30);
    }
    support_io_fail(e->io, NULL);
    append_many(set, 3, 10, 100);
    assert_int_equal(support_hot_read(set, 0), 60);
    /* No room for a new segment: the old one stays the active one. */
    fault = (struct support_io_fault){
        .call = SUPPORT_IO_OPEN, .path = ".log", .nth = 1, .sys_errno = ENOSPC, .keep = true};
    support_io_fail(e->io, &fault);
    assert_int_equal(hot_set_seal(set, &err), VARVE_E_NO_SPACE);
    append_many(set, 1, 10, 100);
    support_io_fail(e->io, NULL);
    assert_int_equal(hot_set_seal(set, &err), 0);
    append_many(set, 1, 10, 100);
    assert_int_equal(support_hot_read(set, 0), 80);
    hot_set_close(set);
}

static void preallocation_that_is_refused_does_no_harm(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct support_io_fault fault = {
        .call = SUPPORT_IO_FALLOCATE, .nth = 1, .sys_errno = EOPNOTSUPP, .keep = true};
    support_io_fail(e->io, &fault);
    struct hot_set *set = support_hot_open(e, &options, NULL);
    append_many(set, 100, 10, 100);
    assert_true(support_io_failed(e->io) > 0);
    support_io_fail(e->io, NULL);
    assert_int_equal(support_hot_read(set, 0), 1000);
    hot_set_close(set);
}

/* A loss of power then left a torn file and nothing that vouched for less: it was called damage,
 * for good. */
static void without_room_for_the_first_checkpoint_published_is_durable(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    const struct support_io_step *written, *synced, *named;
    struct support_io_fault fault = {.call = SUPPORT_IO_PWRITEV,
                                     .path = "checkpoint.tmp",
                                     .nth = 1,
                                     .sys_errno = ENOSPC,
                                     .keep = true};
    struct hot_set *set = NULL;
    struct varve_error err;
    size_t at;
    support_io_fail(e->io, &fault);
    set = support_hot_open(e, &options, NULL);
    assert_int_not_equal(support_io_failed(e->io), 0);
    written = support_io_trace_find(e->io, 0, SUPPORT_IO_PWRITEV, "published", &at);
    synced = support_io_trace_find(e->io, at, SUPPORT_IO_FDATASYNC, "published", &at);
    named = support_io_trace_find(e->io, at, SUPPORT_IO_FSYNC, "/log", NULL);
    assert_true(support_io_before(written, synced));
    assert_true(support_io_before(synced, named));
    hot_set_close(set);

    /* Nothing vouches then: nothing is appended. */
    assert_int_equal(base_tree_remove(&base_io_posix, support_tmpdir_path(e->dir, "log"), &err), 0);
    fault = (struct support_io_fault){
        .call = SUPPORT_IO_FDATASYNC, .nth = 1, .sys_errno = EIO, .keep = true};
    support_io_fail(e->io, &fault);
    assert_int_equal(
        hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), &options, &set, NULL, &err),
        VARVE_E_IO);
    support_io_fail(e->io, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_env_setup, support_env_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_appended_is_read_back_also_after_opening_again),
        TEST(segment_files_hold_batches_back_to_back_with_offsets_and_epoch_set),
        TEST(wrong_appends_are_refused_and_change_nothing),
        TEST(a_second_writer_is_refused_and_readers_are_not),
        TEST(segments_roll_on_size_age_and_request),
        TEST(ages_without_end_are_never_due),
        TEST(eviction_stops_at_a_pin_and_at_the_offset),
        TEST(a_reader_pins_where_it_stands_and_falls_out_when_evicted_ahead),
        TEST(info_is_the_same_before_and_after_a_restart),
        TEST(a_reader_set_follows_the_writer_across_rolls_and_evictions),
        TEST(a_reset_goes_on_at_the_offset_given),
        TEST(a_divergent_tail_is_moved_aside_whole),
        TEST(files_of_another_log_are_aside_durably_before_any_of_them_goes),
        TEST(a_file_of_another_log_never_takes_the_place_of_one_that_is_aside),
        TEST(files_of_another_log_that_nobody_wants_just_go),
        TEST(a_leftover_that_is_another_name_of_a_segment_is_not_cut),
        TEST(a_tail_that_was_moved_in_part_does_not_keep_the_log_from_opening),
        TEST(a_tail_is_aside_durably_before_any_of_it_goes),
        TEST(damage_in_a_tail_that_is_not_yet_aside_is_not_cut),
        TEST(a_tail_that_is_aside_stays_whole_when_it_is_cut_in_its_old_place),
        TEST(what_vouches_for_files_is_taken_back_durably_before_a_reset),
        TEST(names_that_went_are_synced_before_a_segment_is_made),
        TEST(a_reset_that_power_has_half_undone_does_not_keep_the_log_from_opening),
        TEST(a_hole_that_the_cold_tier_fills_does_not_keep_a_tail_from_its_place),
        TEST(without_room_for_the_first_checkpoint_published_is_durable),
        TEST(a_full_disk_refuses_appends_until_there_is_room),
        TEST(preallocation_that_is_refused_does_no_harm),
    };
    return cmocka_run_group_tests_name("hot_set", tests, NULL, NULL);
}
