/* Ownership as an embedding program sees it: refusals, tails set aside, settings of a store. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/support/file.h"
#include "tests/support/support_log.h"
#include "tiering/lease.h"

/* A second store beside the first, on its cold tier. */
static const char *second_path(struct support_env *e)
{
    return support_tmpdir_path(e->dir, "second");
}

static struct varve_store *second_open(struct support_env *e, bool take_over)
{
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = NULL;
    struct varve_error err;

    options.cold_url = support_store_path(e, "cold");
    options.adopt = true;
    options.take_over = take_over;
    if (!support_file_exists(second_path(e)))
        support_succeeds(log_store_create_env(&e->env, second_path(e), &options, &err), &err);
    support_succeeds(log_store_open_env(&e->env, second_path(e), &options, &store, &err), &err);
    return store;
}

struct divergent {
    unsigned files;
    int64_t first, end;
    uint32_t epoch;
};

static int visit_divergent(void *ctx, const struct varve_divergent_info *file)
{
    struct divergent *d = ctx;

    assert_true(support_file_exists(file->path));
    assert_true(file->size > 0);
    d->files++;
    d->first = d->files == 1 ? file->first_offset : d->first;
    d->end = file->end_offset;
    d->epoch = file->epoch;
    return 0;
}

static int stop_at_once(void *ctx, const struct varve_divergent_info *file)
{
    (void)file;
    ++*(int *)ctx;
    return 17;
}

/* 0..50 uploaded, 50..75 local; then the second store takes over and goes on from 50 to 60. */
static void diverge(struct support_env *e)
{
    struct varve_store *a = support_store_open(e, NULL), *b = second_open(e, true);
    struct varve_log *log = support_log_open(a, "x/y", NULL), *theirs;

    support_log_append(log, 10, 5);
    support_log_tier(log, true, false);
    support_log_append(log, 5, 5);
    theirs = support_log_open(b, "x/y", NULL);
    assert_int_equal(support_log_append(theirs, 2, 5), 60);
    support_log_tier(theirs, true, false);
    varve_log_close(theirs);
    varve_store_close(b);
    varve_log_close(log);
    varve_store_close(a);
}

static void a_refused_opening_sets_the_tail_aside_and_readers_see_the_owners_log(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct divergent d = {0};
    struct varve_store *a;
    struct varve_log *log = NULL;
    struct varve_log_info info;
    struct varve_error err;
    int calls = 0;

    diverge(e);
    a = support_store_open(e, NULL);
    support_fails(varve_log_open(a, "x/y", NULL, &log, &err), &err, VARVE_E_FENCED,
                  "owned by another store");
    assert_null(log);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "offsets 50 to 75"), 1);
    varve_store_close(a);

    options.read_only = true;
    a = support_store_open(e, &options);
    log = support_log_open(a, "x/y", NULL);
    assert_int_equal(support_log_read(log, 0), 60);
    info = support_log_info(log);
    assert_false(info.owned);
    assert_int_equal(strlen(info.owner), 32);
    assert_int_equal(info.epoch, 1);
    assert_int_equal(info.hot_segments, 0);
    assert_true(info.divergent_segments > 0 && info.divergent_bytes > 0);
    support_succeeds(varve_log_each_divergent(log, visit_divergent, &d, &err), &err);
    assert_int_equal(d.files, info.divergent_segments);
    assert_int_equal(d.first, 50);
    assert_int_equal(d.end, 75);
    assert_int_equal(d.epoch, 0);
    assert_int_equal(varve_log_each_divergent(log, stop_at_once, &calls, &err), 17);
    assert_int_equal(calls, 1);
    varve_log_close(log);
    varve_store_close(a);
}

static void one_log_alone_is_taken_over(void **state)
{
    struct support_env *e = *state;
    struct varve_log_options options = {.size = sizeof(options), .take_over = true};
    struct varve_store *a = support_store_open(e, NULL), *b;
    struct varve_log *log = support_log_open(a, "x", NULL), *other = support_log_open(a, "y", NULL);
    struct varve_log *theirs = NULL;
    struct varve_error err;

    b = second_open(e, false);
    support_succeeds(varve_log_open(b, "x", &options, &theirs, &err), &err);
    assert_true(support_log_info(theirs).owned);
    varve_log_close(theirs);
    support_fails(varve_log_open(b, "y", NULL, &theirs, &err), &err, VARVE_E_FENCED, NULL);
    /* An option struct of an older program does not have it. */
    options.size = offsetof(struct varve_log_options, take_over);
    support_fails(varve_log_open(b, "y", &options, &theirs, &err), &err, VARVE_E_FENCED, NULL);
    varve_store_close(b);
    varve_log_close(other);
    varve_log_close(log);
    varve_store_close(a);
}

static void what_is_synced_after_a_take_over_is_not_acknowledged(void **state)
{
    struct support_env *e = *state;
    struct varve_store *a = support_store_open(e, NULL), *b = second_open(e, true);
    struct varve_log *log = support_log_open(a, "x", NULL), *theirs;
    struct varve_record record = {.value = "x", .value_size = 1};
    struct varve_tier_options tier = {.size = sizeof(tier), .seal = true};
    struct varve_error err;
    int64_t offset = -7;

    support_log_append(log, 1, 5);
    theirs = support_log_open(b, "x", NULL);
    support_logger_expect(e->logger, "taken it over");
    support_fails(varve_log_tier(log, &tier, &err), &err, VARVE_E_FENCED, NULL);
    support_fails(varve_log_sync(log, &err), &err, VARVE_E_FENCED, "epoch 1; ours was 0");
    support_fails(varve_log_append_record(log, &record, &offset, &err), &err, VARVE_E_FENCED,
                  "has taken it over");
    assert_int_equal(offset, -7);
    varve_log_close(theirs);
    varve_store_close(b);
    varve_log_close(log);
    varve_store_close(a);
}

/* ---- a log that another store has made again ---- */

#define AGAIN_CRASHES_MAX 400

/* a's log x/N had the epochs 0 and 2 and ends at 75, of which 50 are uploaded; b has taken it over,
 * deleted and made it again, and that one ends at 10, all of it in epoch 0. */
static void made_again(struct varve_store *a, struct varve_store *b, const char *name, bool evict)
{
    struct varve_log_options take = {.size = sizeof(take), .take_over = true};
    struct varve_log *log = support_log_open(a, name, SUPPORT_LOG_UNTIERED);
    struct varve_error err;

    support_log_append(log, 10, 5);
    support_log_tier(log, true, evict);
    varve_log_close(log);
    varve_log_close(support_log_open(b, name, NULL));
    support_succeeds(varve_log_open(a, name, &take, &log, &err), &err);
    assert_int_equal(support_log_info(log).epoch, 2);
    if (!evict)
        support_log_append(log, 5, 5);
    varve_log_close(log);
    varve_log_close(support_log_open(b, name, NULL));
    support_succeeds(varve_log_delete(b, name, &err), &err);
    log = support_log_open(b, name, SUPPORT_LOG_UNTIERED);
    support_log_append(log, 2, 5);
    support_log_tier(log, true, false);
    varve_log_close(log);
}

static void opens_made_again(struct varve_store *store, const char *name, unsigned aside)
{
    struct varve_log_options take = {.size = sizeof(take), .take_over = true};
    struct divergent d = {0};
    struct varve_log *log = NULL;
    struct varve_error err;

    support_succeeds(varve_log_open(store, name, &take, &log, &err), &err);
    assert_int_equal(support_log_read(log, 0), 10);
    assert_int_equal(support_log_append(log, 1, 5), 15);
    assert_int_equal(support_log_read(log, 0), 15);
    assert_int_equal(support_log_info(log).divergent_segments, aside);
    support_succeeds(varve_log_each_divergent(log, visit_divergent, &d, &err), &err);
    if (aside > 0) {
        assert_int_equal(d.first, 0);
        assert_int_equal(d.end, 75);
        assert_int_equal(d.epoch, 2);
    }
    varve_log_close(log);
}

/* Its only segment was empty and began where the old one had ended: "in neither tier". */
static void a_log_made_again_opens_where_all_of_the_old_one_was_evicted(void **state)
{
    struct support_env *e = *state;
    struct varve_store *a = support_store_open(e, NULL), *b = second_open(e, true);

    made_again(a, b, "x", true);
    opens_made_again(a, "x", 0);
    varve_store_close(b);
    varve_store_close(a);
}

/* "leader epoch 2, which the log never had" */
static void a_log_made_again_opens_beside_segments_of_epochs_that_it_never_had(void **state)
{
    struct support_env *e = *state;
    struct varve_store *a = support_store_open(e, NULL), *b = second_open(e, true);

    made_again(a, b, "x", false);
    opens_made_again(a, "x", 2);
    varve_store_close(b);
    varve_store_close(a);
}

/*
 * The new root was installed before the old segments were aside: after a crash in between nobody
 * knew any more that they were of another log. Here all I/O on the log's files fails from the Nth
 * call on, for each seventh N (tests/sim tells them all); then it is opened again.
 */
static void opens_stopped(struct support_env *e, bool take_over)
{
    struct varve_log_options options = {.size = sizeof(options), .take_over = take_over};
    struct varve_store *a = support_store_open(e, NULL), *b = second_open(e, true);
    bool hit = true;

    support_logger_expect(e->logger, "");
    for (unsigned nth = 1; hit; nth += 7) {
        struct varve_log *log = NULL;
        char name[16];

        assert_true(nth < AGAIN_CRASHES_MAX);
        snprintf(name, sizeof(name), "x%u", nth);
        made_again(a, b, name, false);
        support_io_fail(e->io, &(struct support_io_fault){.call = SUPPORT_IO_ANY,
                                                          .path = "store/logs",
                                                          .nth = nth,
                                                          .sys_errno = EIO,
                                                          .keep = true});
        (void)varve_log_open(a, name, &options, &log, NULL);
        hit = support_io_failed(e->io) > 0;
        varve_log_close(log);
        support_io_fail(e->io, NULL);
        opens_made_again(a, name, 2);
    }
    varve_store_close(b);
    varve_store_close(a);
}

static void a_take_over_of_a_log_made_again_that_stops_anywhere_is_gone_on_with(void **state)
{
    opens_stopped(*state, true);
}

static void a_refusal_of_a_log_made_again_that_stops_anywhere_is_gone_on_with(void **state)
{
    opens_stopped(*state, false);
}

/* Ten batches in both tiers, and some here alone. */
static void half_tiered(struct varve_store *store, const char *name, int here)
{
    struct varve_log *log = support_log_open(store, name, SUPPORT_LOG_UNTIERED);

    support_log_append(log, 10, 5);
    support_log_tier(log, true, false);
    support_log_append(log, here, 5);
    varve_log_close(log);
}

/* From the Nth on no file below `path` can be removed. */
static void unlinks_stop(struct support_env *e, const char *path, unsigned nth)
{
    support_io_fail(
        e->io,
        &(struct support_io_fault){
            .call = SUPPORT_IO_UNLINK, .path = path, .nth = nth, .sys_errno = EIO, .keep = true});
}

/* The root had gone, some segments had not: the next log of that name took them up. */
static void a_deletion_that_stops_among_its_files_leaves_none_to_a_later_log(void **state)
{
    struct support_env *e = *state;
    struct varve_store *a = support_store_open(e, NULL), *b = second_open(e, true);
    bool hit = true;

    for (unsigned nth = 1; hit; nth++) {
        struct varve_log *log;
        char name[16];

        assert_true(nth < AGAIN_CRASHES_MAX);
        snprintf(name, sizeof(name), "x%u", nth);
        half_tiered(b, name, 5);
        unlinks_stop(e, "second/logs", nth);
        (void)varve_log_delete(b, name, NULL);
        hit = support_io_failed(e->io) > 0;
        support_io_fail(e->io, NULL);
        log = support_log_open(a, name, SUPPORT_LOG_UNTIERED);
        assert_int_equal(support_log_append(log, 2, 5), 10);
        support_log_tier(log, true, false);
        varve_log_close(log);
        opens_made_again(b, name, 0);
    }
    varve_store_close(b);
    varve_store_close(a);
}

/* Another store had deleted the log. Making it again, which deletes first what was here of it,
 * stopped among its files; while the bucket was away the log passed for a damaged one then, or for
 * one that is there (481736 of the simulation). */
static void a_log_whose_files_are_being_deleted_is_not_called_damaged(void **state)
{
    struct support_env *e = *state;
    struct varve_store *a = support_store_open(e, NULL), *b = second_open(e, true);
    char *cold = strdup(support_store_path(e, "cold"));
    char *away = strdup(support_store_path(e, "cold-away"));
    struct varve_error err = {0};
    bool hit = true;

    for (unsigned nth = 1; hit; nth++) {
        struct varve_log *log;
        char name[16];

        assert_true(nth < AGAIN_CRASHES_MAX);
        snprintf(name, sizeof(name), "x%u", nth);
        half_tiered(a, name, 10);
        varve_log_close(support_log_open(b, name, NULL));
        support_succeeds(varve_log_delete(b, name, &err), &err);
        unlinks_stop(e, "store/logs", nth);
        (void)varve_log_create(a, name, NULL, 0, NULL);
        hit = support_io_failed(e->io) > 0;
        support_io_fail(e->io, NULL);
        assert_int_equal(rename(cold, away), 0);
        if (hit)
            support_fails(varve_log_open(a, name, NULL, &log, &err), &err, VARVE_E_STORE, "root");
        assert_int_equal(rename(away, cold), 0);
        log = support_log_open(a, name, SUPPORT_LOG_UNTIERED);
        support_log_append(log, 10, 5);
        assert_int_equal(support_log_read(log, 0), 50);
        varve_log_close(log);
    }
    varve_store_close(b);
    varve_store_close(a);
    free(cold);
    free(away);
}

/* The new root replaced the old one at once, and what lay beside it became the new log's. */
static void a_log_made_where_the_bucket_has_lost_it_takes_nothing_up(void **state)
{
    struct support_env *e = *state;
    struct varve_store *a = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(a, "x", SUPPORT_LOG_UNTIERED);
    struct varve_error err;

    support_log_append(log, 10, 5);
    varve_log_close(log);
    assert_int_equal(unlink(support_store_path(e, "cold/logs/x/@/root")), 0);
    support_succeeds(varve_log_create(a, "x", NULL, 0, &err), &err);
    /* The old one is not opened by its local root either, which is for when the bucket is away. */
    support_io_fail(
        e->io, &(struct support_io_fault){.call = SUPPORT_IO_LINK, .nth = 1, .sys_errno = EIO});
    support_fails(varve_log_open(a, "x", NULL, &log, &err), &err, VARVE_E_IO, "that it replaces");
    log = support_log_open(a, "x", NULL);
    assert_int_equal(support_log_append(log, 2, 5), 10);
    assert_int_equal(support_log_read(log, 0), 10);
    assert_int_equal(support_log_info(log).divergent_segments, 1);
    varve_log_close(log);
    varve_store_close(a);
}

static int find_option(void *ctx, const char *name, const char *value, bool is_default)
{
    if (strcmp(name, "owner.check.ms") == 0) {
        strcpy(ctx, value);
        strcat(ctx, is_default ? " default" : " set");
    }
    return 0;
}

static void settings_of_a_store_can_be_changed(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    const struct varve_option given = {"owner.check.ms", "2s"}, wrong = {"owner.check.ms", "1"};
    const struct varve_option unknown = {"cold", "elsewhere"}, other = {"cache.bytes", "1MiB"};
    struct varve_store *store;
    struct varve_error err;
    char value[64] = "";

    store = support_store_open(e, &options);
    support_succeeds(varve_store_each_option(store, find_option, value, &err), &err);
    assert_string_equal(value, "60000 default");
    support_fails(varve_store_configure(store, &wrong, 1, &err), &err, VARVE_E_INVALID,
                  "from 100 to");
    support_fails(varve_store_configure(store, &unknown, 1, &err), &err, VARVE_E_INVALID,
                  "no setting cold");
    support_succeeds(varve_store_configure(store, &given, 1, &err), &err);
    support_succeeds(varve_store_configure(store, &other, 1, &err), &err);
    support_succeeds(varve_store_each_option(store, find_option, value, &err), &err);
    assert_string_equal(value, "2000 set");
    varve_store_close(store);
    options.read_only = true;
    store = support_store_open(e, &options);
    support_succeeds(varve_store_each_option(store, find_option, value, &err), &err);
    assert_string_equal(value, "2000 set");
    support_fails(varve_store_configure(store, &given, 1, &err), &err, VARVE_E_READ_ONLY, NULL);
    varve_store_close(store);
}

static void wrong_settings_make_no_store(void **state)
{
    struct support_env *e = *state;
    const struct varve_option wrong = {"owner.check.ms", "never"};
    struct varve_store_options options = support_store_options(e);
    struct varve_error err;

    options.settings = &wrong;
    options.setting_count = 1;
    support_fails(log_store_create_env(&e->env, support_store_path(e, NULL), &options, &err), &err,
                  VARVE_E_INVALID, "owner.check.ms=never");
    assert_false(support_file_exists(support_store_path(e, NULL)));
}

/* ---- lease mode ---- */

static struct varve_store *lease_store_open(struct support_env *e)
{
    static const struct varve_option lease = {"lease.ms", "600"};
    struct varve_store_options options = support_store_options(e);

    options.settings = &lease;
    options.setting_count = 1;
    return support_store_open(e, &options);
}

static struct cold_lease lease_there(struct varve_store *store)
{
    struct cold_lease lease = {0};
    struct cold_etag etag;
    struct varve_error err;

    support_succeeds(cold_lease_read(store->meta, &store->id, &lease, &etag, &err), &err);
    return lease;
}

static void a_lease_is_held_while_logs_are_open_and_released_with_the_store(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = lease_store_open(e), *reading;
    struct varve_log *log;
    struct varve_error err;
    struct cold_lease lease;
    char who[32];

    log = support_log_open(store, "x", NULL);
    support_log_append(log, 3, 5);
    support_log_tier(log, true, false);
    support_succeeds(varve_log_sync(log, &err), &err);
    lease = lease_there(store);
    assert_int_equal(lease.state, COLD_LEASE_HELD);
    assert_int_equal(lease.duration_ms, 600);
    snprintf(who, sizeof(who), "process %ld (", (long)getpid());
    assert_non_null(strstr(lease.process, who));
    varve_log_close(log);
    varve_store_close(store);
    options.read_only = true; /* readers need none */
    reading = support_store_open(e, &options);
    lease = lease_there(reading);
    assert_int_equal(lease.state, COLD_LEASE_RELEASED);
    log = support_log_open(reading, "x", NULL);
    assert_int_equal(support_log_read(log, 0), 15);
    varve_log_close(log);
    varve_store_close(reading);
}

static void an_append_waits_until_its_lease_is_confirmed_again(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = lease_store_open(e);
    struct varve_log *log = support_log_open(store, "x", NULL);

    support_log_append(log, 1, 5);
    support_clock_suspend_ms(&e->clock, 3600000);
    assert_false(tiering_lease_valid(store->lease));
    support_log_append(log, 1, 5); /* the thread comes to renew it */
    assert_true(tiering_lease_valid(store->lease));
    varve_log_close(log);
    varve_store_close(store);
}

/* The process is stopped in the middle of a write or a sync, and meanwhile a take-over ends its
 * lease. */
struct pause {
    struct support_env *e;
    struct varve_store *store;
    enum support_io_call at; /* of a segment's file; SUPPORT_IO_ANY: not (any more) */
};

static void pause_here(void *arg, enum support_io_call call, const char *path)
{
    const struct tiering_lease_watch none = {0};
    struct pause *p = arg;
    struct base_id by = base_id_new(&p->e->random.seam);
    size_t n = strlen(path);
    struct varve_error err;

    if (call != p->at || n < 4 || strcmp(path + n - 4, ".log") != 0)
        return;
    p->at = SUPPORT_IO_ANY;
    support_succeeds(
        tiering_lease_end(&p->store->env, p->store->meta, &p->store->id, &by, &none, &err), &err);
    assert_false(tiering_lease_valid(p->store->lease));
}

static void nothing_is_acknowledged_by(struct support_env *e, enum varve_durability durability,
                                       enum support_io_call at)
{
    struct varve_log_options options = {.size = sizeof(options), .durability = durability};
    struct varve_record record = {.value = "x", .value_size = 1};
    struct pause p = {.e = e, .at = SUPPORT_IO_ANY};
    struct varve_store *store = lease_store_open(e);
    struct varve_log *log = NULL;
    struct varve_error err = {0};
    int64_t offset = -7, end;

    p.store = store;
    varve_log_close(support_log_open(store, "x", NULL));
    support_succeeds(varve_log_open(store, "x", &options, &log, &err), &err);
    support_io_set_hook(e->io, pause_here, &p);
    support_succeeds(varve_log_append_record(log, &record, NULL, &err), &err);
    end = support_log_info(log).end_offset;
    support_logger_expect(e->logger, "was ended by store");
    p.at = at;
    support_fails(varve_log_append_record(log, &record, &offset, &err), &err, VARVE_E_FENCED,
                  "written, but not acknowledged");
    assert_false(err.retriable);
    assert_int_equal(p.at, SUPPORT_IO_ANY); /* it did stop there */
    assert_int_equal(offset, -7);
    assert_int_equal(support_log_info(log).end_offset, end + 1);
    /* From now on not even written. */
    support_fails(varve_log_append_record(log, &record, &offset, &err), &err, VARVE_E_FENCED,
                  "until the store is opened again");
    assert_int_equal(support_log_info(log).end_offset, end + 1);
    support_fails(varve_log_sync(log, &err), &err, VARVE_E_FENCED, NULL);
    support_io_set_hook(e->io, NULL, NULL);
    varve_log_close(log);
    varve_store_close(store);
    store = lease_store_open(e); /* a new process: the log is still ours */
    log = support_log_open(store, "x", NULL);
    support_succeeds(varve_log_append_record(log, &record, &offset, &err), &err);
    assert_int_equal(offset, end + 1);
    varve_log_close(log);
    varve_store_close(store);
}

static void a_writer_stopped_in_its_write_acknowledges_nothing(void **state)
{
    nothing_is_acknowledged_by(*state, VARVE_DURABILITY_OS, SUPPORT_IO_PWRITEV);
}

static void a_writer_stopped_in_its_sync_acknowledges_nothing(void **state)
{
    nothing_is_acknowledged_by(*state, VARVE_DURABILITY_FSYNC, SUPPORT_IO_FDATASYNC);
}

static void in_lease_mode_a_log_is_not_opened_without_its_bucket(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = lease_store_open(e);
    struct varve_log *log = support_log_open(store, "x", NULL);
    const char *cold = support_store_path(e, "cold"), *away = support_store_path(e, "away");
    struct varve_error err = {0};

    support_log_append(log, 1, 5);
    varve_log_close(log);
    varve_store_close(store);
    assert_int_equal(rename(cold, away), 0);
    store = lease_store_open(e);
    log = NULL;
    support_fails(varve_log_open(store, "x", NULL, &log, &err), &err, VARVE_E_STORE,
                  "claim the lease");
    assert_true(err.retriable);
    assert_int_equal(rename(away, cold), 0);
    log = support_log_open(store, "x", NULL);
    support_log_append(log, 1, 5);
    varve_log_close(log);
    varve_store_close(store);
}

/* The store that had begun it is lost: its objects stayed for ever. */
static void a_deletion_that_was_interrupted_is_gone_on_with_by_another_store(void **state)
{
    struct support_env *e = *state;
    struct varve_store *a, *b;
    struct varve_error err = {0};
    struct varve_log *log;

    a = support_store_open_faulty(e, "delete(logs/x/*):error@1");
    log = support_log_open(a, "x", NULL);
    support_log_append(log, 100, 7);
    support_log_tier(log, true, false);
    varve_log_close(log);
    support_fails(varve_log_delete(a, "x", &err), &err, VARVE_E_STORE, "made to fail");
    varve_store_close(a);
    assert_true(support_file_count(support_store_path(e, "cold/logs/x")) > 1);

    b = second_open(e, false);
    support_succeeds(varve_log_delete(b, "x", &err), &err);
    assert_int_equal(support_file_count(support_store_path(e, "cold/logs/x")),
                     1); /* the tombstone */
    support_fails(varve_log_delete(b, "x", &err), &err, VARVE_E_NOT_FOUND, "x");
    varve_store_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_refused_opening_sets_the_tail_aside_and_readers_see_the_owners_log),
        support_env_test(one_log_alone_is_taken_over),
        support_env_test(what_is_synced_after_a_take_over_is_not_acknowledged),
        support_env_test(a_log_made_again_opens_where_all_of_the_old_one_was_evicted),
        support_env_test(a_log_made_again_opens_beside_segments_of_epochs_that_it_never_had),
        support_env_test(a_take_over_of_a_log_made_again_that_stops_anywhere_is_gone_on_with),
        support_env_test(a_refusal_of_a_log_made_again_that_stops_anywhere_is_gone_on_with),
        support_env_test(a_deletion_that_stops_among_its_files_leaves_none_to_a_later_log),
        support_env_test(a_log_whose_files_are_being_deleted_is_not_called_damaged),
        support_env_test(a_log_made_where_the_bucket_has_lost_it_takes_nothing_up),
        support_env_test(settings_of_a_store_can_be_changed),
        support_env_test(wrong_settings_make_no_store),
        support_env_test(a_lease_is_held_while_logs_are_open_and_released_with_the_store),
        support_env_test(an_append_waits_until_its_lease_is_confirmed_again),
        support_env_test(a_writer_stopped_in_its_write_acknowledges_nothing),
        support_env_test(a_writer_stopped_in_its_sync_acknowledges_nothing),
        support_env_test(in_lease_mode_a_log_is_not_opened_without_its_bucket),
        support_env_test(a_deletion_that_was_interrupted_is_gone_on_with_by_another_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
