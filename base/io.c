/* The operating system's calls as a struct base_io, and whole reads and writes over any seam. */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"

/*
 * A call that a signal interrupted is made again, but for close (the descriptor is gone whatever it
 * returns) and the two syncs (I11: what a sync that did not succeed has written is not known).
 */

static int system_open(void *ctx, const char *path, int flags, mode_t mode)
{
    int fd;

    (void)ctx;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static int system_close(void *ctx, int fd)
{
    (void)ctx;
    return close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

static ssize_t system_pread(void *ctx, int fd, void *buf, size_t size, int64_t pos)
{
    ssize_t n;

    (void)ctx;
    do {
        n = pread(fd, buf, size, pos);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t system_pwritev(void *ctx, int fd, const struct iovec *iov, int count, int64_t pos)
{
    ssize_t n;

    (void)ctx;
    do {
        n = pwritev(fd, iov, count, pos);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int system_fdatasync(void *ctx, int fd)
{
    (void)ctx;
    return fdatasync(fd) == 0 ? 0 : -errno;
}

static int system_fsync(void *ctx, int fd)
{
    (void)ctx;
    return fsync(fd) == 0 ? 0 : -errno;
}

static int system_fallocate(void *ctx, int fd, int mode, int64_t pos, int64_t size)
{
    int rc;

    (void)ctx;
    do {
        rc = fallocate(fd, mode, pos, size);
    } while (rc < 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

static int system_ftruncate(void *ctx, int fd, int64_t size)
{
    int rc;

    (void)ctx;
    do {
        rc = ftruncate(fd, size);
    } while (rc < 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

static int system_fstat(void *ctx, int fd, struct stat *ret)
{
    (void)ctx;
    return fstat(fd, ret) == 0 ? 0 : -errno;
}

static int system_stat(void *ctx, const char *path, struct stat *ret)
{
    (void)ctx;
    return stat(path, ret) == 0 ? 0 : -errno;
}

static int system_rename(void *ctx, const char *from, const char *to)
{
    (void)ctx;
    return rename(from, to) == 0 ? 0 : -errno;
}

static int system_link(void *ctx, const char *from, const char *to)
{
    (void)ctx;
    return link(from, to) == 0 ? 0 : -errno;
}

static int system_unlink(void *ctx, const char *path)
{
    (void)ctx;
    return unlink(path) == 0 ? 0 : -errno;
}

static int system_mkdir(void *ctx, const char *path, mode_t mode)
{
    (void)ctx;
    return mkdir(path, mode) == 0 ? 0 : -errno;
}

static int system_rmdir(void *ctx, const char *path)
{
    (void)ctx;
    return rmdir(path) == 0 ? 0 : -errno;
}

/* Links are not followed: a link to a directory is no directory. */
static bool entry_is_dir(DIR *dir, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int system_list(void *ctx, const char *path,
                       int (*visit)(void *arg, const char *name, bool is_dir), void *arg)
{
    DIR *dir = opendir(path);
    int rc = 0;

    (void)ctx;
    if (!dir)
        return -errno;
    while (rc == 0) {
        struct dirent *entry;

        errno = 0;
        entry = readdir(dir);
        if (!entry) {
            rc = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = visit(arg, entry->d_name, entry_is_dir(dir, entry));
    }
    closedir(dir);
    return rc;
}

static int system_mmap(void *ctx, int fd, size_t size, bool writable, void **ret)
{
    void *addr = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);

    (void)ctx;
    if (addr == MAP_FAILED)
        return -errno;
    *ret = addr;
    return 0;
}

static int system_munmap(void *ctx, void *addr, size_t size)
{
    (void)ctx;
    return munmap(addr, size) == 0 ? 0 : -errno;
}

static int system_flock(void *ctx, int fd, int operation)
{
    int rc;

    (void)ctx;
    do {
        rc = flock(fd, operation);
    } while (rc < 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

static int system_fadvise(void *ctx, int fd, int64_t pos, int64_t size, int advice)
{
    (void)ctx;
    return -posix_fadvise(fd, pos, size, advice);
}

static int system_writeback(void *ctx, int fd, int64_t pos, int64_t size)
{
    (void)ctx;
    return sync_file_range(fd, pos, size, SYNC_FILE_RANGE_WRITE) == 0 ? 0 : -errno;
}

static int system_disk_free(void *ctx, const char *path, uint64_t *ret_free, uint64_t *ret_total)
{
    struct statvfs st;
    int rc;

    (void)ctx;
    do {
        rc = statvfs(path, &st);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return -errno;
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize; /* without what is kept for root */
    *ret_total = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}

const struct base_io base_io_posix = {
    .open = system_open,
    .close = system_close,
    .pread = system_pread,
    .pwritev = system_pwritev,
    .fdatasync = system_fdatasync,
    .fsync = system_fsync,
    .fallocate = system_fallocate,
    .ftruncate = system_ftruncate,
    .fstat = system_fstat,
    .stat = system_stat,
    .rename = system_rename,
    .link = system_link,
    .unlink = system_unlink,
    .mkdir = system_mkdir,
    .rmdir = system_rmdir,
    .list = system_list,
    .mmap = system_mmap,
    .munmap = system_munmap,
    .flock = system_flock,
    .fadvise = system_fadvise,
    .writeback = system_writeback,
    .disk_free = system_disk_free,
};

int base_io_pread_some(const struct base_io *io, int fd, void *buf, size_t size, int64_t pos,
                       size_t *ret_size, const char *path, struct varve_error *err)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = io->pread(io->ctx, fd, (char *)buf + done, size - done, pos + (int64_t)done);

        if (n < 0)
            return base_fail_errno(err, (int)n, "read %s", path);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret_size = done;
    return 0;
}

int base_io_pread_full(const struct base_io *io, int fd, void *buf, size_t size, int64_t pos,
                       const char *path, struct varve_error *err)
{
    size_t done;
    int rc = base_io_pread_some(io, fd, buf, size, pos, &done, path, err);

    if (rc < 0)
        return rc;
    if (done < size)
        return base_fail(err, VARVE_E_CORRUPT, "read %s: short file: %zu of %zu bytes at %lld",
                         path, done, size, (long long)pos);
    return 0;
}

/* The part of a vector that is still to be written. */
struct pending {
    const struct iovec *iov; /* the first entry not written whole */
    int count;
    size_t skip; /* bytes of *iov that are written */
};

static void pending_advance(struct pending *p, size_t written)
{
    p->skip += written;
    while (p->count > 0 && p->skip >= p->iov->iov_len) {
        p->skip -= p->iov->iov_len;
        p->iov++;
        p->count--;
    }
}

/* One call's worth of it. The caller's vector stays as it is: a begun entry goes out alone. */
static ssize_t pending_write(const struct base_io *io, int fd, const struct pending *p, int64_t pos)
{
    struct iovec rest;

    if (p->skip == 0)
        return io->pwritev(io->ctx, fd, p->iov, p->count < IOV_MAX ? p->count : IOV_MAX, pos);
    rest.iov_base = (char *)p->iov->iov_base + p->skip;
    rest.iov_len = p->iov->iov_len - p->skip;
    return io->pwritev(io->ctx, fd, &rest, 1, pos);
}

int base_io_pwritev_full(const struct base_io *io, int fd, const struct iovec *iov, int count,
                         int64_t pos, const char *path, struct varve_error *err)
{
    struct pending p = {.iov = iov, .count = count};

    for (pending_advance(&p, 0); p.count > 0;) {
        ssize_t n = pending_write(io, fd, &p, pos);

        if (n <= 0) /* there is something to write, so 0 would be for ever */
            return base_fail_errno(err, n < 0 ? (int)n : EIO, "write %s", path);
        pos += n;
        pending_advance(&p, (size_t)n);
    }
    return 0;
}

int base_io_pwrite_full(const struct base_io *io, int fd, const void *buf, size_t size, int64_t pos,
                        const char *path, struct varve_error *err)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = size};

    return base_io_pwritev_full(io, fd, &iov, 1, pos, path, err);
}
