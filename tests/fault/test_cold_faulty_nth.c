/*
 * A faulty store over a directory, from its URL through each fault that needs memory to its end,
 * with the Nth allocation failing, for every N; then with the Nth and all behind it.
 *
 * Each call ends as its rule says, or with VARVE_E_NO_MEMORY and words; what succeeded has
 * happened.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/hash.h"
#include "cold/store.h"
#include "tests/support/alloc.h"
#include "tests/support/tmpdir.h"

#define NTH_MAX 5000 /* more than there are allocations */
#define SCRIPT                                                                                     \
    "put+delete(late/*):late=1ms,put(twice/*):twice,put+part(flip/*):flip,get(cut/*):cut,"         \
    "get(short/*):short,list:stale=1h,get(lost/*):lost,get(no/*):error=no_space"

static struct base_env env;
static const char text[] = "what is put, and got back as it was";

struct life {
    struct cold_store *store;
    struct cold_upload upload;
    struct cold_part part;
    unsigned listed;
};

static int put(struct life *l, const char *key, enum cold_condition condition,
               struct varve_error *err)
{
    const struct iovec body[] = {{(void *)(uintptr_t)text, 10},
                                 {(void *)(uintptr_t)(text + 10), sizeof(text) - 10}};
    const struct cold_put how = {
        .condition = condition, .has_crc32c = true, .crc32c = base_crc32c(0, text, sizeof(text))};

    return cold_store_put(l->store, key, body, 2, &how, NULL, err);
}

static int get(struct life *l, const char *key, struct varve_error *err)
{
    char room[sizeof(text)] = "";
    int rc = cold_store_get(l->store, key, 0, sizeof(text), room, err);

    if (rc == 0 && memcmp(room, text, sizeof(text)) != 0)
        return base_fail(err, VARVE_E_FAILED, "got other bytes");
    return rc;
}

/* A whole read has no length to compare with: a short one is shorter. */
static int get_all(struct life *l, const char *key, struct varve_error *err)
{
    void *data;
    size_t size;
    int rc = cold_store_read(l->store, key, 4096, &data, &size, NULL, err);

    if (rc < 0)
        return rc;
    if (size > sizeof(text) || memcmp(data, text, size) != 0)
        rc = base_fail(err, VARVE_E_FAILED, "read other bytes");
    free(data);
    return rc;
}

static int see_key(void *arg, const char *key, const struct cold_meta *meta)
{
    (void)key;
    (void)meta;
    ++*(unsigned *)arg;
    return 0;
}

/* ---- the calls ---- */

static int put_plain(struct life *l, struct varve_error *err)
{
    return put(l, "plain", COLD_ALWAYS, err);
}

static int put_late(struct life *l, struct varve_error *err)
{
    return put(l, "late/put", COLD_IF_ABSENT, err);
}

static int put_twice(struct life *l, struct varve_error *err)
{
    return put(l, "twice/a", COLD_IF_ABSENT, err);
}

static int put_flipped(struct life *l, struct varve_error *err)
{
    return put(l, "flip/a", COLD_ALWAYS, err);
}

static int put_to_be_cut(struct life *l, struct varve_error *err)
{
    int rc = put(l, "cut/a", COLD_ALWAYS, err);

    return rc < 0 ? rc : put(l, "short/a", COLD_ALWAYS, err);
}

static int get_plain(struct life *l, struct varve_error *err)
{
    return get(l, "plain", err);
}

static int get_cut(struct life *l, struct varve_error *err)
{
    return get(l, "cut/a", err);
}

static int get_short(struct life *l, struct varve_error *err)
{
    return get(l, "short/a", err);
}

static int read_plain(struct life *l, struct varve_error *err)
{
    return get_all(l, "plain", err);
}

static int read_cut(struct life *l, struct varve_error *err)
{
    return get_all(l, "cut/a", err);
}

static int read_short(struct life *l, struct varve_error *err)
{
    return get_all(l, "short/a", err);
}

static int get_what_fails(struct life *l, struct varve_error *err)
{
    return get(l, "no/a", err);
}

static int list(struct life *l, struct varve_error *err)
{
    return cold_store_list_all(l->store, "", see_key, &l->listed, err);
}

static int delete_late(struct life *l, struct varve_error *err)
{
    static const char *const both[] = {"late/1", "late/2"};

    return cold_store_delete(l->store, both, 2, err);
}

static int begin(struct life *l, struct varve_error *err)
{
    return cold_store_upload_begin(l->store, "flip/up", &l->upload, err);
}

static int part(struct life *l, struct varve_error *err)
{
    const struct iovec body = {(void *)(uintptr_t)text, sizeof(text)};

    return cold_store_upload_part(l->store, "flip/up", &l->upload, 1, 0, &body, 1,
                                  base_crc32c(0, text, sizeof(text)), &l->part, err);
}

static int end(struct life *l, struct varve_error *err)
{
    return cold_store_upload_abort(l->store, "flip/up", &l->upload, err);
}

static const struct {
    const char *name;
    int (*run)(struct life *l, struct varve_error *err);
    int expected; /* when no allocation fails */
    int or_else;  /* also possible when one does, in it or in one before it */
} calls[] = {
    {"put", put_plain, 0, 0},
    {"late put", put_late, VARVE_E_STORE, 0},
    {"put twice", put_twice, VARVE_E_PRECONDITION, 0},
    {"flipped put", put_flipped, 0, 0},
    {"puts", put_to_be_cut, 0, 0},
    {"get", get_plain, 0, VARVE_E_NOT_FOUND},
    {"read", read_plain, 0, VARVE_E_NOT_FOUND},
    {"get, cut", get_cut, VARVE_E_STORE, VARVE_E_NOT_FOUND},
    {"read, cut", read_cut, VARVE_E_STORE, VARVE_E_NOT_FOUND},
    {"get, short", get_short, VARVE_E_CORRUPT, VARVE_E_NOT_FOUND},
    {"read, short", read_short, 0, VARVE_E_NOT_FOUND},
    {"get that fails", get_what_fails, VARVE_E_NO_SPACE, VARVE_E_NO_SPACE},
    {"list", list, 0, 0},
    {"late delete", delete_late, VARVE_E_STORE, 0},
    {"begin", begin, 0, 0},
    {"part", part, 0, VARVE_E_NOT_FOUND},
    {"abort", end, 0, VARVE_E_NOT_FOUND},
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* ---- the loop ---- */

static int open_by_url(const char *root, bool faulty, struct cold_store **ret,
                       struct varve_error *err)
{
    const struct cold_store_options options = {.create = true};
    char url[1024];

    snprintf(url, sizeof(url), faulty ? "faulty+file://%s/store?seed=7&faults=" SCRIPT : "%s/store",
             root);
    return cold_store_open(&env, url, &options, ret, err);
}

static void judge(size_t i, int rc, const struct varve_error *err, uint64_t nth, bool hit)
{
    if (rc == calls[i].expected || (hit && rc == calls[i].or_else))
        return;
    if (hit && rc == VARVE_E_NO_MEMORY && err->code == rc && strstr(err->msg, "memory"))
        return;
    fail_msg("%s, allocation %llu: %s: %s", calls[i].name, (unsigned long long)nth,
             varve_error_name(rc), rc < 0 ? err->msg : "");
}

/* What was acknowledged is there; what was put off, and had memory when it was due, happened. */
static void check(const char *root, const int rcs[CALLS], uint64_t nth, bool hit)
{
    struct life l = {0};
    struct varve_error err = {0};
    struct cold_meta meta;

    if (open_by_url(root, false, &l.store, &err) < 0)
        fail_msg("%s", err.msg);
    if (rcs[0] == 0 && get(&l, "plain", &err) < 0)
        fail_msg("allocation %llu: %s", (unsigned long long)nth, err.msg);
    if ((rcs[1] == 0 || !hit) && get(&l, "late/put", &err) < 0)
        fail_msg("allocation %llu, late: %s", (unsigned long long)nth, err.msg);
    if (rcs[3] == 0)
        assert_int_equal(get(&l, "flip/a", &err), VARVE_E_FAILED);
    for (int i = 1; (rcs[13] == 0 || !hit) && i <= 2; i++)
        assert_int_equal(cold_store_head(l.store, i == 1 ? "late/1" : "late/2", &meta, &err),
                         VARVE_E_NOT_FOUND);
    cold_store_close(l.store);
}

static void prepare(const char *root)
{
    struct life l = {0};
    struct varve_error err = {0};
    int rc = open_by_url(root, false, &l.store, &err);

    if (rc == 0)
        rc = put(&l, "late/1", COLD_ALWAYS, &err);
    if (rc == 0)
        rc = put(&l, "late/2", COLD_ALWAYS, &err);
    if (rc < 0)
        fail_msg("%s", err.msg);
    cold_store_close(l.store);
}

/* False: there were fewer allocations than nth. */
static bool life_without_memory(uint64_t nth, bool keep)
{
    static struct varve_error errs[CALLS];
    struct support_tmpdir *dir = support_tmpdir_new("faulty");
    const char *root = support_tmpdir_root(dir);
    struct life l = {0};
    struct varve_error err = {0};
    int opened, rcs[CALLS];
    bool hit;

    memset(errs, 0, sizeof(errs));
    prepare(root);
    support_alloc_fail(nth, keep);
    opened = open_by_url(root, true, &l.store, &err);
    for (size_t i = 0; opened == 0 && i < CALLS; i++)
        rcs[i] = calls[i].run(&l, &errs[i]);
    if (opened == 0)
        cold_store_close(l.store);
    hit = support_alloc_stop() >= nth;
    if (opened < 0 && (!hit || opened != VARVE_E_NO_MEMORY || !strstr(err.msg, "memory")))
        fail_msg("open, allocation %llu: %s", (unsigned long long)nth, err.msg);
    for (size_t i = 0; opened == 0 && i < CALLS; i++)
        judge(i, rcs[i], &errs[i], nth, hit);
    if (opened == 0)
        check(root, rcs, nth, hit);
    support_tmpdir_free(dir);
    return hit;
}

static void any_allocation_may_fail_once(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (life_without_memory(nth, false))
        assert_true(++nth < NTH_MAX);
    assert_true(nth > 50);
}

static void memory_may_be_out_from_any_allocation_on(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (life_without_memory(nth, true))
        assert_true(++nth < NTH_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail_once),
        cmocka_unit_test(memory_may_be_out_from_any_allocation_on),
    };

    base_env_init(&env);
    /* Hundreds of syncs, and no power is ever cut: memory will do. */
    if (access("/dev/shm", W_OK | X_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    return cmocka_run_group_tests_name("cold_faulty_nth", tests, NULL, NULL);
}
