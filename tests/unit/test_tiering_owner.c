/* One writer: refusals, take-overs that race, looks at the root, and the three cases of I13. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "hot/aside.h"
#include "hot/segment.h"
#include "tests/support/file.h"
#include "tests/support/support_tiering.h"

static struct index_root root_of(struct support_tiering *r)
{
    struct index_root root;

    support_tiering_root(r, &root);
    return root;
}

static bool is_root(const char *key)
{
    size_t n = strlen(key);

    return n > 5 && strcmp(key + n - 5, "/root") == 0;
}

/* ---- being refused ---- */

static void a_refusal_names_owner_epoch_last_write_and_what_to_do(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct varve_error err = {0};
    char id[BASE_ID_TEXT_SIZE];

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    support_tiering_init_other(&b, &a, "second");
    assert_int_equal(support_tiering_open(&b, &err), VARVE_E_FENCED);
    base_id_format(&a.store_id, id);
    assert_non_null(strstr(err.msg, id));
    assert_non_null(strstr(err.msg, "epoch 0"));
    assert_non_null(strstr(err.msg, "last wrote to it at 20"));
    assert_non_null(strstr(err.msg, "take it over"));
    assert_false(err.retriable);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

/* ---- take-overs ---- */

struct meddle {
    struct support_tiering *other; /* does something between b's read and b's write */
    void (*act)(struct support_tiering *other);
    unsigned times;
    bool lose_reply;
    bool lose_first_answer; /* whatever it was: a lost condition too */
};

static int on_root_put(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct meddle *m = ctx;

    if (op != COLD_OP_PUT || !is_root(key))
        return 0;
    if (!after && m->times > 0) {
        m->times--;
        m->act(m->other);
        if (m->lose_first_answer)
            return VARVE_E_STORE;
    }
    return after && m->lose_reply ? VARVE_E_STORE : 0;
}

static void act_upload(struct support_tiering *other)
{
    support_tiering_fill(other, 1);
    support_tiering_run_ok(other, true, false);
}

static void act_take_over(struct support_tiering *other)
{
    other->take_over = true;
    support_tiering_open_ok(other);
}

static void a_take_over_goes_on_over_writes_of_the_living_owner(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct meddle m = {.other = &a, .act = act_upload, .times = 5};

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    b.faulty.fault = on_root_put;
    b.faulty.ctx = &m;
    support_tiering_open_ok(&b);
    assert_int_equal(m.times, 0);
    assert_int_equal(tiering_log_epoch(b.t), 1);
    assert_int_equal(root_of(&b).end_offset, a.end); /* nothing that a had committed is lost */
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

static void an_owner_that_never_stops_writing_is_not_outrun(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct meddle m = {.other = &a, .act = act_upload, .times = 1000};
    struct varve_error err = {0};

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    b.faulty.fault = on_root_put;
    b.faulty.ctx = &m;
    assert_int_equal(support_tiering_open(&b, &err), VARVE_E_BUSY);
    assert_true(err.retriable);
    assert_non_null(strstr(err.msg, "end that writer first"));
    assert_int_equal(tiering_log_look(a.t, true, NULL), 0);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

static void of_two_take_overs_at_once_one_wins_and_the_other_is_told(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b, c;
    struct meddle m = {.other = &c, .act = act_take_over, .times = 1};
    struct varve_error err = {0};

    support_tiering_init(&a, e);
    support_tiering_init_other(&b, &a, "second");
    support_tiering_init_other(&c, &a, "third");
    b.take_over = true;
    b.faulty.fault = on_root_put;
    b.faulty.ctx = &m;
    assert_int_equal(support_tiering_open(&b, &err), VARVE_E_FENCED);
    assert_non_null(strstr(err.msg, "was first (epoch 1)"));
    struct index_root root = root_of(&c);
    assert_int_equal(root.epoch, 1);
    assert_true(base_id_equal(&root.owner, &c.store_id));
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
    support_tiering_deinit(&c);
}

/* I7 */
static void a_take_over_whose_reply_was_lost_is_no_defeat(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct meddle m = {.lose_reply = true};

    support_tiering_init(&a, e);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    b.faulty.fault = on_root_put;
    b.faulty.ctx = &m;
    support_tiering_open_ok(&b);
    assert_int_equal(tiering_log_epoch(b.t), 1);
    assert_int_equal(root_of(&b).epoch, 1); /* once */
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

/* A defeat whose 412 was lost looked like a store that was away. */
static void a_defeat_whose_reply_was_lost_is_told_as_one(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b, c;
    struct meddle m = {.other = &c, .act = act_take_over, .times = 1, .lose_first_answer = true};
    struct varve_error err = {0};

    support_tiering_init(&a, e);
    support_tiering_init_other(&b, &a, "second");
    support_tiering_init_other(&c, &a, "third");
    b.take_over = true;
    b.faulty.fault = on_root_put;
    b.faulty.ctx = &m;
    assert_int_equal(support_tiering_open(&b, &err), VARVE_E_FENCED);
    assert_non_null(strstr(err.msg, "was first (epoch 1)"));
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
    support_tiering_deinit(&c);
}

/* ---- looks ---- */

struct count {
    unsigned heads, gets;
    int fail; /* each with this */
};

static int count_requests(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct count *c = ctx;

    if (after || !is_root(key))
        return 0;
    c->heads += op == COLD_OP_HEAD;
    c->gets += op == COLD_OP_GET;
    return c->fail;
}

static void a_look_is_one_head_and_none_without_appends(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a;
    struct count c = {0};

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    a.faulty.fault = count_requests;
    a.faulty.ctx = &c;
    assert_int_equal(tiering_log_look(a.t, false, NULL), 0);
    assert_int_equal(c.heads, 1); /* the first one */
    assert_int_equal(tiering_log_look(a.t, false, NULL), 0);
    assert_int_equal(c.heads, 1);
    assert_int_equal(support_tiering_append(&a, 500, 1, false, NULL), 0);
    assert_int_equal(tiering_log_look(a.t, false, NULL), 0);
    assert_int_equal(c.heads, 2);
    support_tiering_fill(&a, 1);
    support_tiering_run_ok(&a, true, false); /* our own writes are known */
    c = (struct count){0};
    assert_int_equal(tiering_log_look(a.t, false, NULL), 0);
    assert_int_equal(c.heads, 1);
    assert_int_equal(c.gets, 0);
    assert_int_equal(tiering_log_look(a.t, true, NULL), 0);
    assert_int_equal(c.heads, 2);
    support_tiering_deinit(&a);
}

static void a_look_stops_a_writer_that_uploads_nothing(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct varve_error err = {0};

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    assert_int_equal(support_tiering_append(&a, 500, 1, false, NULL), 0);
    assert_int_equal(tiering_log_look(a.t, false, NULL), 0);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    support_tiering_open_ok(&b);
    assert_int_equal(tiering_log_look(a.t, false, NULL), 0); /* nothing appended: not asked */
    assert_int_equal(support_tiering_append(&a, 500, 1, false, NULL), 0);
    support_logger_expect(e->logger, "taken it over");
    assert_int_equal(tiering_log_look(a.t, false, &err), VARVE_E_FENCED);
    assert_non_null(strstr(err.msg, "epoch 1; ours was 0"));
    assert_true(tiering_log_fenced(a.t));
    assert_int_equal(tiering_log_check(a.t, &err), VARVE_E_FENCED);
    assert_int_equal(tiering_log_look(a.t, false, NULL), VARVE_E_FENCED); /* for good */
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

static void a_look_concludes_nothing_from_a_store_that_is_away(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a;
    struct count c = {.fail = VARVE_E_STORE};
    struct varve_error err = {0};

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    a.faulty.fault = count_requests;
    a.faulty.ctx = &c;
    assert_int_equal(tiering_log_look(a.t, false, &err), VARVE_E_STORE);
    assert_false(tiering_log_fenced(a.t));
    assert_int_equal(tiering_log_look(a.t, false, NULL), VARVE_E_STORE); /* it asks again */
    assert_int_equal(c.heads, 2);
    c.fail = 0;
    assert_int_equal(tiering_log_look(a.t, false, NULL), 0);
    assert_int_equal(support_tiering_append(&a, 500, 1, false, NULL), 0);
    assert_int_equal(base_tree_remove(&base_io_posix,
                                      support_tmpdir_path(e->dir, "cold/logs/orders/0/@/root"),
                                      NULL),
                     0);
    assert_int_equal(tiering_log_look(a.t, false, NULL), VARVE_E_NOT_FOUND); /* nor from this */
    assert_false(tiering_log_fenced(a.t));
    support_tiering_deinit(&a);
}

/* ---- I13 ---- */

struct aside {
    unsigned files;
    int64_t first[8], end[8];
    uint32_t epoch[8];
};

static int visit_aside(void *arg, const struct hot_aside *file)
{
    struct aside *l = arg;

    assert_true(l->files < 8);
    l->first[l->files] = file->first_offset;
    l->end[l->files] = file->end_offset;
    l->epoch[l->files++] = file->epoch;
    return 0;
}

static struct aside aside_of(struct support_tiering *r)
{
    struct aside l = {0};
    char *dir = NULL;

    assert_true(asprintf(&dir, "%s/divergent", r->local_path) > 0);
    assert_int_equal(hot_aside_each(&base_io_posix, dir, false, visit_aside, &l, NULL), 0);
    free(dir);
    return l;
}

/* Opens `r` as a store that is refused does: only to set aside what is not the log's. */
static void refused_open(struct support_tiering *r)
{
    r->set_aside = true;
    support_tiering_open_ok(r);
    assert_true(tiering_log_fenced(r->t));
    support_tiering_close(r);
    r->set_aside = false;
}

static void an_equal_tail_stays(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct hot_range range;

    support_tiering_init(&a, e);
    a.policy.local_retention_bytes = -1;
    support_tiering_open_ok(&a);
    support_tiering_fill(&a, 2);
    support_tiering_run_ok(&a, true, false);
    support_tiering_close(&a);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    support_tiering_open_ok(&b);
    support_tiering_close(&b);
    refused_open(&a);
    assert_int_equal(aside_of(&a).files, 0);
    a.take_over = true;
    support_tiering_open_ok(&a);
    hot_set_range(a.hot, &range);
    assert_int_equal(range.end, a.end);
    assert_true(range.floor < a.end); /* the local copies are as good as they were */
    support_tiering_check(&a);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

static void a_local_end_that_lies_behind_goes_on_at_n(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct hot_range range;
    int64_t n;

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    support_tiering_fill(&a, 1);
    support_tiering_run_ok(&a, true, false);
    support_tiering_close(&a);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    support_tiering_open_ok(&b);
    support_tiering_fill(&b, 2);
    support_tiering_run_ok(&b, true, false);
    n = root_of(&b).end_offset;
    support_tiering_close(&b);
    a.take_over = true;
    support_tiering_open_ok(&a);
    hot_set_range(a.hot, &range);
    assert_int_equal(range.floor, n);
    assert_int_equal(range.end, n);
    assert_int_equal(aside_of(&a).files, 0);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

/* The segment in front of it, whose all is committed, was written on: it never continued n. */
static void what_is_appended_behind_a_tail_set_aside_begins_a_segment(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct hot_segment *active;
    struct hot_segment_info info;
    struct hot_range range;

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    support_tiering_fill(&a, 1);
    support_tiering_run_ok(&a, true, false);
    assert_int_equal(support_tiering_append(&a, 500, 1, false, NULL), 0);
    support_tiering_close(&a);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    support_tiering_open_ok(&b);
    support_tiering_close(&b);
    a.take_over = true;
    support_tiering_open_ok(&a);
    assert_int_equal(aside_of(&a).files, 1);
    hot_set_range(a.hot, &range);
    assert_int_equal(range.end, root_of(&a).end_offset);
    assert_int_equal(hot_segment_find(a.hot, range.end, false, &active, NULL), 0);
    hot_segment_extent(active, &info);
    hot_segment_unref(active);
    assert_int_equal(info.base_offset, range.end);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

static void a_refused_store_sets_its_divergent_tail_aside(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct hot_range range;
    struct aside l;
    int64_t n;

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    support_tiering_fill(&a, 1);
    support_tiering_run_ok(&a, true, false);
    n = a.end;
    assert_int_equal(support_tiering_append(&a, 500, 1, false, NULL), 0);
    support_tiering_close(&a);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    support_tiering_open_ok(&b);
    assert_int_equal(support_tiering_append(&b, 900, 1, false, NULL), 0);
    support_tiering_close(&b);
    assert_int_equal(support_tiering_open(&a, NULL), VARVE_E_FENCED);
    refused_open(&a);
    l = aside_of(&a);
    assert_int_equal(l.files, 1);
    assert_int_equal(l.first[0], n);
    assert_int_equal(l.end[0], n + 3);
    assert_int_equal(l.epoch[0], 0);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "not part of the log"), 1);
    refused_open(&a); /* again: nothing more */
    assert_int_equal(aside_of(&a).files, 1);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "not part of the log"), 1);
    support_tiering_open_ok(&b); /* the owner's tail is where it was */
    hot_set_range(b.hot, &range);
    assert_int_equal(range.end, n + 3);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

/* Files of a second tail that began at the same offset replaced those of the first. */
static void a_second_divergent_tail_leaves_the_first_alone(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct aside l;

    support_tiering_init(&a, e);
    support_tiering_init_other(&b, &a, "second");
    a.take_over = b.take_over = true;
    for (int i = 0; i < 3; i++) { /* nobody uploads: each tail begins at 0 */
        support_tiering_open_ok(&a);
        assert_int_equal(support_tiering_append(&a, 500 + 100 * (size_t)i, 1, false, NULL), 0);
        support_tiering_close(&a);
        support_tiering_open_ok(&b);
        support_tiering_close(&b);
    }
    support_tiering_open_ok(&a);
    l = aside_of(&a);
    assert_int_equal(l.files, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(l.first[i], 0);
        assert_int_equal(l.end[i], 3);
        assert_int_equal(l.epoch[i], 2 * i);
    }
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

/* ---- the guard ---- */

static void the_guard_looks_by_itself(void **state)
{
    struct support_env *e = *state;
    struct support_tiering a, b;
    struct tiering_guard *g;

    support_tiering_init(&a, e);
    support_tiering_open_ok(&a);
    support_tiering_init_other(&b, &a, "second");
    b.take_over = true;
    support_tiering_open_ok(&b);
    support_logger_expect(e->logger, "taken it over");
    assert_int_equal(tiering_guard_new(10, &g, NULL), 0);
    assert_int_equal(tiering_guard_add(g, a.t, NULL), 0);
    assert_int_equal(tiering_guard_add(g, b.t, NULL), 0);
    for (int i = 0; i < 20000 && !tiering_log_fenced(a.t); i++)
        base_clock_system.sleep_ns(NULL, 1000000);
    assert_true(tiering_log_fenced(a.t));
    assert_false(tiering_log_fenced(b.t));
    tiering_guard_remove(g, a.t);
    tiering_guard_remove(g, a.t); /* not there: nothing */
    tiering_guard_free(g);
    support_tiering_deinit(&a);
    support_tiering_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_refusal_names_owner_epoch_last_write_and_what_to_do),
        support_env_test(a_take_over_goes_on_over_writes_of_the_living_owner),
        support_env_test(an_owner_that_never_stops_writing_is_not_outrun),
        support_env_test(of_two_take_overs_at_once_one_wins_and_the_other_is_told),
        support_env_test(a_take_over_whose_reply_was_lost_is_no_defeat),
        support_env_test(a_defeat_whose_reply_was_lost_is_told_as_one),
        support_env_test(a_look_is_one_head_and_none_without_appends),
        support_env_test(a_look_stops_a_writer_that_uploads_nothing),
        support_env_test(a_look_concludes_nothing_from_a_store_that_is_away),
        support_env_test(an_equal_tail_stays),
        support_env_test(a_local_end_that_lies_behind_goes_on_at_n),
        support_env_test(what_is_appended_behind_a_tail_set_aside_begins_a_segment),
        support_env_test(a_refused_store_sets_its_divergent_tail_aside),
        support_env_test(a_second_divergent_tail_leaves_the_first_alone),
        support_env_test(the_guard_looks_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
