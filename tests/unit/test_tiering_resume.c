/*
 * Multipart uploads that are interrupted: by the end of the process, by a store that goes away, by
 * a change of what they would be made of. They are gone on with, or nothing of them is left.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "tests/support/file.h"
#include "tests/support/support_tiering.h"

static void collect_ok(struct support_tiering *r, unsigned uploads)
{
    struct tiering_collect c = {.share_max = 1};
    struct varve_error err = {0};
    unsigned orphans;

    if (tiering_log_collect(r->t, &c, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(c.uploads, uploads);
    support_tiering_objects(r, &orphans);
    assert_int_equal(orphans, 0);
    assert_int_equal(support_tiering_unfinished(r), 0);
    support_tiering_check(r);
}

static uint64_t requests(struct support_tiering *r, enum cold_op op)
{
    struct cold_stats stats;

    cold_store_stats(r->store, &stats);
    return stats.requests[op];
}

/* The store answers so many parts, then it is gone. */
struct gone {
    unsigned parts;
    _Atomic unsigned seen; /* several senders ask at once */
    atomic_bool over;
    bool denied; /* it is there, and refuses */
};

static int after_parts(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct gone *g = ctx;

    (void)key;
    if (!g->over && op == COLD_OP_PART && !after && g->seen++ == g->parts)
        g->over = true;
    if (!g->over)
        return 0;
    return g->denied ? VARVE_E_DENIED : VARVE_E_STORE;
}

/* One segment of about ten parts, sealed; `parts` of it are stored when the process is killed. */
static void kill_after(struct support_tiering *r, struct support_env *e, unsigned threads,
                       struct gone *g)
{
    struct tiering_run run = {.seal = true};
    struct varve_error err = {0};

    support_logger_expect(e->logger, "tried again");
    support_tiering_init(r, e);
    r->remote = true;
    r->threads = threads;
    r->hot_options.segment_bytes = 64 * 1024;
    support_tiering_open_ok(r);
    while (r->bytes.size < 40000)
        assert_int_equal(support_tiering_append(r, 3000, 7, true, NULL), 0);
    r->faulty.fault = after_parts;
    r->faulty.ctx = g;
    assert_int_equal(tiering_log_run(r->t, &run, &err), g->denied ? VARVE_E_DENIED : VARVE_E_STORE);
    assert_true(g->over);
}

static void killed_and_opened(struct support_tiering *r)
{
    support_tiering_crash(r);
    r->faulty.fault = NULL;
    support_tiering_open_ok(r);
}

static void an_upload_goes_on_after_a_kill_under_the_same_attempt(void **state)
{
    for (unsigned threads = 0; threads <= 2; threads += 2) {
        struct gone g = {.parts = 4};
        struct support_tiering r;
        struct index_entry entry;
        uint64_t all;
        char *journal;
        size_t size;

        kill_after(&r, *state, threads, &g);
        support_tiering_crash(&r);
        journal = support_file_read(support_tmpdir_path(r.e->dir, "local/uploads"), &size);
        r.faulty.fault = NULL;
        support_tiering_open_ok(&r);
        assert_int_equal(support_tiering_unfinished(&r), 1);
        support_tiering_run_ok(&r, true, true);
        all = (r.bytes.size + SUPPORT_TIERING_PART_BYTES) / SUPPORT_TIERING_PART_BYTES;
        /* 4 are there. With threads the replies of some may have come too late. */
        assert_true(requests(&r, COLD_OP_PART) <= all + 1 - (threads ? 0 : 4));
        assert_true(requests(&r, COLD_OP_PART) >= all - 1 - 4);
        assert_int_equal(support_logger_count(r.e->logger, -1, "where it was interrupted"), 1);
        assert_int_equal(support_tiering_entry(&r, 0, &entry), 0);
        assert_memory_equal(journal + 64 + 16, entry.attempt.bytes, sizeof(entry.attempt.bytes));
        free(journal);
        assert_int_equal(support_file_size(support_tmpdir_path(r.e->dir, "local/uploads")), 0);
        collect_ok(&r, 0);
        support_tiering_remove(&r);
        support_logger_clear(r.e->logger);
    }
}

static void an_upload_goes_on_in_the_same_process(void **state)
{
    struct gone g = {.parts = 5};
    struct support_tiering r;

    kill_after(&r, *state, 0, &g);
    assert_int_equal(requests(&r, COLD_OP_PART), 6);
    r.faulty.fault = NULL;
    support_tiering_run_ok(&r, true, true);
    assert_int_equal(requests(&r, COLD_OP_PART), 6 + (40000 + 4096) / 4096 + 1 - 5);
    collect_ok(&r, 0);
    support_tiering_deinit(&r);
}

static void an_error_that_does_not_pass_ends_the_upload_at_once(void **state)
{
    struct gone g = {.parts = 2, .denied = true};
    struct support_tiering r;

    kill_after(&r, *state, 0, &g);
    r.faulty.fault = NULL;
    /* The abort was denied too: it is made up for in front of the next upload. */
    assert_int_equal(support_tiering_unfinished(&r), 1);
    support_tiering_run_ok(&r, true, true);
    assert_int_equal(support_tiering_unfinished(&r), 0);
    collect_ok(&r, 0);
    support_tiering_deinit(&r);
}

static void parts_that_would_come_out_otherwise_are_not_gone_on_with(void **state)
{
    for (int what = 0; what < 3; what++) {
        struct gone g = {.parts = 3};
        struct support_tiering r;

        kill_after(&r, *state, 0, &g);
        if (what == 0)
            r.policy.compression_level = 3;
        else if (what == 1)
            r.policy.block_bytes = 8192;
        else
            r.policy.index_interval_bytes = 2048;
        killed_and_opened(&r);
        support_tiering_run_ok(&r, true, true);
        assert_int_equal(support_logger_count(r.e->logger, -1, "where it was interrupted"), 0);
        assert_int_equal(support_tiering_unfinished(&r), 0);
        collect_ok(&r, 0);
        support_tiering_remove(&r);
        support_logger_clear(r.e->logger);
    }
}

static void without_its_journal_an_upload_is_begun_again_and_collected(void **state)
{
    struct gone g = {.parts = 3};
    struct support_tiering r;

    kill_after(&r, *state, 0, &g);
    support_tiering_crash(&r);
    support_file_write(support_tmpdir_path(r.e->dir, "local/uploads"), "rubbish", 7);
    r.faulty.fault = NULL;
    support_tiering_open_ok(&r);
    support_tiering_run_ok(&r, true, true);
    assert_int_equal(support_tiering_unfinished(&r), 1);
    collect_ok(&r, 1);
    support_tiering_deinit(&r);
}

/* Its parts are under the other's key: the upload ended with "no such upload". */
static void an_upload_of_the_log_that_had_the_name_before_is_not_gone_on_with(void **state)
{
    struct gone g = {.parts = 3};
    struct support_tiering r, again;

    kill_after(&r, *state, 0, &g);
    support_tiering_crash(&r);
    assert_int_equal(unlink(support_tmpdir_path(r.e->dir, "cold/logs/orders/0/@/root")), 0);
    support_tiering_init(&again, r.e);
    again.remote = true;
    again.hot_options.segment_bytes = 64 * 1024;
    support_tiering_open_ok(&again);
    while (again.bytes.size < 40000) /* the same again */
        assert_int_equal(support_tiering_append(&again, 3000, 7, true, NULL), 0);
    assert_int_equal(support_tiering_unfinished(&again), 1);
    support_tiering_run_ok(&again, true, true);
    assert_int_equal(support_logger_count(r.e->logger, -1, "where it was interrupted"), 0);
    assert_int_equal(support_tiering_unfinished(&again), 0);
    collect_ok(&again, 0);
    support_tiering_deinit(&again);
    base_buffer_deinit(&r.bytes);
    free(r.batches);
}

/* MinIO's way: it tells of nothing. */
static int no_listing(void *ctx, enum cold_op op, const char *key, bool after)
{
    (void)ctx;
    (void)after;
    return op == COLD_OP_UPLOAD && !strstr(key, ".zst") ? VARVE_E_STORE : 0;
}

static void a_collection_ends_what_is_left_over_without_a_listing(void **state)
{
    struct gone g = {.parts = 3};
    struct tiering_collect c = {.share_max = 1, .dry_run = true};
    struct support_tiering r;

    kill_after(&r, *state, 0, &g);
    killed_and_opened(&r);
    assert_int_equal(tiering_log_collect(r.t, &c, NULL), 0);
    assert_int_equal(c.uploads, 1);
    assert_int_equal(support_tiering_unfinished(&r), 1);
    r.faulty.fault = no_listing;
    c.dry_run = false;
    (void)tiering_log_collect(r.t, &c, NULL);
    assert_int_equal(c.uploads, 1);
    assert_int_equal(support_tiering_unfinished(&r), 0);
    r.faulty.fault = NULL;
    support_tiering_run_ok(&r, true, true);
    collect_ok(&r, 0);
    support_tiering_deinit(&r);
}

static void a_trim_beyond_an_interrupted_upload_ends_it(void **state)
{
    struct gone g = {.parts = 3};
    struct support_tiering r;
    struct tiering_run run = {.seal = true};

    kill_after(&r, *state, 0, &g);
    killed_and_opened(&r);
    assert_int_equal(tiering_log_trim(r.t, r.end, NULL), 0);
    while (r.bytes.size < 50000)
        assert_int_equal(support_tiering_append(&r, 3000, 7, true, NULL), 0);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
    assert_int_equal(support_tiering_unfinished(&r), 0);
    collect_ok(&r, 0);
    support_tiering_deinit(&r);
}

/* The store is gone when this object's parts are there and it is to be made of them. */
struct gone_at_end {
    char key[32]; /* a part of it */
    bool parts, over;
};

static int before_completing(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct gone_at_end *g = ctx;

    (void)after;
    if (key && strstr(key, g->key)) {
        g->over = g->over || (g->parts && op == COLD_OP_UPLOAD);
        g->parts = g->parts || op == COLD_OP_PART;
    }
    return g->over ? VARVE_E_STORE : 0;
}

static void pass_over(void *ctx, const struct tiering_finding *finding)
{
    (void)ctx;
    (void)finding;
}

/* The objects say of themselves what the root says of them. */
static void verify_ok(struct support_tiering *r)
{
    struct tiering_verify v;

    support_tiering_verify(r, &v);
    v.deep = true;
    v.found = pass_over;
    assert_int_equal(tiering_verify_run(&r->e->env, &v, NULL), 0);
    assert_int_equal(v.problems, 0);
}

/*
 * All of its parts were stored, behind another segment. A trim of that one begins the chain anew:
 * the part that holds the index whole has the size and the CRC32C that it had, and another chain
 * hash in it. `extra` bytes move the index to and fro between parts.
 */
static void go_on_behind_a_trim(struct support_env *e, size_t extra)
{
    struct gone_at_end gone = {.parts = false};
    struct tiering_run run = {.seal = true};
    struct support_tiering r;
    int64_t base;

    support_logger_expect(e->logger, "tried again");
    support_tiering_init(&r, e);
    r.remote = true;
    r.hot_options.segment_bytes = 64 * 1024;
    support_tiering_open_ok(&r);
    while (r.bytes.size < 40000)
        assert_int_equal(support_tiering_append(&r, 3000, 7, true, NULL), 0);
    base = r.end;
    assert_int_equal(hot_set_seal(r.hot, NULL), 0);
    while (r.bytes.size < 80000)
        assert_int_equal(support_tiering_append(&r, 3000, 7, true, NULL), 0);
    assert_int_equal(support_tiering_append(&r, 100 + extra, 7, true, NULL), 0);
    snprintf(gone.key, sizeof(gone.key), "/%020lld-", (long long)base);
    r.faulty.fault = before_completing;
    r.faulty.ctx = &gone;
    assert_int_equal(tiering_log_run(r.t, &run, NULL), VARVE_E_STORE);
    assert_true(gone.over);
    killed_and_opened(&r);
    assert_int_equal(tiering_log_trim(r.t, base, NULL), 0);
    support_tiering_run_ok(&r, true, false);
    assert_int_equal(support_logger_count(e->logger, -1, "where it was interrupted"), 1);
    assert_true(requests(&r, COLD_OP_PART) >= 1); /* those that hold the index, and no others */
    assert_true(requests(&r, COLD_OP_PART) <= 2);
    collect_ok(&r, 0);
    verify_ok(&r);
    support_tiering_remove(&r);
    support_logger_clear(e->logger);
}

static void an_upload_that_goes_on_behind_a_trim_has_the_new_chain(void **state)
{
    for (size_t extra = 0; extra < SUPPORT_TIERING_PART_BYTES; extra += 500)
        go_on_behind_a_trim(*state, extra);
}

static void a_deleted_log_leaves_no_upload(void **state)
{
    struct gone g = {.parts = 3};
    struct support_tiering r;

    kill_after(&r, *state, 0, &g);
    killed_and_opened(&r);
    r.policy.delete_delay_ms = 0;
    r.faulty.fault = no_listing;
    assert_int_equal(tiering_log_delete(r.t, NULL), 0);
    r.faulty.fault = NULL;
    assert_int_equal(support_tiering_unfinished(&r), 0);
    support_tiering_deinit(&r);
}

/* The first upload is begun, and its id is lost on the way. */
static int begin_lost(void *ctx, enum cold_op op, const char *key, bool after)
{
    bool *over = ctx;

    (void)key;
    if (*over || op != COLD_OP_UPLOAD || !after)
        return 0;
    *over = true;
    return VARVE_E_STORE;
}

/* MinIO tells of an upload only to who knows its key: it must have been noted before. */
static void an_upload_whose_id_was_lost_does_not_dangle(void **state)
{
    for (int killed = 0; killed < 2; killed++) {
        struct tiering_run run = {.seal = true};
        struct varve_error err = {0};
        struct support_tiering r;
        bool over = false;

        support_logger_expect(((struct support_env *)*state)->logger, "tried again");
        support_tiering_init(&r, *state);
        r.remote = true;
        r.hot_options.segment_bytes = 16384; /* above a part */
        support_tiering_open_ok(&r);
        while (r.bytes.size < 40000)
            assert_int_equal(support_tiering_append(&r, 3000, 7, true, NULL), 0);
        r.faulty.fault = begin_lost;
        r.faulty.ctx = &over;
        assert_int_equal(tiering_log_run(r.t, &run, &err), VARVE_E_STORE);
        assert_true(over);
        assert_int_equal(support_tiering_unfinished(&r), 1);
        if (killed)
            killed_and_opened(&r);
        r.faulty.fault = no_listing;
        support_tiering_run_ok(&r, true, true);
        assert_int_equal(support_tiering_unfinished(&r), 0);
        assert_int_equal(support_file_size(support_tmpdir_path(r.e->dir, "local/uploads")), 0);
        r.faulty.fault = NULL;
        collect_ok(&r, 0);
        support_tiering_remove(&r);
        support_logger_clear(r.e->logger);
    }
}

/* A store that is away for long is asked about one such upload, not about more and more. */
static void a_store_that_is_away_gets_no_more_to_forget(void **state)
{
    struct gone g = {.over = true};
    struct support_tiering r;
    struct tiering_run run = {.seal = true};
    uint64_t size = 0;

    support_logger_expect(((struct support_env *)*state)->logger, "tried again");
    support_tiering_init(&r, *state);
    r.remote = true;
    support_tiering_open_ok(&r);
    while (r.bytes.size < 40000)
        assert_int_equal(support_tiering_append(&r, 3000, 7, true, NULL), 0);
    r.faulty.fault = after_parts;
    r.faulty.ctx = &g;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(tiering_log_run(r.t, &run, NULL), VARVE_E_STORE);
        if (i == 0)
            size = support_file_size(support_tmpdir_path(r.e->dir, "local/uploads"));
    }
    assert_true(size > 0);
    assert_int_equal(support_file_size(support_tmpdir_path(r.e->dir, "local/uploads")), size);
    r.faulty.fault = NULL;
    support_tiering_run_ok(&r, true, true);
    collect_ok(&r, 0);
    support_tiering_deinit(&r);
}

/* Where requests travel: an object of two buffers goes by one put, a larger one by parts. */
static void how_an_object_goes_depends_on_its_size(void **state)
{
    static const struct {
        size_t bytes;
        unsigned puts;
        unsigned parts;
    } cases[] = {{3000, 1, 0}, {6500, 1, 0}, {9500, 0, 3}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct support_tiering r;
        struct tiering_run run = {.seal = true};
        uint64_t puts;

        support_tiering_init(&r, *state);
        r.remote = true;
        r.hot_options.segment_bytes = 16384;
        r.threads = 2;
        support_tiering_open_ok(&r);
        while (r.bytes.size < cases[i].bytes)
            assert_int_equal(support_tiering_append(&r, 600, 7, true, NULL), 0);
        puts = requests(&r, COLD_OP_PUT);
        assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
        assert_int_equal(requests(&r, COLD_OP_PART), cases[i].parts);
        /* and the root */
        assert_int_equal(requests(&r, COLD_OP_PUT) - puts, cases[i].puts + 1);
        support_tiering_check(&r);
        support_tiering_remove(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(an_upload_goes_on_after_a_kill_under_the_same_attempt),
        support_env_test(an_upload_goes_on_in_the_same_process),
        support_env_test(an_error_that_does_not_pass_ends_the_upload_at_once),
        support_env_test(parts_that_would_come_out_otherwise_are_not_gone_on_with),
        support_env_test(an_upload_of_the_log_that_had_the_name_before_is_not_gone_on_with),
        support_env_test(without_its_journal_an_upload_is_begun_again_and_collected),
        support_env_test(a_collection_ends_what_is_left_over_without_a_listing),
        support_env_test(a_trim_beyond_an_interrupted_upload_ends_it),
        support_env_test(an_upload_that_goes_on_behind_a_trim_has_the_new_chain),
        support_env_test(a_deleted_log_leaves_no_upload),
        support_env_test(an_upload_whose_id_was_lost_does_not_dangle),
        support_env_test(a_store_that_is_away_gets_no_more_to_forget),
        support_env_test(how_an_object_goes_depends_on_its_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
