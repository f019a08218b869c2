/* What opening makes of files that a crash, or a fault of the disk, has left. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "hot/internal.h"
#include "tests/support/data.h"
#include "tests/support/file.h"
#include "tests/support/support_hot.h"

static int open_again(struct support_env *e, const struct hot_set_options *options,
                      struct hot_set **ret, struct hot_recovery *recovery, struct varve_error *err)
{
    return hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), options, ret, recovery, err);
}

/* Three batches of which the first `synced` were synced, then a crash. Returns where each ends. */
static void crashed(struct support_env *e, struct hot_set_options options, int synced,
                    int64_t ends[3])
{
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(support_hot_append(set, 2, 20, &err), 0);
        ends[i] = support_file_size(support_hot_path(e, 0, "log"));
        if (i + 1 == synced)
            assert_int_equal(hot_set_sync(set, &err), 0);
    }
    hot_set_abandon(set);
}

/* As if the machine had been restarted: the page cache proves nothing. */
static void forget_boot(struct support_env *e)
{
    const char *path = support_tmpdir_path(e->dir, "log/published");
    size_t size;
    uint8_t *data = support_file_read(path, &size);
    data[208] ^= 1;
    base_put_le64(data + 224, base_crc32c(0, data + 136, 88));
    support_file_write(path, data, size);
    free(data);
}

/* No checkpoint, and a torn `published`. */
static void lose_what_vouches(struct support_env *e)
{
    unlink(support_tmpdir_path(e->dir, "log/checkpoint"));
    support_file_truncate(support_tmpdir_path(e->dir, "log/published"), 0);
}

static void clear(struct support_env *e)
{
    base_tree_remove(&base_io_posix, support_tmpdir_path(e->dir, "log"), NULL);
}

/* The segment that holds `offset`, and its index. */
static void is_sound(struct hot_set *set, int64_t offset)
{
    struct hot_segment *segment;
    struct varve_error err;
    assert_int_equal(hot_segment_find(set, offset, false, &segment, &err), 0);
    assert_int_equal(hot_segment_verify(segment, &err), 0);
    hot_segment_unref(segment);
}

static void a_tail_torn_at_any_byte_is_cut_at_the_last_whole_batch(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct hot_range range;
    struct hot_set *set;
    struct varve_error err;
    int64_t ends[3];

    crashed(e, options, 1, ends);
    for (int64_t size = ends[1]; size < ends[2]; size++) {
        clear(e);
        crashed(e, options, 1, ends);
        forget_boot(e);
        support_file_truncate(support_hot_path(e, 0, "log"), size);
        set = support_hot_open(e, &options, &recovery);
        assert_true(recovery.unclean);
        assert_int_equal(recovery.scanned_bytes, ends[1] - ends[0]);
        assert_int_equal(recovery.truncated_bytes, size - ends[1]);
        assert_int_equal(recovery.truncated_at, size == ends[1] ? -1 : 4);
        hot_set_range(set, &range);
        assert_int_equal(range.end, 4);
        assert_int_equal(range.synced, 4);
        assert_int_equal(support_file_size(support_hot_path(e, 0, "log")), ends[1]);
        assert_int_equal(support_hot_append(set, 2, 20, &err), 0);
        assert_int_equal(support_hot_read(set, 0), 6);
        hot_set_abandon(set);
    }
}

/* Once, a segment that ended just where it was last synced was taken for whole, the next one for
 * damage, and the log could not be opened any more. */
static void a_segment_cut_off_where_it_was_synced_is_torn_although_the_next_is_there(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    options.segment_bytes = HOT_SEGMENT_BYTES_MIN;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    struct hot_recovery recovery;
    struct hot_range range;
    struct varve_error err;

    assert_int_equal(support_hot_append(set, 2, 20, &err), 0);
    assert_int_equal(hot_set_sync(set, &err), 0);
    int64_t synced = support_file_size(support_hot_path(e, 0, "log"));
    do { /* until it has rolled; nothing is synced by that */
        assert_int_equal(support_hot_append(set, 2, 20, &err), 0);
        hot_set_range(set, &range);
    } while (range.segments < 2);
    assert_int_equal(range.synced, 2);
    hot_set_abandon(set);
    forget_boot(e);
    support_file_truncate(support_hot_path(e, 0, "log"), synced);
    set = support_hot_open(e, &options, &recovery);
    assert_int_equal(recovery.truncated_at, 2);
    hot_set_range(set, &range);
    assert_int_equal(range.end, 2);
    assert_int_equal(support_hot_read(set, 0), 2);
    hot_set_abandon(set);
}

/* Once, a log that had no checkpoint yet could not be opened after a loss of power that had kept
 * the second sector of a file and not the first. */
static void what_power_tears_in_a_new_log_is_no_damage(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct hot_range range;
    struct hot_set *set;
    int64_t ends[3];

    crashed(e, options, 0, ends);
    assert_int_equal(unlink(support_tmpdir_path(e->dir, "log/published")), 0);
    support_file_flip(support_hot_path(e, 0, "log"), 30, 0x10);
    set = support_hot_open(e, &options, &recovery);
    assert_int_equal(recovery.truncated_at, 0);
    hot_set_range(set, &range);
    assert_int_equal(range.end, 0);
    hot_set_abandon(set);
}

/* Once, the next opening in the same run of the machine still took all that had been visible for
 * what the files must hold, although the failed sync had lost it. */
static void a_sync_that_fails_while_opening_is_remembered(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    const struct support_io_fault fault = {
        .call = SUPPORT_IO_FDATASYNC, .path = ".log", .nth = 1, .sys_errno = EIO};
    struct hot_set *set = NULL;
    struct hot_recovery recovery;
    struct hot_range range;
    struct varve_error err;
    int64_t ends[3];

    crashed(e, options, 1, ends);
    support_io_fail(e->io, &fault);
    assert_int_equal(open_again(e, &options, &set, NULL, &err), VARVE_E_IO);
    support_io_fail(e->io, NULL);
    support_file_flip(support_hot_path(e, 0, "log"), ends[0] + 30, 0x10); /* what it has lost */
    set = support_hot_open(e, &options, &recovery);
    assert_int_equal(recovery.truncated_at, 2);
    hot_set_range(set, &range);
    assert_int_equal(range.end, 2);
    hot_set_abandon(set);
}

static void a_bit_flipped_in_the_tail_cuts_it_and_below_is_damage(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct hot_range range;
    struct hot_set *set = NULL;
    struct varve_error err;
    int64_t ends[3];
    crashed(e, options, 1, ends);
    for (int64_t pos = ends[0]; pos < ends[2]; pos++) {
        clear(e);
        crashed(e, options, 1, ends);
        support_file_flip(support_hot_path(e, 0, "log"), pos, 0x10);
        bool epoch = (pos >= ends[0] + 12 && pos < ends[0] + 16) ||
                     (pos >= ends[1] + 12 && pos < ends[1] + 16);
        if (epoch)
            continue; /* the CRC leaves it out, as Kafka has it */
        /* In the same run of the machine the page cache held all that was visible: damage. */
        assert_int_equal(open_again(e, &options, &set, NULL, &err), VARVE_E_CORRUPT);
        assert_non_null(strstr(err.msg, "00000000000000000000.log"));
        assert_non_null(strstr(err.msg, "position"));
        assert_null(set);
        assert_int_equal(support_file_size(support_hot_path(e, 0, "log")), ends[2]);
        forget_boot(e);
        set = support_hot_open(e, &options, &recovery);
        hot_set_range(set, &range);
        assert_int_equal(range.end, pos < ends[1] ? 2 : 4);
        assert_int_equal(recovery.truncated_at, range.end);
        set = hot_set_abandon(set);
    }
}

static void synced_batches_are_never_cut(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_set *set = NULL;
    struct varve_error err;
    int64_t ends[3];
    crashed(e, options, 3, ends);
    forget_boot(e);
    support_file_truncate(support_hot_path(e, 0, "log"), ends[2] - 1);
    assert_int_equal(open_again(e, &options, &set, NULL, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "were synced"));
    assert_int_equal(support_file_size(support_hot_path(e, 0, "log")), ends[2] - 1);
    /* Without the proof in `published` the checkpoint is the older one, and the tail looks torn. */
}

static void without_any_proof_only_a_last_broken_batch_is_a_torn_tail(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct hot_set *set = NULL;
    struct varve_error err;
    int64_t ends[3];
    for (int which = 0; which < 3; which++) {
        clear(e);
        crashed(e, options, 0, ends);
        unlink(support_tmpdir_path(e->dir, "log/published"));
        unlink(support_tmpdir_path(e->dir, "log/checkpoint"));
        support_file_flip(support_hot_path(e, 0, "log"), (which ? ends[which - 1] : 0) + 30, 1);
        if (which < 2) {
            assert_int_equal(open_again(e, &options, &set, NULL, &err), VARVE_E_CORRUPT);
            assert_int_equal(support_file_size(support_hot_path(e, 0, "log")), ends[2]);
        } else {
            set = support_hot_open(e, &options, &recovery);
            assert_int_equal(recovery.truncated_at, 4);
            set = hot_set_close(set);
        }
    }
}

/* `published` vouched for less than the checkpoint had, and what lay between went as a torn tail
 * with one flipped bit (640235 of the simulation). */
static void damage_is_no_torn_tail_where_the_checkpoint_is_damaged(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    const char *checkpoint = support_tmpdir_path(e->dir, "log/checkpoint");
    struct hot_recovery recovery;
    struct hot_set *set = NULL;
    struct varve_error err;
    int64_t ends[3];
    for (int which = 0; which < 4; which++) {
        bool next = which == 3; /* what follows lies in the next segment */
        clear(e);
        crashed(e, options, 0, ends);
        if (next) {
            clear(e);
            set = support_hot_open(e, &options, NULL);
            for (int i = 0; i < 3; i++)
                assert_int_equal(support_hot_append(set, 2, 20, &err), 0);
            assert_int_equal(hot_set_seal(set, &err), 0);
            assert_int_equal(support_hot_append(set, 2, 20, &err), 0);
            hot_set_abandon(set);
        }
        forget_boot(e);
        support_file_flip(checkpoint, 20, 0x10);
        support_file_flip(support_hot_path(e, 0, "log"),
                          (which == 0 ? 0 : ends[which == 1 ? 0 : 1]) + 30, 1);
        if (which == 2) { /* nothing follows */
            set = support_hot_open(e, &options, &recovery);
            assert_int_equal(recovery.truncated_at, 4);
            hot_set_close(set);
            continue;
        }
        assert_int_equal(open_again(e, &options, &set, NULL, &err), VARVE_E_CORRUPT);
        assert_non_null(strstr(err.msg, "00000000000000000000.log"));
        assert_int_equal(support_file_size(support_hot_path(e, 0, "log")), ends[2]);
        assert_non_null(strstr(err.msg, checkpoint));
        assert_int_equal(unlink(checkpoint), 0);
        set = support_hot_open(e, &options, &recovery);
        assert_int_equal(recovery.truncated_at, next ? 4 : which * 2);
        hot_set_close(set);
    }
}

static void a_tail_over_several_segments_is_cut_at_its_first_break(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct hot_range range;
    struct varve_error err;
    for (int round = 0; round < 3; round++) {
        clear(e);
        struct hot_set *set = support_hot_open(e, &options, NULL);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(support_hot_append(set, 5, 20, &err), 0);
            assert_int_equal(support_hot_append(set, 5, 20, &err), 0);
            if (i == 0)
                assert_int_equal(hot_set_sync(set, &err), 0);
            assert_int_equal(hot_set_seal(set, &err), 0);
        }
        hot_set_abandon(set);
        forget_boot(e);
        int64_t size = support_file_size(support_hot_path(e, 10, "log"));
        if (round == 0)
            support_file_flip(support_hot_path(e, 10, "log"), size - 1, 1);
        else if (round == 1)
            support_file_truncate(support_hot_path(e, 10, "log"), size / 2);
        else
            support_file_truncate(support_hot_path(e, 10, "log"), 0);
        set = support_hot_open(e, &options, &recovery);
        hot_set_range(set, &range);
        assert_int_equal(range.end, round == 2 ? 10 : 15);
        assert_int_equal(recovery.truncated_at, range.end);
        assert_int_equal(range.segments, 2);
        assert_false(support_file_exists(support_hot_path(e, 20, "log")));
        assert_int_equal(support_hot_append(set, 5, 20, &err), 0);
        assert_int_equal(support_hot_read(set, 0), range.end + 5);
        hot_set_close(set);
        set = support_hot_open(e, &options, &recovery);
        assert_false(recovery.unclean);
        assert_int_equal(support_hot_read(set, 0), range.end + 5);
        hot_set_close(set);
    }
}

static void a_hole_between_segments_is_damage(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_set *set = support_hot_open(e, &options, NULL);
    struct varve_error err;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(support_hot_append(set, 10, 20, &err), 0);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    set = hot_set_close(set);
    unlink(support_hot_path(e, 20, "log"));
    assert_int_equal(open_again(e, &options, &set, NULL, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "00000000000000000010.log"));
    assert_non_null(strstr(err.msg, "20 "));
    assert_null(set);
    /* A reader does not step over it either. */
    options.read_only = true;
    set = support_hot_open(e, &options, NULL);
    struct hot_reader *reader;
    struct record_batch batch;
    const void *data;
    int rc;
    assert_int_equal(hot_reader_new(set, &reader, &err), 0);
    while ((rc = hot_reader_next(reader, &data, &batch, &err)) == 0)
        assert_true(batch.base_offset < 20);
    assert_int_equal(rc, VARVE_E_CORRUPT);
    hot_reader_free(reader);
    set = hot_set_close(set);
    /* The last one missing. */
    unlink(support_hot_path(e, 40, "log"));
    options.read_only = false;
    assert_int_equal(open_again(e, &options, &set, NULL, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "00000000000000000040.log"));
}

/* Of an eviction power had kept one unlinking and not the other: what was appended and synced
 * behind the hole was cut off, the checkpoint being older and `published` torn. */
static void a_hole_that_the_cold_tier_fills_is_no_torn_tail(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_set *set = support_hot_open(e, &options, NULL);
    struct hot_recovery recovery;
    struct hot_range range;
    struct varve_error err;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(support_hot_append(set, 10, 20, &err), 0);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    assert_int_equal(support_hot_append(set, 10, 20, &err), 0);
    assert_int_equal(hot_set_sync(set, &err), 0);
    hot_set_abandon(set);
    forget_boot(e);
    unlink(support_hot_path(e, 10, "log"));
    lose_what_vouches(e);
    options.start_offset = 20;
    set = support_hot_open(e, &options, &recovery);
    hot_set_range(set, &range);
    assert_int_equal(range.end, 40);
    assert_int_equal(recovery.truncated_at, -1);
    assert_int_equal(support_hot_read(set, 20), 40);
    hot_set_close(set);
}

/* Another writer's history goes beyond the torn tail: it was taken for a copy of what the cold tier
 * holds, left as it was, and dropped when the log was opened. */
static void a_torn_tail_that_diverged_is_cut_and_not_taken_for_a_copy(void **state)
{
    struct support_env *e = *state;
    static const struct index_epoch history[] = {{0, 0}, {8, 10}};
    struct hot_set_options options = support_hot_options();
    struct hot_set *set = support_hot_open(e, &options, NULL);
    struct hot_recovery recovery;
    struct hot_range range;
    struct varve_error err;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(support_hot_append(set, 5, 20, &err), 0);
        assert_int_equal(support_hot_append(set, 5, 20, &err), 0);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    hot_set_abandon(set);
    forget_boot(e);
    support_file_truncate(support_hot_path(e, 10, "log"),
                          support_file_size(support_hot_path(e, 10, "log")) - 1);
    options.start_offset = 100;
    options.epochs = history;
    options.epoch_count = 2;
    set = support_hot_open(e, &options, &recovery);
    hot_set_range(set, &range);
    assert_int_equal(recovery.truncated_at, 15);
    assert_int_equal(range.end, 15);
    assert_int_equal(support_hot_read(set, 0), 15);
    hot_set_close(set);
}

/* Of such a tail nobody could say which epoch it was written in when the first batch and the index
 * were damaged: it went as a copy, with the batches behind that are nowhere else (967427). */
static void a_diverged_tail_whose_first_batch_is_damaged_is_not_taken_for_a_copy(void **state)
{
    struct support_env *e = *state;
    static const struct index_epoch history[] = {{0, 0}, {8, 5}};
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 2; i++)
        assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    assert_int_equal(hot_set_seal(set, &err), 0);
    hot_set_close(set);
    support_file_flip(support_hot_path(e, 0, "log"), 5, 0x26);
    unlink(support_hot_path(e, 0, "index"));
    options.start_offset = 100;
    options.epochs = history;
    options.epoch_count = 2;
    assert_int_equal(
        hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), &options, &set, NULL, &err),
        VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "00000000000000000000.log"));
    support_file_flip(support_hot_path(e, 0, "log"), 5, 0x26);
    set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(set, 0), 20);
    hot_set_close(set);
}

/* A read that failed, or memory that was lacking, was taken for no batch being there. */
static void where_it_cannot_be_said_that_no_batch_follows_nothing_is_cut(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    struct support_io_fault fault = {.call = SUPPORT_IO_PREAD, .path = ".log", .sys_errno = EIO};
    for (int i = 0; i < 2; i++)
        assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    hot_set_abandon(set);
    forget_boot(e);
    lose_what_vouches(e);
    unlink(support_hot_path(e, 0, "index"));
    support_file_flip(support_hot_path(e, 0, "log"), 100, 1);
    int rc = VARVE_E_IO;
    for (fault.nth = 1; rc == VARVE_E_IO && fault.nth < 20; fault.nth++) {
        support_io_fail(e->io, &fault);
        rc = hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), &options, &set, NULL, &err);
    }
    assert_int_equal(rc, VARVE_E_CORRUPT);
    assert_true(fault.nth > 3);
}

/* Power had kept the second file's name and not the first one's. */
static void a_first_file_whose_name_was_lost_does_not_keep_the_log_from_opening(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct hot_range range;
    struct varve_error err;
    for (int proof = 0; proof < 2; proof++) {
        struct hot_set *set = support_hot_open(e, &options, NULL);
        assert_int_equal(support_hot_append(set, 10, 20, &err), 0);
        assert_int_equal(hot_set_seal(set, &err), 0);
        assert_int_equal(support_hot_append(set, 10, 20, &err), 0);
        hot_set_abandon(set);
        forget_boot(e);
        unlink(support_hot_path(e, 0, "log"));
        if (!proof) { /* no checkpoint, a torn `published`, and nothing in the file */
            lose_what_vouches(e);
            support_file_truncate(support_hot_path(e, 10, "log"), 0);
            support_file_truncate(support_hot_path(e, 10, "log"), 500);
        }
        set = support_hot_open(e, &options, &recovery);
        hot_set_range(set, &range);
        assert_int_equal(range.floor, 0);
        assert_int_equal(range.end, 0);
        assert_int_equal(recovery.truncated_at, 0);
        hot_set_close(set);
        clear(e);
    }
}

/* A file that could not be read counted as one with nothing in it. */
static void files_behind_a_hole_that_cannot_be_read_are_not_dropped(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_range range;
    struct support_io_fault fault = {.call = SUPPORT_IO_PREAD, .path = ".log", .sys_errno = EIO};
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(support_hot_append(set, 10, 20, &err), 0);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    hot_set_abandon(set);
    forget_boot(e);
    unlink(support_hot_path(e, 0, "log"));
    lose_what_vouches(e);
    int rc = VARVE_E_IO;
    for (fault.nth = 1; rc == VARVE_E_IO && fault.nth < 20; fault.nth++) {
        support_io_fail(e->io, &fault);
        rc = hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), &options, &set, NULL, &err);
    }
    assert_int_equal(rc, 0);
    assert_true(fault.nth > 2);
    hot_set_range(set, &range);
    assert_int_equal(range.floor, 10);
    assert_int_equal(range.end, 20);
    hot_set_close(set);
}

/* But what was synced, or may have been, is never dropped. */
static void a_hole_in_front_of_what_was_synced_is_no_torn_tail(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_set *set = support_hot_open(e, &options, NULL);
    struct hot_range range;
    struct varve_error err;
    assert_int_equal(support_hot_append(set, 10, 20, &err), 0);
    assert_int_equal(hot_set_seal(set, &err), 0);
    assert_int_equal(support_hot_append(set, 10, 20, &err), 0);
    assert_int_equal(hot_set_sync(set, &err), 0);
    hot_set_abandon(set);
    unlink(support_hot_path(e, 0, "log"));
    for (int proof = 1; proof >= 0; proof--) {
        if (!proof) {
            lose_what_vouches(e);
        }
        set = support_hot_open(e, &options, NULL);
        hot_set_range(set, &range);
        assert_int_equal(range.floor, 10);
        assert_int_equal(range.end, 20);
        hot_set_abandon(set);
    }
}

/* The index of what was cut stayed, and its entries were taken for those of what came after. */
static void an_index_of_a_cut_tail_that_cannot_be_replaced_goes(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct varve_error err;
    options.segment_bytes = 65536;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 20; i++)
        assert_int_equal(support_hot_append(set, 10, 200, &err), 0);
    hot_set_close(set);
    lose_what_vouches(e);
    support_file_truncate(support_hot_path(e, 0, "log"), 100);
    support_io_fail(e->io,
                    &(struct support_io_fault){
                        .call = SUPPORT_IO_RENAME, .path = ".index", .nth = 1, .sys_errno = EIO});
    set = support_hot_open(e, &options, &recovery);
    assert_int_equal(recovery.truncated_at, 0);
    assert_false(support_file_exists(support_hot_path(e, 0, "index")));
    hot_set_abandon(set);
}

static void only_what_is_not_vouched_for_is_read(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct varve_error err;
    options.durability = HOT_DURABILITY_FSYNC;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 50; i++)
        assert_int_equal(support_hot_append(set, 10, 300, &err), 0);
    hot_set_abandon(set);
    set = support_hot_open(e, &options, &recovery);
    assert_true(recovery.unclean);
    assert_int_equal(recovery.scanned_bytes, 0); /* `published` proves all of it */
    assert_int_equal(support_hot_read(set, 0), 500);
    hot_set_abandon(set);
    unlink(support_tmpdir_path(e->dir, "log/published"));
    set = support_hot_open(e, &options, &recovery);
    assert_int_equal(recovery.scanned_bytes, 0); /* the checkpoint of the last opening does */
    hot_set_abandon(set);
    unlink(support_tmpdir_path(e->dir, "log/published"));
    unlink(support_tmpdir_path(e->dir, "log/checkpoint"));
    set = support_hot_open(e, &options, &recovery);
    assert_true(recovery.scanned_bytes > 50 * 3000);
    assert_int_equal(support_hot_read(set, 0), 500);
    hot_set_close(set);
}

static void a_damaged_or_missing_index_is_rebuilt(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 40; i++)
        assert_int_equal(support_hot_append(set, 10, 300, &err), 0);
    assert_int_equal(hot_set_seal(set, &err), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(support_hot_append(set, 10, 300, &err), 0);
    struct hot_range range;
    hot_set_range(set, &range);
    hot_set_close(set);

    const char *index = support_hot_path(e, 0, "index");
    size_t size;
    void *good = support_file_read(index, &size);
    for (int64_t pos = 0; pos < (int64_t)size; pos += 3) {
        support_file_flip(index, pos, 0x04);
        options.read_only = true;
        set = support_hot_open(e, &options, NULL);
        for (int64_t from = 0; from < 100; from += 33)
            assert_int_equal(support_hot_read(set, from), range.end);
        hot_set_close(set);
        options.read_only = false;
        set = support_hot_open(e, &options, &recovery);
        for (int64_t from = 0; from < range.end; from += 50)
            assert_int_equal(support_hot_read(set, from), range.end);
        is_sound(set, 0);
        hot_set_close(set);
        support_file_write(index, good, size);
    }
    for (int last = 0; last < 2; last++) {
        const char *path =
            last ? support_hot_path(e, range.end - 100, "index") : support_hot_path(e, 0, "index");
        assert_true(support_file_exists(path));
        unlink(path);
        set = support_hot_open(e, &options, &recovery);
        assert_int_equal(recovery.indexes_rebuilt, 1);
        assert_int_equal(support_hot_read(set, 5), range.end);
        hot_set_close(set);
        assert_true(support_file_exists(path));
    }
    free(good);
}

/* Its checksums are right and its entries touch, as another segment's would: it was believed, and
 * the log ended, and went on, at an offset that no record had. */
static void an_index_that_ends_elsewhere_than_was_synced_is_rebuilt(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct index_sparse view;
    struct varve_error err;
    size_t size;
    options.index_interval_bytes = 64;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 8; i++)
        assert_int_equal(support_hot_append(set, 2, 50, &err), 0);
    hot_set_close(set);
    const char *path = support_hot_path(e, 0, "index");
    uint8_t *good = support_file_read(path, &size);
    assert_int_equal(index_sparse_init(&view, good, size, 0, &err), 0);
    assert_int_equal(view.count, 8);
    /* With the first k of its entries. */
    for (size_t k = 1; k <= view.count; k++) {
        struct index_sparse_entry entry;
        uint8_t *bad = malloc(size);
        assert_non_null(bad);
        memcpy(bad, good, size);
        assert_int_equal(index_sparse_get(&view, k - 1, &entry, &err), 0);
        entry.end_offset += 5;
        index_sparse_entry_encode(
            0, &entry, bad + INDEX_SPARSE_HEADER_SIZE + (k - 1) * INDEX_SPARSE_ENTRY_SIZE);
        support_file_write(path, bad, INDEX_SPARSE_HEADER_SIZE + k * INDEX_SPARSE_ENTRY_SIZE);
        free(bad);
        set = support_hot_open(e, &options, &recovery);
        assert_int_equal(recovery.indexes_rebuilt, 1);
        assert_int_equal(recovery.truncated_bytes, 0);
        assert_int_equal(support_hot_read(set, 0), 16);
        hot_set_close(set);
    }
    set = support_hot_open(e, &options, &recovery);
    assert_int_equal(recovery.indexes_rebuilt, 0);
    assert_int_equal(support_hot_append(set, 2, 50, &err), 0);
    assert_int_equal(support_hot_read(set, 0), 18);
    hot_set_close(set);
    free(good);
}

/* It kept a log from opening, or not, depending on where its segment lay. */
static void an_index_of_a_newer_version_is_rebuilt(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_recovery recovery;
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
        assert_int_equal(hot_set_seal(set, &err), 0);
    }
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    hot_set_close(set);
    for (int64_t base = 0; base <= 30; base += 10) {
        size_t size;
        const char *path = support_hot_path(e, base, "index");
        uint8_t *data = support_file_read(path, &size);
        data[8]++; /* its version, and what makes that pass for true */
        base_put_le32(data + 28, base_crc32c(0, data, 28));
        support_file_write(path, data, size);
        free(data);
        options.read_only = true;
        set = support_hot_open(e, &options, NULL);
        assert_int_equal(support_hot_read(set, base + 5), 40);
        hot_set_close(set);
        options.read_only = false;
        set = support_hot_open(e, &options, &recovery);
        assert_int_equal(support_hot_read(set, base + 5), 40);
        is_sound(set, base);
        hot_set_close(set);
        set = support_hot_open(e, &options, &recovery);
        assert_int_equal(recovery.indexes_rebuilt, 0);
        hot_set_close(set);
    }
}

/* A segment in front of a hole was vouched for up to the hole's end, which the next one's name had
 * told (398666 of the simulation). What it holds is what its batches say. */
static void a_point_that_was_vouched_for_with_another_end_does_no_harm(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    const char *path = support_tmpdir_path(e->dir, "log/checkpoint");
    struct hot_checkpoint checkpoint;
    struct hot_recovery recovery;
    struct varve_error err;
    uint8_t buf[HOT_CHECKPOINT_SIZE];
    size_t size;
    options.index_interval_bytes = 64;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 8; i++)
        assert_int_equal(support_hot_append(set, 2, 50, &err), 0);
    hot_set_close(set);
    void *data = support_file_read(path, &size);
    assert_int_equal(hot_checkpoint_decode(data, size, &checkpoint, &err), 0);
    free(data);
    assert_int_equal(checkpoint.point.end_offset, 16);
    checkpoint.point.end_offset = 28;
    hot_checkpoint_encode(&checkpoint, buf);
    support_file_write(path, buf, sizeof(buf));
    assert_int_equal(unlink(support_tmpdir_path(e->dir, "log/published")), 0);
    set = support_hot_open(e, &options, &recovery);
    assert_int_equal(recovery.truncated_bytes, 0);
    assert_int_equal(support_hot_read(set, 0), 16);
    assert_int_equal(support_hot_append(set, 2, 50, &err), 0);
    assert_int_equal(support_hot_read(set, 0), 18);
    hot_set_close(set);
}

static void an_index_ahead_of_a_cut_tail_is_shortened(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    options.index_interval_bytes = 64;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 300; i++)
        assert_int_equal(support_hot_append(set, 1, 20, &err), 0);
    hot_set_abandon(set); /* with 128 or 256 entries in the file */
    forget_boot(e);
    int64_t size = support_file_size(support_hot_path(e, 0, "log"));
    support_file_truncate(support_hot_path(e, 0, "log"), size / 4);
    set = support_hot_open(e, &options, NULL);
    struct hot_range range;
    hot_set_range(set, &range);
    for (int i = 0; i < 100; i++)
        assert_int_equal(support_hot_append(set, 2, 50, &err), 0);
    for (int64_t from = 0; from < range.end + 200; from += 7)
        assert_int_equal(support_hot_read(set, from), range.end + 200);
    assert_int_equal(hot_set_seal(set, &err), 0);
    is_sound(set, 0);
    hot_set_close(set);
}

static void a_checkpoint_flipped_in_any_byte_is_found_and_does_no_harm(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_checkpoint checkpoint;
    struct hot_recovery recovery;
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_append(set, 10, 300, &err), 0);
    hot_set_close(set);
    const char *path = support_tmpdir_path(e->dir, "log/checkpoint");
    size_t size;
    uint8_t *good = support_file_read(path, &size);
    assert_int_equal(size, HOT_CHECKPOINT_SIZE);
    for (size_t i = 0; i < size; i++) {
        good[i] ^= 0x20;
        assert_int_equal(hot_checkpoint_decode(good, size, &checkpoint, &err), VARVE_E_CORRUPT);
        support_file_write(path, good, size);
        good[i] ^= 0x20;
        set = support_hot_open(e, &options, &recovery);
        assert_int_equal(support_hot_read(set, 0), 10);
        hot_set_close(set);
    }
    for (size_t i = 0; i < size; i++)
        assert_int_equal(hot_checkpoint_decode(good, i, &checkpoint, &err), VARVE_E_CORRUPT);
    base_put_le32(good + 8, 2);
    base_put_le32(good + 60, base_crc32c(0, good, 60));
    support_file_write(path, good, size);
    set = NULL;
    assert_int_equal(open_again(e, &options, &set, NULL, &err), VARVE_E_VERSION);
    assert_non_null(strstr(err.msg, "version 2"));
    free(good);
}

static void the_checkpoint_is_byte_for_byte_what_it_was(void **state)
{
    (void)state;
    struct hot_checkpoint checkpoint = {
        .point = {1234567, 89012, 1234999}, .first_append_ms = SUPPORT_ENV_WALL_MS, .clean = true};
    struct hot_checkpoint decoded;
    uint8_t buf[HOT_CHECKPOINT_SIZE];
    hot_checkpoint_encode(&checkpoint, buf);
    assert_true(support_data_equal("hot/checkpoint-v1.bin", buf, sizeof(buf)));
    assert_int_equal(hot_checkpoint_decode(buf, sizeof(buf), &decoded, NULL), 0);
    assert_int_equal(decoded.point.base_offset, 1234567);
    assert_int_equal(decoded.point.size, 89012);
    assert_int_equal(decoded.point.end_offset, 1234999);
    assert_int_equal(decoded.first_append_ms, SUPPORT_ENV_WALL_MS);
    assert_true(decoded.clean);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_env_setup, support_env_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_tail_torn_at_any_byte_is_cut_at_the_last_whole_batch),
        TEST(what_power_tears_in_a_new_log_is_no_damage),
        TEST(a_sync_that_fails_while_opening_is_remembered),
        TEST(a_segment_cut_off_where_it_was_synced_is_torn_although_the_next_is_there),
        TEST(a_bit_flipped_in_the_tail_cuts_it_and_below_is_damage),
        TEST(synced_batches_are_never_cut),
        TEST(without_any_proof_only_a_last_broken_batch_is_a_torn_tail),
        TEST(damage_is_no_torn_tail_where_the_checkpoint_is_damaged),
        TEST(a_tail_over_several_segments_is_cut_at_its_first_break),
        TEST(a_hole_between_segments_is_damage),
        TEST(a_hole_that_the_cold_tier_fills_is_no_torn_tail),
        TEST(a_torn_tail_that_diverged_is_cut_and_not_taken_for_a_copy),
        TEST(a_diverged_tail_whose_first_batch_is_damaged_is_not_taken_for_a_copy),
        TEST(where_it_cannot_be_said_that_no_batch_follows_nothing_is_cut),
        TEST(a_first_file_whose_name_was_lost_does_not_keep_the_log_from_opening),
        TEST(files_behind_a_hole_that_cannot_be_read_are_not_dropped),
        TEST(a_hole_in_front_of_what_was_synced_is_no_torn_tail),
        TEST(an_index_of_a_cut_tail_that_cannot_be_replaced_goes),
        TEST(only_what_is_not_vouched_for_is_read),
        TEST(a_damaged_or_missing_index_is_rebuilt),
        TEST(an_index_that_ends_elsewhere_than_was_synced_is_rebuilt),
        TEST(an_index_of_a_newer_version_is_rebuilt),
        TEST(a_point_that_was_vouched_for_with_another_end_does_no_harm),
        TEST(an_index_ahead_of_a_cut_tail_is_shortened),
        TEST(a_checkpoint_flipped_in_any_byte_is_found_and_does_no_harm),
        TEST(the_checkpoint_is_byte_for_byte_what_it_was),
    };
    return cmocka_run_group_tests_name("hot_recovery", tests, NULL, NULL);
}
