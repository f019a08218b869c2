/* Everything in base that allocates, with each of its allocations failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/text.h"
#include "base/thread.h"
#include "tests/support/alloc.h"
#include "tests/support/file.h"
#include "tests/support/tmpdir.h"

static struct support_tmpdir *dir;
static const char *file_path;
static const char *tree_path;

/* Each does its work once and gives everything back; 0 or VARVE_E_NO_MEMORY. */

static int use_settings(struct varve_error *err)
{
    struct base_settings *s = base_settings_new(), *back = NULL;
    char *text = NULL;
    char name[8] = "n0";
    size_t size = 0;
    int rc = s ? 0 : base_fail(err, VARVE_E_NO_MEMORY, "new settings");

    for (int i = 0; rc == 0 && i < 20; i++) {
        name[1] = (char)('A' + i);
        rc = base_settings_set(s, name, "value", err);
    }
    if (rc == 0)
        rc = base_settings_set(s, name, "another", err);
    if (rc == 0)
        rc = base_settings_encode(s, "m", 1, &text, &size, err);
    if (rc == 0)
        rc = base_settings_decode(text, size, "m", 1, &back, err);
    free(text);
    base_settings_free(back);
    base_settings_free(s);
    return rc;
}

static int use_files(struct varve_error *err)
{
    const struct base_io *io = &base_io_posix;
    size_t size;
    void *data;
    int rc = base_file_replace(io, file_path, "abc", 3, true, err);

    if (rc < 0)
        return rc;
    rc = base_file_read(io, file_path, 10, &data, &size, err);
    if (rc == 0)
        free(data);
    return rc;
}

static int use_directories(struct varve_error *err)
{
    int rc = base_dir_create(&base_io_posix, tree_path, true, err);

    return rc < 0 ? rc : base_tree_remove(&base_io_posix, support_tmpdir_root(dir), err);
}

static void run_nothing(struct base_job *job)
{
    (void)job;
}

static int use_pool(struct varve_error *err)
{
    struct base_job job = {.run = run_nothing};
    struct base_pool *pool;
    int rc = base_pool_new(3, "test", &pool, err);

    if (rc < 0)
        return rc;
    base_pool_submit(pool, &job);
    base_pool_free(pool);
    return 0;
}

static int use_hash(struct varve_error *err)
{
    struct base_sha256 *h = base_sha256_new();

    if (!h)
        return base_fail(err, VARVE_E_NO_MEMORY, "new hash");
    base_sha256_free(h);
    return 0;
}

static void fail_each(int (*use)(struct varve_error *err))
{
    uint64_t nth = 0, count;

    do {
        struct varve_error err = {0};
        int rc;

        nth++;
        support_alloc_fail(nth, false);
        rc = use(&err);
        count = support_alloc_stop();
        assert_int_equal(rc, count >= nth ? VARVE_E_NO_MEMORY : 0);
        assert_int_equal(err.code, rc);
    } while (count >= nth);
    assert_true(nth > 1);
}

static void settings_survive_lack_of_memory(void **state)
{
    (void)state;
    fail_each(use_settings);
}

static void files_survive_lack_of_memory(void **state)
{
    (void)state;
    fail_each(use_files);
    assert_false(support_file_exists(support_tmpdir_path(dir, "f.tmp")));
}

static void directories_survive_lack_of_memory(void **state)
{
    (void)state;
    fail_each(use_directories);
}

static void a_pool_that_cannot_start_all_its_threads_ends_those_it_has(void **state)
{
    (void)state;
    fail_each(use_pool);
}

static void a_hash_survives_lack_of_memory(void **state)
{
    (void)state;
    fail_each(use_hash);
}

static int setup(void **state)
{
    (void)state;
    dir = support_tmpdir_new("memory");
    file_path = support_tmpdir_path(dir, "f");
    tree_path = support_tmpdir_path(dir, "a/b/c");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dir = support_tmpdir_free(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_survive_lack_of_memory),
        cmocka_unit_test_setup_teardown(files_survive_lack_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(directories_survive_lack_of_memory, setup, teardown),
        cmocka_unit_test(a_pool_that_cannot_start_all_its_threads_ends_those_it_has),
        cmocka_unit_test(a_hash_survives_lack_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
