/* base/io.c and base/file.c. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/env.h"
#include "tests/support/file.h"

static int open_new(struct support_env *e, const char *path)
{
    const struct base_io *io = e->env.io;
    int fd = io->open(io->ctx, path, O_RDWR | O_CREAT, 0666);

    assert_true(fd >= 0);
    return fd;
}

static void close_it(struct support_env *e, int fd)
{
    assert_int_equal(e->env.io->close(e->env.io->ctx, fd), 0);
}

static void every_call_of_the_system_works_and_fails_with_its_errno(void **state)
{
    struct support_env *e = *state;
    const struct base_io *io = e->env.io;
    const char *a = support_tmpdir_path(e->dir, "a");
    const char *b = support_tmpdir_path(e->dir, "b");
    const char *d = support_tmpdir_path(e->dir, "d");
    uint64_t space, total;
    struct stat st;
    void *map;
    int fd;

    assert_int_equal(io->open(io->ctx, a, O_RDONLY, 0), -ENOENT);
    fd = open_new(e, a);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(io->fallocate(io->ctx, fd, FALLOC_FL_KEEP_SIZE, 0, 8192), 0);
    assert_int_equal(io->ftruncate(io->ctx, fd, 5000), 0);
    assert_int_equal(io->fstat(io->ctx, fd, &st), 0);
    assert_int_equal(st.st_size, 5000);
    assert_int_equal(io->fadvise(io->ctx, fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    assert_int_equal(io->flock(io->ctx, fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(io->mmap(io->ctx, fd, 5000, true, &map), 0);
    memcpy(map, "hello", 5);
    assert_int_equal(io->munmap(io->ctx, map, 5000), 0);
    assert_int_equal(io->mmap(io->ctx, fd, 0, false, &map), -EINVAL);
    assert_int_equal(io->writeback(io->ctx, fd, 0, 5000), 0);
    assert_int_equal(io->fdatasync(io->ctx, fd), 0);
    assert_int_equal(io->fsync(io->ctx, fd), 0);
    close_it(e, fd);
    assert_int_equal(io->fsync(io->ctx, -1), -EBADF);
    assert_int_equal(io->fdatasync(io->ctx, -1), -EBADF);
    assert_int_equal(io->close(io->ctx, -1), -EBADF);
    assert_int_equal(io->ftruncate(io->ctx, -1, 0), -EBADF);
    assert_int_equal(io->fallocate(io->ctx, -1, 0, 0, 1), -EBADF);
    assert_int_equal(io->flock(io->ctx, -1, LOCK_SH), -EBADF);
    assert_int_equal(io->fadvise(io->ctx, -1, 0, 0, POSIX_FADV_NORMAL), -EBADF);
    assert_int_equal(io->writeback(io->ctx, -1, 0, 1), -EBADF);
    assert_int_equal(io->link(io->ctx, a, b), 0);
    assert_int_equal(io->link(io->ctx, a, b), -EEXIST);
    assert_int_equal(io->unlink(io->ctx, a), 0);
    assert_int_equal(io->unlink(io->ctx, a), -ENOENT);
    assert_int_equal(io->rename(io->ctx, b, a), 0);
    assert_int_equal(io->rename(io->ctx, b, a), -ENOENT);
    assert_int_equal(io->stat(io->ctx, a, &st), 0);
    assert_int_equal(io->stat(io->ctx, b, &st), -ENOENT);
    assert_int_equal(io->mkdir(io->ctx, d, 0777), 0);
    assert_int_equal(io->mkdir(io->ctx, d, 0777), -EEXIST);
    assert_int_equal(io->rmdir(io->ctx, d), 0);
    assert_int_equal(io->rmdir(io->ctx, d), -ENOENT);
    assert_int_equal(io->disk_free(io->ctx, support_tmpdir_root(e->dir), &space, &total), 0);
    assert_true(space <= total && total > 0);
    assert_int_equal(io->disk_free(io->ctx, d, &space, &total), -ENOENT);
}

static int note(void *arg, const char *name, bool is_dir)
{
    char *text = arg;

    text[name[0] - 'a'] = is_dir ? 'd' : 'f';
    return strcmp(name, "stop") == 0 ? 42 : 0;
}

static void listing_tells_directories_from_the_rest_and_ends_when_told(void **state)
{
    struct support_env *e = *state;
    const struct base_io *io = e->env.io;
    const char *root = support_tmpdir_root(e->dir);
    char seen[32] = "";

    support_file_write(support_tmpdir_path(e->dir, "a"), "", 0);
    assert_int_equal(io->mkdir(io->ctx, support_tmpdir_path(e->dir, "b"), 0777), 0);
    assert_int_equal(symlink("b", support_tmpdir_path(e->dir, "c")), 0);
    assert_int_equal(io->list(io->ctx, root, note, seen), 0);
    assert_string_equal(seen, "fdf");
    support_file_write(support_tmpdir_path(e->dir, "stop"), "", 0);
    assert_int_equal(io->list(io->ctx, root, note, seen), 42);
    assert_int_equal(io->list(io->ctx, support_tmpdir_path(e->dir, "a"), note, seen), -ENOTDIR);
    assert_int_equal(io->list(io->ctx, support_tmpdir_path(e->dir, "x"), note, seen), -ENOENT);
}

static void a_vector_is_written_whole_whatever_a_call_takes(void **state)
{
    static const size_t limits[] = {0, 1, 2, 3, 5, 7, 4096};
    struct support_env *e = *state;
    struct iovec iov[] = {{"", 0}, {"abc", 3}, {"", 0}, {"d", 1}, {"efghij", 6}, {"", 0}};
    struct iovec before[sizeof(iov) / sizeof(iov[0])];

    memcpy(before, iov, sizeof(iov));
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        const char *path = support_tmpdir_path(e->dir, "%zu", i);
        int fd = open_new(e, path);
        size_t size;
        char *data;

        support_io_limit_write(e->io, limits[i]);
        assert_int_equal(base_io_pwritev_full(e->env.io, fd, iov, 6, 2, path, NULL), 0);
        close_it(e, fd);
        data = support_file_read(path, &size);
        assert_int_equal(size, 12);
        assert_memory_equal(data, "\0\0abcdefghij", 12);
        assert_memory_equal(before, iov, sizeof(iov));
        free(data);
    }
}

static void a_vector_longer_than_one_call_takes_is_written(void **state)
{
    enum { COUNT = 2500 };
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "f");
    struct iovec *iov = calloc(COUNT, sizeof(*iov));
    char digits[] = "0123456789";
    int fd = open_new(e, path);
    size_t size;
    char *data;

    assert_non_null(iov);
    for (size_t i = 0; i < COUNT; i++)
        iov[i] = (struct iovec){.iov_base = digits + i % 10, .iov_len = 1};
    assert_int_equal(base_io_pwritev_full(e->env.io, fd, iov, COUNT, 0, path, NULL), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_PWRITEV), 3);
    close_it(e, fd);
    data = support_file_read(path, &size);
    assert_int_equal(size, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(data[i], '0' + (int)(i % 10));
    free(data);
    free(iov);
}

static void writing_nothing_makes_no_call(void **state)
{
    struct support_env *e = *state;
    struct iovec empty = {.iov_base = NULL, .iov_len = 0};

    assert_int_equal(base_io_pwritev_full(e->env.io, -1, &empty, 1, 0, "f", NULL), 0);
    assert_int_equal(base_io_pwritev_full(e->env.io, -1, NULL, 0, 0, "f", NULL), 0);
    assert_int_equal(base_io_pwrite_full(e->env.io, -1, NULL, 0, 0, "f", NULL), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_ANY), 0);
}

static ssize_t writes_nothing(void *ctx, int fd, const struct iovec *iov, int count, int64_t pos)
{
    (void)ctx, (void)fd, (void)iov, (void)count, (void)pos;
    return 0;
}

static void a_write_that_makes_no_progress_is_a_failure(void **state)
{
    struct base_io io = base_io_posix;
    struct varve_error err;

    (void)state;
    io.pwritev = writes_nothing;
    assert_int_equal(base_io_pwrite_full(&io, 1, "x", 1, 0, "f", &err), VARVE_E_IO);
    assert_string_equal(err.msg, "write f: Input/output error");
}

static void reading_goes_on_after_short_reads_and_knows_the_end(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "f");
    struct varve_error err;
    size_t size = 77;
    char buf[16];
    int fd;

    support_file_write(path, "0123456789", 10);
    support_io_limit_read(e->io, 3);
    fd = open_new(e, path);
    assert_int_equal(base_io_pread_full(e->env.io, fd, buf, 8, 2, path, &err), 0);
    assert_memory_equal(buf, "23456789", 8);
    assert_int_equal(base_io_pread_full(e->env.io, fd, buf, 8, 3, path, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "short file: 7 of 8 bytes at 3"));
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(base_io_pread_some(e->env.io, fd, buf, 16, 4, &size, path, &err), 0);
    assert_int_equal(size, 6);
    assert_int_equal(base_io_pread_some(e->env.io, fd, buf, 16, 10, &size, path, &err), 0);
    assert_int_equal(size, 0);
    size = 77;
    assert_int_equal(base_io_pread_some(e->env.io, -1, buf, 16, 0, &size, path, &err), VARVE_E_IO);
    assert_int_equal(err.sys_errno, EBADF);
    assert_int_equal(size, 77);
    close_it(e, fd);
}

static void a_file_is_read_whole_or_not_at_all(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "f");
    char untouched;
    void *data = &untouched;
    struct varve_error err;
    size_t size = 77;

    assert_int_equal(base_file_read(e->env.io, path, 10, &data, &size, &err), VARVE_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, path));
    support_file_write(path, "0123456789", 10);
    assert_int_equal(base_file_read(e->env.io, path, 9, &data, &size, &err), VARVE_E_TOO_LARGE);
    assert_non_null(strstr(err.msg, "10 bytes, the limit is 9"));
    assert_ptr_equal(data, &untouched);
    assert_int_equal(size, 77);
    assert_int_equal(base_file_read(e->env.io, path, 10, &data, &size, &err), 0);
    assert_int_equal(size, 10);
    assert_memory_equal(data, "0123456789", 10);
    free(data);
    support_file_write(path, "", 0);
    assert_int_equal(base_file_read(e->env.io, path, 0, &data, &size, &err), 0);
    assert_int_equal(size, 0);
    free(data);
}

static void a_replacement_goes_over_the_old_file_and_a_leftover(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "f");
    const char *tmp = support_tmpdir_path(e->dir, "f.tmp");
    size_t size;
    char *data;

    support_file_write(path, "old", 3);
    support_file_write(tmp, "a leftover that is longer", 25);
    assert_int_equal(base_file_replace(e->env.io, path, "new!", 4, false, NULL), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FDATASYNC), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FSYNC), 0);
    data = support_file_read(path, &size);
    assert_string_equal(data, "new!");
    free(data);
    assert_false(support_file_exists(tmp));
    assert_int_equal(base_file_replace(e->env.io, path, NULL, 0, true, NULL), 0);
    assert_int_equal(support_file_size(path), 0);
}

/* A loss of power had kept both names of a rename: a reader's mapping of the old file was cut. */
static void a_leftover_that_is_another_name_of_the_old_file_is_not_cut(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "f");
    const char *tmp = support_tmpdir_path(e->dir, "f.tmp");
    char old[4] = "";
    int fd;

    support_file_write(path, "old", 3);
    assert_int_equal(link(path, tmp), 0);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(base_file_replace(e->env.io, path, "new!", 4, true, NULL), 0);
    assert_int_equal(support_file_size(path), 4);
    assert_int_equal(pread(fd, old, 4, 0), 3);
    assert_string_equal(old, "old");
    close(fd);
    assert_false(support_file_exists(tmp));
}

/* Whatever call fails, the file is the old one or the new one, whole, and nothing else is left. */
static void a_replacement_that_fails_leaves_the_old_or_the_new(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "f");
    const char *tmp = support_tmpdir_path(e->dir, "f.tmp");
    bool hit = true;

    for (uint64_t nth = 1; hit; nth++) {
        struct support_io_fault fault = {
            .call = SUPPORT_IO_ANY, .nth = nth, .sys_errno = ENOSPC, .torn_size = 2};
        struct varve_error err = {0};
        size_t size;
        char *data;
        int rc;

        support_file_write(path, "old", 3);
        support_io_fail(e->io, &fault);
        rc = base_file_replace(e->env.io, path, "newer", 5, true, &err);
        hit = support_io_failed(e->io) > 0;
        support_io_fail(e->io, NULL);
        assert_int_equal(rc, hit ? VARVE_E_NO_SPACE : 0);
        assert_int_equal(err.retriable, hit);
        data = support_file_read(path, &size);
        assert_true(strcmp(data, "newer") == 0 || (hit && strcmp(data, "old") == 0));
        free(data);
        assert_false(support_file_exists(tmp));
        assert_int_equal(support_io_open_count(e->io), 0);
    }
}

static void directories_are_made_with_their_parents_and_synced(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "a/b//c/");
    const char *file = support_tmpdir_path(e->dir, "file");
    struct varve_error err;

    assert_int_equal(base_dir_create(e->env.io, path, true, &err), 0);
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "a/b/c")));
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FSYNC), 3);
    /* Whoever made it may have died before its name was synced. */
    assert_int_equal(base_dir_create(e->env.io, path, true, &err), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FSYNC), 4);
    support_file_write(file, "", 0);
    assert_int_equal(base_dir_create(e->env.io, file, false, &err), VARVE_E_IO);
    assert_int_equal(err.sys_errno, ENOTDIR);
    assert_non_null(strstr(err.msg, file));
    assert_int_equal(base_dir_create(e->env.io, support_tmpdir_path(e->dir, "file/x"), false, &err),
                     VARVE_E_IO);
    assert_int_equal(base_dir_create(e->env.io, "", false, &err), VARVE_E_NOT_FOUND);
}

static void a_relative_path_has_a_parent_too(void **state)
{
    struct support_env *e = *state;
    char before[4096];

    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(support_tmpdir_root(e->dir)), 0);
    assert_int_equal(base_dir_create(e->env.io, "x/y", true, NULL), 0);
    assert_int_equal(base_file_replace(e->env.io, "f", "1", 1, true, NULL), 0);
    assert_non_null(support_io_trace_find(e->io, 0, SUPPORT_IO_FSYNC, ".", NULL));
    assert_int_equal(base_tree_remove(e->env.io, "x", NULL), 0);
    assert_int_equal(chdir(before), 0);
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "f")));
    assert_false(support_file_exists(support_tmpdir_path(e->dir, "x")));
}

static void syncing_what_is_no_directory_fails(void **state)
{
    struct support_env *e = *state;
    struct support_io_fault fault = {.call = SUPPORT_IO_FSYNC, .nth = 1, .sys_errno = EIO};
    const char *file = support_tmpdir_path(e->dir, "file");
    struct varve_error err;

    support_file_write(file, "", 0);
    assert_int_equal(base_dir_sync(e->env.io, file, &err), VARVE_E_IO);
    assert_int_equal(base_dir_sync(e->env.io, support_tmpdir_path(e->dir, "x"), &err),
                     VARVE_E_NOT_FOUND);
    support_io_fail(e->io, &fault);
    assert_int_equal(base_dir_sync(e->env.io, support_tmpdir_root(e->dir), &err), VARVE_E_IO);
    assert_non_null(strstr(err.msg, "fsync directory"));
}

static void a_tree_is_removed_without_following_links(void **state)
{
    struct support_env *e = *state;
    const char *tree = support_tmpdir_path(e->dir, "tree");
    const char *kept = support_tmpdir_path(e->dir, "kept/file");

    assert_int_equal(base_dir_create(e->env.io, support_tmpdir_path(e->dir, "kept"), 0, NULL), 0);
    support_file_write(kept, "x", 1);
    assert_int_equal(base_dir_create(e->env.io, support_tmpdir_path(e->dir, "tree/a/b"), 0, NULL),
                     0);
    assert_int_equal(symlink("../kept", support_tmpdir_path(e->dir, "tree/link")), 0);
    for (int i = 0; i < 100; i++)
        support_file_write(support_tmpdir_path(e->dir, "tree/a/%d", i), "x", 1);
    assert_int_equal(base_tree_remove(e->env.io, tree, NULL), 0);
    assert_false(support_file_exists(tree));
    assert_true(support_file_exists(kept));
    assert_int_equal(base_tree_remove(e->env.io, tree, NULL), 0);
    assert_int_equal(base_tree_remove(e->env.io, kept, NULL), 0);
    assert_false(support_file_exists(kept));
}

static void removing_a_tree_names_what_it_could_not(void **state)
{
    struct support_env *e = *state;
    const char *tree = support_tmpdir_path(e->dir, "tree");
    struct support_io_fault fault = {
        .call = SUPPORT_IO_UNLINK, .path = "tree/file", .nth = 1, .sys_errno = EIO};
    struct varve_error err;

    assert_int_equal(base_dir_create(e->env.io, tree, false, NULL), 0);
    support_file_write(support_tmpdir_path(e->dir, "tree/file"), "x", 1);
    support_io_fail(e->io, &fault);
    assert_int_equal(base_tree_remove(e->env.io, tree, &err), VARVE_E_IO);
    assert_non_null(strstr(err.msg, "tree/file: Input/output error"));
    /* A file that may not go is said to be that, not "not a directory". */
    fault.sys_errno = EPERM;
    support_io_fail(e->io, &fault);
    assert_int_equal(base_tree_remove(e->env.io, tree, &err), VARVE_E_DENIED);
    fault = (struct support_io_fault){.call = SUPPORT_IO_LIST, .nth = 1, .sys_errno = EIO};
    support_io_fail(e->io, &fault);
    assert_int_equal(base_tree_remove(e->env.io, tree, &err), VARVE_E_IO);
    assert_non_null(strstr(err.msg, "list "));
}

static void the_default_env_has_every_seam(void **state)
{
    struct base_env env;

    (void)state;
    base_env_init(&env);
    assert_ptr_equal(env.io, &base_io_posix);
    assert_ptr_equal(env.clock, &base_clock_system);
    assert_ptr_equal(env.random, &base_random_system);
    assert_null(env.logger.message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(every_call_of_the_system_works_and_fails_with_its_errno),
        support_env_test(listing_tells_directories_from_the_rest_and_ends_when_told),
        support_env_test(a_vector_is_written_whole_whatever_a_call_takes),
        support_env_test(a_vector_longer_than_one_call_takes_is_written),
        support_env_test(writing_nothing_makes_no_call),
        cmocka_unit_test(a_write_that_makes_no_progress_is_a_failure),
        support_env_test(reading_goes_on_after_short_reads_and_knows_the_end),
        support_env_test(a_file_is_read_whole_or_not_at_all),
        support_env_test(a_replacement_goes_over_the_old_file_and_a_leftover),
        support_env_test(a_leftover_that_is_another_name_of_the_old_file_is_not_cut),
        support_env_test(a_replacement_that_fails_leaves_the_old_or_the_new),
        support_env_test(directories_are_made_with_their_parents_and_synced),
        support_env_test(a_relative_path_has_a_parent_too),
        support_env_test(syncing_what_is_no_directory_fails),
        support_env_test(a_tree_is_removed_without_following_links),
        support_env_test(removing_a_tree_names_what_it_could_not),
        cmocka_unit_test(the_default_env_has_every_seam),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
