/* Leases: how long one may be relied on, what a lost reply means, and that a take-over waits. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "tests/support/support_tiering.h"
#include "tiering/lease.h"

#define DURATION_MS 10000
#define VALID_MS 9500 /* less the margin */

/* One store, whose log is owned by it; the faulty store lies below both log and lease. */
static void begin(struct support_tiering *r, struct support_env *e)
{
    support_tiering_init(r, e);
    assert_int_equal(support_tiering_open(r, NULL), 0);
}

static struct tiering_lease *lease_new(struct support_tiering *r, const char *place)
{
    const struct tiering_lease_options options = {.meta = r->store,
                                                  .store_id = r->store_id,
                                                  .duration_ms = DURATION_MS,
                                                  .place = place,
                                                  .process = "process 1 (test) on\nhost",
                                                  .by_hand = true};
    struct tiering_lease *l = NULL;

    assert_int_equal(tiering_lease_new(&r->e->env, &options, &l, NULL), 0);
    return l;
}

static struct tiering_lease *lease_claim(struct support_tiering *r, const char *place)
{
    struct tiering_lease *l = lease_new(r, place);
    struct varve_error err = {0};
    int rc = tiering_lease_claim(l, &err);

    if (rc < 0)
        print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    return l;
}

static struct cold_lease lease_there(struct support_tiering *r)
{
    struct cold_lease lease = {0};
    struct cold_etag etag;

    assert_int_equal(cold_lease_read(r->faulty.under, &r->store_id, &lease, &etag, NULL), 0);
    return lease;
}

static bool is_lease(const char *key)
{
    return strncmp(key, "leases/", 7) == 0;
}

/* What happens to requests for leases. */
struct script {
    struct support_tiering *r;
    int64_t put_ms;        /* a put takes so long */
    bool lose_put_replies; /* it is carried out, and nobody hears of it */
    bool fail_puts;
    bool fail_gets;
    unsigned puts, gets;
    void (*on_get)(struct script *s); /* before each */
    struct tiering_lease *lease;
};

static int run_script(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct script *s = ctx;

    if (!is_lease(key))
        return 0;
    if (op == COLD_OP_GET && !after) {
        s->gets++;
        if (s->on_get)
            s->on_get(s);
        return s->fail_gets ? VARVE_E_STORE : 0;
    }
    if (op != COLD_OP_PUT)
        return 0;
    if (after)
        return s->lose_put_replies ? VARVE_E_STORE : 0;
    s->puts++;
    support_clock_advance_ms(&s->r->e->clock, s->put_ms);
    return s->fail_puts ? VARVE_E_STORE : 0;
}

static void script_init(struct script *s, struct support_tiering *r)
{
    *s = (struct script){.r = r};
    r->faulty.fault = run_script;
    r->faulty.ctx = s;
}

/* ---- the format ---- */

static void a_lease_is_read_as_it_was_written(void **state)
{
    struct support_env *e = *state;
    struct cold_lease lease = {
        .term = 7, .duration_ms = 1234, .state = COLD_LEASE_BROKEN, .place = "p", .process = "q"};
    struct cold_lease back = {0};
    char *text;
    size_t size;

    lease.store = base_id_new(&e->random.seam);
    lease.holder = base_id_new(&e->random.seam);
    lease.write = base_id_new(&e->random.seam);
    lease.broken_by = base_id_new(&e->random.seam);
    assert_int_equal(cold_lease_encode(&lease, &text, &size, NULL), 0);
    assert_int_equal(cold_lease_decode(text, size, &back, NULL), 0);
    assert_memory_equal(&lease.store, &back.store, sizeof(back.store));
    assert_memory_equal(&lease.holder, &back.holder, sizeof(back.holder));
    assert_memory_equal(&lease.write, &back.write, sizeof(back.write));
    assert_memory_equal(&lease.broken_by, &back.broken_by, sizeof(back.broken_by));
    assert_int_equal(back.term, 7);
    assert_int_equal(back.duration_ms, 1234);
    assert_int_equal(back.state, COLD_LEASE_BROKEN);
    assert_string_equal(back.place, "p");
    assert_string_equal(back.process, "q");
    for (size_t i = 0; i < size; i++) { /* a flipped byte is damage, or a newer version */
        text[i] ^= 0x04;
        int rc = cold_lease_decode(text, size, &back, NULL);
        assert_true(rc == VARVE_E_CORRUPT || rc == VARVE_E_VERSION);
        text[i] ^= 0x04;
    }
    free(text);
    lease.duration_ms = COLD_LEASE_MS_MAX + 1; /* nobody is made to wait for that */
    assert_int_equal(cold_lease_encode(&lease, &text, &size, NULL), 0);
    assert_int_equal(cold_lease_decode(text, size, &back, NULL), VARVE_E_CORRUPT);
    free(text);
}

static void the_golden_lease_is_read(void **state)
{
    struct cold_lease lease = {0};
    char id[BASE_ID_TEXT_SIZE];
    char *text;
    void *data;
    size_t size, text_size;

    (void)state;
    assert_int_equal(base_file_read(&base_io_posix, TEST_DATA_DIR "/cold/lease-v1.txt",
                                    COLD_LEASE_SIZE_MAX, &data, &size, NULL),
                     0);
    assert_int_equal(cold_lease_decode(data, size, &lease, NULL), 0);
    base_id_format(&lease.write, id);
    assert_string_equal(id, "0123456789abcdef0123456789abcdef");
    assert_int_equal(lease.state, COLD_LEASE_HELD);
    assert_int_equal(lease.term, 3);
    assert_int_equal(lease.duration_ms, 10000);
    assert_string_equal(lease.process, "process 123 (varve) on host");
    assert_int_equal(cold_lease_encode(&lease, &text, &text_size, NULL), 0);
    assert_int_equal(text_size, size);
    assert_memory_equal(text, data, size);
    free(text);
    free(data);
}

static void put_lease(struct support_tiering *r, const struct base_id *store, void *text,
                      size_t size)
{
    const struct cold_put how = {
        .condition = COLD_ALWAYS, .has_crc32c = true, .crc32c = base_crc32c(0, text, size)};
    struct iovec body = {.iov_base = text, .iov_len = size};
    char id[BASE_ID_TEXT_SIZE], key[BASE_ID_TEXT_SIZE + 8];
    struct cold_etag etag;
    struct varve_error err = {0};

    base_id_format(store, id);
    snprintf(key, sizeof(key), "leases/%s", id);
    if (cold_store_put(r->faulty.under, key, &body, 1, &how, &etag, &err) < 0)
        fail_msg("%s", err.msg);
}

/* In the place of a lease lies something else: nobody takes it for one, and it says where. */
static void what_lies_there_and_is_no_lease_is_damage(void **state)
{
    struct support_tiering r;
    struct cold_lease lease = {.term = 7, .duration_ms = 1234, .place = "p", .process = "q"}, back;
    char filler[COLD_LEASE_SIZE_MAX + 1];
    struct cold_etag etag;
    char *text;
    size_t size;

    begin(&r, *state);
    memset(filler, 'x', sizeof(filler));
    lease.store = lease.holder = lease.write = base_id_new(&r.e->random.seam);
    assert_int_equal(cold_lease_encode(&lease, &text, &size, NULL), 0);
    for (int i = 0; i < 4; i++) {
        static const char *const parts[] = {"above 4096 bytes", "it is another store's",
                                            "a field is missing or wrong", NULL};
        struct varve_error err = {0};

        if (i == 0)
            put_lease(&r, &r.store_id, filler, sizeof(filler));
        else if (i == 1)
            put_lease(&r, &r.store_id, text, size);
        else if (i == 2) { /* a text that is too long for its field */
            struct base_settings *s;
            char *longer;
            size_t longer_size;

            assert_int_equal(base_settings_decode(text, size, "varve-lease", 1, &s, NULL), 0);
            filler[COLD_LEASE_TEXT_SIZE] = '\0';
            assert_int_equal(base_settings_set(s, "place", filler, NULL), 0);
            assert_int_equal(base_settings_encode(s, "varve-lease", 1, &longer, &longer_size, NULL),
                             0);
            put_lease(&r, &r.store_id, longer, longer_size);
            base_settings_free(s);
            free(longer);
        } else
            put_lease(&r, &r.store_id, text, size / 2);
        back = (struct cold_lease){.term = 99};
        assert_int_equal(cold_lease_read(r.faulty.under, &r.store_id, &back, &etag, &err),
                         VARVE_E_CORRUPT);
        assert_non_null(strstr(err.msg, "lease leases/"));
        if (parts[i] && !strstr(err.msg, parts[i]))
            fail_msg("%s", err.msg);
        assert_int_equal(back.term, 99);
    }
    free(text);
    support_tiering_deinit(&r);
}

/* ---- holding one ---- */

static void a_lease_counts_from_before_the_request_that_confirmed_it(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct script s;
    struct tiering_lease *l;

    begin(&r, e);
    script_init(&s, &r);
    s.put_ms = 4000;
    l = lease_new(&r, "here");
    assert_false(tiering_lease_valid(l));
    assert_int_equal(tiering_lease_claim(l, NULL), 0);
    assert_true(tiering_lease_valid(l));
    support_clock_advance_ms(&e->clock, VALID_MS - 4000 - 1);
    assert_true(tiering_lease_valid(l));
    support_clock_advance_ms(&e->clock, 1);
    assert_false(tiering_lease_valid(l));
    s.put_ms = DURATION_MS; /* confirmed too late to be of use */
    assert_int_equal(tiering_lease_renew(l, NULL), 0);
    assert_false(tiering_lease_valid(l));
    s.put_ms = 0;
    assert_int_equal(tiering_lease_renew(l, NULL), 0);
    assert_true(tiering_lease_valid(l));
    support_clock_set_wall_ms(&e->clock, 0); /* of no concern */
    assert_true(tiering_lease_valid(l));
    support_clock_suspend_ms(&e->clock, VALID_MS); /* but this is */
    assert_false(tiering_lease_valid(l));
    tiering_lease_free(l);
    support_tiering_deinit(&r);
}

static void a_renewal_that_fails_leaves_what_was_confirmed(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct script s;
    struct tiering_lease *l;
    struct varve_error err = {0};

    begin(&r, e);
    script_init(&s, &r);
    l = lease_claim(&r, "here");
    support_clock_advance_ms(&e->clock, 5000);
    s.fail_puts = true;
    assert_int_equal(tiering_lease_renew(l, &err), VARVE_E_STORE);
    assert_true(tiering_lease_valid(l));
    support_clock_advance_ms(&e->clock, VALID_MS - 5000);
    assert_false(tiering_lease_valid(l));
    s.fail_puts = false; /* nobody took over meanwhile: it goes on */
    assert_int_equal(tiering_lease_renew(l, NULL), 0);
    assert_true(tiering_lease_valid(l));
    tiering_lease_free(l);
    support_tiering_deinit(&r);
}

/* I7 */
static void lost_replies_are_no_defeat(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct script s;
    struct tiering_lease *l;

    begin(&r, e);
    script_init(&s, &r);
    s.lose_put_replies = true;
    s.put_ms = 1000;
    l = lease_claim(&r, "here"); /* read back, ours */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tiering_lease_renew(l, NULL), 0);
        support_clock_advance_ms(&e->clock, VALID_MS - 1000 - 1);
        assert_true(tiering_lease_valid(l)); /* from before the request, as ever */
        support_clock_advance_ms(&e->clock, 1);
        assert_false(tiering_lease_valid(l));
    }
    /* Not even read back: the next renewal meets a write that it does not know, and sees whose it
     * is. */
    s.fail_gets = true;
    assert_int_equal(tiering_lease_renew(l, NULL), VARVE_E_STORE);
    s.fail_gets = s.lose_put_replies = false;
    assert_int_equal(tiering_lease_renew(l, NULL), 0);
    assert_true(tiering_lease_valid(l));
    assert_int_equal(lease_there(&r).term, 1);
    tiering_lease_free(l);
    assert_int_equal(lease_there(&r).state, COLD_LEASE_RELEASED);
    support_tiering_deinit(&r);
}

static void a_lease_that_cannot_be_confirmed_is_waited_for_and_then_retriable(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct script s;
    struct tiering_lease *l;
    struct varve_error err = {0};

    begin(&r, e);
    script_init(&s, &r);
    l = lease_claim(&r, "here");
    assert_int_equal(tiering_lease_wait(l, NULL), 0);
    s.fail_puts = true;
    assert_int_equal(tiering_lease_renew(l, NULL), VARVE_E_STORE);
    support_clock_suspend_ms(&e->clock, VALID_MS);
    /* The clock stands still, so that the real one ends the wait; a short lease makes it short. */
    tiering_lease_free(l);
    const struct tiering_lease_options options = {.meta = r.store,
                                                  .store_id = r.store_id,
                                                  .duration_ms = 50,
                                                  .place = "here",
                                                  .process = "p",
                                                  .by_hand = true};
    s.fail_puts = false;
    assert_int_equal(tiering_lease_new(&e->env, &options, &l, NULL), 0);
    assert_int_equal(tiering_lease_claim(l, NULL), 0);
    support_clock_suspend_ms(&e->clock, 50);
    s.fail_puts = true;
    assert_int_equal(tiering_lease_renew(l, NULL), VARVE_E_STORE);
    assert_int_equal(tiering_lease_wait(l, &err), VARVE_E_TIMEOUT);
    assert_true(err.retriable);
    assert_non_null(strstr(err.msg, "made to fail"));
    tiering_lease_free(l);
    support_tiering_deinit(&r);
}

static void the_thread_renews_by_itself(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct tiering_lease_options options = {.duration_ms = 60, .place = "here", .process = "p"};
    struct tiering_lease *l;
    struct base_id first;

    begin(&r, e);
    options.meta = r.store;
    options.store_id = r.store_id;
    assert_int_equal(tiering_lease_new(&e->env, &options, &l, NULL), 0);
    assert_int_equal(tiering_lease_claim(l, NULL), 0);
    assert_int_equal(tiering_lease_claim(l, NULL), 0); /* once is enough */
    first = lease_there(&r).write;
    support_clock_advance_ms(&e->clock, 60); /* it has run out, and the thread is late */
    assert_int_equal(tiering_lease_wait(l, NULL), 0);
    assert_true(tiering_lease_valid(l));
    struct cold_lease there = lease_there(&r);
    assert_false(base_id_equal(&there.write, &first));
    assert_int_equal(there.term, 1);
    tiering_lease_free(l);
    support_tiering_deinit(&r);
}

/* ---- claiming ---- */

static int64_t now_ms(struct support_env *e)
{
    return e->env.clock->boot_ns(e->env.clock->ctx) / 1000000;
}

static void a_lease_left_at_this_place_is_taken_at_once(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct tiering_lease *dead, *l;
    int64_t began = now_ms(e);

    begin(&r, e);
    dead = lease_claim(&r, "here");
    l = lease_claim(&r, "here");
    assert_int_equal(now_ms(e), began);
    assert_int_equal(lease_there(&r).term, 2);
    /* Should it live all the same, it finds out. */
    support_logger_expect(e->logger, "holds the lease of this store now");
    assert_int_equal(tiering_lease_renew(dead, NULL), VARVE_E_FENCED);
    assert_false(tiering_lease_valid(dead));
    assert_int_equal(tiering_lease_claim(dead, NULL), VARVE_E_FENCED); /* for good */
    tiering_lease_free(dead);
    assert_int_equal(tiering_lease_renew(l, NULL), 0); /* which released nothing */
    tiering_lease_free(l);
    support_tiering_deinit(&r);
}

static void renew_on_every_get(struct script *s)
{
    s->on_get = NULL; /* not on its own requests */
    assert_int_equal(tiering_lease_renew(s->lease, NULL), 0);
    s->on_get = renew_on_every_get;
}

static void a_lease_left_elsewhere_is_waited_out_and_refused_when_it_lives(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct script s;
    struct tiering_lease *there, *l;
    struct varve_error err = {0};
    int64_t began;

    begin(&r, e);
    script_init(&s, &r);
    there = lease_claim(&r, "there");
    began = now_ms(e);
    l = lease_claim(&r, "here");
    assert_true(now_ms(e) - began >= DURATION_MS);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "to run out"), 1);
    tiering_lease_free(l);

    l = lease_claim(&r, "elsewhere"); /* released: no wait */
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "to run out"), 1);
    tiering_lease_free(there);
    there = lease_new(&r, "there");
    s.lease = l;
    s.on_get = renew_on_every_get;
    assert_int_equal(tiering_lease_claim(there, &err), VARVE_E_FENCED);
    assert_non_null(strstr(err.msg, "renews its lease"));
    assert_true(tiering_lease_valid(l));
    s.on_get = NULL;
    tiering_lease_free(l);
    assert_int_equal(tiering_lease_claim(there, NULL), 0); /* being refused was not for good */
    tiering_lease_free(there);
    support_tiering_deinit(&r);
}

/* ---- take-overs ---- */

static void a_released_lease_and_none_need_no_wait(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct tiering_lease *l;
    int64_t began;

    begin(&a, e);
    l = lease_claim(&a, "here");
    tiering_lease_free(l);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    began = now_ms(e);
    assert_int_equal(support_tiering_open(&b, NULL), 0);
    support_tiering_close(&b);
    a.take_over = true; /* b has no lease at all */
    support_tiering_close(&a);
    assert_int_equal(support_tiering_open(&a, NULL), 0);
    assert_int_equal(now_ms(e), began);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

static void a_take_over_waits_the_lease_out_and_ends_it(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct tiering_lease *l;
    struct varve_error err = {0};
    int64_t began;
    char id[BASE_ID_TEXT_SIZE];

    begin(&a, e);
    l = lease_claim(&a, "here");
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    began = now_ms(e);
    assert_int_equal(support_tiering_open(&b, NULL), 0);
    assert_true(now_ms(e) - began >= DURATION_MS);
    assert_true(now_ms(e) - began < 2 * DURATION_MS); /* once */
    assert_false(tiering_lease_valid(l));
    assert_int_equal(lease_there(&a).state, COLD_LEASE_RELEASED);
    /* The one that slept wakes: it can not renew what was ended. */
    support_logger_expect(e->logger, "was ended by store");
    assert_int_equal(tiering_lease_renew(l, &err), VARVE_E_FENCED);
    base_id_format(&b.store_id, id);
    assert_non_null(strstr(err.msg, id));
    assert_int_equal(tiering_lease_wait(l, &err), VARVE_E_FENCED);
    tiering_lease_free(l);
    /* A new process of a's store may have the lease again: it still owns its other logs. */
    l = lease_claim(&a, "here");
    assert_true(tiering_lease_valid(l));
    tiering_lease_free(l);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

static void a_living_holder_is_not_taken_over(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct script s;
    struct tiering_lease *l;
    struct varve_error err = {0};

    begin(&a, e);
    l = lease_claim(&a, "here");
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    s = (struct script){.r = &b, .on_get = renew_on_every_get, .lease = l};
    b.faulty.fault = run_script;
    b.faulty.ctx = &s;
    assert_int_equal(support_tiering_open(&b, &err), VARVE_E_FENCED);
    assert_non_null(strstr(err.msg, "renews its lease: end that process first"));
    assert_non_null(strstr(err.msg, "process 1 (test) on?host"));
    assert_true(tiering_lease_valid(l));
    assert_int_equal(tiering_log_look(a.t, true, NULL), 0); /* nothing was changed */
    tiering_lease_free(l);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

/* A process of the old owner that comes up between the wait and the write of the root. */
struct late {
    struct support_tiering *a;
    struct tiering_lease *lease;
    bool before; /* when the root is written; else when it has been */
};

static int claim_on_root_put(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct late *late = ctx;
    size_t n = strlen(key);

    if (op == COLD_OP_PUT && n > 5 && strcmp(key + n - 5, "/root") == 0 && after == !late->before &&
        !late->lease)
        late->lease = lease_claim(late->a, "here");
    return 0;
}

static void a_lease_claimed_while_the_root_is_written_is_broken_and_waited_out(void **state)
{
    for (int before = 0; before < 2; before++) {
        struct support_env *e = *state;
        struct support_tiering a, b;
        struct late late = {.a = &a, .before = before};

        if (before == 0)
            begin(&a, e);
        else
            support_tiering_init_other(&a, &b, "third"); /* the same log, taken over once more */
        if (before == 1) {
            a.take_over = true;
            assert_int_equal(support_tiering_open(&a, NULL), 0);
        }
        support_tiering_init_other(&b, &a, before ? "fourth" : "second");
        b.take_over = true;
        b.faulty.fault = claim_on_root_put;
        b.faulty.ctx = &late;
        assert_int_equal(support_tiering_open(&b, NULL), 0);
        assert_non_null(late.lease);
        assert_false(tiering_lease_valid(late.lease));
        support_logger_expect(e->logger, "was ended by store");
        assert_int_equal(tiering_lease_renew(late.lease, NULL), VARVE_E_FENCED);
        tiering_lease_free(late.lease);
        support_tiering_deinit(&a);
        support_tiering_close(&b);
        if (before == 1)
            support_tiering_deinit(&b);
    }
}

static int fail_lease_puts(void *ctx, enum cold_op op, const char *key, bool after)
{
    return op == COLD_OP_PUT && is_lease(key) && !after && *(bool *)ctx ? VARVE_E_STORE : 0;
}

static void a_take_over_cut_short_after_its_root_is_ended_by_the_next_opening(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct tiering_lease *l;
    bool fail = true;
    int64_t began;

    begin(&a, e);
    l = lease_claim(&a, "here");
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    b.faulty.fault = fail_lease_puts;
    b.faulty.ctx = &fail;
    assert_int_equal(support_tiering_open(&b, NULL), VARVE_E_STORE); /* at O3 */
    assert_int_equal(tiering_lease_renew(l, NULL), 0);               /* a does not know yet */
    assert_true(tiering_lease_valid(l));
    b.take_over = false; /* the root says that it is b's already */
    assert_int_equal(support_tiering_open(&b, NULL), VARVE_E_STORE);
    fail = false;
    began = now_ms(e);
    assert_int_equal(support_tiering_open(&b, NULL), 0);
    assert_true(now_ms(e) - began >= DURATION_MS);
    assert_false(tiering_lease_valid(l));
    support_logger_expect(e->logger, "was ended by store");
    assert_int_equal(tiering_lease_renew(l, NULL), VARVE_E_FENCED);
    support_tiering_close(&b);
    began = now_ms(e);
    assert_int_equal(support_tiering_open(&b, NULL), 0); /* and no more waits */
    assert_int_equal(now_ms(e), began);
    tiering_lease_free(l);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

/*
 * Whatever fails, and however the holder and the take-over are interleaved: once the take-over is
 * through, the holder never finds its lease valid.
 */
struct chaos {
    struct support_env *e;
    struct tiering_lease *holder;
    unsigned busy;
};

static int chaos_fault(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct chaos *c = ctx;

    if (!is_lease(key) || (op != COLD_OP_PUT && op != COLD_OP_GET))
        return 0;
    support_clock_advance_ms(&c->e->clock, (int64_t)support_random_below(&c->e->random, 400));
    if (!c->busy && support_random_below(&c->e->random, 12) == 0) {
        c->busy++; /* the holder wakes for a moment, in the middle of the other's request */
        (void)tiering_lease_renew(c->holder, NULL);
        c->busy--;
    }
    (void)after;
    return support_random_below(&c->e->random, 10) == 0 ? VARVE_E_STORE : 0;
}

static int chaos_renew(struct chaos *c)
{
    int rc;

    c->busy++;
    rc = tiering_lease_renew(c->holder, NULL);
    c->busy--;
    return rc;
}

static void no_interleaving_leaves_two_who_acknowledge(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a;
    struct chaos c = {.e = e};
    unsigned through = 0;

    begin(&a, e);
    support_logger_expect(e->logger, "was ended by store");
    for (int round = 0; round < 300; round++) {
        struct tiering_lease_watch watch;
        struct base_id by = base_id_new(&e->random.seam);
        int rc;

        a.faulty.fault = NULL;
        c.holder = lease_claim(&a, "here");
        support_clock_advance_ms(&e->clock, (int64_t)support_random_below(&e->random, 4000));
        a.faulty.fault = chaos_fault;
        a.faulty.ctx = &c;
        rc = tiering_lease_watch(&e->env, a.store, &a.store_id, &watch, NULL);
        if (rc == 0 && support_random_below(&e->random, 2) == 0)
            (void)chaos_renew(&c); /* between O1 and O3 */
        if (rc == 0)
            rc = tiering_lease_end(&e->env, a.store, &a.store_id, &by, &watch, NULL);
        if (rc == 0) {
            through++;
            assert_false(tiering_lease_valid(c.holder));
            for (int i = 0; i < 3; i++) {
                assert_int_not_equal(chaos_renew(&c), 0);
                assert_false(tiering_lease_valid(c.holder));
            }
        }
        a.faulty.fault = NULL;
        tiering_lease_free(c.holder);
    }
    assert_true(through > 30);
    support_tiering_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_lease_is_read_as_it_was_written),
        cmocka_unit_test(the_golden_lease_is_read),
        support_env_test(what_lies_there_and_is_no_lease_is_damage),
        support_env_test(a_lease_counts_from_before_the_request_that_confirmed_it),
        support_env_test(a_renewal_that_fails_leaves_what_was_confirmed),
        support_env_test(lost_replies_are_no_defeat),
        support_env_test(a_lease_that_cannot_be_confirmed_is_waited_for_and_then_retriable),
        support_env_test(the_thread_renews_by_itself),
        support_env_test(a_lease_left_at_this_place_is_taken_at_once),
        support_env_test(a_lease_left_elsewhere_is_waited_out_and_refused_when_it_lives),
        support_env_test(a_released_lease_and_none_need_no_wait),
        support_env_test(a_take_over_waits_the_lease_out_and_ends_it),
        support_env_test(a_living_holder_is_not_taken_over),
        support_env_test(a_lease_claimed_while_the_root_is_written_is_broken_and_waited_out),
        support_env_test(a_take_over_cut_short_after_its_root_is_ended_by_the_next_opening),
        support_env_test(no_interleaving_leaves_two_who_acknowledge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
