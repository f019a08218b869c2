/*
 * Random histories of a manifest against a plain array: whatever was added, trimmed, deleted,
 * replaced and taken over, every look-up and every walk agree with the array, after each step, also
 * after reopening, with local pages gone or damaged.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "index/fold.h"
#include "index/items.h"
#include "tests/support/env.h"
#include "tests/support/file.h"
#include "tests/support/manifest.h"

#define MODEL_MAX 4096
#define LOG "orders/0"

struct model {
    struct support_env *env;
    struct support_page_bucket bucket;
    const char *dir;
    struct index_fold fold;
    struct index_manifest *manifest;

    struct index_entry entries[MODEL_MAX];
    size_t count;
    int64_t start, end, deleted_to;
    uint8_t chain[32];
    uint32_t epoch;
    struct base_id owner;
    uint64_t generation;
    char config[32];
    size_t deepest;
};

static uint64_t below(struct model *m, uint64_t limit)
{
    return support_random_below(&m->env->random, limit);
}

static void reopen(struct model *m)
{
    struct index_manifest_options options = {.loader = &m->bucket.loader};

    index_manifest_close(m->manifest);
    assert_int_equal(index_manifest_open(&m->env->env, m->dir, LOG, &options, &m->manifest, NULL),
                     0);
}

static void check_ok(int rc, const struct varve_error *err)
{
    if (rc < 0)
        print_error("%s\n", err->msg);
    assert_int_equal(rc, 0);
}

struct find_page {
    const struct index_ref *wanted;
    bool found;
};

static int find_ref(void *arg, const struct index_ref *r, struct varve_error *err)
{
    struct find_page *f = arg;

    (void)err;
    f->found = f->found || memcmp(r->attempt.bytes, f->wanted->attempt.bytes, BASE_ID_SIZE) == 0;
    return 0;
}

/* Finishes, stores, installs; every page must be named by what is reachable (F2). */
static void commit(struct model *m, struct index_edit *edit)
{
    const void *root;
    size_t root_size, page_count;
    const struct index_edit_page *pages;
    struct varve_error err = {0};

    check_ok(
        index_edit_finish(edit, &m->env->random.seam, &root, &root_size, &pages, &page_count, &err),
        &err);
    assert_true(root_size <= INDEX_ROOT_SIZE_MAX);
    support_page_bucket_store(&m->bucket, pages, page_count);
    check_ok(index_manifest_install(m->manifest, root, root_size, pages, page_count, false, &err),
             &err);
    for (size_t i = 0; i < page_count; i++) {
        struct find_page f = {.wanted = &pages[i].ref};
        check_ok(index_manifest_each_ref(m->manifest, find_ref, &f, &err), &err);
        assert_true(f.found);
    }
    m->generation++;
}

/* ---- changes, to the edit and to the array ---- */

static int64_t draw_timestamp(struct model *m)
{
    int64_t t = 1000000 + m->end * 10 + (int64_t)below(m, 200) - 100;

    switch (below(m, 20)) {
    case 0:
        return t + 100000000; /* dated far ahead */
    case 1:
        return -1;
    default:
        return t;
    }
}

static void change_add(struct model *m, struct index_edit *edit)
{
    struct varve_error err = {0};

    for (uint64_t n = 1 + below(m, 9); n > 0 && m->count < MODEL_MAX; n--) {
        int64_t base = m->end;
        int64_t floor = m->count > 0 ? m->entries[m->count - 1].end_offset : m->end;
        if (m->start == m->end && m->end > floor && below(m, 2) == 0)
            base = floor + (int64_t)below(m, (uint64_t)(m->end - floor));
        int64_t end = m->end + 1 + (int64_t)below(m, 20);
        struct index_entry e =
            support_entry_new(&m->env->random, m->chain, base, end, draw_timestamp(m));
        e.epoch = m->epoch;
        if (m->count == 0 && m->start == m->end && base > m->end)
            m->start = base;
        check_ok(index_edit_add(edit, &e, &err), &err);
        m->entries[m->count++] = e;
        m->end = end;
    }
}

static void change_trim(struct model *m, struct index_edit *edit)
{
    int64_t span = m->end - m->start;
    int64_t to = m->start + (int64_t)below(m, (uint64_t)(span / 24 + 3));
    struct varve_error err = {0};

    if (below(m, 40) == 0)
        to = m->end + (int64_t)below(m, 30);
    check_ok(index_edit_trim(edit, to, 12345, &err), &err);
    if (to <= m->start)
        return;
    m->start = to;
    if (m->end < to)
        m->end = to;
    if (m->count == 0)
        m->deleted_to = to;
}

static void change_delete(struct model *m, struct index_edit *edit)
{
    int64_t to = m->deleted_to + (int64_t)below(m, (uint64_t)(m->start - m->deleted_to) + 1);
    struct varve_error err = {0};
    size_t gone = 0;

    check_ok(index_edit_deleted_to(edit, to, &err), &err);
    while (gone < m->count && m->entries[gone].end_offset <= to)
        gone++;
    m->count -= gone;
    memmove(m->entries, m->entries + gone, m->count * sizeof(m->entries[0]));
    m->deleted_to = to;
}

static void change_replace(struct model *m, struct index_edit *edit)
{
    struct varve_error err = {0};

    if (m->count == 0)
        return;
    struct index_entry *e = &m->entries[below(m, m->count)];
    e->attempt = base_id_new(&m->env->random.seam);
    e->object_size += below(m, 100);
    check_ok(index_edit_replace(edit, e, &err), &err);
}

static void change_owner(struct model *m, struct index_edit *edit)
{
    struct varve_error err = {0};

    m->owner = base_id_new(&m->env->random.seam);
    m->epoch++;
    check_ok(index_edit_take_over(edit, &m->owner, &err), &err);
}

static void step(struct model *m)
{
    struct index_edit *edit = NULL;
    struct varve_error err = {0};

    check_ok(index_edit_new(m->manifest, &edit, &err), &err);
    index_edit_set_fold(edit, &m->fold);
    for (uint64_t n = 1 + below(m, 3); n > 0; n--) {
        switch (below(m, 16)) {
        case 0:
        case 1:
            change_trim(m, edit);
            break;
        case 2:
        case 3:
            change_delete(m, edit);
            break;
        case 4:
        case 5:
            change_replace(m, edit);
            break;
        case 6:
            change_owner(m, edit);
            break;
        case 7:
            snprintf(m->config, sizeof(m->config), "a=%u\n", (unsigned)below(m, 1000));
            check_ok(index_edit_config(edit, m->config, strlen(m->config), &err), &err);
            break;
        default:
            change_add(m, edit);
        }
    }
    commit(m, edit);
    index_edit_free(edit);
}

/* ---- the manifest against the array ---- */

struct expected {
    const struct model *m;
    size_t next;
};

static void assert_entry(const struct index_entry *a, const struct index_entry *b)
{
    uint8_t x[INDEX_ENTRY_SIZE], y[INDEX_ENTRY_SIZE];

    index_entry_encode(a, x);
    index_entry_encode(b, y);
    assert_memory_equal(x, y, INDEX_ENTRY_SIZE);
}

static int compare_next(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct expected *x = arg;

    (void)err;
    assert_true(x->next < x->m->count);
    assert_entry(e, &x->m->entries[x->next++]);
    return 0;
}

static void check_walk(struct model *m, int64_t from)
{
    struct expected x = {.m = m};
    struct varve_error err = {0};

    while (x.next < m->count && m->entries[x.next].end_offset <= from)
        x.next++;
    check_ok(index_manifest_each(m->manifest, from, compare_next, &x, &err), &err);
    assert_int_equal(x.next, m->count);
}

static void check_offset(struct model *m, int64_t offset)
{
    struct index_entry e = {.base_offset = -7};
    struct varve_error err = {0};
    int rc = index_manifest_find_offset(m->manifest, offset, &e, &err);

    if (offset < m->start || offset >= m->end) {
        assert_int_equal(rc, VARVE_E_OUT_OF_RANGE);
        assert_int_equal(e.base_offset, -7);
        return;
    }
    check_ok(rc, &err);
    for (size_t i = 0; i < m->count; i++) {
        if (m->entries[i].base_offset <= offset && offset < m->entries[i].end_offset) {
            assert_entry(&e, &m->entries[i]);
            return;
        }
    }
    fail_msg("the array has no offset %lld", (long long)offset);
}

static void check_time(struct model *m, int64_t timestamp, int64_t min_offset)
{
    struct index_entry e = {.base_offset = -7};
    int rc = index_manifest_find_time(m->manifest, timestamp, min_offset, &e, NULL);

    for (size_t i = 0; i < m->count; i++) {
        if (m->entries[i].end_offset > min_offset && m->entries[i].max_timestamp >= timestamp) {
            assert_int_equal(rc, 0);
            assert_entry(&e, &m->entries[i]);
            return;
        }
    }
    assert_int_equal(rc, VARVE_E_NOT_FOUND);
    assert_int_equal(e.base_offset, -7);
}

static void check_root(struct model *m)
{
    struct index_root_pin *pin;
    const struct index_root *r;
    uint64_t segment_bytes = 0, object_bytes = 0;
    int64_t max = -1;

    assert_int_equal(index_manifest_pin(m->manifest, &pin, &r, NULL), 0);
    for (size_t i = 0; i < m->count; i++) {
        segment_bytes += m->entries[i].segment_size;
        object_bytes += m->entries[i].object_size;
        max = m->entries[i].max_timestamp > max ? m->entries[i].max_timestamp : max;
    }
    assert_int_equal(r->segment_count, m->count);
    assert_int_equal(r->segment_bytes, segment_bytes);
    assert_int_equal(r->object_bytes, object_bytes);
    assert_int_equal(r->max_timestamp, max);
    assert_int_equal(r->start_offset, m->start);
    assert_int_equal(r->end_offset, m->end);
    assert_int_equal(r->deleted_to, m->deleted_to);
    assert_int_equal(r->epoch, m->epoch);
    assert_int_equal(r->generation, m->generation);
    assert_memory_equal(r->owner.bytes, m->owner.bytes, BASE_ID_SIZE);
    assert_memory_equal(r->chain_hash, m->chain, 32);
    assert_int_equal(r->config_size, strlen(m->config));
    assert_memory_equal(r->config, m->config, strlen(m->config));
    assert_true(r->entry_count <= m->fold.root_entries);
    if (r->ref_count > 0) {
        struct index_ref ref;
        index_root_ref(r, 0, &ref);
        m->deepest = ref.level > m->deepest ? ref.level : m->deepest;
    }
    for (uint32_t level = 0; level + 1 < INDEX_LEVELS_MAX; level++) {
        size_t n = 0;
        for (size_t i = 0; i < r->ref_count; i++) {
            struct index_ref ref;
            index_root_ref(r, i, &ref);
            n += ref.level == level;
        }
        assert_true(n < m->fold.page_refs); /* F1 */
    }
    index_manifest_unpin(pin);
}

static void check(struct model *m)
{
    check_root(m);
    check_walk(m, m->deleted_to);
    check_walk(m, m->start + (int64_t)below(m, (uint64_t)(m->end - m->start) + 1));
    check_offset(m, m->start - 1);
    check_offset(m, m->start);
    check_offset(m, m->end - 1);
    check_offset(m, m->end);
    for (int i = 0; i < 20; i++) {
        int64_t offset = m->deleted_to + (int64_t)below(m, (uint64_t)(m->end - m->deleted_to) + 2);
        check_offset(m, offset);
        int64_t timestamp =
            1000000 +
            (m->deleted_to + (int64_t)below(m, 200 + (uint64_t)(m->end - m->deleted_to))) * 10;
        if (i % 5 == 0)
            timestamp += 100000000;
        check_time(m, timestamp, i % 2 == 0 ? m->start : offset);
    }
}

struct refs {
    struct index_ref refs[MODEL_MAX];
    size_t count;
};

static int collect_ref(void *arg, const struct index_ref *r, struct varve_error *err)
{
    struct refs *refs = arg;

    (void)err;
    assert_true(refs->count < MODEL_MAX);
    refs->refs[refs->count++] = *r;
    return 0;
}

/* Removes, flips and shortens local pages, of a copy that is closed: mapped files are not changed
 * in place. */
static void damage(struct model *m)
{
    struct refs *refs = calloc(1, sizeof(*refs));

    assert_non_null(refs);
    assert_int_equal(index_manifest_each_ref(m->manifest, collect_ref, refs, NULL), 0);
    m->manifest = index_manifest_close(m->manifest);
    for (size_t i = 0; i < refs->count; i++) {
        char path[512];
        support_page_path(m->dir, &refs->refs[i], path, sizeof(path));
        switch (support_file_exists(path) ? below(m, 6) : 9) {
        case 0:
            unlink(path);
            break;
        case 1:
            support_file_flip(path, (int64_t)below(m, refs->refs[i].page_size),
                              (uint8_t)(1u << below(m, 8)));
            break;
        case 2:
            support_file_truncate(path, (int64_t)below(m, refs->refs[i].page_size));
            break;
        default:
            break;
        }
    }
    free(refs);
    reopen(m);
}

static void run(struct support_env *env, struct index_fold fold, int64_t start, int steps)
{
    struct model *m = calloc(1, sizeof(*m));
    struct index_edit *edit;
    struct base_id id = base_id_new(&env->random.seam);
    struct varve_error err = {0};

    assert_non_null(m);
    support_io_set_tracing(env->io, false);
    m->env = env;
    m->fold = fold;
    m->dir = support_tmpdir_path(env->dir, "local");
    support_page_bucket_init(&m->bucket, support_tmpdir_path(env->dir, "bucket"));
    assert_int_equal(base_tree_remove(env->env.io, m->dir, NULL), 0);
    assert_int_equal(base_tree_remove(env->env.io, m->bucket.dir, NULL), 0);
    assert_int_equal(base_dir_create(env->env.io, m->dir, false, NULL), 0);
    assert_int_equal(base_dir_create(env->env.io, m->bucket.dir, false, NULL), 0);
    m->owner = base_id_new(&env->random.seam);
    m->start = m->end = m->deleted_to = start;
    reopen(m);
    assert_int_equal(index_edit_new_log(LOG, &id, &m->owner, start, 77, &edit, &err), 0);
    index_edit_set_fold(edit, &m->fold);
    change_add(m, edit);
    commit(m, edit);
    index_edit_free(edit);
    check(m);
    for (int i = 0; i < steps; i++) {
        step(m);
        if (i % 3 == 0)
            reopen(m);
        if (i % 7 == 0)
            damage(m);
        check(m);
    }
    assert_true(m->deepest >= 2);
    assert_true(m->bucket.fetched > 0);
    index_manifest_close(m->manifest);
    free(m);
}

static void every_look_up_agrees_with_an_array_narrow_and_deep(void **state)
{
    run(*state, (struct index_fold){3, 3, 3}, 0, 250);
}

static void every_look_up_agrees_with_an_array_when_pages_leave_entries_inline(void **state)
{
    run(*state, (struct index_fold){10, 4, 4}, 1000, 250);
}

static void every_look_up_agrees_with_an_array_when_groups_are_full(void **state)
{
    run(*state, (struct index_fold){40, 20, 5}, 5, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(every_look_up_agrees_with_an_array_narrow_and_deep),
        support_env_test(every_look_up_agrees_with_an_array_when_pages_leave_entries_inline),
        support_env_test(every_look_up_agrees_with_an_array_when_groups_are_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
