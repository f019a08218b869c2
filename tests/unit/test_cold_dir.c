/* What is particular to the dir driver: leftovers, a directory that is away, faults of the disk. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/hash.h"
#include "cold/store.h"
#include "tests/support/env.h"
#include "tests/support/file.h"

static struct cold_store *open_store(struct support_env *e, bool create, bool read_only)
{
    const struct cold_store_options options = {.create = create, .read_only = read_only};
    struct cold_store *s;
    struct varve_error err;

    if (cold_store_open(&e->env, support_tmpdir_path(e->dir, "cold"), &options, &s, &err) < 0)
        fail_msg("%s", err.msg);
    return s;
}

static int put(struct cold_store *s, const char *key, const char *text,
               enum cold_condition condition, struct varve_error *err)
{
    struct iovec body = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct cold_put how = {.condition = condition};

    return cold_store_put(s, key, &body, 1, &how, NULL, err);
}

static int count_names(void *arg, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    ++*(int *)arg;
    return 0;
}

static int entries(struct support_env *e, const char *dir)
{
    int n = 0;

    assert_int_equal(
        base_io_posix.list(NULL, support_tmpdir_path(e->dir, "%s", dir), count_names, &n), 0);
    return n;
}

/* ---- away ---- */

static int never(void *arg, const char *key, const struct cold_meta *meta)
{
    (void)arg;
    (void)meta;
    fail_msg("%s is listed", key);
    return 0;
}

static void must_be_away(int rc, const struct varve_error *err)
{
    assert_int_equal(rc, VARVE_E_STORE);
    assert_int_equal(err->code, VARVE_E_STORE);
    assert_true(err->retriable);
    assert_non_null(strstr(err->msg, "cannot be reached"));
}

static void every_call_is_away(struct cold_store *s)
{
    const char *const keys[] = {"a/k"};
    struct cold_upload upload = {"0123456789abcdef0123456789abcdef"};
    struct cold_meta meta;
    struct varve_error err;
    char buf[1];
    void *data;
    size_t size;
    bool more;

    must_be_away(cold_store_get(s, "a/k", 0, 1, buf, &err), &err);
    must_be_away(cold_store_read(s, "a/k", 9, &data, &size, NULL, &err), &err);
    must_be_away(cold_store_head(s, "a/k", &meta, &err), &err);
    must_be_away(put(s, "a/k", "x", COLD_ALWAYS, &err), &err);
    must_be_away(put(s, "new", "x", COLD_IF_ABSENT, &err), &err);
    must_be_away(cold_store_delete(s, keys, 1, &err), &err);
    must_be_away(cold_store_list(s, "", NULL, 9, never, NULL, &more, &err), &err);
    must_be_away(cold_store_list(s, "a/", NULL, 9, never, NULL, &more, &err), &err);
    must_be_away(cold_store_upload_begin(s, "a/k", &upload, &err), &err);
    must_be_away(cold_store_upload_abort(s, "a/k", &upload, &err), &err);
    must_be_away(cold_store_upload_list(s, "", NULL, NULL, &err), &err);
}

static void a_directory_moved_away_is_retriable_and_comes_back(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    const char *there = support_tmpdir_path(e->dir, "cold");
    const char *away = support_tmpdir_path(e->dir, "away");
    struct varve_error err;
    char buf[1];

    assert_int_equal(put(s, "a/k", "v", COLD_ALWAYS, &err), 0);
    assert_int_equal(rename(there, away), 0);
    every_call_is_away(s);
    assert_false(support_file_exists(there));
    /* A mount point without its disk: the directory is there, the store is not. */
    assert_int_equal(base_io_posix.mkdir(NULL, there, 0755), 0);
    every_call_is_away(s);
    assert_int_equal(entries(e, "cold"), 0);
    assert_int_equal(base_io_posix.rmdir(NULL, there), 0);
    assert_int_equal(rename(away, there), 0);
    assert_int_equal(cold_store_get(s, "a/k", 0, 1, buf, &err), 0);
    assert_int_equal(buf[0], 'v');
    cold_store_close(s);
}

static void opening_without_create_makes_nothing(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, false, false);

    every_call_is_away(s);
    assert_false(support_file_exists(support_tmpdir_path(e->dir, "cold")));
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "is away"), 1);
    cold_store_close(s);
}

/* ---- leftovers ---- */

static void a_dead_writers_file_is_collected_and_a_living_ones_is_not(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    const char *tmp = support_tmpdir_path(e->dir, "cold/.varve/tmp/dead");
    const char *living = support_tmpdir_path(e->dir, "cold/.varve/tmp/living");
    const char *orphan =
        support_tmpdir_path(e->dir, "cold/.varve/uploads/0123456789abcdef0123456789abcdef");
    struct cold_upload upload;
    struct varve_error err;
    int fd;

    assert_int_equal(cold_store_upload_begin(s, "m", &upload, &err), 0);
    support_file_write(tmp, "x", 1);
    support_file_write(living, "x", 1);
    support_file_write(orphan, "x", 1);
    fd = base_io_posix.open(NULL, living, 0, 0);
    assert_int_equal(base_io_posix.flock(NULL, fd, 2 /* LOCK_EX */), 0);
    cold_store_close(s);
    s = open_store(e, false, true);
    cold_store_close(s);
    assert_true(support_file_exists(tmp)); /* a reader changes nothing */
    s = open_store(e, false, false);
    assert_false(support_file_exists(tmp));
    assert_true(support_file_exists(living));
    assert_false(support_file_exists(orphan));
    assert_int_equal(cold_store_upload_abort(s, "m", &upload, &err), 0);
    base_io_posix.close(NULL, fd);
    cold_store_close(s);
    s = open_store(e, false, false);
    assert_int_equal(entries(e, "cold/.varve/tmp"), 0);
    assert_int_equal(entries(e, "cold/.varve/uploads"), 0);
    cold_store_close(s);
}

static void a_put_leaves_no_temporary_file_whatever_fails(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    struct varve_error err;
    char key[32];
    int failed = 0;

    for (unsigned n = 1; n < 64; n++) {
        const struct support_io_fault fault = {
            .call = SUPPORT_IO_ANY, .nth = n, .sys_errno = n % 2 ? ENOSPC : EIO};
        int rc;

        snprintf(key, sizeof(key), "f/%u/k", n);
        support_io_fail(e->io, &fault);
        rc = put(s, key, "body", n % 3 ? COLD_IF_ABSENT : COLD_ALWAYS, &err);
        if (rc < 0) {
            assert_true(rc == VARVE_E_NO_SPACE || rc == VARVE_E_STORE);
            assert_int_equal(err.code, rc);
            assert_non_null(strstr(err.msg, key));
            failed++;
        }
        support_io_fail(e->io, NULL);
    }
    assert_true(failed > 5);
    assert_int_equal(support_io_open_count(e->io), 0);
    cold_store_close(s);
    s = open_store(e, false, false);
    assert_int_equal(entries(e, "cold/.varve/tmp"), 0);
    cold_store_close(s);
}

/* ---- the disk ---- */

static void a_full_disk_is_no_space_and_passes(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    const struct support_io_fault full = {.call = SUPPORT_IO_PWRITEV,
                                          .path = ".varve/tmp",
                                          .nth = 1,
                                          .sys_errno = ENOSPC,
                                          .keep = true,
                                          .torn_size = 2};
    struct cold_meta meta;
    struct varve_error err;

    support_io_fail(e->io, &full);
    assert_int_equal(put(s, "a/k", "body", COLD_ALWAYS, &err), VARVE_E_NO_SPACE);
    assert_true(err.retriable);
    assert_int_equal(cold_store_head(s, "a/k", &meta, &err), VARVE_E_NOT_FOUND);
    assert_int_equal(entries(e, "cold/.varve/tmp"), 0);
    support_io_fail(e->io, NULL);
    assert_int_equal(put(s, "a/k", "body", COLD_ALWAYS, &err), 0);
    cold_store_close(s);
}

static void a_directory_without_permission_is_denied(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    const struct support_io_fault denied = {
        .call = SUPPORT_IO_OPEN, .nth = 1, .sys_errno = EROFS, .keep = true};
    struct varve_error err;

    support_io_fail(e->io, &denied);
    assert_int_equal(put(s, "a/k", "body", COLD_ALWAYS, &err), VARVE_E_DENIED);
    assert_false(err.retriable);
    support_io_fail(e->io, NULL);
    cold_store_close(s);
}

/* The body is durable before it has its name, the name before put returns. */
static void a_put_syncs_the_body_then_names_it_then_syncs_the_names(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    const struct support_io_step *write, *sync, *link, *names, *above, *root;
    struct varve_error err;

    support_io_reset(e->io);
    assert_int_equal(put(s, "a/b/k", "body", COLD_IF_ABSENT, &err), 0);
    write = support_io_trace_find(e->io, 0, SUPPORT_IO_PWRITEV, ".varve/tmp", NULL);
    sync = support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, ".varve/tmp", NULL);
    link = support_io_trace_find(e->io, 0, SUPPORT_IO_LINK, "a/b/k", NULL);
    names = support_io_trace_find(e->io, 0, SUPPORT_IO_FSYNC, "cold/a/b", NULL);
    assert_true(support_io_before(write, sync));
    assert_true(support_io_before(sync, link));
    assert_true(support_io_before(link, names));
    for (size_t i = 0; i < support_io_trace_size(e->io); i++) {
        const struct support_io_step *step = support_io_trace_at(e->io, i);

        if (step->call != SUPPORT_IO_FSYNC)
            continue;
        above = strcmp(step->path, support_tmpdir_path(e->dir, "cold/a")) == 0 ? step : NULL;
        if (above)
            break;
    }
    assert_non_null(above);
    root = support_io_trace_at(e->io, support_io_trace_size(e->io) - 1);
    assert_int_equal(root->call, SUPPORT_IO_FSYNC);
    assert_string_equal(root->path, support_tmpdir_path(e->dir, "cold"));
    support_io_reset(e->io); /* known directories are synced alone */
    assert_int_equal(put(s, "a/b/l", "body", COLD_ALWAYS, &err), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FSYNC), 1);
    cold_store_close(s);
}

static void a_get_reads_the_file_once(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    struct varve_error err;
    char buf[4];

    assert_int_equal(put(s, "a/k", "0123456789", COLD_ALWAYS, &err), 0);
    support_io_reset(e->io);
    assert_int_equal(cold_store_get(s, "a/k", 4, 4, buf, &err), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_PREAD), 1);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_OPEN), 1);
    support_io_limit_read(e->io, 1);
    assert_int_equal(cold_store_get(s, "a/k", 4, 4, buf, &err), 0);
    assert_memory_equal(buf, "4567", 4);
    support_io_limit_read(e->io, 0);
    cold_store_close(s);
}

/* ---- names ---- */

static void a_key_and_keys_below_it_cannot_both_be(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    const char *const key[] = {"a/k"};
    struct cold_meta meta;
    struct varve_error err;

    assert_int_equal(put(s, "a/k", "x", COLD_ALWAYS, &err), 0);
    assert_int_equal(put(s, "a", "x", COLD_ALWAYS, &err), VARVE_E_UNSUPPORTED);
    assert_int_equal(put(s, "a", "x", COLD_IF_ABSENT, &err), VARVE_E_UNSUPPORTED);
    assert_int_equal(put(s, "a/k/l", "x", COLD_IF_ABSENT, &err), VARVE_E_UNSUPPORTED);
    assert_int_equal(cold_store_head(s, "a", &meta, &err), VARVE_E_NOT_FOUND);
    assert_int_equal(cold_store_head(s, "a/k/l", &meta, &err), VARVE_E_NOT_FOUND);
    assert_int_equal(cold_store_delete(s, key, 1, &err), 0);
    assert_false(support_file_exists(support_tmpdir_path(e->dir, "cold/a"))); /* pruned */
    assert_int_equal(put(s, "a", "x", COLD_IF_ABSENT, &err), 0);
    cold_store_close(s);
}

static void an_empty_directory_left_behind_is_in_nobodys_way(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    struct varve_error err;

    assert_int_equal(base_io_posix.mkdir(NULL, support_tmpdir_path(e->dir, "cold/a"), 0755), 0);
    assert_int_equal(put(s, "a", "x", COLD_IF_ABSENT, &err), 0);
    assert_int_equal(base_io_posix.mkdir(NULL, support_tmpdir_path(e->dir, "cold/b"), 0755), 0);
    assert_int_equal(put(s, "b", "x", COLD_ALWAYS, &err), 0);
    cold_store_close(s);
}

static void the_stores_own_names_are_no_keys(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    struct varve_error err;
    char buf[1], name[300];
    bool more = true;

    assert_int_equal(put(s, ".varve/x", "x", COLD_ALWAYS, &err), VARVE_E_INVALID);
    assert_int_equal(put(s, ".varve", "x", COLD_ALWAYS, &err), VARVE_E_INVALID);
    assert_int_equal(cold_store_get(s, ".varve/locks/1", 0, 1, buf, &err), VARVE_E_INVALID);
    assert_int_equal(cold_store_list(s, "", NULL, 9, never, NULL, &more, &err), 0);
    assert_false(more);
    assert_int_equal(cold_store_list(s, ".varve/", NULL, 9, never, NULL, &more, &err), 0);
    memset(name, 'n', sizeof(name));
    name[299] = '\0';
    assert_int_equal(put(s, name, "x", COLD_ALWAYS, &err), VARVE_E_UNSUPPORTED);
    assert_int_equal(cold_store_get(s, name, 0, 1, buf, &err), VARVE_E_NOT_FOUND);
    cold_store_close(s);
}

static void parts_of_an_earlier_session_are_read_back(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    struct iovec body = {.iov_base = (void *)(uintptr_t) "abc", .iov_len = 3};
    struct cold_put how = {0};
    struct cold_upload upload;
    struct cold_part part;
    struct varve_error err;
    const char *path;

    assert_int_equal(cold_store_upload_begin(s, "m", &upload, &err), 0);
    assert_int_equal(cold_store_upload_part(s, "m", &upload, 1, 0, &body, 1,
                                            base_crc32c(0, "abc", 3), &part, &err),
                     0);
    cold_store_close(s);
    s = open_store(e, false, false);
    path = support_tmpdir_path(e->dir, "cold/.varve/uploads/%s", upload.id);
    support_file_flip(path, 1, 4); /* as a power failure before the sync */
    assert_int_equal(cold_store_upload_complete(s, "m", &upload, &part, 1, &how, NULL, &err),
                     VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "has lost its bytes"));
    support_file_flip(path, 1, 4);
    assert_int_equal(cold_store_upload_complete(s, "m", &upload, &part, 1, &how, NULL, &err), 0);
    cold_store_close(s);
}

/* A complete that died between giving the name and forgetting the upload. */
static void a_complete_that_died_after_the_link_is_completed_again(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s = open_store(e, true, false);
    struct iovec body = {.iov_base = (void *)(uintptr_t) "abc", .iov_len = 3};
    struct cold_put how = {.condition = COLD_IF_ABSENT};
    struct cold_upload upload;
    struct cold_part part, again;
    struct varve_error err;
    const char *data;

    assert_int_equal(cold_store_upload_begin(s, "m", &upload, &err), 0);
    assert_int_equal(cold_store_upload_part(s, "m", &upload, 1, 0, &body, 1,
                                            base_crc32c(0, "abc", 3), &part, &err),
                     0);
    data = support_tmpdir_path(e->dir, "cold/.varve/uploads/%s", upload.id);
    assert_int_equal(base_io_posix.link(NULL, data, support_tmpdir_path(e->dir, "cold/m")), 0);
    assert_int_equal(cold_store_upload_part(s, "m", &upload, 1, 0, &body, 1,
                                            base_crc32c(0, "abc", 3), &again, &err),
                     VARVE_E_NOT_FOUND); /* published bytes are not written any more */
    assert_int_equal(cold_store_upload_complete(s, "m", &upload, &part, 1, &how, NULL, &err), 0);
    assert_false(support_file_exists(data));
    cold_store_close(s);
}

/* ---- URLs ---- */

static void wrong_urls_are_refused_in_words(void **state)
{
    static const char *const wrong[][2] = {
        {"", "empty"},
        {"file://host/x", "names a host"},
        {"file://", "no path"},
        {"file:/x", "must be followed by"},
        {"file:///x?endpoint=y", "unknown name 'endpoint'"},
        {"file:///x#y", "'#'"},
        {"file:///x%zz", "bad % escape"},
        {"file:///x%00", "bad % escape"},
        {"file:///x%4", "bad % escape"},
        {"gopher://x/y", "unknown scheme 'gopher'"},
        {"s3://key:hunter2@bucket/x", "credentials"},
        {"a\nb", "control character"},
    };
    struct support_env *e = *state;
    const struct cold_store_options options = {.create = true};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct cold_store *s = (void *)e;
        struct varve_error err;

        assert_int_equal(cold_store_open(&e->env, wrong[i][0], &options, &s, &err),
                         VARVE_E_INVALID);
        if (!strstr(err.msg, wrong[i][1]))
            fail_msg("'%s' does not say '%s'", err.msg, wrong[i][1]);
        assert_null(strstr(err.msg, "hunter2"));
        assert_ptr_equal(s, e);
    }
}

static void a_file_url_is_decoded_and_a_path_is_not(void **state)
{
    struct support_env *e = *state;
    const struct cold_store_options options = {.create = true};
    struct cold_store *s;
    struct varve_error err;
    char url[512];

    snprintf(url, sizeof(url), "FILE://localhost%s/a%%20b/", support_tmpdir_root(e->dir));
    assert_int_equal(cold_store_open(&e->env, url, &options, &s, &err), 0);
    assert_string_equal(cold_store_url(s), url);
    cold_store_close(s);
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "a b/.varve")));
    snprintf(url, sizeof(url), "%s/c%%20d?e", support_tmpdir_root(e->dir));
    assert_int_equal(cold_store_open(&e->env, url, &options, &s, &err), 0);
    cold_store_close(s);
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "c%%20d?e/.varve")));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, support_env_setup, support_env_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_directory_moved_away_is_retriable_and_comes_back),
        CASE(opening_without_create_makes_nothing),
        CASE(a_dead_writers_file_is_collected_and_a_living_ones_is_not),
        CASE(a_put_leaves_no_temporary_file_whatever_fails),
        CASE(a_full_disk_is_no_space_and_passes),
        CASE(a_directory_without_permission_is_denied),
        CASE(a_put_syncs_the_body_then_names_it_then_syncs_the_names),
        CASE(a_get_reads_the_file_once),
        CASE(a_key_and_keys_below_it_cannot_both_be),
        CASE(an_empty_directory_left_behind_is_in_nobodys_way),
        CASE(the_stores_own_names_are_no_keys),
        CASE(parts_of_an_earlier_session_are_read_back),
        CASE(a_complete_that_died_after_the_link_is_completed_again),
        CASE(wrong_urls_are_refused_in_words),
        CASE(a_file_url_is_decoded_and_a_path_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
