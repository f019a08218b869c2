/*
 * Multipart uploads of a dir store: one file that the parts are written into at their places,
 * linked to its key when complete. Nothing is copied.
 *
 * U1 `<id>.key` has its name before `<id>` and loses it after: bytes without a key file belong to
 *    nobody and may go.
 * U2 A part's ETag carries its place, size, CRC32C and the session that wrote it. Parts of another
 *    session (an earlier process, perhaps before a power failure) are read back before the object
 * is completed; those of this one are in the page cache that the sync writes out. U3 Bytes that
 * have a second name are published: no part is written into them any more.
 */
#include "cold/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

#define KEY_SUFFIX ".key"
#define VERIFY_CHUNK (256 * 1024)

/* The two names of an upload. */
struct names {
    char *data;
    char *key;
};

static void names_free(struct names *n)
{
    free(n->data);
    free(n->key);
    n->data = n->key = NULL;
}

static int no_such_upload(struct cold_dir *d, const char *op, const char *key,
                          const struct cold_upload *upload, struct varve_error *err)
{
    int rc = cold_dir_check_present(d, op, key, err);

    if (rc < 0)
        return rc;
    return base_fail(err, VARVE_E_NOT_FOUND, "%s %s in %s: no such upload %.40s", op, key, d->url,
                     upload->id);
}

/* Refuses an id that is none of ours: it becomes a part of a path. */
static int names_make(struct cold_dir *d, const char *op, const char *key,
                      const struct cold_upload *upload, struct names *ret, struct varve_error *err)
{
    struct base_id id;
    int rc;

    if (!base_id_parse(upload->id, strnlen(upload->id, sizeof(upload->id)), &id))
        return no_such_upload(d, op, key, upload, err);
    ret->data = ret->key = NULL;
    rc = base_format(&ret->data, err, "%s/" COLD_DIR_MARKER "/uploads/%s", d->root, upload->id);
    if (rc == 0)
        rc = base_format(&ret->key, err, "%s" KEY_SUFFIX, ret->data);
    if (rc < 0)
        names_free(ret);
    return rc;
}

/* Opens the bytes of an upload that is under way. */
static int data_open(struct cold_dir *d, const char *op, const char *key,
                     const struct cold_upload *upload, const struct names *n, int *ret_fd,
                     struct stat *ret_st, struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    int rc, fd = io->open(io->ctx, n->data, O_RDWR, 0);

    if (fd == -ENOENT || fd == -ENOTDIR)
        return no_such_upload(d, op, key, upload, err);
    if (fd < 0)
        return cold_dir_fail(d, fd, op, key, err);
    rc = io->fstat(io->ctx, fd, ret_st);
    if (rc < 0) {
        io->close(io->ctx, fd);
        return cold_dir_fail(d, rc, op, key, err);
    }
    *ret_fd = fd;
    return 0;
}

/* ---- begin, abort, list ---- */

/* Makes a file with some bytes under `path`, whole or not at all. */
static int place_file(struct cold_dir *d, const char *key, const char *path, const char *text,
                      struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    struct cold_dir_temp t = {0};
    int rc = cold_dir_temp_create(d, "begin upload of", key, &t, err);

    if (rc < 0)
        return rc;
    rc = base_io_pwrite_full(io, t.fd, text, strlen(text), 0, path, err);
    if (rc < 0) {
        rc = cold_dir_adopt(d, rc, "begin upload of", key, err);
    } else {
        rc = io->rename(io->ctx, t.path, path);
        if (rc < 0)
            rc = cold_dir_fail(d, rc, "begin upload of", key, err);
    }
    cold_dir_temp_end(d, &t);
    return rc;
}

int cold_dir_upload_begin(void *self, const char *key, struct cold_upload *ret,
                          struct varve_error *err)
{
    struct cold_dir *d = self;
    struct base_id id = base_id_new(d->env->random);
    struct cold_upload upload = {{0}};
    struct names n;
    int rc = cold_dir_check_key(d, "begin upload of", key, err);

    if (rc < 0)
        return rc;
    base_id_format(&id, upload.id);
    rc = names_make(d, "begin upload of", key, &upload, &n, err);
    if (rc < 0)
        return rc;
    rc = place_file(d, key, n.key, key, err);
    if (rc == 0) {
        rc = place_file(d, key, n.data, "", err);
        if (rc < 0)
            d->env->io->unlink(d->env->io->ctx, n.key);
    }
    names_free(&n);
    if (rc == 0)
        *ret = upload;
    return rc;
}

/* U1: first the bytes, then the key file. */
static int forget(struct cold_dir *d, const char *op, const char *key, const struct names *n,
                  struct varve_error *err)
{
    const struct base_io *io = d->env->io;
    int rc = io->unlink(io->ctx, n->data);

    if (rc == 0 || rc == -ENOENT)
        rc = io->unlink(io->ctx, n->key);
    if (rc < 0 && rc != -ENOENT)
        return cold_dir_fail(d, rc, op, key, err);
    return 0;
}

/* Reads the key an upload is for into fresh memory. */
static int key_read(struct cold_dir *d, const char *path, char **ret, struct varve_error *err)
{
    void *data;
    size_t size;
    int rc = base_file_read(d->env->io, path, COLD_KEY_MAX, &data, &size, err);

    if (rc < 0)
        return rc;
    rc = base_format(ret, err, "%.*s", (int)size, (const char *)data);
    free(data);
    return rc;
}

/* VARVE_E_NOT_FOUND unless the upload is for this key. */
static int key_check(struct cold_dir *d, const char *op, const char *key,
                     const struct cold_upload *upload, const struct names *n,
                     struct varve_error *err)
{
    char *of;
    bool same;
    int rc = key_read(d, n->key, &of, err);

    if (rc == VARVE_E_NOT_FOUND)
        return no_such_upload(d, op, key, upload, err);
    if (rc < 0)
        return cold_dir_adopt(d, rc, op, key, err);
    same = strcmp(of, key) == 0;
    free(of);
    return same ? 0 : no_such_upload(d, op, key, upload, err);
}

int cold_dir_upload_abort(void *self, const char *key, const struct cold_upload *upload,
                          struct varve_error *err)
{
    struct cold_dir *d = self;
    struct names n;
    int rc = names_make(d, "abort upload of", key, upload, &n, err);

    if (rc < 0)
        return rc;
    rc = key_check(d, "abort upload of", key, upload, &n, err);
    if (rc == 0)
        rc = forget(d, "abort upload of", key, &n, err);
    names_free(&n);
    return rc;
}

struct upload_listing {
    struct cold_dir *d;
    const char *prefix;
    int (*visit)(void *arg, const char *key, const struct cold_upload *upload, int64_t started);
    void *arg;
    char *path;
    struct varve_error *err;
};

static int list_one(struct upload_listing *l, const char *name, size_t id_size)
{
    const struct base_io *io = l->d->env->io;
    struct cold_upload upload = {{0}};
    struct varve_error error;
    struct stat st;
    char *path, *key;
    int rc = base_format(&path, l->err, "%s/%s", l->path, name);

    if (rc < 0)
        return rc;
    rc = io->stat(io->ctx, path, &st);
    if (rc == 0)
        rc = key_read(l->d, path, &key, &error);
    free(path);
    if (rc < 0)
        return 0; /* ended while we looked; a damaged one names no key */
    memcpy(upload.id, name, id_size);
    if (strncmp(key, l->prefix, strlen(l->prefix)) == 0)
        rc = l->visit(l->arg, key, &upload,
                      (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
    free(key);
    return rc;
}

static int list_visit(void *arg, const char *name, bool is_dir)
{
    size_t size = strlen(name), suffix = strlen(KEY_SUFFIX);
    struct base_id id;

    if (is_dir || size <= suffix || strcmp(name + size - suffix, KEY_SUFFIX) != 0 ||
        !base_id_parse(name, size - suffix, &id))
        return 0;
    return list_one(arg, name, size - suffix);
}

int cold_dir_upload_list(void *self, const char *prefix,
                         int (*visit)(void *arg, const char *key, const struct cold_upload *upload,
                                      int64_t started),
                         void *arg, struct varve_error *err)
{
    struct cold_dir *d = self;
    struct upload_listing l = {.d = d, .prefix = prefix, .visit = visit, .arg = arg, .err = err};
    int rc = cold_dir_check_present(d, "list uploads of", prefix, err);

    if (rc == 0)
        rc = base_format(&l.path, err, "%s/" COLD_DIR_MARKER "/uploads", d->root);
    if (rc < 0)
        return rc;
    rc = d->env->io->list(d->env->io->ctx, l.path, list_visit, &l);
    free(l.path);
    if (rc == -ENOENT)
        return cold_dir_check_present(d, "list uploads of", prefix, err);
    return rc;
}

/* ---- parts ---- */

/* What a part's ETag says (U2). */
struct part_tag {
    uint64_t session;
    uint64_t pos;
    uint64_t size;
    uint32_t crc32c;
};

static void tag_format(const struct part_tag *t, struct cold_etag *ret)
{
    snprintf(ret->text, sizeof(ret->text), "%016" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%08" PRIx32,
             t->session, t->pos, t->size, t->crc32c);
}

static bool tag_parse(const struct cold_etag *etag, struct part_tag *ret)
{
    int end = -1;

    if (sscanf(etag->text, "%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64 "-%8" SCNx32 "%n",
               &ret->session, &ret->pos, &ret->size, &ret->crc32c, &end) != 4)
        return false;
    return end > 0 && etag->text[end] == '\0';
}

int cold_dir_upload_part(void *self, const char *key, const struct cold_upload *upload,
                         unsigned number, uint64_t pos, const struct iovec *body, int count,
                         uint32_t crc32c, struct cold_part *ret, struct varve_error *err)
{
    static const char op[] = "upload part of";
    struct cold_dir *d = self;
    struct part_tag tag = {.session = d->session, .pos = pos};
    struct names n;
    struct stat st;
    int fd, rc = names_make(d, op, key, upload, &n, err);

    if (rc < 0)
        return rc;
    tag.crc32c = cold_dir_crc32c(body, count, &tag.size);
    if (tag.crc32c != crc32c) /* I9 */
        rc = base_fail(err, VARVE_E_CORRUPT,
                       "%s %s in %s: part %u has CRC32C %08" PRIx32 ", %08" PRIx32 " was promised",
                       op, key, d->url, number, tag.crc32c, crc32c);
    else
        rc = data_open(d, op, key, upload, &n, &fd, &st, err);
    if (rc == 0) {
        if (st.st_nlink != 1) /* U3 */
            rc = no_such_upload(d, op, key, upload, err);
        else if (pos > INT64_MAX - tag.size)
            rc = base_fail(err, VARVE_E_INVALID, "%s %s: part %u ends nowhere", op, key, number);
        else
            rc = base_io_pwritev_full(d->env->io, fd, body, count, (int64_t)pos, n.data, err);
        if (rc == VARVE_E_IO || rc == VARVE_E_NO_SPACE)
            rc = cold_dir_adopt(d, rc, op, key, err);
        if (rc == 0) /* the disk works while the next part is made; completing syncs the rest */
            d->env->io->writeback(d->env->io->ctx, fd, (int64_t)pos, (int64_t)tag.size);
        d->env->io->close(d->env->io->ctx, fd);
    }
    names_free(&n);
    if (rc < 0)
        return rc;
    ret->number = number;
    ret->size = tag.size;
    tag_format(&tag, &ret->etag);
    return 0;
}

/*
 * A part is held when its ETag is one of ours and the file has its bytes, which is all that can be
 * said without reading them: completing reads back what another session wrote (U2).
 */
int cold_dir_upload_check(void *self, const char *key, const struct cold_upload *upload,
                          const struct cold_part *parts, unsigned count, bool *ret_held,
                          struct varve_error *err)
{
    static const char op[] = "check upload of";
    struct cold_dir *d = self;
    struct names n;
    struct stat st;
    int fd, rc = names_make(d, op, key, upload, &n, err);

    if (rc < 0)
        return rc;
    rc = key_check(d, op, key, upload, &n, err);
    if (rc == 0)
        rc = data_open(d, op, key, upload, &n, &fd, &st, err);
    names_free(&n);
    if (rc < 0)
        return rc;
    d->env->io->close(d->env->io->ctx, fd);
    if (st.st_nlink != 1) /* U3: it is complete */
        return no_such_upload(d, op, key, upload, err);
    for (unsigned i = 0; i < count; i++) {
        struct part_tag t;

        ret_held[i] = tag_parse(&parts[i].etag, &t) && t.size == parts[i].size &&
                      t.pos <= (uint64_t)st.st_size && t.size <= (uint64_t)st.st_size - t.pos;
    }
    return 0;
}

/* ---- complete ---- */

static int bad_part(struct cold_dir *d, const char *key, unsigned number, const char *what,
                    struct varve_error *err)
{
    return base_fail(err, VARVE_E_CORRUPT, "complete upload of %s in %s: part %u %s", key, d->url,
                     number, what);
}

/* Reads a part back that another session wrote (U2). */
static int part_verify(struct cold_dir *d, const char *key, int fd, unsigned number,
                       const struct part_tag *t, struct varve_error *err)
{
    uint8_t *buf = malloc(VERIFY_CHUNK);
    uint32_t crc = 0;
    int rc = 0;

    if (!buf)
        return base_fail(err, VARVE_E_NO_MEMORY, "complete upload of %s: out of memory", key);
    for (uint64_t done = 0; rc == 0 && done < t->size;) {
        size_t size = t->size - done < VERIFY_CHUNK ? (size_t)(t->size - done) : VERIFY_CHUNK;

        rc = base_io_pread_full(d->env->io, fd, buf, size, (int64_t)(t->pos + done), key, err);
        crc = base_crc32c(crc, buf, size);
        done += size;
    }
    free(buf);
    if (rc < 0)
        return cold_dir_adopt(d, rc, "complete upload of", key, err);
    return crc == t->crc32c ? 0 : bad_part(d, key, number, "has lost its bytes", err);
}

/* Parts must be in order, touch, and be what was written. *ret_crc32c is that of the whole. */
static int parts_check(struct cold_dir *d, const char *key, int fd, const struct cold_part *parts,
                       unsigned count, uint64_t *ret_size, uint32_t *ret_crc32c,
                       struct varve_error *err)
{
    uint64_t size = 0;
    uint32_t crc = 0;

    for (unsigned i = 0; i < count; i++) {
        struct part_tag t;
        int rc = 0;

        if (!tag_parse(&parts[i].etag, &t) || t.size != parts[i].size)
            return bad_part(d, key, parts[i].number, "is none of this store's", err);
        if (i > 0 && parts[i].number <= parts[i - 1].number)
            return bad_part(d, key, parts[i].number, "is out of order", err);
        if (t.pos != size)
            return bad_part(d, key, parts[i].number, "does not begin where the one before ends",
                            err);
        if (t.session != d->session)
            rc = part_verify(d, key, fd, parts[i].number, &t, err);
        if (rc < 0)
            return rc;
        crc = base_crc32c_combine(crc, t.crc32c, t.size);
        size += t.size;
    }
    *ret_size = size;
    *ret_crc32c = crc;
    return 0;
}

/* Checks the bytes whole and syncs them. */
static int complete_check(struct cold_dir *d, const char *key, int fd, const struct stat *st,
                          const struct cold_part *parts, unsigned count, const struct cold_put *how,
                          struct varve_error *err)
{
    uint64_t size = 0;
    uint32_t crc = 0;
    int rc = parts_check(d, key, fd, parts, count, &size, &crc, err);

    if (rc < 0)
        return rc;
    if ((uint64_t)st->st_size != size)
        return base_fail(err, VARVE_E_CORRUPT,
                         "complete upload of %s in %s: the parts make %" PRIu64
                         " bytes, %lld were stored",
                         key, d->url, size, (long long)st->st_size);
    if (how->has_crc32c && how->crc32c != crc)
        return base_fail(err, VARVE_E_CORRUPT,
                         "complete upload of %s in %s: the parts' CRC32C is %08" PRIx32
                         ", %08" PRIx32 " was promised",
                         key, d->url, crc, how->crc32c);
    rc = d->env->io->fdatasync(d->env->io->ctx, fd);
    return rc < 0 ? cold_dir_fail(d, rc, "complete upload of", key, err) : 0;
}

/* I7: an earlier complete got as far as the link; then the condition lost against ourselves. */
static bool is_already_ours(struct cold_dir *d, const char *key, int fd, struct cold_etag *ret_etag)
{
    const struct base_io *io = d->env->io;
    struct stat ours, there;
    char *path;
    bool same = false;

    if (base_format(&path, NULL, "%s/%s", d->root, key) < 0)
        return false;
    if (io->fstat(io->ctx, fd, &ours) == 0 && io->stat(io->ctx, path, &there) == 0)
        same = ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
    free(path);
    if (same)
        cold_dir_etag(&there, ret_etag);
    return same;
}

int cold_dir_upload_complete(void *self, const char *key, const struct cold_upload *upload,
                             const struct cold_part *parts, unsigned count,
                             const struct cold_put *how, struct cold_etag *ret_etag,
                             struct varve_error *err)
{
    static const char op[] = "complete upload of";
    struct cold_dir *d = self;
    struct cold_dir_temp t;
    struct names n;
    struct stat st;
    int fd, rc = names_make(d, op, key, upload, &n, err);

    if (rc < 0)
        return rc;
    rc = key_check(d, op, key, upload, &n, err);
    if (rc == 0)
        rc = data_open(d, op, key, upload, &n, &fd, &st, err);
    if (rc < 0) {
        names_free(&n);
        return rc;
    }
    rc = complete_check(d, key, fd, &st, parts, count, how, err);
    if (rc == 0) {
        t = (struct cold_dir_temp){.path = n.data, .fd = fd};
        rc = cold_dir_publish(d, op, key, &t, how, ret_etag, err);
        if (rc == VARVE_E_PRECONDITION && is_already_ours(d, key, fd, ret_etag))
            rc = 0;
    }
    d->env->io->close(d->env->io->ctx, fd);
    if (rc == 0) /* what stays behind is listed and can be aborted */
        forget(d, op, key, &n, NULL);
    names_free(&n);
    return rc;
}

/* ---- leftovers ---- */

struct collecting {
    struct cold_dir *d;
    const char *dir;
};

static int collect_one(void *arg, const char *name, bool is_dir)
{
    struct collecting *c = arg;
    const struct base_io *io = c->d->env->io;
    struct base_id id;
    struct stat st;
    char *path;

    if (is_dir || !base_id_parse(name, strlen(name), &id))
        return 0;
    if (base_format(&path, NULL, "%s/%s" KEY_SUFFIX, c->dir, name) < 0)
        return 0;
    if (io->stat(io->ctx, path, &st) == -ENOENT) {
        path[strlen(path) - strlen(KEY_SUFFIX)] = '\0';
        io->unlink(io->ctx, path);
    }
    free(path);
    return 0;
}

void cold_dir_upload_collect(struct cold_dir *d)
{
    struct collecting c = {.d = d};
    char *path;

    if (base_format(&path, NULL, "%s/" COLD_DIR_MARKER "/uploads", d->root) < 0)
        return;
    c.dir = path;
    d->env->io->list(d->env->io->ctx, path, collect_one, &c);
    free(path);
}
