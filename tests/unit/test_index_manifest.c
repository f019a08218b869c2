/* The local copy of a manifest: opening, installing, following, fetching, damage. Its look-ups are
 * also in test_index_tree.c. */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/thread.h"
#include "index/fold.h"
#include "index/items.h"
#include "index/pagemap.h"
#include "tests/support/env.h"
#include "tests/support/file.h"
#include "tests/support/manifest.h"

#define LOG "orders/0"
#define SEGMENTS 30 /* of 10 offsets */

struct fixture {
    struct support_env *env;
    struct support_page_bucket bucket;
    const char *dir;
    struct index_manifest *m;
    uint8_t chain[32];
};

static const struct index_fold fold = {4, 4, 3};

static struct index_manifest *open_copy(struct fixture *f, bool loader, bool read_only)
{
    struct index_manifest_options options = {.loader = loader ? &f->bucket.loader : NULL,
                                             .read_only = read_only};
    struct index_manifest *m = NULL;
    struct varve_error err = {0};

    if (index_manifest_open(&f->env->env, f->dir, LOG, &options, &m, &err) < 0)
        fail_msg("%s", err.msg);
    return m;
}

/* Finishes, stores the pages in the bucket, installs, frees. */
static int commit(struct fixture *f, struct index_edit *edit, bool durable, struct varve_error *err)
{
    const void *root;
    size_t size, count;
    const struct index_edit_page *pages;

    index_edit_set_fold(edit, &fold);
    assert_int_equal(
        index_edit_finish(edit, &f->env->random.seam, &root, &size, &pages, &count, NULL), 0);
    support_page_bucket_store(&f->bucket, pages, count);
    int rc = index_manifest_install(f->m, root, size, pages, count, durable, err);
    index_edit_free(edit);
    return rc;
}

static void add(struct fixture *f, struct index_edit *edit, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        struct index_entry e =
            support_entry_new(&f->env->random, f->chain, i * 10, i * 10 + 10, 1000 + i);
        assert_int_equal(index_edit_add(edit, &e, NULL), 0);
    }
}

static void fixture_start(struct fixture *f, struct support_env *env)
{
    struct base_id id = base_id_new(&env->random.seam);
    struct index_edit *edit;

    *f = (struct fixture){.env = env, .dir = support_tmpdir_path(env->dir, "local")};
    support_page_bucket_init(&f->bucket, support_tmpdir_path(env->dir, "bucket"));
    assert_int_equal(base_dir_create(env->env.io, f->dir, false, NULL), 0);
    assert_int_equal(base_dir_create(env->env.io, f->bucket.dir, false, NULL), 0);
    f->m = open_copy(f, true, false);
    assert_false(index_manifest_loaded(f->m));
    assert_int_equal(index_edit_new_log(LOG, &id, &id, 0, 0, &edit, NULL), 0);
    add(f, edit, 0, SEGMENTS);
    assert_int_equal(commit(f, edit, false, NULL), 0);
    support_io_reset(env->io);
}

static int first_leaf_visit(void *arg, const struct index_ref *r, struct varve_error *err)
{
    struct index_ref *ret = arg;

    (void)err;
    if (r->level == 0 && ret->count == 0)
        *ret = *r;
    return 0;
}

/* The file, in the local copy or in the bucket, of the page that holds offset 0. */
static const char *leaf_path(struct fixture *f, const char *dir)
{
    struct index_ref ref = {0};
    char name[INDEX_PAGE_NAME_SIZE];

    assert_int_equal(index_manifest_each_ref(f->m, first_leaf_visit, &ref, NULL), 0);
    index_page_name(&ref, name);
    return support_tmpdir_path(f->env->dir, "%s/%s", strrchr(dir, '/') + 1, name);
}

static uint64_t generation(struct index_manifest *m)
{
    struct index_root_pin *pin;
    const struct index_root *r;

    assert_int_equal(index_manifest_pin(m, &pin, &r, NULL), 0);
    uint64_t g = r->generation;
    index_manifest_unpin(pin);
    return g;
}

static void look_ups_without_a_root_fail_and_can_be_tried_again(void **state)
{
    struct fixture f = {.env = *state};
    struct index_entry e = {.epoch = 77};
    struct index_root_pin *pin = NULL;
    const struct index_root *r;
    struct varve_error err = {0};
    bool changed = true;

    f.dir = support_tmpdir_root(f.env->dir);
    f.m = open_copy(&f, false, false);
    assert_int_equal(index_manifest_find_offset(f.m, 0, &e, &err), VARVE_E_STORE); /* I8 */
    assert_true(err.retriable);
    assert_string_equal(err.msg, "manifest of orders/0: no root is loaded");
    assert_int_equal(index_manifest_find_time(f.m, 0, 0, &e, &err), VARVE_E_STORE);
    assert_int_equal(e.epoch, 77);
    assert_int_equal(index_manifest_pin(f.m, &pin, &r, &err), VARVE_E_NOT_FOUND);
    assert_null(pin);
    assert_int_equal(index_manifest_refresh(f.m, &changed, &err), 0);
    assert_false(changed);
    index_manifest_close(f.m);
}

static void opening_maps_one_file_and_a_look_up_the_pages_on_its_path(void **state)
{
    struct fixture f;
    struct index_entry e;

    fixture_start(&f, *state);
    index_manifest_close(f.m);
    support_io_reset(f.env->io);
    f.m = open_copy(&f, true, false);
    assert_int_equal(support_io_count(f.env->io, SUPPORT_IO_MMAP), 1);
    assert_int_equal(index_manifest_find_offset(f.m, SEGMENTS * 10 - 1, &e, NULL), 0);
    assert_int_equal(support_io_count(f.env->io, SUPPORT_IO_MMAP), 1); /* inline */
    assert_int_equal(index_manifest_find_offset(f.m, 0, &e, NULL), 0);
    assert_int_equal(support_io_count(f.env->io, SUPPORT_IO_MMAP), 3); /* levels 1 and 0 */
    assert_int_equal(index_manifest_find_offset(f.m, 1, &e, NULL), 0);
    assert_int_equal(support_io_count(f.env->io, SUPPORT_IO_MMAP), 3);
    assert_int_equal(index_manifest_find_time(f.m, 1000, 0, &e, NULL), 0);
    assert_int_equal(support_io_count(f.env->io, SUPPORT_IO_MMAP), 3);
    assert_int_equal(f.bucket.fetched, 0);
    index_manifest_close(f.m);
}

static void without_mappings_files_are_read(void **state)
{
    struct fixture f;
    struct index_entry e;
    struct support_io_fault fault = {
        .call = SUPPORT_IO_MMAP, .nth = 1, .sys_errno = ENOMEM, .keep = true};

    fixture_start(&f, *state);
    index_manifest_close(f.m);
    support_io_fail(f.env->io, &fault);
    f.m = open_copy(&f, true, false);
    assert_int_equal(index_manifest_find_offset(f.m, 0, &e, NULL), 0);
    assert_int_equal(e.end_offset, 10);
    index_manifest_close(f.m);
}

static void pages_are_durable_before_the_root_that_names_them(void **state)
{
    struct fixture f;
    struct index_edit *edit;
    size_t at;

    fixture_start(&f, *state);
    assert_int_equal(index_edit_new(f.m, &edit, NULL), 0);
    add(&f, edit, SEGMENTS, SEGMENTS + 6);
    support_io_reset(f.env->io);
    assert_int_equal(commit(&f, edit, true, NULL), 0);
    const struct support_io_step *page =
        support_io_trace_find(f.env->io, 0, SUPPORT_IO_RENAME, "/page-", &at);
    const struct support_io_step *page_dir =
        support_io_trace_find(f.env->io, at, SUPPORT_IO_FSYNC, NULL, NULL);
    const struct support_io_step *root =
        support_io_trace_find(f.env->io, 0, SUPPORT_IO_RENAME, "/root", &at);
    assert_true(support_io_before(page, page_dir));
    assert_true(support_io_before(page_dir, root)); /* M1 */
    assert_non_null(support_io_trace_find(f.env->io, at, SUPPORT_IO_FSYNC, NULL, NULL));
    index_manifest_close(f.m);
}

static void a_root_of_a_lower_generation_is_refused(void **state)
{
    struct fixture f;
    struct index_edit *edit;
    size_t size;
    void *old;
    struct varve_error err;

    fixture_start(&f, *state);
    old = support_file_read(support_tmpdir_path(f.env->dir, "local/root"), &size);
    assert_int_equal(index_edit_new(f.m, &edit, NULL), 0);
    add(&f, edit, SEGMENTS, SEGMENTS + 1);
    assert_int_equal(commit(&f, edit, false, NULL), 0);
    assert_int_equal(generation(f.m), 2);
    assert_int_equal(index_manifest_install(f.m, old, size, NULL, 0, false, &err),
                     VARVE_E_PRECONDITION);
    assert_string_equal(
        err.msg, "manifest of orders/0: install: root of generation 1, the local one is of 2");
    assert_int_equal(generation(f.m), 2);
    free(old);
    index_manifest_close(f.m);
}

static void another_process_follows_by_refreshing(void **state)
{
    struct fixture f;
    struct index_edit *edit;
    struct index_entry e;
    bool changed;

    fixture_start(&f, *state);
    struct index_manifest *reader = open_copy(&f, false, true);
    assert_int_equal(index_manifest_refresh(reader, &changed, NULL), 0);
    assert_false(changed);
    assert_int_equal(index_edit_new(f.m, &edit, NULL), 0);
    add(&f, edit, SEGMENTS, SEGMENTS + 1);
    assert_int_equal(commit(&f, edit, false, NULL), 0);
    assert_int_equal(index_manifest_find_offset(reader, SEGMENTS * 10, &e, NULL),
                     VARVE_E_OUT_OF_RANGE);

    /* A pin keeps the root it was taken on. */
    struct index_root_pin *pin;
    const struct index_root *r;
    assert_int_equal(index_manifest_pin(reader, &pin, &r, NULL), 0);
    assert_int_equal(index_manifest_refresh(reader, &changed, NULL), 0);
    assert_true(changed);
    assert_int_equal(r->generation, 1);
    index_manifest_unpin(pin);
    assert_int_equal(generation(reader), 2);
    assert_int_equal(index_manifest_find_offset(reader, SEGMENTS * 10, &e, NULL), 0);
    assert_int_equal(index_manifest_refresh(reader, &changed, NULL), 0);
    assert_false(changed);

    /* The cache may be thrown away under it. */
    unlink(support_tmpdir_path(f.env->dir, "local/root"));
    assert_int_equal(index_manifest_refresh(reader, &changed, NULL), 0);
    assert_false(changed);
    index_manifest_close(reader);
    index_manifest_close(f.m);
}

static void a_damaged_root_is_refused_or_ignored_as_told(void **state)
{
    struct fixture f;
    struct index_manifest *m = NULL;
    struct varve_error err;

    fixture_start(&f, *state);
    index_manifest_close(f.m);
    support_file_flip(support_tmpdir_path(f.env->dir, "local/root"), 300, 4);
    assert_int_equal(index_manifest_open(&f.env->env, f.dir, LOG, NULL, &m, &err), VARVE_E_CORRUPT);
    assert_null(m);
    assert_non_null(strstr(err.msg, "root: root: checksum does not match"));
    struct index_manifest_options ignore = {.ignore_damaged = true};
    assert_int_equal(index_manifest_open(&f.env->env, f.dir, LOG, &ignore, &m, &err), 0);
    assert_false(index_manifest_loaded(m));
    assert_int_equal(support_logger_count(f.env->logger, BASE_LOG_WARNING, "ignored"), 1);
    index_manifest_close(m);

    support_file_flip(support_tmpdir_path(f.env->dir, "local/root"), 300, 4);
    assert_int_equal(index_manifest_open(&f.env->env, f.dir, "orders/1", NULL, &m, &err),
                     VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "of another log, 'orders/0'"));
}

static void a_missing_page_is_fetched_once_and_kept(void **state)
{
    struct fixture f;
    struct index_entry e;

    fixture_start(&f, *state);
    const char *path = leaf_path(&f, f.dir);
    index_manifest_close(f.m);
    assert_true(support_file_exists(path));
    unlink(path);
    f.m = open_copy(&f, true, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(index_manifest_find_offset(f.m, 5, &e, NULL), 0);
    assert_int_equal(f.bucket.fetched, 1);
    assert_true(support_file_equal(path, leaf_path(&f, f.bucket.dir)));
    index_manifest_close(f.m);
}

static void a_read_only_copy_keeps_fetched_pages_in_memory(void **state)
{
    struct fixture f;
    struct index_entry e;

    fixture_start(&f, *state);
    const char *path = leaf_path(&f, f.dir);
    index_manifest_close(f.m);
    unlink(path);
    f.m = open_copy(&f, true, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(index_manifest_find_offset(f.m, 5, &e, NULL), 0);
    assert_int_equal(f.bucket.fetched, 1);
    assert_false(support_file_exists(path));
    index_manifest_close(f.m);
}

static void a_full_disk_does_not_keep_a_page_from_being_used(void **state)
{
    struct fixture f;
    struct index_entry e;
    struct support_io_fault fault = {
        .call = SUPPORT_IO_PWRITEV, .nth = 1, .sys_errno = ENOSPC, .keep = true};

    fixture_start(&f, *state);
    const char *path = leaf_path(&f, f.dir);
    index_manifest_close(f.m);
    unlink(path);
    f.m = open_copy(&f, true, false);
    support_io_fail(f.env->io, &fault);
    assert_int_equal(index_manifest_find_offset(f.m, 5, &e, NULL), 0);
    assert_int_equal(e.base_offset, 0);
    assert_false(support_file_exists(path));
    assert_int_equal(
        support_logger_count(f.env->logger, BASE_LOG_WARNING, "a manifest page stays in memory"),
        1);
    index_manifest_close(f.m);
}

static void a_page_that_cannot_be_had_fails_retriably_and_is_tried_again(void **state)
{
    struct fixture f;
    struct index_entry e = {.epoch = 77};
    struct varve_error err = {0};

    fixture_start(&f, *state);
    unlink(leaf_path(&f, f.dir));
    index_manifest_close(f.m);
    f.m = open_copy(&f, false, false);
    assert_int_equal(index_manifest_find_offset(f.m, 5, &e, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_non_null(strstr(err.msg, "is not in the local copy"));
    index_manifest_close(f.m);

    f.m = open_copy(&f, true, false);
    f.bucket.unreachable = true;
    assert_int_equal(index_manifest_find_offset(f.m, 5, &e, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_string_equal(err.msg, "the store is away");
    assert_int_equal(index_manifest_find_time(f.m, 0, 0, &e, &err), VARVE_E_STORE);
    assert_int_equal(e.epoch, 77);
    /* What needs no missing page works: one further up, and those inline. */
    assert_int_equal(index_manifest_find_offset(f.m, SEGMENTS * 10 - 1, &e, &err), 0);
    f.bucket.unreachable = false;
    assert_int_equal(index_manifest_find_offset(f.m, 5, &e, &err), 0);
    index_manifest_close(f.m);
}

static void a_damaged_page_is_never_served(void **state)
{
    struct fixture f;
    struct index_entry e = {.epoch = 77};
    struct varve_error err = {0};

    fixture_start(&f, *state);
    const char *path = leaf_path(&f, f.dir);
    index_manifest_close(f.m);
    support_file_flip(path, 200, 1);
    f.m = open_copy(&f, false, false);
    assert_int_equal(index_manifest_find_offset(f.m, 5, &e, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "page-0-"));
    index_manifest_close(f.m);

    /* A bucket that is damaged too is no help. */
    f.m = open_copy(&f, true, false);
    f.bucket.damaged = true;
    assert_int_equal(index_manifest_find_offset(f.m, 5, &e, &err), VARVE_E_CORRUPT);
    assert_int_equal(e.epoch, 77);
    f.bucket.damaged = false;
    assert_int_equal(index_manifest_find_offset(f.m, 5, &e, &err), 0);
    assert_true(support_file_equal(path, leaf_path(&f, f.bucket.dir)));
    assert_true(support_logger_count(f.env->logger, BASE_LOG_WARNING, "fetched again") >= 1);
    index_manifest_close(f.m);
}

struct reports {
    int count;
    char first[128];
};

static void report(void *arg, const char *file, const struct varve_error *what)
{
    struct reports *r = arg;

    assert_int_equal(what->code, VARVE_E_CORRUPT);
    if (r->count++ == 0)
        snprintf(r->first, sizeof(r->first), "%s", file);
}

static void a_check_names_what_is_damaged_and_repairs_it(void **state)
{
    struct fixture f;
    struct index_entry e;
    struct reports r = {0};

    fixture_start(&f, *state);
    assert_int_equal(index_manifest_check(f.m, true, report, &r, NULL), 0);
    assert_int_equal(r.count, 0);
    assert_int_equal(index_manifest_find_offset(f.m, 5, &e, NULL), 0); /* mapped */
    const char *path = leaf_path(&f, f.dir);
    support_file_flip(path, 200, 1);
    assert_int_equal(index_manifest_check(f.m, false, report, &r, NULL), 0);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.first, strrchr(path, '/') + 1);
    assert_true(support_file_exists(path));

    assert_int_equal(index_manifest_check(f.m, true, report, &r, NULL), 0);
    assert_int_equal(r.count, 2);
    assert_false(support_file_exists(path));
    assert_int_equal(index_manifest_find_offset(f.m, 5, &e, NULL), 0);
    assert_int_equal(f.bucket.fetched, 1);
    assert_int_equal(index_manifest_check(f.m, true, report, &r, NULL), 0);
    assert_int_equal(r.count, 2);
    index_manifest_close(f.m);
}

static void a_repaired_root_is_no_longer_loaded(void **state)
{
    struct fixture f;
    struct reports r = {0};
    const char *path;
    size_t size;

    fixture_start(&f, *state);
    path = support_tmpdir_path(f.env->dir, "local/root");
    void *good = support_file_read(path, &size);
    support_file_flip(path, 300, 1);
    assert_int_equal(index_manifest_check(f.m, false, report, &r, NULL), 0);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.first, "root");
    assert_int_equal(index_manifest_check(f.m, true, report, &r, NULL), 0);
    assert_false(index_manifest_loaded(f.m));
    assert_false(support_file_exists(path));
    assert_int_equal(index_manifest_install(f.m, good, size, NULL, 0, false, NULL), 0);
    assert_int_equal(generation(f.m), 1);
    free(good);
    index_manifest_close(f.m);
}

static void a_repair_removes_pages_that_nothing_names(void **state)
{
    struct fixture f;
    struct reports r = {0};
    const char *stray, *tmp;

    fixture_start(&f, *state);
    stray = support_tmpdir_path(f.env->dir, "local/page-0-00000000000000000000-"
                                            "00000000000000000040-0-"
                                            "000102030405060708090a0b0c0d0e0f");
    tmp = support_tmpdir_path(f.env->dir, "local/root.tmp");
    support_file_write(stray, "x", 1);
    support_file_write(tmp, "x", 1);
    assert_int_equal(index_manifest_check(f.m, false, report, &r, NULL), 0);
    assert_true(support_file_exists(stray));
    assert_int_equal(index_manifest_check(f.m, true, report, &r, NULL), 0);
    assert_false(support_file_exists(stray));
    assert_false(support_file_exists(tmp));
    assert_true(support_file_exists(leaf_path(&f, f.dir)));
    assert_int_equal(r.count, 0);
    index_manifest_close(f.m);
}

static int first_branch_visit(void *arg, const struct index_ref *r, struct varve_error *err)
{
    struct index_ref *ret = arg;

    (void)err;
    if (r->level > 0 && ret->count == 0)
        *ret = *r;
    return 0;
}

/* Below a page of references that is gone nobody can say which files are named. */
static void a_check_that_cannot_walk_the_whole_tree_removes_nothing(void **state)
{
    struct fixture f;
    struct reports r = {0};
    struct index_ref branch = {0};
    char name[INDEX_PAGE_NAME_SIZE];
    const char *path, *tmp;

    for (int damaged = 0; damaged < 2; damaged++) {
        fixture_start(&f, *state);
        tmp = support_tmpdir_path(f.env->dir, "local/root.tmp");
        support_file_write(tmp, "x", 1);
        assert_int_equal(index_manifest_each_ref(f.m, first_branch_visit, &branch, NULL), 0);
        assert_true(branch.level > 0);
        index_page_name(&branch, name);
        path = support_tmpdir_path(f.env->dir, "local/%s", name);
        if (damaged)
            support_file_flip(path, 100, 1);
        else
            assert_int_equal(unlink(path), 0);
        assert_int_equal(index_manifest_check(f.m, true, report, &r, NULL), 0);
        assert_int_equal(r.count, damaged);
        assert_true(support_file_exists(leaf_path(&f, f.dir)));
        assert_true(support_file_exists(tmp));
        index_manifest_close(f.m);
        assert_int_equal(base_tree_remove(f.env->env.io, f.dir, NULL), 0);
        assert_int_equal(base_tree_remove(f.env->env.io, f.bucket.dir, NULL), 0);
        branch = (struct index_ref){0};
    }
    assert_string_equal(r.first, name);
}

static void what_a_check_cannot_do_it_says(void **state)
{
    struct support_io_fault fault = {.nth = 1, .keep = true};
    struct fixture f;
    struct reports r = {0};
    struct varve_error err = {0};
    const char *path;

    fixture_start(&f, *state);
    /* A damaged page that cannot be removed is reported, and there is a warning of the rest. */
    path = leaf_path(&f, f.dir);
    support_file_flip(path, 200, 1);
    fault.call = SUPPORT_IO_UNLINK;
    fault.sys_errno = EACCES;
    support_io_fail(f.env->io, &fault);
    assert_int_equal(index_manifest_check(f.m, true, report, &r, &err), 0);
    assert_int_equal(r.count, 1);
    assert_true(support_file_exists(path));
    assert_int_equal(support_logger_count(f.env->logger, BASE_LOG_WARNING, "cannot remove"), 1);
    support_file_flip(path, 200, 1);
    /* What is not damage ends the walk. */
    fault.call = SUPPORT_IO_OPEN;
    fault.path = strrchr(path, '/');
    support_io_fail(f.env->io, &fault);
    assert_int_equal(index_manifest_check(f.m, true, report, &r, &err), VARVE_E_DENIED);
    assert_non_null(strstr(err.msg, "manifest of orders/0: check: open "));
    assert_non_null(strstr(err.msg, fault.path));
    fault.path = "/root";
    support_io_fail(f.env->io, &fault);
    assert_int_equal(index_manifest_check(f.m, true, report, &r, &err), VARVE_E_DENIED);
    assert_non_null(strstr(err.msg, "manifest of orders/0: check: open "));
    fault.call = SUPPORT_IO_LIST;
    fault.path = NULL;
    support_io_fail(f.env->io, &fault);
    assert_int_equal(index_manifest_check(f.m, true, report, &r, &err), VARVE_E_DENIED);
    assert_non_null(strstr(err.msg, "manifest of orders/0: check: list "));
    support_io_fail(f.env->io, NULL);
    assert_int_equal(r.count, 1);
    /* A copy without a root has nothing to be compared with; what is loaded still counts. */
    assert_int_equal(unlink(support_tmpdir_path(f.env->dir, "local/root")), 0);
    assert_int_equal(index_manifest_check(f.m, false, report, &r, &err), 0);
    assert_int_equal(r.count, 1);
    index_manifest_close(f.m);
    f.m = open_copy(&f, false, false);
    assert_int_equal(index_manifest_check(f.m, true, report, &r, &err), 0);
    assert_true(support_file_exists(path));
    index_manifest_close(f.m);
}

static void deleting_removes_local_pages_that_lie_below(void **state)
{
    struct fixture f;
    struct index_edit *edit;

    fixture_start(&f, *state);
    const char *path = leaf_path(&f, f.dir);
    assert_true(support_file_exists(path));
    assert_int_equal(index_edit_new(f.m, &edit, NULL), 0);
    assert_int_equal(index_edit_trim(edit, 100, 5, NULL), 0);
    assert_int_equal(index_edit_deleted_to(edit, 100, NULL), 0);
    assert_int_equal(commit(&f, edit, false, NULL), 0);
    assert_false(support_file_exists(path));
    index_manifest_close(f.m);
}

static int remove_page(void *arg, const struct index_ref *r, struct varve_error *err)
{
    struct fixture *f = arg;
    char path[512];

    (void)err;
    support_page_path(f->dir, r, path, sizeof(path));
    unlink(path);
    return 0;
}

static void pages_held_in_memory_are_bounded(void **state)
{
    struct fixture f;
    struct index_edit *edit;
    struct index_entry e;
    int64_t pages = 2 * INDEX_PAGES_HEAP_MAX;

    fixture_start(&f, *state);
    assert_int_equal(index_edit_new(f.m, &edit, NULL), 0);
    add(&f, edit, SEGMENTS, pages * 4);
    assert_int_equal(commit(&f, edit, false, NULL), 0);
    assert_int_equal(index_manifest_each_ref(f.m, remove_page, &f, NULL), 0);
    index_manifest_close(f.m);

    f.m = open_copy(&f, true, true);
    for (int round = 0; round < 2; round++) {
        for (int64_t offset = 0; offset < (pages - 1) * 40; offset += 10) {
            assert_int_equal(index_manifest_find_offset(f.m, offset, &e, NULL), 0);
            assert_int_equal(e.base_offset, offset);
        }
    }
    /* The second round fetched again what the first had to let go. */
    assert_true((int64_t)f.bucket.fetched > 2 * (pages - 1));
    index_manifest_close(f.m);
}

/* ---- threads ---- */

struct shared {
    struct fixture *f;
    atomic_bool stop;
    atomic_int looked;
};

static void reader_run(void *arg)
{
    struct shared *s = arg;
    struct support_random random;

    support_random_init(&random, 5);
    while (!atomic_load(&s->stop)) {
        struct index_entry e;
        int64_t offset = (int64_t)support_random_below(&random, SEGMENTS * 10);
        struct varve_error err = {0};
        if (index_manifest_find_offset(s->f->m, offset, &e, &err) < 0 || e.base_offset > offset ||
            e.end_offset <= offset) {
            fprintf(stderr, "offset %lld: %s\n", (long long)offset, err.msg);
            abort();
        }
        if (index_manifest_find_time(s->f->m, 1000 + offset / 10, offset, &e, &err) < 0)
            abort();
        atomic_fetch_add(&s->looked, 1);
    }
}

static void threads_look_up_while_roots_are_installed(void **state)
{
    struct fixture f;
    struct shared s = {.f = &f};
    struct base_thread *threads[3];

    fixture_start(&f, *state);
    support_io_set_tracing(f.env->io, false);
    unlink(leaf_path(&f, f.dir));
    index_manifest_close(f.m);
    f.m = open_copy(&f, true, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(base_thread_start(&threads[i], "reader", reader_run, &s, NULL), 0);
    for (int64_t i = SEGMENTS; i < SEGMENTS + 50 || atomic_load(&s.looked) < 100; i++) {
        struct index_edit *edit;
        assert_int_equal(index_edit_new(f.m, &edit, NULL), 0);
        add(&f, edit, i, i + 1);
        assert_int_equal(commit(&f, edit, false, NULL), 0);
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < 3; i++)
        base_thread_join(threads[i]);
    assert_int_equal(f.bucket.fetched, 1); /* by whoever came first */
    index_manifest_close(f.m);
}

static void every_failing_call_of_an_install_leaves_a_whole_root(void **state)
{
    struct fixture f;
    bool done = false;

    fixture_start(&f, *state);
    for (uint64_t nth = 1; !done; nth++) {
        struct support_io_fault fault = {.call = SUPPORT_IO_ANY, .nth = nth, .sys_errno = EIO};
        struct index_edit *edit;
        struct index_root_pin *pin;
        const struct index_root *r;
        struct varve_error err = {0};

        assert_int_equal(index_manifest_pin(f.m, &pin, &r, NULL), 0);
        int64_t next = r->end_offset / 10;
        memcpy(f.chain, r->chain_hash, 32);
        index_manifest_unpin(pin);
        assert_int_equal(index_edit_new(f.m, &edit, NULL), 0);
        add(&f, edit, next, next + 6);
        support_io_fail(f.env->io, &fault);
        int rc = commit(&f, edit, true, &err);
        done = support_io_failed(f.env->io) == 0;
        support_io_fail(f.env->io, NULL);
        if (rc < 0)
            assert_int_equal(rc, VARVE_E_IO);
        index_manifest_close(f.m);
        f.m = open_copy(&f, true, false); /* whichever root it is, it is whole */
        struct reports reports = {0};
        assert_int_equal(index_manifest_check(f.m, false, report, &reports, NULL), 0);
        assert_int_equal(reports.count, 0);
    }
    index_manifest_close(f.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(look_ups_without_a_root_fail_and_can_be_tried_again),
        support_env_test(opening_maps_one_file_and_a_look_up_the_pages_on_its_path),
        support_env_test(without_mappings_files_are_read),
        support_env_test(pages_are_durable_before_the_root_that_names_them),
        support_env_test(a_root_of_a_lower_generation_is_refused),
        support_env_test(another_process_follows_by_refreshing),
        support_env_test(a_damaged_root_is_refused_or_ignored_as_told),
        support_env_test(a_missing_page_is_fetched_once_and_kept),
        support_env_test(a_read_only_copy_keeps_fetched_pages_in_memory),
        support_env_test(a_full_disk_does_not_keep_a_page_from_being_used),
        support_env_test(a_page_that_cannot_be_had_fails_retriably_and_is_tried_again),
        support_env_test(a_damaged_page_is_never_served),
        support_env_test(a_check_names_what_is_damaged_and_repairs_it),
        support_env_test(a_repaired_root_is_no_longer_loaded),
        support_env_test(a_repair_removes_pages_that_nothing_names),
        support_env_test(a_check_that_cannot_walk_the_whole_tree_removes_nothing),
        support_env_test(what_a_check_cannot_do_it_says),
        support_env_test(deleting_removes_local_pages_that_lie_below),
        support_env_test(pages_held_in_memory_are_bounded),
        support_env_test(threads_look_up_while_roots_are_installed),
        support_env_test(every_failing_call_of_an_install_leaves_a_whole_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
