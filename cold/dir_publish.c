/*
 * How an object of the dir driver becomes visible: under the lock of its key, with its condition
 * checked, by one link or rename, and durable with every directory above it.
 */
#include "cold/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

#define PUBLISH_TRIES 1000 /* against removers that prune directories as fast as we make them */
#define TICK_NS 1000000
#define TICK_TRIES 20000
#define REMOVED_WINDOW_NS 1000000000 /* a removal longer ago than any tick needs no care */

/* ---- locks ---- */

/* Opens and takes the lock of a key; waits for it. */
int cold_dir_lock(struct cold_dir *d, const char *op, const char *key, int *ret_fd,
                  struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    unsigned n = (unsigned)(cold_dir_hash(key, strlen(key)) % COLD_DIR_LOCKS);
    COLD_DIR_TEXT path = NULL;
    int fd, rc = base_format(&path, err, "%s/" COLD_DIR_MARKER "/locks/%u", d->root, n);

    if (rc < 0)
        return rc;
    fd = io->open(io->ctx, path, O_RDWR | O_CREAT, 0666);
    if (fd == -ENOENT || fd == -ENOTDIR) {
        rc = cold_dir_make_inner(d, "locks", op, key, err);
        if (rc < 0)
            return rc;
        fd = io->open(io->ctx, path, O_RDWR | O_CREAT, 0666);
    }
    if (fd < 0)
        return cold_dir_fail(d, fd, op, key, err);
    rc = io->flock(io->ctx, fd, LOCK_EX);
    if (rc < 0) {
        io->close(io->ctx, fd);
        return cold_dir_fail(d, rc, op, key, err);
    }
    *ret_fd = fd;
    return 0;
}

void cold_dir_unlock(struct cold_dir *d, int fd)
{
    d->env->io->close(d->env->io->ctx, fd);
}

/* The newest mtime of a file removed under this lock; 0: none. Damage costs one tick at most. */
static int64_t removed_read(struct cold_dir *d, int lock)
{
    uint8_t buf[8];

    if (d->env->io->pread(d->env->io->ctx, lock, buf, sizeof(buf), 0) != (ssize_t)sizeof(buf))
        return 0;
    return (int64_t)base_get_le64(buf);
}

void cold_dir_removed_write(struct cold_dir *d, int lock, int64_t ns)
{
    uint8_t buf[8];
    struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};

    if (ns <= removed_read(d, lock))
        return;
    base_put_le64(buf, (uint64_t)ns);
    if (d->env->io->pwritev(d->env->io->ctx, lock, &iov, 1, 0) < 0)
        return; /* a full disk; only the same tick of the clock is at stake */
}

/* D3: gives the new file an mtime of its own. Leaves its final state in *ret. */
static int freshen(struct cold_dir *d, int lock, int fd, const struct stat *old, struct stat *ret)
{
    const struct base_io *io = d->env->io;
    int64_t removed = removed_read(d, lock);
    bool touched = false;

    for (int i = 0; i < TICK_TRIES; i++) {
        int64_t now;
        int rc = io->fstat(io->ctx, fd, ret);

        if (rc < 0)
            return rc;
        now = cold_dir_mtime_ns(ret);
        if ((!old || now != cold_dir_mtime_ns(old)) &&
            (now > removed || removed - now > REMOVED_WINDOW_NS))
            return touched ? io->fsync(io->ctx, fd) : 0;
        d->env->clock->sleep_ns(d->env->clock->ctx, TICK_NS);
        rc = io->ftruncate(io->ctx, fd, ret->st_size); /* to the same size: sets mtime */
        if (rc < 0)
            return rc;
        touched = true;
    }
    return -EAGAIN;
}

/* ---- publishing ---- */

/* Makes the missing directories of a key, never the root (D5). */
static int make_parents(struct cold_dir *d, const char *op, const char *key, char *path,
                        struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    char *from = path + strlen(d->root) + 1;
    int rc = cold_dir_check_present(d, op, key, err);

    if (rc < 0)
        return rc;
    for (char *slash = strchr(from, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = io->mkdir(io->ctx, path, 0777);
        *slash = '/';
        if (rc == -ENOENT)
            return 0; /* pruned behind us: the caller tries again */
        if (rc == -ENOTDIR)
            return cold_dir_cannot_hold(d, op, key, err);
        if (rc < 0 && rc != -EEXIST)
            return cold_dir_fail(d, rc, op, key, err);
    }
    return 0;
}

/* Is there an object under the key, and does the condition allow to go on? *ret_old: its state. */
static int check_condition(struct cold_dir *d, const char *op, const char *key, const char *path,
                           const struct cold_put *how, struct stat *old, bool *ret_exists,
                           struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    struct cold_etag etag;
    int rc = io->stat(io->ctx, path, old);

    if (rc == 0 && S_ISDIR(old->st_mode)) {
        rc = io->rmdir(io->ctx, path); /* left empty by a remover that died */
        if (rc < 0 && rc != -ENOENT)
            return cold_dir_cannot_hold(d, op, key, err);
        rc = -ENOENT;
    }
    if (rc == -ENOTDIR)
        return cold_dir_cannot_hold(d, op, key, err);
    if (rc == -ENAMETOOLONG)
        return base_fail(err, VARVE_E_UNSUPPORTED,
                         "%s %s in %s: a part of the key is too long for a file name", op, key,
                         d->url);
    if (rc < 0 && rc != -ENOENT)
        return cold_dir_fail(d, rc, op, key, err);
    *ret_exists = rc == 0;
    if (how->condition == COLD_IF_ABSENT && *ret_exists)
        return base_fail(err, VARVE_E_PRECONDITION, "%s %s in %s: the key exists", op, key, d->url);
    if (how->condition != COLD_IF_MATCH)
        return 0;
    if (!*ret_exists) {
        rc = cold_dir_check_present(d, op, key, err);
        return rc < 0 ? rc
                      : base_fail(err, VARVE_E_PRECONDITION, "%s %s in %s: the key is gone", op,
                                  key, d->url);
    }
    cold_dir_etag(old, &etag);
    if (strcmp(etag.text, how->etag->text) != 0)
        return base_fail(err, VARVE_E_PRECONDITION, "%s %s in %s: the object has changed", op, key,
                         d->url);
    return 0;
}

/* Gives the file its name. 1: look again (somebody was between). */
static int name_it(struct cold_dir *d, const char *op, const char *key, char *path,
                   const char *from, const struct cold_put *how, struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    bool linked = how->condition == COLD_IF_ABSENT;
    int rc = linked ? io->link(io->ctx, from, path) : io->rename(io->ctx, from, path);

    if (linked && (rc == -EPERM || rc == -EOPNOTSUPP || rc == -EMLINK)) {
        linked = false; /* no links here; the lock alone makes it atomic among us (D2) */
        rc = io->rename(io->ctx, from, path);
    }
    if (rc == 0 && linked)
        io->unlink(io->ctx, from); /* or the collector does */
    if (rc == 0)
        return 0;
    if (rc == -ENOENT) {
        rc = make_parents(d, op, key, path, err);
        return rc < 0 ? rc : 1;
    }
    if (rc == -EEXIST || rc == -EISDIR || rc == -ENOTEMPTY)
        return 1;
    if (rc == -ENOTDIR)
        return cold_dir_cannot_hold(d, op, key, err);
    return cold_dir_fail(d, rc, op, key, err);
}

/* Looks, decides and names, under the key's lock (D2). */
static int publish_locked(struct cold_dir *d, int lock, const char *op, const char *key, char *path,
                          const struct cold_dir_temp *t, const struct cold_put *how,
                          struct stat *ret_st, struct varve_error *err)
{
    const struct base_io *io = d->env->io;

    for (int i = 0; i < PUBLISH_TRIES; i++) {
        struct stat old, from;
        bool exists = false;
        int rc = check_condition(d, op, key, path, how, &old, &exists, err);

        if (rc < 0)
            return rc;
        rc = freshen(d, lock, t->fd, exists ? &old : NULL, ret_st);
        if (rc < 0)
            return cold_dir_fail(d, rc, op, key, err);
        rc = name_it(d, op, key, path, t->path, how, err);
        if (rc <= 0)
            return rc;
        rc = io->stat(io->ctx, t->path, &from);
        if (rc < 0) /* taken away from under us: an aborted upload */
            return cold_dir_fail(d, rc, op, key, err);
    }
    return base_fail_retriable(err, VARVE_E_STORE, "%s %s in %s: its directory keeps vanishing", op,
                               key, d->url);
}

/* Syncs one directory; *ret_tag stands for it. A directory that is gone holds nothing to sync. */
int cold_dir_sync_one(struct cold_dir *d, const char *path, uint64_t *ret_tag)
{
    const struct base_io *io = d->env->io;
    struct stat st;
    int rc, fd = io->open(io->ctx, path[0] ? path : "/", O_RDONLY | O_DIRECTORY, 0);

    *ret_tag = 0;
    if (fd == -ENOENT || fd == -ENOTDIR)
        return 0;
    if (fd < 0)
        return fd;
    rc = io->fstat(io->ctx, fd, &st);
    if (rc == 0)
        rc = io->fsync(io->ctx, fd);
    io->close(io->ctx, fd);
    if (rc == 0)
        *ret_tag = (cold_dir_hash(path, strlen(path)) ^ ((uint64_t)st.st_ino << 20)) | 1;
    return rc;
}

/*
 * Makes the name `path` durable: syncs its directory, and the names of its directories unless this
 * process has synced them before: another may have made them and not synced them yet.
 */
static int sync_parents(struct cold_dir *d, const char *op, const char *key, const char *path,
                        struct varve_error *err)
{
    COLD_DIR_TEXT dir = NULL;
    size_t root = strlen(d->root);
    int rc = base_format(&dir, err, "%s", path);

    if (rc < 0)
        return rc;
    while (strlen(dir) > root) {
        char *slash = strrchr(dir, '/');
        uint64_t tag;

        *slash = '\0';
        rc = cold_dir_sync_one(d, dir, &tag);
        if (rc < 0)
            return cold_dir_fail(d, rc, op, key, err);
        if (tag != 0) {
            _Atomic uint64_t *known = &d->synced[tag / 2 % COLD_DIR_SYNCED];

            /* Relaxed: it only spares work; a stale value costs one sync. */
            if (atomic_load_explicit(known, memory_order_relaxed) == tag)
                break;
        }
    }
    return 0;
}

/* After sync_parents went all the way up: the directory's name and its parents' are durable. */
static void remember_synced(struct cold_dir *d, const char *path)
{
    const struct base_io *io = d->env->io;
    const char *slash = strrchr(path, '/');
    char *dir;
    struct stat st;

    if (base_format(&dir, NULL, "%.*s", (int)(slash - path), path) < 0)
        return;
    if (io->stat(io->ctx, dir[0] ? dir : "/", &st) == 0) {
        uint64_t tag = (cold_dir_hash(dir, strlen(dir)) ^ ((uint64_t)st.st_ino << 20)) | 1;

        atomic_store_explicit(&d->synced[tag / 2 % COLD_DIR_SYNCED], tag, memory_order_relaxed);
    }
    free(dir);
}

int cold_dir_publish(struct cold_dir *d, const char *op, const char *key, struct cold_dir_temp *t,
                     const struct cold_put *how, struct cold_etag *ret_etag,
                     struct varve_error *err)
{
    COLD_DIR_TEXT path = NULL;
    struct stat st;
    int lock, rc = cold_dir_object_path(d, op, key, &path, err);

    if (rc == 0)
        rc = cold_dir_lock(d, op, key, &lock, err);
    if (rc < 0)
        return rc;
    rc = publish_locked(d, lock, op, key, path, t, how, &st, err);
    cold_dir_unlock(d, lock);
    if (rc < 0)
        return rc;
    rc = sync_parents(d, op, key, path, err);
    if (rc < 0)
        return rc; /* visible, perhaps not durable: the caller asks whose it is (I7) */
    remember_synced(d, path);
    cold_dir_etag(&st, ret_etag);
    return 0;
}
