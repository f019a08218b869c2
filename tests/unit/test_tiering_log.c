/* Who owns a log, what becomes of a tail that another writer's history replaced, orphans, pacing,
 * the scheduler. */
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "tests/support/file.h"
#include "tests/support/support_tiering.h"

static struct index_root root_of(struct support_tiering *r)
{
    struct index_root root;

    support_tiering_root(r, &root);
    return root;
}

static void a_log_that_is_there_is_not_made_again(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct varve_error err = {0};
    struct base_id id = base_id_new(&e->random.seam);

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    assert_int_equal(
        tiering_log_create(&e->env, r.store, r.manifest, r.log_name, &id, &r.store_id, "", 0, &err),
        VARVE_E_EXISTS);
    assert_non_null(strstr(err.msg, "orders/0"));
    support_tiering_deinit(&r);
}

static void opening_a_log_that_is_not_there_is_a_condition(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;

    support_tiering_init(&r, e);
    r.log_name = "other";
    assert_int_equal(support_tiering_open(&r, NULL), VARVE_E_NOT_FOUND);
    assert_null(r.t);
    support_tiering_deinit(&r);
}

static void another_store_is_refused_unless_it_takes_over(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct varve_error err = {0};

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    support_tiering_fill(&a, 2);
    support_tiering_run_ok(&a, true, true);
    support_tiering_init_other(&b, &a, "second");
    assert_int_equal(support_tiering_open(&b, &err), VARVE_E_FENCED); /* I6 */
    b.take_over = true;
    support_tiering_open_ok(&b);
    assert_int_equal(tiering_log_epoch(b.t), tiering_log_epoch(a.t) + 1);
    assert_int_equal(root_of(&b).end_offset, a.end);
    /* the first one stops at its next write, for good */
    support_logger_expect(e->logger, "taken it over");
    support_tiering_fill(&a, 1);
    struct tiering_run run = {0};
    assert_false(tiering_log_fenced(a.t));
    assert_int_equal(tiering_log_run(a.t, &run, &err), VARVE_E_FENCED);
    assert_true(tiering_log_fenced(a.t));
    int64_t next = 0;
    err = (struct varve_error){0};
    assert_int_equal(tiering_log_step(a.t, &next, &err), VARVE_E_FENCED);
    assert_non_null(strstr(err.msg, "taken it over"));
    assert_true(next > e->clock.wall_ms);
    assert_int_equal(tiering_log_trim(a.t, a.end, NULL), VARVE_E_FENCED);
    struct tiering_status status;
    tiering_log_status(a.t, &status);
    assert_true(status.fenced);
    support_tiering_close(&a);
    assert_int_equal(support_tiering_open(&a, NULL), VARVE_E_FENCED);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

/* A log with something in the cold tier. Returns n. */
static int64_t begin_committed(struct support_tiering *a, struct support_env *e)
{
    support_tiering_init(a, e);
    support_tiering_open_ok(a);
    support_tiering_fill(a, 1);
    support_tiering_run_ok(a, true, false);
    return a->end;
}

/* Another store takes the log over, goes on with so many batches that it uploads, and ends. */
static void go_on_elsewhere(struct support_tiering *b, struct support_tiering *a, int batches)
{
    support_tiering_init_other(b, a, "second");
    b->take_over = true;
    support_tiering_open_ok(b);
    for (int i = 0; i < batches; i++)
        assert_int_equal(support_tiering_append(b, 700, 1, false, NULL), 0);
    support_tiering_run_ok(b, true, false);
    support_tiering_close(b);
}

static void a_divergent_tail_is_moved_aside(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct hot_range range;
    int64_t n = begin_committed(&a, e);

    assert_int_equal(support_tiering_append(&a, 500, 1, false, NULL), 0); /* never uploaded */
    support_tiering_close(&a);
    go_on_elsewhere(&b, &a, 1);
    a.take_over = true;
    support_tiering_open_ok(&a); /* I13 */
    assert_int_equal(tiering_log_epoch(a.t), 2);
    hot_set_range(a.hot, &range);
    assert_int_equal(root_of(&a).end_offset, n + 3);
    assert_int_equal(range.floor, n + 3);
    assert_int_equal(range.end, n + 3);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "not part of the log"), 1);
    char name[96];
    snprintf(name, sizeof(name), "local/divergent/%020lld-0/%020lld.log", (long long)n,
             (long long)n);
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "%s", name)));
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

/* Nobody could say in which epoch it was written: it went as a copy of what the bucket holds, with
 * the whole batch in the middle that is nowhere else. */
static void a_divergent_tail_is_moved_aside_though_it_is_damaged(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    char path[256];
    int64_t n = begin_committed(&a, e);

    for (int i = 0; i < 3; i++)
        assert_int_equal(support_tiering_append(&a, 1100, 1, false, NULL), 0); /* never uploaded */
    assert_int_equal(hot_set_seal(a.hot, NULL), 0);
    support_tiering_close(&a);
    snprintf(path, sizeof(path), "%s/hot/%020lld.log", a.local_path, (long long)n);
    int64_t size = support_file_size(path);
    support_file_flip(path, 8, 0x80); /* lengths that no batch has, of the first and the last one */
    support_file_flip(path, size / 3 * 2 + 8, 0x80);
    go_on_elsewhere(&b, &a, 4);
    a.take_over = true;
    support_tiering_open_ok(&a); /* I13 */
    assert_int_equal(root_of(&a).end_offset, n + 12);
    assert_int_equal(
        support_file_size(support_tmpdir_path(e->dir, "local/divergent/%020lld-0/%020lld.log",
                                              (long long)n, (long long)n)),
        size);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

static int store_is_away(void *ctx, enum cold_op op, const char *key, bool after)
{
    (void)ctx;
    (void)op;
    (void)key;
    return after ? 0 : VARVE_E_STORE;
}

static void a_log_opens_without_its_bucket_and_compares_later(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r, other;
    struct tiering_run run = {.seal = true};

    support_tiering_init(&r, e);
    support_tiering_init_other(&other, &r, "second");
    other.faulty.fault = store_is_away;
    assert_int_equal(support_tiering_open(&other, NULL), VARVE_E_STORE); /* no local root */
    support_tiering_deinit(&other);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 1);
    support_tiering_run_ok(&r, false, false);
    support_tiering_close(&r);
    r.faulty.fault = store_is_away;
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 1);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), VARVE_E_STORE);
    r.faulty.fault = NULL;
    support_tiering_run_ok(&r, true, true);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* A disk of yesterday, put back while the bucket is away: what is appended to it has offsets that
 * are taken (I13). */
static void a_disk_that_is_behind_its_bucket_stops_when_the_bucket_is_back(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r, old;
    struct tiering_run run = {.seal = true};
    struct varve_error err = {0};
    int64_t n;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 1);
    support_tiering_run_ok(&r, true, false);
    support_tiering_close(&r);
    support_tiering_init_other(&old, &r, "yesterday");
    old.store_id = r.store_id;
    support_tiering_open_ok(&old);
    support_tiering_close(&old);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 2);
    support_tiering_run_ok(&r, true, false);
    n = root_of(&r).end_offset;
    support_tiering_close(&r);

    old.faulty.fault = store_is_away;
    support_tiering_open_ok(&old);
    support_logger_expect(e->logger, "open it again");
    assert_int_equal(support_tiering_append(&old, 900, 1, false, NULL), 0);
    assert_true(old.end < n);
    old.faulty.fault = NULL;
    assert_int_equal(tiering_log_run(old.t, &run, &err), VARVE_E_FENCED);
    assert_non_null(strstr(err.msg, "open it again"));
    assert_true(tiering_log_fenced(old.t));
    assert_int_equal(root_of(&old).end_offset, old.end - 3); /* n is what it was */
    support_tiering_deinit(&r);
    support_tiering_deinit(&old);
}

static void a_missing_root_stalls_a_log_that_had_one(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct tiering_run run = {.seal = true};
    struct varve_error err = {0};

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 1);
    support_tiering_run_ok(&r, false, false);
    support_tiering_close(&r);
    assert_int_equal(base_tree_remove(&base_io_posix,
                                      support_tmpdir_path(e->dir, "cold/logs/orders/0/@/root"),
                                      NULL),
                     0);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 1);
    assert_int_equal(tiering_log_run(r.t, &run, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "root is missing"));
    support_tiering_deinit(&r);
}

static void a_deleted_log_is_gone_and_can_be_made_again(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct base_id id = base_id_new(&e->random.seam);
    struct index_manifest_options options = {0};
    struct index_manifest *fresh;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    support_tiering_run_ok(&r, true, false);
    assert_int_equal(tiering_log_delete(r.t, NULL), 0);
    assert_int_equal(support_tiering_objects(&r, NULL), 0);
    int64_t next;
    assert_int_equal(tiering_log_step(r.t, &next, NULL), VARVE_E_FENCED);
    base_dir_create(&base_io_posix, support_tmpdir_path(e->dir, "fresh"), false, NULL);
    assert_int_equal(index_manifest_open(&e->env, support_tmpdir_path(e->dir, "fresh"), r.log_name,
                                         &options, &fresh, NULL),
                     0);
    assert_int_equal(
        tiering_log_create(&e->env, r.store, fresh, r.log_name, &id, &r.store_id, "", 0, NULL), 0);
    index_manifest_close(fresh);
    support_tiering_deinit(&r);
}

static void a_deleted_log_does_not_open(void **state)
{
    struct support_tiering r;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    assert_int_equal(tiering_log_delete(r.t, NULL), 0);
    support_tiering_close(&r);
    assert_int_equal(support_tiering_open(&r, NULL), VARVE_E_NOT_FOUND);
    support_tiering_deinit(&r);
}

static void a_configuration_is_kept_in_the_root(void **state)
{
    struct support_tiering r;
    struct index_root_pin *pin;
    const struct index_root *root;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    assert_int_equal(tiering_log_configure(r.t, "a=b\n", 4, &r.policy, NULL), 0);
    assert_int_equal(index_manifest_pin(r.manifest, &pin, &root, NULL), 0);
    assert_int_equal(root->config_size, 4);
    assert_memory_equal(root->config, "a=b\n", 4);
    index_manifest_unpin(pin);
    support_tiering_deinit(&r);
}

/* Orphans. */

/* Stores something under a key of this log, `epoch` above or below ours. */
static void orphan_put(struct support_tiering *r, int64_t base, uint32_t epoch)
{
    struct index_root root = root_of(r);
    struct index_entry e = {.base_offset = base, .end_offset = base + 3, .epoch = epoch};
    struct iovec body = {.iov_base = "garbage", .iov_len = 7};
    struct cold_put how = {.condition = COLD_IF_ABSENT};
    char *key;

    e.attempt = base_id_new(&r->e->random.seam);
    assert_int_equal(index_key_object(r->log_name, &root.log_id, &e, &key, NULL), 0);
    assert_int_equal(cold_store_put(r->faulty.under, key, &body, 1, &how, NULL, NULL), 0);
    free(key);
}

static void count_found(void *ctx, const char *key, uint64_t size)
{
    (void)key;
    (void)size;
    ++*(unsigned *)ctx;
}

static void orphans_are_collected_by_epoch_and_never_by_age(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    unsigned found = 0, orphans;
    struct tiering_collect c = {
        .dry_run = true, .share_max = 0.5, .found = count_found, .found_ctx = &found};

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 4);
    support_tiering_run_ok(&r, true, true);
    orphan_put(&r, 0, 0);   /* ours, not in the table */
    orphan_put(&r, 500, 0); /* beyond the end */
    orphan_put(&r, 0, 7);   /* of a higher epoch: not ours to judge */
    support_clock_advance_ms(&e->clock, INT64_C(1000) * 86400000);
    assert_int_equal(tiering_log_collect(r.t, &c, NULL), 0);
    assert_int_equal(c.orphans, 2);
    assert_int_equal(c.orphan_bytes, 14);
    assert_int_equal(found, 2);
    support_tiering_objects(&r, &orphans);
    assert_int_equal(orphans, 3);
    c.dry_run = false;
    assert_int_equal(tiering_log_collect(r.t, &c, NULL), 0);
    assert_int_equal(c.orphans, 2);
    support_tiering_objects(&r, &orphans);
    assert_int_equal(orphans, 1);
    assert_int_equal(tiering_log_collect(r.t, &c, NULL), 0);
    assert_int_equal(c.orphans, 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void a_large_collection_stops_and_asks(void **state)
{
    struct support_tiering r;
    struct varve_error err = {0};
    struct tiering_collect c = {.share_max = 0.5};
    unsigned orphans;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    orphan_put(&r, 0, 0);
    assert_int_equal(tiering_log_collect(r.t, &c, &err), VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, "not referred to"));
    support_tiering_objects(&r, &orphans);
    assert_int_equal(orphans, 1);
    c.force = true;
    assert_int_equal(tiering_log_collect(r.t, &c, NULL), 0);
    assert_int_equal(support_tiering_objects(&r, NULL), 0);
    support_tiering_deinit(&r);
}

/* Collects after each put of a segment and before each root write: in the worst moments. */
static int collect_in_between(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct support_tiering *r = ctx;
    struct tiering_collect c = {.share_max = 1, .force = true};
    size_t size = strlen(key);

    if ((op != COLD_OP_PUT && op != COLD_OP_PART) || !after || size < 4 ||
        strcmp(key + size - 4, ".zst") != 0)
        return 0;
    assert_int_equal(tiering_log_collect(r->t, &c, NULL), 0);
    assert_int_equal(c.orphans, 0);
    assert_int_equal(c.uploads, 0);
    return 0;
}

/* The machine slept between the put and the root write: what was stored is old by now. */
static int sleep_and_collect(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct support_tiering *r = ctx;

    support_clock_set_wall_ms(&r->e->clock, INT64_C(5000000000000)); /* 2128 */
    return collect_in_between(ctx, op, key, after);
}

static void collect_while_uploads_run(void **state, int (*fault)(void *ctx, enum cold_op op,
                                                                 const char *key, bool after))
{
    struct support_tiering r;

    support_tiering_init(&r, *state);
    r.hot_options.segment_bytes = 8 * 1024 * 1024;
    support_tiering_open_ok(&r);
    r.faulty.fault = fault;
    r.faulty.ctx = &r;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(support_tiering_append(&r, 2000, 1, true, NULL), 0);
        assert_int_equal(hot_set_seal(r.hot, NULL), 0);
    }
    assert_int_equal(support_tiering_append(&r, 7 * 1024 * 1024, 1, true, NULL), 0);
    support_tiering_run_ok(&r, true, true);
    r.faulty.fault = NULL;
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static int fail_complete(void *ctx, enum cold_op op, const char *key, bool after)
{
    unsigned *calls = ctx;

    (void)key;
    if (op != COLD_OP_UPLOAD || after)
        return 0;
    return ++*calls > 1 && *calls <= 3 ? VARVE_E_STORE : 0; /* complete and abort */
}

static void collecting_while_uploads_run_spares_them(void **state)
{
    collect_while_uploads_run(state, collect_in_between);
}

static void collecting_spares_an_upload_whose_writer_slept(void **state)
{
    collect_while_uploads_run(state, sleep_and_collect);
}

static void unfinished_multipart_uploads_are_collected(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    unsigned calls = 0;
    struct tiering_collect c = {.share_max = 1};
    struct tiering_run run = {.seal = true};

    support_tiering_init(&r, e);
    r.hot_options.segment_bytes = 8 * 1024 * 1024;
    support_tiering_open_ok(&r);
    assert_int_equal(support_tiering_append(&r, 7 * 1024 * 1024, 1, true, NULL), 0);
    r.faulty.fault = fail_complete;
    r.faulty.ctx = &calls;
    assert_int_equal(tiering_log_run(r.t, &run, NULL), VARVE_E_STORE);
    r.faulty.fault = NULL;
    assert_int_equal(tiering_log_collect(r.t, &c, NULL), 0);
    assert_int_equal(c.uploads, 1);
    support_tiering_run_ok(&r, true, true);
    assert_int_equal(tiering_log_collect(r.t, &c, NULL), 0);
    assert_int_equal(c.uploads, 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* Pacing. */

/* What was sent when. */
struct sent {
    struct support_tiering *r;
    struct {
        int64_t ns;
        uint64_t bytes;
    } at[1000];
    unsigned count;
    uint64_t before;
};

static int note_sent(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct sent *s = ctx;
    struct cold_stats stats;

    (void)key;
    if (op != COLD_OP_PART)
        return 0;
    cold_store_stats(s->r->faulty.under, &stats);
    if (!after) {
        s->before = stats.bytes_sent;
        return 0;
    }
    assert_true(s->count < 1000);
    s->at[s->count].ns = s->r->e->clock.mono_ns;
    s->at[s->count++].bytes = stats.bytes_sent - s->before;
    return 0;
}

/* Parts are to ten seconds of the limit as 5 MiB to ten seconds of 20 MB/s. */
static void any_ten_seconds_of_uploads_are_within_5_percent(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct tiering_run run = {.seal = true};
    static struct sent sent;
    const double limit = 15625, window = 10e9;
    unsigned windows = 0;

    sent = (struct sent){.r = &r};
    support_tiering_init(&r, e);
    r.remote = true;
    assert_int_equal(tiering_rate_new(&e->env, (uint64_t)limit, &r.rate, NULL), 0);
    r.hot_options.segment_bytes = 512 * 1024;
    support_tiering_open_ok(&r);
    while (r.bytes.size < 700000)
        assert_int_equal(support_tiering_append(&r, 3000, 1, true, NULL), 0);
    r.faulty.fault = note_sent;
    r.faulty.ctx = &sent;
    assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
    for (unsigned i = 0; i < sent.count; i++) {
        double bytes = 0, end = (double)sent.at[i].ns + window;

        if ((double)sent.at[sent.count - 1].ns < end)
            break;
        for (unsigned k = i; k < sent.count && (double)sent.at[k].ns < end; k++)
            bytes += (double)sent.at[k].bytes;
        assert_true(bytes > limit * 10 * 0.95 && bytes < limit * 10 * 1.05);
        windows++;
    }
    assert_true(windows > 100);
    support_tiering_close(&r);
    tiering_rate_free(r.rate);
    support_tiering_deinit(&r);
}

static void whole_buffers_have_their_turns_one_after_the_other(void **state)
{
    struct support_env *e = *state;
    const int64_t mib5 = 5 * 1024 * 1024, apart = mib5 * 1000 / 20; /* ns at 20 MB/s */
    struct tiering_rate *rate;
    int64_t first, turn;

    assert_int_equal(tiering_rate_new(&e->env, 20000000, &rate, NULL), 0);
    first = tiering_rate_reserve(rate, (uint64_t)mib5);
    for (int i = 1; i < 16; i++) {
        turn = tiering_rate_reserve(rate, (uint64_t)mib5);
        assert_true(turn - first > apart * i - 100 && turn - first < apart * i + 100);
    }
    assert_true(tiering_rate_reserve(NULL, 1) == INT64_MIN);
    tiering_rate_free(rate);
}

static void uploads_are_paced(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct tiering_run run = {.seal = true};
    int64_t began, took;
    uint64_t limit = 1000000;

    support_tiering_init(&r, e);
    assert_int_equal(tiering_rate_new(&e->env, limit, &r.rate, NULL), 0);
    r.hot_options.segment_bytes = 6 * 1024 * 1024;
    support_tiering_open_ok(&r);
    while (r.bytes.size < 10u * 1024 * 1024)
        assert_int_equal(support_tiering_append(&r, 60000, 1, true, NULL), 0);
    support_clock_advance_ms(&e->clock, 3600000); /* an idle hour saves up next to nothing */
    began = e->clock.mono_ns;
    assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
    took = e->clock.mono_ns - began;
    double expected = (double)run.stored_bytes / (double)limit * 1e9;
    assert_true((double)took > expected * 0.95 && (double)took < expected * 1.05);
    support_tiering_close(&r);
    tiering_rate_free(r.rate);
    support_tiering_deinit(&r);
}

static void no_limit_does_not_wait(void **state)
{
    struct support_env *e = *state;
    struct tiering_rate *rate;
    int64_t began = e->clock.mono_ns;

    assert_int_equal(tiering_rate_new(&e->env, 0, &rate, NULL), 0);
    tiering_rate_take(rate, 1 << 30);
    tiering_rate_take(NULL, 1 << 30);
    assert_int_equal(e->clock.mono_ns, began);
    tiering_rate_free(rate);
}

/* The scheduler. */

static bool wait_for(atomic_uint *counter, unsigned value)
{
    for (int i = 0; i < 20000; i++) {
        struct timespec ms = {.tv_nsec = 1000000};

        if (atomic_load(counter) >= value)
            return true;
        nanosleep(&ms, NULL);
    }
    return false;
}

static void the_scheduler_uploads_what_is_sealed(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct tiering_scheduler *s;

    support_tiering_init(&r, e);
    r.threads = 2;
    support_tiering_open_ok(&r);
    assert_int_equal(tiering_scheduler_new(&e->env, 2, &s, NULL), 0);
    assert_int_equal(tiering_scheduler_add(s, r.t, NULL), 0);
    support_tiering_fill(&r, 3);
    tiering_scheduler_kick(s, r.t);
    assert_true(wait_for(&r.events[TIERING_UPLOADED], 3));
    support_tiering_fill(&r, 2);
    tiering_scheduler_kick(s, r.t);
    assert_true(wait_for(&r.events[TIERING_UPLOADED], 5));
    tiering_scheduler_remove(s, r.t);
    tiering_scheduler_remove(s, r.t); /* not there: nothing */
    support_tiering_check(&r);
    assert_int_equal(tiering_scheduler_add(s, r.t, NULL), 0);
    tiering_scheduler_free(s);
    support_tiering_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_log_that_is_there_is_not_made_again),
        support_env_test(opening_a_log_that_is_not_there_is_a_condition),
        support_env_test(another_store_is_refused_unless_it_takes_over),
        support_env_test(a_divergent_tail_is_moved_aside),
        support_env_test(a_divergent_tail_is_moved_aside_though_it_is_damaged),
        support_env_test(a_log_opens_without_its_bucket_and_compares_later),
        support_env_test(a_disk_that_is_behind_its_bucket_stops_when_the_bucket_is_back),
        support_env_test(a_missing_root_stalls_a_log_that_had_one),
        support_env_test(a_deleted_log_is_gone_and_can_be_made_again),
        support_env_test(a_deleted_log_does_not_open),
        support_env_test(a_configuration_is_kept_in_the_root),
        support_env_test(orphans_are_collected_by_epoch_and_never_by_age),
        support_env_test(a_large_collection_stops_and_asks),
        support_env_test(collecting_while_uploads_run_spares_them),
        support_env_test(collecting_spares_an_upload_whose_writer_slept),
        support_env_test(unfinished_multipart_uploads_are_collected),
        support_env_test(any_ten_seconds_of_uploads_are_within_5_percent),
        support_env_test(whole_buffers_have_their_turns_one_after_the_other),
        support_env_test(uploads_are_paced),
        support_env_test(no_limit_does_not_wait),
        support_env_test(the_scheduler_uploads_what_is_sealed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
