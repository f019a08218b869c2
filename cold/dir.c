/*
 * The dir driver: open, whole objects; publishing them is dir_publish.c.
 *
 * D1 An object's file is never changed once it has its name: a put makes a new file and gives it
 *    the name. Whoever has the old one open keeps the old bytes.
 * D2 Every change of a name happens under the lock of its key, in every process; so "look, then
 *    rename" is atomic among us. if-absent goes through link(2) all the same, which is atomic among
 *    all.
 * D3 An ETag (inode, size, mtime) never comes back for other bytes of the same key: inodes are
 *    reused at once, so a new file's mtime must differ from that of the file it replaces, and from
 *    that of one lately removed, which the lock file remembers. Where the clock's tick is too
 *    coarse, the writer waits a tick.
 * D4 A file under way is flock'ed by its writer, so what can be locked in tmp/ is a dead writer's.
 * D5 ENOENT means "no such object" only while the marker directory is there (I8).
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

#define TEMP_TRIES 16

/* ---- errors ---- */

static bool is_transient(int sys_errno)
{
    switch (sys_errno) {
    case EAGAIN:
    case EINTR:
    case EMFILE:
    case ENFILE:
    case EBUSY:
    case ESTALE:
    case ETIMEDOUT:
    case ENOTCONN:
    case EHOSTDOWN:
    case ENOLCK:
    case ENOENT:
        return true;
    default:
        return false;
    }
}

/* One of base's codes for a system call -> one of the store's. */
static int translate(int rc, struct varve_error *err)
{
    switch (rc) {
    case VARVE_E_NO_SPACE:
    case VARVE_E_DENIED:
    case VARVE_E_NO_MEMORY:
    case VARVE_E_CORRUPT:
    case VARVE_E_TOO_LARGE:
        return rc;
    default:
        if (err) {
            err->code = VARVE_E_STORE;
            err->retriable = err->retriable || is_transient(err->sys_errno);
        }
        return VARVE_E_STORE;
    }
}

int cold_dir_fail(const struct cold_dir *d, int sys_errno, const char *op, const char *key,
                  struct varve_error *err)
{
    return translate(base_fail_errno(err, sys_errno, "%s %s in %s", op, key, d->url), err);
}

int cold_dir_adopt(const struct cold_dir *d, int rc, const char *op, const char *key,
                   struct varve_error *err)
{
    return translate(base_error_context(err, rc, "%s %s in %s", op, key, d->url), err);
}

int cold_dir_check_present(const struct cold_dir *d, const char *op, const char *key,
                           struct varve_error *err)
{
    COLD_DIR_TEXT marker = NULL;
    struct stat st;
    int rc = base_format(&marker, err, "%s/" COLD_DIR_MARKER, d->root);

    if (rc < 0)
        return rc;
    rc = d->env->io->stat(d->env->io->ctx, marker, &st);
    if (rc == 0 && S_ISDIR(st.st_mode))
        return 0;
    if (rc == 0 || rc == -ENOENT || rc == -ENOTDIR)
        return base_fail_retriable(
            err, VARVE_E_STORE, "%s %s: the store %s cannot be reached: there is no directory %s",
            op, key, d->url, marker);
    return cold_dir_fail(d, rc, op, key, err);
}

int cold_dir_missing(const struct cold_dir *d, const char *op, const char *key,
                     struct varve_error *err)
{
    int rc = cold_dir_check_present(d, op, key, err);

    if (rc < 0)
        return rc;
    return base_fail(err, VARVE_E_NOT_FOUND, "%s %s in %s: no such object", op, key, d->url);
}

int cold_dir_cannot_hold(const struct cold_dir *d, const char *op, const char *key,
                         struct varve_error *err)
{
    return base_fail(err, VARVE_E_UNSUPPORTED,
                     "%s %s in %s: a directory cannot hold a key and keys below it", op, key,
                     d->url);
}

/* ---- names ---- */

int cold_dir_check_key(const struct cold_dir *d, const char *op, const char *key,
                       struct varve_error *err)
{
    size_t size = strlen(COLD_DIR_MARKER);

    if (strncmp(key, COLD_DIR_MARKER, size) == 0 && (key[size] == '/' || key[size] == '\0'))
        return base_fail(err, VARVE_E_INVALID, "%s %s in %s: the name %s is the store's own", op,
                         key, d->url, COLD_DIR_MARKER);
    return 0;
}

int cold_dir_object_path(const struct cold_dir *d, const char *op, const char *key, char **ret,
                         struct varve_error *err)
{
    int rc = cold_dir_check_key(d, op, key, err);

    return rc < 0 ? rc : base_format(ret, err, "%s/%s", d->root, key);
}

uint64_t cold_dir_hash(const char *text, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        h = (h ^ (uint8_t)text[i]) * 0x100000001b3u;
    return h ^ (h >> 29);
}

int64_t cold_dir_mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

void cold_dir_etag(const struct stat *st, struct cold_etag *ret)
{
    static const char digits[] = "0123456789abcdef";
    const uint64_t parts[3] = {(uint64_t)st->st_ino, (uint64_t)st->st_size,
                               (uint64_t)cold_dir_mtime_ns(st)};
    char *out = ret->text;

    for (int i = 0; i < 3; i++) {
        for (int shift = 60; shift >= 0; shift -= 4)
            *out++ = digits[(parts[i] >> shift) & 15];
        *out++ = i < 2 ? '-' : '\0';
    }
}

void cold_dir_meta(const struct stat *st, struct cold_meta *ret)
{
    ret->size = (uint64_t)st->st_size;
    ret->modified = cold_dir_mtime_ns(st) / 1000000;
    cold_dir_etag(st, &ret->etag);
}

uint32_t cold_dir_crc32c(const struct iovec *body, int count, uint64_t *ret_size)
{
    uint32_t crc = 0;

    *ret_size = 0;
    for (int i = 0; i < count; i++) {
        crc = base_crc32c(crc, body[i].iov_base, body[i].iov_len);
        *ret_size += body[i].iov_len;
    }
    return crc;
}

/* ---- files under way ---- */

/* Makes `.varve/<name>` again after somebody removed it. */
int cold_dir_make_inner(struct cold_dir *d, const char *name, const char *op, const char *key,
                        struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    COLD_DIR_TEXT path = NULL;
    int rc = cold_dir_check_present(d, op, key, err);

    if (rc == 0)
        rc = base_format(&path, err, "%s/" COLD_DIR_MARKER "/%s", d->root, name);
    if (rc < 0)
        return rc;
    rc = io->mkdir(io->ctx, path, 0777);
    return rc < 0 && rc != -EEXIST ? cold_dir_fail(d, rc, op, key, err) : 0;
}

/* Opens and locks a new name. 1: a collector was faster, try another. */
static int temp_try(struct cold_dir *d, const char *path, int *ret_fd)
{
    const struct base_io *io = d->env->io;
    struct stat st;
    int rc, fd = io->open(io->ctx, path, O_RDWR | O_CREAT | O_EXCL, 0666);

    if (fd == -EEXIST)
        return 1;
    if (fd < 0)
        return fd;
    rc = io->flock(io->ctx, fd, LOCK_EX | LOCK_NB); /* D4 */
    if (rc == 0)
        rc = io->fstat(io->ctx, fd, &st);
    if (rc == 0 && st.st_nlink > 0) {
        *ret_fd = fd;
        return 0;
    }
    io->close(io->ctx, fd);
    if (rc == 0 || rc == -EWOULDBLOCK)
        return 1;
    io->unlink(io->ctx, path);
    return rc;
}

int cold_dir_temp_create(struct cold_dir *d, const char *op, const char *key,
                         struct cold_dir_temp *ret, struct varve_error *err)
{
    for (int i = 0; i < TEMP_TRIES; i++) {
        struct base_id id = base_id_new(d->env->random);
        char text[BASE_ID_TEXT_SIZE];
        char *path;
        int rc;

        base_id_format(&id, text);
        rc = base_format(&path, err, "%s/" COLD_DIR_MARKER "/tmp/%s", d->root, text);
        if (rc < 0)
            return rc;
        rc = temp_try(d, path, &ret->fd);
        if (rc == 0) {
            ret->path = path;
            return 0;
        }
        free(path);
        if (rc == -ENOENT || rc == -ENOTDIR)
            rc = cold_dir_make_inner(d, "tmp", op, key, err);
        else if (rc < 0)
            rc = cold_dir_fail(d, rc, op, key, err);
        if (rc < 0)
            return rc;
    }
    return base_fail_retriable(err, VARVE_E_STORE, "%s %s in %s: no temporary file could be made",
                               op, key, d->url);
}

void cold_dir_temp_end(struct cold_dir *d, struct cold_dir_temp *t)
{
    const struct base_io *io = d->env->io;

    if (!t->path)
        return;
    io->unlink(io->ctx, t->path); /* gone already when it was renamed */
    io->close(io->ctx, t->fd);
    free(t->path);
    t->path = NULL;
}

/* Writes the body, proves its length and checksum, syncs it. */
static int temp_fill(struct cold_dir *d, const char *key, const struct cold_dir_temp *t,
                     const struct iovec *body, int count, const struct cold_put *how,
                     struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    uint64_t size;
    uint32_t crc = cold_dir_crc32c(body, count, &size);
    struct stat st;
    int rc;

    if (how->has_crc32c && crc != how->crc32c) /* I9 */
        return base_fail(err, VARVE_E_CORRUPT,
                         "put %s in %s: the body's CRC32C is %08x, %08x was promised", key, d->url,
                         crc, how->crc32c);
    rc = base_io_pwritev_full(io, t->fd, body, count, 0, t->path, err);
    if (rc < 0)
        return cold_dir_adopt(d, rc, "put", key, err);
    rc = io->fdatasync(io->ctx, t->fd);
    if (rc == 0)
        rc = io->fstat(io->ctx, t->fd, &st);
    if (rc < 0)
        return cold_dir_fail(d, rc, "put", key, err);
    if ((uint64_t)st.st_size != size)
        return base_fail(err, VARVE_E_CORRUPT, "put %s in %s: %lld of %llu bytes were stored", key,
                         d->url, (long long)st.st_size, (unsigned long long)size);
    return 0;
}

static int dir_put(void *self, const char *key, const struct iovec *body, int count,
                   const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_dir *d = self;
    struct cold_dir_temp t = {0};
    int rc = cold_dir_check_key(d, "put", key, err);

    if (rc == 0)
        rc = cold_dir_temp_create(d, "put", key, &t, err);
    if (rc < 0)
        return rc;
    rc = temp_fill(d, key, &t, body, count, how, err);
    if (rc == 0)
        rc = cold_dir_publish(d, "put", key, &t, how, ret_etag, err);
    cold_dir_temp_end(d, &t);
    return rc;
}

/* ---- reading ---- */

/* Opens an object's file and tells its state. VARVE_E_NOT_FOUND; VARVE_E_STORE when away. */
static int object_open(struct cold_dir *d, const char *op, const char *key, int *ret_fd,
                       struct stat *ret_st, struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    COLD_DIR_TEXT path = NULL;
    int rc, fd;

    rc = cold_dir_object_path(d, op, key, &path, err);
    if (rc < 0)
        return rc;
    fd = io->open(io->ctx, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ENAMETOOLONG) {
        rc = cold_dir_check_present(d, op, key, err);
        if (rc < 0)
            return rc;
        fd = io->open(io->ctx, path, O_RDONLY | O_NONBLOCK, 0); /* it may have just come back */
    }
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ENAMETOOLONG)
        return cold_dir_missing(d, op, key, err);
    if (fd < 0)
        return cold_dir_fail(d, fd, op, key, err);
    rc = io->fstat(io->ctx, fd, ret_st);
    if (rc == 0 && S_ISREG(ret_st->st_mode)) {
        *ret_fd = fd;
        return 0;
    }
    io->close(io->ctx, fd);
    return rc < 0 ? cold_dir_fail(d, rc, op, key, err) : cold_dir_missing(d, op, key, err);
}

static int dir_get(void *self, const char *key, uint64_t pos, size_t size, void *buf,
                   struct varve_error *err)
{
    struct cold_dir *d = self;
    struct stat st;
    int fd, rc = object_open(d, "get", key, &fd, &st, err);

    if (rc < 0)
        return rc;
    if (pos > (uint64_t)st.st_size || size > (uint64_t)st.st_size - pos) /* I9 */
        rc = base_fail(err, VARVE_E_CORRUPT,
                       "get %s in %s: short object: %lld bytes, %zu at %llu were asked for", key,
                       d->url, (long long)st.st_size, size, (unsigned long long)pos);
    else
        rc = base_io_pread_full(d->env->io, fd, buf, size, (int64_t)pos, key, err);
    d->env->io->close(d->env->io->ctx, fd);
    return rc == VARVE_E_IO ? cold_dir_adopt(d, rc, "get", key, err) : rc;
}

static int dir_read(void *self, const char *key, size_t size_max, int64_t patience_ms, void **ret,
                    size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_dir *d = self;
    struct stat st;
    void *data = NULL;
    int fd, rc = object_open(d, "get", key, &fd, &st, err);

    (void)patience_ms; /* a file system is there or not */
    if (rc < 0)
        return rc;
    if ((uint64_t)st.st_size > size_max)
        rc = base_fail(err, VARVE_E_TOO_LARGE, "get %s in %s: %lld bytes, the limit is %zu", key,
                       d->url, (long long)st.st_size, size_max);
    else if (!(data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1)))
        rc = base_fail(err, VARVE_E_NO_MEMORY, "get %s in %s: out of memory", key, d->url);
    else
        rc = base_io_pread_full(d->env->io, fd, data, (size_t)st.st_size, 0, key, err);
    d->env->io->close(d->env->io->ctx, fd);
    if (rc < 0) {
        free(data);
        return rc == VARVE_E_IO ? cold_dir_adopt(d, rc, "get", key, err) : rc;
    }
    *ret = data;
    *ret_size = (size_t)st.st_size;
    cold_dir_etag(&st, ret_etag);
    return 0;
}

static int dir_head(void *self, const char *key, struct cold_meta *ret, struct varve_error *err)
{
    struct cold_dir *d = self;
    struct stat st;
    int fd, rc = object_open(d, "head", key, &fd, &st, err);

    if (rc < 0)
        return rc;
    d->env->io->close(d->env->io->ctx, fd);
    cold_dir_meta(&st, ret);
    return 0;
}

/* ---- removing ---- */

/*
 * Removes the directories that a removal has left empty, up to the root. A put that meets a pruned
 * directory makes it again. *path becomes the first directory that stays.
 */
static void prune(struct cold_dir *d, char *path)
{
    const struct base_io *io = d->env->io;
    size_t root = strlen(d->root);
    char *slash = strrchr(path, '/');

    for (*slash = '\0'; strlen(path) > root; *slash = '\0') {
        int rc = io->rmdir(io->ctx, path);

        if (rc < 0 && rc != -ENOENT)
            return;
        slash = strrchr(path, '/');
    }
}

/* Removes one key; *path becomes the directory to sync. */
static int remove_one(struct cold_dir *d, const char *key, char *path, struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    struct stat st;
    int lock, rc = cold_dir_lock(d, "delete", key, &lock, err);

    if (rc < 0)
        return rc;
    rc = io->stat(io->ctx, path, &st);
    if (rc == 0 && !S_ISDIR(st.st_mode)) {
        cold_dir_removed_write(d, lock, cold_dir_mtime_ns(&st)); /* D3 */
        rc = io->unlink(io->ctx, path);
    } else if (rc == 0) {
        rc = -ENOENT; /* only a part of other keys */
    }
    cold_dir_unlock(d, lock);
    if (rc == -ENOENT || rc == -ENOTDIR || rc == -ENAMETOOLONG) {
        *strrchr(path, '/') = '\0';
        return cold_dir_check_present(d, "delete", key, err);
    }
    if (rc < 0)
        return cold_dir_fail(d, rc, "delete", key, err);
    prune(d, path);
    return 0;
}

/* Removes a key and syncs the directory of the one before it, unless it is the same. */
static int remove_step(struct cold_dir *d, const char *key, char **dirty, struct varve_error *err)
{
    char *path;
    uint64_t tag;
    int synced = 0, rc = cold_dir_object_path(d, "delete", key, &path, err);

    if (rc < 0)
        return rc;
    rc = remove_one(d, key, path, err);
    if (rc < 0) {
        free(path);
        return rc;
    }
    if (*dirty && strcmp(*dirty, path) != 0)
        synced = cold_dir_sync_one(d, *dirty, &tag);
    free(*dirty);
    *dirty = path;
    return synced < 0 ? cold_dir_fail(d, synced, "delete", key, err) : 0;
}

static int dir_remove(void *self, const char *const *keys, size_t count, struct varve_error *err)
{
    struct cold_dir *d = self;
    char *dirty = NULL;
    uint64_t tag;
    int first = 0;

    for (size_t i = 0; i < count; i++) { /* the others go even where one fails, as S3 does it */
        int rc = remove_step(d, keys[i], &dirty, first == 0 ? err : NULL);

        if (first == 0)
            first = rc;
    }
    if (dirty) {
        int rc = cold_dir_sync_one(d, dirty, &tag);

        if (rc < 0 && first == 0)
            first = cold_dir_fail(d, rc, "delete", keys[count - 1], err);
    }
    free(dirty);
    return first;
}

/* ---- open and close ---- */

static void dir_caps(void *self, struct cold_caps *ret)
{
    (void)self;
    *ret = (struct cold_caps){
        .conditional_put = true,
        .conditional_complete = true,
        .local = true,
        .ordered_list = true,
        .lists_uploads = true,
        .put_size_max = UINT64_C(64) << 20,
        .part_size_min = 1,
        .part_size = UINT64_C(8) << 20,
        .parts_max = 10000,
        .parallel = 4,
    };
}

struct collecting {
    struct cold_dir *d;
    const char *dir;
};

/* D4: what can be locked has no writer any more. */
static int collect_temp(void *arg, const char *name, bool is_dir)
{
    struct collecting *c = arg;
    const struct base_io *io = c->d->env->io;
    COLD_DIR_TEXT path = NULL;
    int fd;

    if (is_dir || base_format(&path, NULL, "%s/%s", c->dir, name) < 0)
        return 0;
    fd = io->open(io->ctx, path, O_RDONLY, 0);
    if (fd < 0)
        return 0;
    if (io->flock(io->ctx, fd, LOCK_EX | LOCK_NB) == 0)
        io->unlink(io->ctx, path);
    io->close(io->ctx, fd);
    return 0;
}

static void collect(struct cold_dir *d)
{
    COLD_DIR_TEXT tmp = NULL;
    struct collecting c = {.d = d};

    if (base_format(&tmp, NULL, "%s/" COLD_DIR_MARKER "/tmp", d->root) < 0)
        return;
    c.dir = tmp;
    d->env->io->list(d->env->io->ctx, tmp, collect_temp, &c);
    cold_dir_upload_collect(d);
}

static int create(struct cold_dir *d, struct varve_error *err)
{
    static const char *const inner[] = {"tmp", "locks", "uploads"};

    for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
        COLD_DIR_TEXT path = NULL;
        int rc = base_format(&path, err, "%s/" COLD_DIR_MARKER "/%s", d->root, inner[i]);

        if (rc == 0)
            rc = base_dir_create(d->env->io, path, true, err);
        if (rc < 0)
            return base_error_context(err, translate(rc, err), "create store %s", d->url);
    }
    return 0;
}

int cold_dir_open(const struct base_env *env, const char *path, const char *url,
                  const struct cold_store_options *options, struct cold_dir **ret,
                  struct varve_error *err)
{
    struct cold_dir *d = calloc(1, sizeof(*d));
    size_t size = strlen(path);
    int rc;

    if (!d)
        return base_fail(err, VARVE_E_NO_MEMORY, "open store %s: out of memory", url);
    while (size > 0 && path[size - 1] == '/')
        size--;
    d->env = env;
    d->session = base_random_u64(env->random);
    rc = base_format(&d->root, err, "%.*s", (int)size, path);
    if (rc == 0)
        rc = base_format(&d->url, err, "%s", url);
    if (rc == 0 && options->create && !options->read_only)
        rc = create(d, err);
    if (rc < 0) {
        cold_dir_close(d);
        return rc;
    }
    if (cold_dir_check_present(d, "open", "", NULL) < 0)
        base_log(&env->logger, BASE_LOG_WARNING, "store %s is away: no directory %s/%s", url,
                 d->root, COLD_DIR_MARKER);
    else if (!options->read_only)
        collect(d);
    *ret = d;
    return 0;
}

void cold_dir_close(void *self)
{
    struct cold_dir *d = self;

    free(d->root);
    free(d->url);
    free(d);
}

const struct cold_store_ops cold_dir_ops = {
    .name = "dir",
    .close = cold_dir_close,
    .caps = dir_caps,
    .put = dir_put,
    .get = dir_get,
    .read = dir_read,
    .head = dir_head,
    .list = cold_dir_list,
    .remove = dir_remove,
    .upload_begin = cold_dir_upload_begin,
    .upload_part = cold_dir_upload_part,
    .upload_complete = cold_dir_upload_complete,
    .upload_abort = cold_dir_upload_abort,
    .upload_list = cold_dir_upload_list,
    .upload_check = cold_dir_upload_check,
};
