/* The shared file `published`: its format, torn and damaged ones, and readers in other processes.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "hot/internal.h"
#include "tests/support/data.h"
#include "tests/support/file.h"
#include "tests/support/support_hot.h"

#define BATCHES 300

static void published_is_byte_for_byte_what_it_was(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_publication p = {.state = HOT_WRITER_LIVE,
                                .instance = 0x1122334455667788,
                                .floor = 5,
                                .visible = {10, 4096, 77},
                                .synced = {10, 2048, 44},
                                .boot = "boot id, 16 byte"};
    struct hot_publication decoded;
    size_t size;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    hot_set_publish_root(set, 9);
    base_mutex_lock(&set->lock);
    hot_publish_write_locked(set, &p);
    base_mutex_unlock(&set->lock);
    uint8_t *data = support_file_read(support_tmpdir_path(e->dir, "log/published"), &size);
    assert_int_equal(size, HOT_PUBLISHED_SIZE);
    base_put_le64(data + 128, 8); /* how often it was written is not the point */
    assert_true(support_data_equal("hot/published-v1.bin", data, 256));
    assert_int_equal(hot_publish_decode(data, size, &decoded, NULL), 0);
    assert_memory_equal(&decoded, &p, sizeof(p));
    free(data);
    hot_set_abandon(set);
}

static void a_flip_in_any_byte_that_counts_is_found(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_publication p;
    struct varve_error err;
    size_t size;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    set = hot_set_close(set);
    const char *path = support_tmpdir_path(e->dir, "log/published");
    uint8_t *data = support_file_read(path, &size);
    for (size_t i = 0; i < 232; i++) {
        bool unused = (i >= 28 && i < 128) || (i > 128 && i < 136); /* zeros, root, sequence */
        if (unused)
            continue;
        data[i] ^= 1;
        assert_int_equal(hot_publish_decode(data, size, &p, &err), VARVE_E_CORRUPT);
        support_file_write(path, data, size);
        data[i] ^= 1;
        options.read_only = true;
        set = support_hot_open(e, &options, NULL);
        assert_int_equal(support_hot_read(set, 0), 10);
        set = hot_set_close(set);
        options.read_only = false;
        set = support_hot_open(e, &options, NULL);
        assert_int_equal(support_hot_read(set, 0), 10);
        set = hot_set_close(set);
    }
    for (size_t i = 0; i < size; i += 61)
        assert_int_equal(hot_publish_decode(data, i, &p, &err), VARVE_E_CORRUPT);
    free(data);
}

static void damage_under_a_live_writer_is_not_guessed_around_and_heals(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_set *follower = NULL;
    struct varve_error err;
    int64_t next;
    const char *path = support_tmpdir_path(e->dir, "log/published");
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    options.read_only = true;
    int64_t places[] = {3, 176};
    for (size_t i = 0; i < 2; i++) {
        support_file_flip(path, places[i], 1);
        assert_int_equal(hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), &options,
                                      &follower, NULL, &err),
                         VARVE_E_CORRUPT);
        assert_true(err.retriable);
        assert_non_null(strstr(err.msg, "published"));
        assert_null(follower);
        assert_int_equal(hot_set_tick(set, &next, &err), 0);
        follower = support_hot_open(e, &options, NULL);
        assert_int_equal(support_hot_read(follower, 0), 10);
        follower = hot_set_close(follower);
    }
    hot_set_close(set);
}

static void without_a_writer_a_reader_stops_at_the_first_torn_batch(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    hot_set_abandon(set);
    const char *log = support_hot_path(e, 0, "log");
    int64_t size = support_file_size(log);
    options.read_only = true;
    set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(set, 0), 30);
    assert_false(hot_set_has_writer(set));
    hot_set_close(set);
    support_file_truncate(log, size - 1);
    set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(set, 0), 20);
    hot_set_close(set);
    assert_int_equal(support_file_size(log), size - 1); /* nothing is changed */
}

/* Opens, appends 10 records that are synced, and 10 whose fsync fails; then the writer is gone. */
static void lose_an_fsync(struct support_env *e, const struct hot_set_options *options)
{
    struct support_io_fault fault = {
        .call = SUPPORT_IO_FDATASYNC, .path = ".log", .nth = 1, .sys_errno = EIO};
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, options, NULL);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    assert_int_equal(hot_set_sync(set, &err), 0);
    support_io_fail(e->io, &fault);
    support_logger_expect(e->logger, "fdatasync");
    (void)support_hot_append(set, 10, 100, &err);
    assert_int_equal(hot_set_sync(set, &err), VARVE_E_FAILED);
    hot_set_close(set);
    support_io_fail(e->io, NULL);
}

/* It was in the page cache, whole, and the next writer cut it off: others had read it by then. */
static void what_a_failed_fsync_left_is_not_shown(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options(), reading;
    struct support_io_fault fault = {
        .call = SUPPORT_IO_PREAD, .path = "checkpoint", .nth = 1, .sys_errno = EIO};
    struct varve_error err;
    struct hot_set *set;
    options.durability = HOT_DURABILITY_FSYNC;
    reading = options;
    reading.read_only = true;
    lose_an_fsync(e, &options);
    for (int i = 0; i < 2; i++) {
        struct hot_set *reader = support_hot_open(e, &reading, NULL);
        assert_int_equal(support_hot_read(reader, 0), 10);
        hot_set_close(reader);
        support_io_fail(e->io, &fault); /* and once more when a recovery has failed */
        assert_int_equal(
            hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), &options, &set, NULL, &err),
            VARVE_E_IO);
    }
}

struct peek {
    struct hot_reader *reader;
    bool cut;
    int rc;
    struct varve_error err;
};

/* Reads while the writer that recovers has cut the tail, and has not said yet what there is. */
static void peek_while_recovering(void *arg, enum support_io_call call, const char *path)
{
    struct peek *p = arg;
    struct record_batch batch;
    const void *data;
    if (call == SUPPORT_IO_FTRUNCATE) {
        p->cut = true;
    } else if (call == SUPPORT_IO_FDATASYNC && p->cut && strstr(path, ".log")) {
        p->cut = false;
        p->rc = hot_reader_next(p->reader, &data, &batch, &p->err);
    }
}

/* A reader whose view was older took what recovery had cut for damage. */
static void a_tail_that_recovery_has_cut_is_no_damage(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options(), reading = options;
    struct peek peek = {0};
    struct record_batch batch;
    const void *data;
    struct varve_error err;
    int64_t offset;
    reading.read_only = true;
    lose_an_fsync(e, &options);
    struct hot_set *other = support_hot_open(e, &reading, NULL); /* all was shown in `os` mode */
    assert_int_equal(support_hot_read(other, 0), 20);
    assert_int_equal(hot_reader_new(other, &peek.reader, &err), 0);
    assert_int_equal(hot_reader_seek(peek.reader, 10, &err), 0);
    /* What the disk has of it. */
    const char *log = support_hot_path(e, 0, "log");
    support_file_flip(log, support_file_size(log) - 1, 0x55);
    support_io_set_hook(e->io, peek_while_recovering, &peek);
    struct hot_set *set = support_hot_open(e, &options, NULL);
    support_io_set_hook(e->io, NULL, NULL);
    assert_int_equal(peek.rc, VARVE_E_OUT_OF_RANGE);
    assert_true(peek.err.retriable);
    assert_non_null(strstr(peek.err.msg, "is being recovered by another process"));
    assert_int_equal(hot_reader_next(peek.reader, &data, &batch, &err), VARVE_E_END);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    assert_int_equal(hot_reader_next(peek.reader, &data, &batch, &err), 0);
    assert_int_equal(batch.base_offset, 10);
    assert_int_equal(
        hot_reader_find_time(other, SUPPORT_HOT_TIME + 15, 0, 1 << 20, &offset, NULL, &err), 0);
    assert_int_equal(offset, 15);
    hot_reader_free(peek.reader);
    hot_set_close(other);
    hot_set_close(set);
}

/* The same for a search by time, which looks at all of the tail. */
static void a_search_in_a_tail_that_recovery_has_cut_finds_no_damage(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options(), reading = options;
    struct varve_error err;
    int64_t offset = -7;
    reading.read_only = true;
    lose_an_fsync(e, &options);
    struct hot_set *other = support_hot_open(e, &reading, NULL);
    const char *log = support_hot_path(e, 0, "log");
    support_file_flip(log, support_file_size(log) - 1, 0x55);
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(
        hot_reader_find_time(other, SUPPORT_HOT_TIME + 15, 0, 1 << 20, &offset, NULL, &err),
        VARVE_E_NOT_FOUND);
    assert_int_equal(offset, -7);
    hot_set_close(other);
    hot_set_close(set);
}

/* The child reads all there will be, from its own set, while the parent writes and evicts. */
static int follow_in_child(const char *dir, int64_t end)
{
    struct base_env env;
    struct hot_set *set;
    struct hot_reader *reader;
    struct record_batch batch;
    const void *data;
    struct varve_error err;
    struct hot_set_options options = support_hot_options();
    options.read_only = true;
    base_env_init(&env);
    if (hot_set_open(&env, dir, &options, &set, NULL, &err) != 0)
        return 1;
    if (hot_reader_new(set, &reader, &err) != 0)
        return 2;
    int64_t next = hot_reader_offset(reader); /* the first may be gone already */
    while (next < end) {
        int rc = hot_reader_next(reader, &data, &batch, &err);
        if (rc == VARVE_E_END) {
            rc = hot_set_wait(set, next, INT64_C(10000000000), &err);
            if (rc < 0)
                return 3;
            continue;
        }
        if (rc == VARVE_E_OUT_OF_RANGE) { /* fell behind the evictions: where others go cold */
            struct hot_range range;
            if (hot_set_refresh(set, &err) < 0)
                return 4;
            hot_set_range(set, &range);
            if (range.floor <= next)
                continue; /* evicted, and not yet published */
            rc = hot_reader_seek(reader, range.floor, &err);
            if (rc == 0)
                next = range.floor;
            if (rc == 0 || rc == VARVE_E_OUT_OF_RANGE)
                continue;
        }
        if (rc < 0 || batch.base_offset != next) {
            dprintf(2, "at %lld: %d %s\n", (long long)next, rc, rc < 0 ? err.msg : "offset");
            return 5;
        }
        next = batch.last_offset + 1;
    }
    if (!hot_set_has_writer(set))
        return 6;
    hot_reader_free(reader);
    hot_set_close(set);
    return 0;
}

static void a_process_follows_another_that_appends_seals_and_evicts(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_range range;
    for (int evicting = 0; evicting < 2; evicting++) {
        struct hot_set *set = support_hot_open(e, &options, NULL);
        const char *dir = support_tmpdir_path(e->dir, "log");
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(follow_in_child(dir, 10 * BATCHES));
        for (int i = 0; i < BATCHES; i++) {
            assert_int_equal(support_hot_append(set, 10, 300, &err), 0);
            if (i % 17 == 0)
                assert_int_equal(hot_set_seal(set, &err), 0);
            hot_set_range(set, &range);
            if (evicting && i % 5 == 0)
                assert_int_equal(hot_set_evict(set, range.end - 500, NULL, NULL, &err), 0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(hot_set_reset(set, 0, &err), 0);
        hot_set_close(set);
    }
}

static void a_killed_writer_loses_nothing_that_was_visible(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    int64_t acknowledged = 0;
    for (int round = 0; round < 20; round++) {
        int fds[2];
        options.durability = round % 2 ? HOT_DURABILITY_OS : HOT_DURABILITY_FSYNC;
        assert_int_equal(pipe(fds), 0);
        const char *dir = support_tmpdir_path(e->dir, "log");
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct base_env env;
            struct hot_set *set;
            base_env_init(&env);
            if (hot_set_open(&env, dir, &options, &set, NULL, &err) != 0)
                _exit(1);
            for (;;) {
                struct hot_range range;
                if (support_hot_append(set, 3, 100, &err) != 0)
                    _exit(2);
                hot_set_range(set, &range);
                if (write(fds[1], &range.end, sizeof(range.end)) != sizeof(range.end))
                    _exit(3);
            }
        }
        close(fds[1]);
        int64_t end;
        for (int i = 0; i < 20 + 13 * round; i++) {
            if (read(fds[0], &end, sizeof(end)) == sizeof(end))
                acknowledged = end;
        }
        kill(pid, SIGKILL);
        while (read(fds[0], &end, sizeof(end)) == sizeof(end))
            acknowledged = end;
        close(fds[0]);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        struct hot_set *set = support_hot_open(e, &options, NULL);
        struct hot_range range;
        hot_set_range(set, &range);
        assert_true(acknowledged > 0);
        assert_true(range.end >= acknowledged);
        assert_int_equal(support_hot_read(set, 0), range.end);
        hot_set_close(set);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_env_setup, support_env_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(published_is_byte_for_byte_what_it_was),
        TEST(a_flip_in_any_byte_that_counts_is_found),
        TEST(damage_under_a_live_writer_is_not_guessed_around_and_heals),
        TEST(without_a_writer_a_reader_stops_at_the_first_torn_batch),
        TEST(what_a_failed_fsync_left_is_not_shown),
        TEST(a_tail_that_recovery_has_cut_is_no_damage),
        TEST(a_search_in_a_tail_that_recovery_has_cut_finds_no_damage),
        TEST(a_process_follows_another_that_appends_seals_and_evicts),
        TEST(a_killed_writer_loses_nothing_that_was_visible),
    };
    return cmocka_run_group_tests_name("hot_publish", tests, NULL, NULL);
}
