/*
 * One in ten of all requests is done by the store, and its reply is lost. A writer goes on and is
 * not fenced by itself (I7), nothing is there twice, and after a collection nothing is left that
 * no root names (I10).
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "tests/support/support_tiering.h"

#define SEEDS 60
#define TRIES_MAX 200

static const char lost[] = "all:lost@1/10";

/* Only a lost reply fails anything, and the next try may go through. */
static void lost_only(int rc, const struct varve_error *err, int *tries)
{
    if (rc != VARVE_E_STORE || !err->retriable || ++*tries > TRIES_MAX)
        fail_msg("%s (%s)", err->msg, varve_error_name(rc));
}

static void open_somehow(struct support_tiering *r)
{
    int tries = 0, rc;

    do {
        struct varve_error err = {0};

        rc = support_tiering_open(r, &err);
        if (rc < 0)
            lost_only(rc, &err, &tries);
    } while (rc < 0);
}

static void run_somehow(struct support_tiering *r, bool seal)
{
    int tries = 0, rc;

    do {
        struct tiering_run run = {.seal = seal, .evict = true};
        struct varve_error err = {0};

        rc = tiering_log_run(r->t, &run, &err);
        assert_false(tiering_log_fenced(r->t));
        if (rc < 0)
            lost_only(rc, &err, &tries);
        support_clock_advance_ms(&r->e->clock, 20000);
    } while (rc < 0);
}

static void trim_somehow(struct support_tiering *r, int64_t to)
{
    int tries = 0, rc;

    do {
        struct varve_error err = {0};

        rc = tiering_log_trim(r->t, to, &err);
        if (rc < 0)
            lost_only(rc, &err, &tries);
    } while (rc < 0);
}

static void collect_somehow(struct support_tiering *r)
{
    int tries = 0, rc;

    do {
        struct tiering_collect c = {.share_max = 1};
        struct varve_error err = {0};

        rc = tiering_log_collect(r->t, &c, &err);
        if (rc < 0)
            lost_only(rc, &err, &tries);
    } while (rc < 0);
}

static void live_and_check(struct support_env *e, uint64_t seed)
{
    struct support_tiering r;
    unsigned orphans;

    support_tiering_init(&r, e);
    r.remote = seed % 3 > 0; /* by parts, too */
    r.threads = seed % 2 ? 2 : 0;
    r.faults = lost;
    r.seed = seed;
    open_somehow(&r);
    for (int round = 0; round < 4; round++) {
        support_tiering_fill(&r, 3);
        run_somehow(&r, round % 2 == 1);
        if (round == 1)
            trim_somehow(&r, r.end / 3);
        if (round == 2) { /* a process that was killed, and one that follows */
            support_tiering_crash(&r);
            r.seed += 1000;
            open_somehow(&r);
        }
    }
    support_clock_advance_ms(&e->clock, 100000);
    run_somehow(&r, true); /* deletes what was cut off, too */
    collect_somehow(&r);
    support_tiering_close(&r);
    r.faults = NULL;
    open_somehow(&r);
    support_tiering_check(&r);
    (void)support_tiering_objects(&r, &orphans);
    if (orphans > 0)
        fail_msg("seed %u: %u objects are left that no root names", (unsigned)seed, orphans);
    assert_int_equal(support_tiering_unfinished(&r), 0);
    support_tiering_remove(&r);
}

static void with_a_tenth_of_all_replies_lost_nothing_else_is(void **state)
{
    struct support_env *e = *state;

    support_logger_expect(e->logger, "");
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        live_and_check(e, seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(with_a_tenth_of_all_replies_lost_nothing_else_is),
    };

    /* Thousands of syncs, and no power is ever cut: memory will do. */
    if (access("/dev/shm", W_OK | X_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
