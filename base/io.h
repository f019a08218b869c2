/*
 * The I/O seam: every system call on files goes through a struct base_io, so that tests can count,
 * order, fail or simulate each of them. No other folder calls open(2), write(2) and their like.
 *
 * Calls return a result >= 0 or a negated errno; they do not set errno. `ctx` is the seam's own.
 * Threads: any.
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <varve/error.h>

struct base_io {
    void *ctx;
    int (*open)(void *ctx, const char *path, int flags, mode_t mode); /* O_CLOEXEC is added */
    int (*close)(void *ctx, int fd);
    ssize_t (*pread)(void *ctx, int fd, void *buf, size_t size, int64_t pos);
    ssize_t (*pwritev)(void *ctx, int fd, const struct iovec *iov, int count, int64_t pos);
    int (*fdatasync)(void *ctx, int fd);
    int (*fsync)(void *ctx, int fd); /* also of directories */
    int (*fallocate)(void *ctx, int fd, int mode, int64_t pos, int64_t size);
    int (*ftruncate)(void *ctx, int fd, int64_t size);
    int (*fstat)(void *ctx, int fd, struct stat *ret);
    int (*stat)(void *ctx, const char *path, struct stat *ret);
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*link)(void *ctx, const char *from, const char *to);
    int (*unlink)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path, mode_t mode);
    int (*rmdir)(void *ctx, const char *path);
    /* Calls visit(arg, name, is_dir) for each entry but "." and ".."; a visit that returns non-zero
     * ends the walk and that value is returned. The order is the directory's. */
    int (*list)(void *ctx, const char *path, int (*visit)(void *arg, const char *name, bool is_dir),
                void *arg);
    int (*mmap)(void *ctx, int fd, size_t size, bool writable, void **ret); /* MAP_SHARED from 0 */
    int (*munmap)(void *ctx, void *addr, size_t size);
    int (*flock)(void *ctx, int fd, int operation); /* LOCK_EX|LOCK_NB ... */
    int (*fadvise)(void *ctx, int fd, int64_t pos, int64_t size, int advice);
    /* Begins to write dirty pages to the disk and does not wait: a later sync has less to do. It
     * makes nothing durable, and a failure of it may be ignored. */
    int (*writeback)(void *ctx, int fd, int64_t pos, int64_t size);
    int (*disk_free)(void *ctx, const char *path, uint64_t *ret_free,
                     uint64_t *ret_total); /* bytes */
};

/* The operating system's calls. */
extern const struct base_io base_io_posix;

/* Helpers over a seam. `path` and `what` only serve the message. */

/* Reads exactly `size` bytes at `pos`. VARVE_E_CORRUPT "short file" when the file ends first;
 * VARVE_E_IO. */
int base_io_pread_full(const struct base_io *io, int fd, void *buf, size_t size, int64_t pos,
                       const char *path, struct varve_error *err);

/* Reads up to `size` bytes at `pos`, fewer only at the end of the file; *ret_size is what was read.
 */
int base_io_pread_some(const struct base_io *io, int fd, void *buf, size_t size, int64_t pos,
                       size_t *ret_size, const char *path, struct varve_error *err);

/* Writes all of the vector at `pos`; goes on after short writes and above IOV_MAX entries. The
 * vector is unchanged. */
int base_io_pwritev_full(const struct base_io *io, int fd, const struct iovec *iov, int count,
                         int64_t pos, const char *path, struct varve_error *err);
int base_io_pwrite_full(const struct base_io *io, int fd, const void *buf, size_t size, int64_t pos,
                        const char *path, struct varve_error *err);

/*
 * Reads a whole file of at most `size_max` bytes into fresh memory (the caller frees it with
 * free()). Conditions: VARVE_E_NOT_FOUND. Failures: VARVE_E_TOO_LARGE, VARVE_E_IO,
 * VARVE_E_NO_MEMORY.
 */
int base_file_read(const struct base_io *io, const char *path, size_t size_max, void **ret,
                   size_t *ret_size, struct varve_error *err);

/* Creates a file to write. What has its name loses it and stays as it is: it may have another one,
 * and be open or mapped under that. */
int base_file_create(const struct base_io *io, const char *path, mode_t mode, int *ret_fd,
                     struct varve_error *err);

/*
 * Replaces (or creates) a file as a whole: writes `path`.tmp, syncs it when `durable`, renames it
 * over `path`, syncs the directory when `durable`. Readers see the old bytes or the new ones. A
 * leftover .tmp goes.
 */
int base_file_replace(const struct base_io *io, const char *path, const void *data, size_t size,
                      bool durable, struct varve_error *err);

/* Makes a directory and its missing parents; with `durable` the names of those made, and of `path`
 * in any case, are synced in their parents. */
int base_dir_create(const struct base_io *io, const char *path, bool durable,
                    struct varve_error *err);

/* Syncs a directory, so that names made in it survive power loss. */
int base_dir_sync(const struct base_io *io, const char *path, struct varve_error *err);

/* Removes a file or a whole tree; what does not exist is no error. */
int base_tree_remove(const struct base_io *io, const char *path, struct varve_error *err);

#endif
