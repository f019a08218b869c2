/* Whole files, directories and trees over the I/O seam. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"

#define TREE_DEPTH_MAX 64 /* of base_tree_remove: nothing varve makes is nearly as deep */

/* Reads all of an open file into fresh memory. */
static int read_open_file(const struct base_io *io, int fd, const char *path, size_t size_max,
                          void **ret, size_t *ret_size, struct varve_error *err)
{
    struct stat st;
    void *data;
    int rc = io->fstat(io->ctx, fd, &st);

    if (rc < 0)
        return base_fail_errno(err, rc, "stat %s", path);
    if (st.st_size < 0 || (uint64_t)st.st_size > size_max)
        return base_fail(err, VARVE_E_TOO_LARGE, "read %s: %lld bytes, the limit is %zu", path,
                         (long long)st.st_size, size_max);
    data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
    if (!data)
        return base_fail(err, VARVE_E_NO_MEMORY, "read %s: out of memory", path);
    rc = base_io_pread_some(io, fd, data, (size_t)st.st_size, 0, ret_size, path, err);
    if (rc < 0) {
        free(data);
        return rc;
    }
    *ret = data;
    return 0;
}

int base_file_read(const struct base_io *io, const char *path, size_t size_max, void **ret,
                   size_t *ret_size, struct varve_error *err)
{
    int fd = io->open(io->ctx, path, O_RDONLY, 0);
    int rc;

    if (fd < 0)
        return base_fail_errno(err, fd, "open %s", path);
    rc = read_open_file(io, fd, path, size_max, ret, ret_size, err);
    io->close(io->ctx, fd); /* nothing was written: it has nothing to tell */
    return rc;
}

int base_file_create(const struct base_io *io, const char *path, mode_t mode, int *ret_fd,
                     struct varve_error *err)
{
    int fd = io->open(io->ctx, path, O_WRONLY | O_CREAT | O_EXCL, mode);

    if (fd == -EEXIST) {
        int rc = io->unlink(io->ctx, path);

        if (rc < 0 && rc != -ENOENT)
            return base_fail_errno(err, rc, "remove %s", path);
        fd = io->open(io->ctx, path, O_WRONLY | O_CREAT | O_EXCL, mode);
    }
    if (fd < 0)
        return base_fail_errno(err, fd, "create %s", path);
    *ret_fd = fd;
    return 0;
}

static int write_file(const struct base_io *io, const char *path, const void *data, size_t size,
                      bool durable, struct varve_error *err)
{
    int fd, closed;
    int rc = base_file_create(io, path, 0666, &fd, err);

    if (rc < 0)
        return rc;
    rc = base_io_pwrite_full(io, fd, data, size, 0, path, err);
    if (rc == 0 && durable) {
        rc = io->fdatasync(io->ctx, fd);
        if (rc < 0)
            rc = base_fail_errno(err, rc, "fdatasync %s", path);
    }
    closed = io->close(io->ctx, fd);
    if (rc == 0 && closed < 0)
        rc = base_fail_errno(err, closed, "close %s", path);
    return rc;
}

/* The directory a name lies in, in fresh memory. */
static int parent_of(const char *path, char **ret, struct varve_error *err)
{
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/')
        size--;
    while (size > 0 && path[size - 1] != '/')
        size--;
    while (size > 1 && path[size - 1] == '/')
        size--;
    if (size == 0)
        return base_format(ret, err, ".");
    return base_format(ret, err, "%.*s", (int)size, path);
}

/* Syncs the directory a name lies in. */
static int sync_parent(const struct base_io *io, const char *path, struct varve_error *err)
{
    char *parent;
    int rc = parent_of(path, &parent, err);

    if (rc < 0)
        return rc;
    rc = base_dir_sync(io, parent, err);
    free(parent);
    return rc;
}

int base_file_replace(const struct base_io *io, const char *path, const void *data, size_t size,
                      bool durable, struct varve_error *err)
{
    char *tmp;
    int rc = base_format(&tmp, err, "%s.tmp", path);

    if (rc < 0)
        return rc;
    rc = write_file(io, tmp, data, size, durable, err);
    if (rc == 0) {
        rc = io->rename(io->ctx, tmp, path);
        if (rc < 0)
            rc = base_fail_errno(err, rc, "rename %s to %s", tmp, path);
    }
    if (rc < 0)
        io->unlink(io->ctx, tmp); /* or the next replacement does */
    else if (durable)
        rc = sync_parent(io, path, err);
    free(tmp);
    return rc;
}

int base_dir_sync(const struct base_io *io, const char *path, struct varve_error *err)
{
    int fd = io->open(io->ctx, path, O_RDONLY | O_DIRECTORY, 0);
    int rc;

    if (fd < 0)
        return base_fail_errno(err, fd, "open directory %s", path);
    rc = io->fsync(io->ctx, fd);
    io->close(io->ctx, fd);
    if (rc < 0)
        return base_fail_errno(err, rc, "fsync directory %s", path);
    return 0;
}

static int dir_check_existing(const struct base_io *io, const char *path, struct varve_error *err)
{
    struct stat st;
    int rc = io->stat(io->ctx, path, &st);

    if (rc < 0)
        return base_fail_errno(err, rc, "stat %s", path);
    if (!S_ISDIR(st.st_mode))
        return base_fail_errno(err, ENOTDIR, "create directory %s", path);
    return 0;
}

int base_dir_create(const struct base_io *io, const char *path, bool durable,
                    struct varve_error *err)
{
    int made = io->mkdir(io->ctx, path, 0777);

    if (made == -ENOENT) {
        char *parent;
        int rc = parent_of(path, &parent, err);

        if (rc < 0)
            return rc;
        /* "" and a dangling link have no parent that could be missing. */
        if (strcmp(parent, ".") != 0 && strcmp(parent, "/") != 0)
            rc = base_dir_create(io, parent, durable, err);
        free(parent);
        if (rc < 0)
            return rc;
        made = io->mkdir(io->ctx, path, 0777);
    }
    if (made == -EEXIST) {
        int rc = dir_check_existing(io, path, err);

        if (rc < 0)
            return rc;
    } else if (made < 0) {
        return base_fail_errno(err, made, "create directory %s", path);
    }
    /* Also of one that is there: whoever made it may have died before it was synced. */
    return durable ? sync_parent(io, path, err) : 0;
}

/* The names in a directory, read to the end before anything is removed. */
struct names {
    char **names;
    size_t count;
    size_t capacity;
};

static int names_add(void *arg, const char *name, bool is_dir)
{
    struct names *list = arg;

    (void)is_dir;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 16;
        char **names = realloc(list->names, capacity * sizeof(*names));

        if (!names)
            return -ENOMEM;
        list->names = names;
        list->capacity = capacity;
    }
    list->names[list->count] = strdup(name);
    if (!list->names[list->count])
        return -ENOMEM;
    list->count++;
    return 0;
}

static void names_deinit(struct names *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
}

static int tree_remove(const struct base_io *io, const char *path, unsigned depth,
                       struct varve_error *err);

/* Removes what lies in a directory. `unlinked` is what unlink(2) said of it. */
static int dir_empty(const struct base_io *io, const char *path, int unlinked, unsigned depth,
                     struct varve_error *err)
{
    struct names list = {0};
    int rc = io->list(io->ctx, path, names_add, &list);

    if (rc == -ENOENT)
        rc = 0;
    else if (rc == -ENOTDIR)
        rc = base_fail_errno(err, unlinked, "remove %s", path);
    else if (rc < 0)
        rc = base_fail_errno(err, rc, "list %s", path);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        char *child;

        rc = base_format(&child, err, "%s/%s", path, list.names[i]);
        if (rc < 0)
            break;
        rc = tree_remove(io, child, depth + 1, err);
        free(child);
    }
    names_deinit(&list);
    return rc;
}

/* Unlinks first and asks afterwards: so links are removed, never followed. */
static int tree_remove(const struct base_io *io, const char *path, unsigned depth,
                       struct varve_error *err)
{
    int rc = io->unlink(io->ctx, path);

    if (rc == 0 || rc == -ENOENT)
        return 0;
    if (rc != -EISDIR && rc != -EPERM) /* what Linux and what POSIX says of a directory */
        return base_fail_errno(err, rc, "remove %s", path);
    if (depth >= TREE_DEPTH_MAX)
        return base_fail(err, VARVE_E_TOO_LARGE, "remove %s: more than %d directories deep", path,
                         TREE_DEPTH_MAX);
    rc = dir_empty(io, path, rc, depth, err);
    if (rc < 0)
        return rc;
    rc = io->rmdir(io->ctx, path);
    if (rc < 0 && rc != -ENOENT)
        return base_fail_errno(err, rc, "remove directory %s", path);
    return 0;
}

int base_tree_remove(const struct base_io *io, const char *path, struct varve_error *err)
{
    return tree_remove(io, path, 0, err);
}
