/*
 * INVARIANTS
 *   K1  The durable image of a file is its memory with the pre-images of `undo` put back. A sync
 *       forgets the pre-images that are not lost.
 *   K2  The durable names are `durable`; `pending` holds what was done to them since, in order.
 *   K3  A dead caller changes nothing: its calls fail, and what it writes through a mapping is
 *       undone by sim_disk_thaw.
 */
#include "tests/sim/disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>

#include "base/hash.h"

/* Memory of files: slots of address space that never move, so that mappings may stay. */
#define SLOT_SIZE (INT64_C(32) << 20)
#define SLOT_COUNT 2048
#define PAGE 4096
#define SLOT_PAGES (SLOT_SIZE / PAGE)

struct undo {
    uint32_t sector;
    bool lost; /* a failed sync has given it up */
    uint8_t before[SIM_SECTOR];
};

struct inode {
    uint64_t number;
    unsigned refs; /* names of all three kinds, descriptors, mappings */
    unsigned maps;
    bool is_dir;
    uint8_t *data;
    uint32_t touched_pages; /* below it all pages may hold something, */
    uint8_t *touched;       /* by bits, above it none */
    int64_t size, durable_size;
    int64_t allocated;
    struct undo *undo;
    size_t undo_count, undo_capacity;
    uint32_t *undo_at; /* by sector: place in `undo` + 1 */
    size_t undo_sectors;
    bool by_map;               /* written through a mapping: one page, */
    uint8_t synced_page[PAGE]; /* as of the last sync, */
    uint8_t frozen_page[PAGE]; /* and as of sim_disk_freeze */
    bool frozen;
    const struct fd *lock_holder; /* exclusive */
    unsigned lock_sharers;
};

struct entry {
    uint64_t hash;
    char *path;
    struct inode *inode;
};

struct entries {
    struct entry *v;
    size_t count, capacity;
};

struct change {
    uint64_t dir;
    char *path;
    struct inode *inode; /* NULL: the name goes */
    int partner;         /* of a rename: the change before this one that must survive for it */
    uint64_t number;     /* files made later have a higher one */
    bool survived;
};

struct fd {
    struct inode *inode; /* NULL: free */
    struct sim_caller *caller;
    enum sim_kind kind;
    bool shared_lock;
    uint64_t dir; /* of a directory: its path's hash */
    char path[200];
};

struct sim_disk {
    struct sim_disk_hooks hooks;
    struct entries names, durable;
    struct change *pending;
    size_t pending_count, pending_capacity;
    struct fd *fds;
    size_t fd_count;
    uint64_t next_number;
    uint64_t total, used;
    uint64_t squeeze; /* bytes that something else holds */
};

/* ---- memory ---- */

static uint8_t *slots;
static struct inode *slot_owner[SLOT_COUNT];
static uint16_t free_slots[SLOT_COUNT];
static unsigned free_slot_count;

static uint8_t *slot_take(struct inode *owner)
{
    unsigned slot;

    if (!slots) {
        void *p = mmap(NULL, (size_t)(SLOT_SIZE * SLOT_COUNT), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        assert(p != MAP_FAILED);
        slots = p;
        for (unsigned i = 0; i < SLOT_COUNT; i++)
            free_slots[i] = (uint16_t)(SLOT_COUNT - 1 - i);
        free_slot_count = SLOT_COUNT;
    }
    assert(free_slot_count > 0);
    slot = free_slots[--free_slot_count];
    slot_owner[slot] = owner;
    return slots + (int64_t)slot * SLOT_SIZE;
}

static unsigned slot_of(const void *data)
{
    return (unsigned)(((const uint8_t *)data - slots) / SLOT_SIZE);
}

/* The range is going to hold something. */
static void touch(struct inode *n, int64_t pos, int64_t size)
{
    if (!n->touched) {
        n->touched = calloc(1, SLOT_PAGES / 8);
        assert(n->touched);
    }
    for (int64_t page = pos / PAGE; page * PAGE < pos + size; page++) {
        n->touched[page / 8] |= (uint8_t)(1u << page % 8);
        if (n->touched_pages <= (uint32_t)page)
            n->touched_pages = (uint32_t)page + 1;
    }
}

/* Zeros what lies at or above `pos`. */
static void clear_from(struct inode *n, int64_t pos)
{
    for (int64_t page = pos / PAGE; page < n->touched_pages; page++) {
        int64_t from = page * PAGE < pos ? pos - page * PAGE : 0;

        if (n->touched[page / 8] >> page % 8 & 1)
            memset(n->data + page * PAGE + from, 0, (size_t)(PAGE - from));
    }
}

static uint64_t room_of(const struct inode *n)
{
    int64_t size = n->size > n->allocated ? n->size : n->allocated;

    return ((uint64_t)size + PAGE - 1) / PAGE * PAGE;
}

static struct inode *inode_new(struct sim_disk *d, bool is_dir)
{
    struct inode *n = calloc(1, sizeof(*n));

    assert(n);
    n->number = ++d->next_number;
    n->is_dir = is_dir;
    if (!is_dir)
        n->data = slot_take(n);
    return n;
}

static void inode_unref(struct sim_disk *d, struct inode *n)
{
    if (--n->refs > 0)
        return;
    d->used -= n->is_dir ? 0 : room_of(n);
    if (n->data) {
        unsigned slot = slot_of(n->data);

        clear_from(n, 0);
        slot_owner[slot] = NULL;
        free_slots[free_slot_count++] = (uint16_t)slot;
    }
    free(n->touched);
    free(n->undo);
    free(n->undo_at);
    free(n);
}

/* ---- names ---- */

static uint64_t path_hash(const char *path, size_t size)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < size; i++)
        h = (h ^ (uint8_t)path[i]) * UINT64_C(0x100000001b3);
    return h;
}

static size_t parent_size(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) : 0;
}

static struct entry *entries_find(const struct entries *e, const char *path)
{
    uint64_t hash = path_hash(path, strlen(path));

    for (size_t i = 0; i < e->count; i++)
        if (e->v[i].hash == hash && strcmp(e->v[i].path, path) == 0)
            return &e->v[i];
    return NULL;
}

static void entries_set(struct sim_disk *d, struct entries *e, const char *path,
                        struct inode *inode)
{
    struct entry *at = entries_find(e, path);

    if (inode)
        inode->refs++;
    if (at) {
        inode_unref(d, at->inode);
        if (inode) {
            at->inode = inode;
            return;
        }
        free(at->path);
        *at = e->v[--e->count];
        return;
    }
    if (!inode)
        return;
    if (e->count == e->capacity) {
        e->capacity = e->capacity ? 2 * e->capacity : 64;
        e->v = realloc(e->v, e->capacity * sizeof(*e->v));
        assert(e->v);
    }
    e->v[e->count++] = (struct entry){path_hash(path, strlen(path)), strdup(path), inode};
}

static void entries_clear(struct sim_disk *d, struct entries *e)
{
    for (size_t i = 0; i < e->count; i++) {
        inode_unref(d, e->v[i].inode);
        free(e->v[i].path);
    }
    e->count = 0;
}

/* A name changes now; the disk hears of it later. */
static int name_set(struct sim_disk *d, const char *path, struct inode *inode, int partner)
{
    if (d->pending_count == d->pending_capacity) {
        d->pending_capacity = d->pending_capacity ? 2 * d->pending_capacity : 64;
        d->pending = realloc(d->pending, d->pending_capacity * sizeof(*d->pending));
        assert(d->pending);
    }
    if (inode)
        inode->refs++;
    d->pending[d->pending_count] = (struct change){
        .dir = path_hash(path, parent_size(path)),
        .path = strdup(path),
        .inode = inode,
        .partner = partner,
        .number = d->next_number,
    };
    entries_set(d, &d->names, path, inode);
    return (int)d->pending_count++;
}

static void change_free(struct sim_disk *d, struct change *c)
{
    if (c->inode)
        inode_unref(d, c->inode);
    free(c->path);
}

/* A name has changed on the disk. What was in a directory goes with it, though it was not told so.
 */
static void durable_set(struct sim_disk *d, const struct change *c)
{
    const struct entry *e = entries_find(&d->durable, c->path);
    size_t n = strlen(c->path);

    if (!c->inode && e && e->inode->is_dir)
        for (size_t i = d->durable.count; i > 0; i--) {
            char *path = d->durable.v[i - 1].path;

            if (d->durable.v[i - 1].inode->number <= c->number && strncmp(path, c->path, n) == 0 &&
                path[n] == '/') {
                char copy[256];

                assert(strlen(path) < sizeof(copy));
                strcpy(copy, path);
                entries_set(d, &d->durable, copy, NULL);
            }
        }
    entries_set(d, &d->durable, c->path, c->inode);
}

/* The directory with this hash is synced. A rename out of it needs the other name, too. */
static void names_sync(struct sim_disk *d, uint64_t dir)
{
    size_t kept = 0;
    int *moved = calloc(d->pending_count + 1, sizeof(*moved));

    assert(moved);
    for (size_t i = 0; i < d->pending_count; i++) {
        struct change *c = &d->pending[i];
        int partner = c->partner >= 0 ? moved[c->partner] : -1;

        if (c->dir == dir && partner < 0) {
            durable_set(d, c);
            change_free(d, c);
            moved[i] = -1;
            continue;
        }
        c->partner = partner;
        moved[i] = (int)kept;
        d->pending[kept++] = *c;
    }
    d->pending_count = kept;
    free(moved);
}

/* ---- data ---- */

static bool tracked(const struct inode *n)
{
    return !n->by_map;
}

static void undo_add(struct inode *n, uint32_t sector)
{
    struct undo *u;

    if (sector >= n->undo_sectors) {
        size_t sectors = n->undo_sectors ? n->undo_sectors : 16;

        while (sectors <= sector)
            sectors *= 2;
        n->undo_at = realloc(n->undo_at, sectors * sizeof(*n->undo_at));
        assert(n->undo_at);
        memset(n->undo_at + n->undo_sectors, 0, (sectors - n->undo_sectors) * sizeof(uint32_t));
        n->undo_sectors = sectors;
    }
    if (n->undo_at[sector] > 0) { /* K1; written again it is dirty again */
        n->undo[n->undo_at[sector] - 1].lost = false;
        return;
    }
    if (n->undo_count == n->undo_capacity) {
        n->undo_capacity = n->undo_capacity ? 2 * n->undo_capacity : 16;
        n->undo = realloc(n->undo, n->undo_capacity * sizeof(*n->undo));
        assert(n->undo);
    }
    u = &n->undo[n->undo_count++];
    u->sector = sector;
    u->lost = false;
    memcpy(u->before, n->data + (int64_t)sector * SIM_SECTOR, SIM_SECTOR);
    n->undo_at[sector] = (uint32_t)n->undo_count;
}

static void undo_range(struct inode *n, int64_t pos, int64_t end)
{
    if (!tracked(n))
        return;
    for (int64_t s = pos / SIM_SECTOR; s * SIM_SECTOR < end; s++)
        undo_add(n, (uint32_t)s);
}

/* As above, for a range that becomes zeros: pages that hold nothing stay what they are. */
static void undo_cut(struct inode *n, int64_t pos, int64_t end)
{
    for (int64_t page = pos / PAGE; page < n->touched_pages && page * PAGE < end; page++) {
        int64_t from = page * PAGE < pos ? pos : page * PAGE;
        int64_t to = (page + 1) * PAGE < end ? (page + 1) * PAGE : end;

        if (n->touched[page / 8] >> page % 8 & 1)
            undo_range(n, from, to);
    }
}

static void undo_drop(struct inode *n, size_t i)
{
    n->undo_at[n->undo[i].sector] = 0;
    n->undo[i] = n->undo[--n->undo_count];
    if (i < n->undo_count)
        n->undo_at[n->undo[i].sector] = (uint32_t)i + 1;
}

static void undo_apply(struct inode *n, size_t i)
{
    touch(n, (int64_t)n->undo[i].sector * SIM_SECTOR, SIM_SECTOR);
    memcpy(n->data + (int64_t)n->undo[i].sector * SIM_SECTOR, n->undo[i].before, SIM_SECTOR);
}

static void data_sync(struct inode *n)
{
    for (size_t i = n->undo_count; i > 0; i--)
        if (!n->undo[i - 1].lost)
            undo_drop(n, i - 1);
    n->durable_size = n->size;
    if (n->by_map)
        memcpy(n->synced_page, n->data, PAGE);
}

/* Some of it has reached the disk all the same. */
static void data_sync_failed(struct sim_disk *d, struct inode *n)
{
    for (size_t i = n->undo_count; i > 0; i--) {
        if (sim_chance(d->hooks.random, 1, 4))
            undo_drop(n, i - 1);
        else
            n->undo[i - 1].lost = true;
    }
}

static void data_forget_cache(struct inode *n)
{
    for (size_t i = n->undo_count; i > 0; i--)
        if (n->undo[i - 1].lost) {
            undo_apply(n, i - 1);
            undo_drop(n, i - 1);
        }
}

static void set_size(struct sim_disk *d, struct inode *n, int64_t size)
{
    uint64_t before = room_of(n);

    n->size = size;
    d->used += room_of(n) - before;
}

static uint64_t room_left(const struct sim_disk *d)
{
    uint64_t taken = d->used + d->squeeze;

    return taken < d->total ? d->total - taken : 0;
}

static bool has_room(const struct sim_disk *d, const struct inode *n, int64_t size)
{
    struct inode larger = *n;

    if (size <= n->size || size <= n->allocated)
        return true;
    larger.size = size;
    return room_of(&larger) - room_of(n) <= room_left(d);
}

/* ---- steps ---- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static enum sim_kind kind_of(const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

    if (strstr(path, "/divergent/"))
        return SIM_DIVERGENT;
    if (strstr(path, "/cache/") || strncmp(name, "reserve", 7) == 0)
        return SIM_CACHE;
    if (ends_with(name, ".log") || strstr(name, ".log."))
        return SIM_SEGMENT;
    if (ends_with(name, ".index") || strstr(name, ".index."))
        return SIM_INDEX;
    if (strncmp(name, "published", 9) == 0)
        return SIM_PUBLISHED;
    if (strncmp(name, "checkpoint", 10) == 0)
        return SIM_CHECKPOINT;
    if (strcmp(name, "root") == 0 || strncmp(name, "root.", 5) == 0)
        return SIM_LOCAL_ROOT;
    if (strncmp(name, "page-", 5) == 0)
        return SIM_LOCAL_PAGE;
    if (strncmp(name, "uploads", 7) == 0)
        return SIM_JOURNAL;
    if (strncmp(name, "varve-store", 11) == 0)
        return SIM_SETTINGS;
    if (strcmp(name, "lock") == 0)
        return SIM_LOCK;
    return SIM_OTHER;
}

static void trace_call(struct sim_disk *d, enum sim_kind kind, enum sim_step step, const char *path,
                       int64_t a, int64_t b)
{
    struct sim_trace *t = d->hooks.trace;

    sim_trace_mix(t, (uint64_t)kind << 8 | (uint64_t)step, (uint64_t)a, (uint64_t)b);
    if (t->calls)
        fprintf(t->calls, "        %s.%s %s %lld %lld\n", sim_kind_name(kind), sim_step_name(step),
                path, (long long)a, (long long)b);
}

/* 0: take the step. */
static int step_begin(struct sim_caller *c, enum sim_kind kind, enum sim_step step,
                      const char *path, struct sim_verdict *v)
{
    struct sim_disk *d = c->disk;

    *v = (struct sim_verdict){0};
    if (c->dead)
        return -EIO;
    *v = d->hooks.before(d->hooks.ctx, c, kind, step, path);
    if (c->dead)
        return -EIO;
    if (v->faulty && v->fault == SIM_ERROR && step != SIM_SYNC)
        return -EIO;
    if (v->faulty && v->fault == SIM_FULL)
        return -ENOSPC;
    return 0;
}

static int step_end(struct sim_caller *c, enum sim_kind kind, enum sim_step step,
                    const struct sim_verdict *v, int rc)
{
    struct sim_disk *d = c->disk;

    if (v->faulty)
        d->hooks.after(d->hooks.ctx, c, kind, step, v);
    return c->dead ? -EIO : rc;
}

/* ---- the seam ---- */

#define FD_FIRST 100000

static struct fd *fd_get(struct sim_disk *d, int fd)
{
    assert(fd >= FD_FIRST && (size_t)(fd - FD_FIRST) < d->fd_count);
    assert(d->fds[fd - FD_FIRST].inode);
    return &d->fds[fd - FD_FIRST];
}

static int fd_new(struct sim_disk *d, struct sim_caller *c, const char *path, struct inode *inode)
{
    size_t i = 0;

    while (i < d->fd_count && d->fds[i].inode)
        i++;
    assert(i < d->fd_count && strlen(path) < sizeof(d->fds[i].path));
    d->fds[i] = (struct fd){.inode = inode,
                            .caller = c,
                            .kind = inode->is_dir ? SIM_DIRECTORY : kind_of(path),
                            .dir = path_hash(path, strlen(path))};
    strcpy(d->fds[i].path, path);
    inode->refs++;
    return (int)i + FD_FIRST;
}

static bool parent_exists(struct sim_disk *d, const char *path)
{
    char parent[256];
    size_t n = parent_size(path);
    struct entry *e;

    if (n == 0)
        return true;
    assert(n < sizeof(parent));
    memcpy(parent, path, n);
    parent[n] = '\0';
    e = entries_find(&d->names, parent);
    return e && e->inode->is_dir;
}

/* /proc, of this machine. */
static int open_proc(struct sim_disk *d, struct sim_caller *c, const char *path)
{
    const char *text = d->hooks.proc(d->hooks.ctx, c, path);
    struct inode *n;

    if (!text)
        return -ENOENT;
    n = inode_new(d, false);
    n->size = (int64_t)strlen(text);
    touch(n, 0, n->size);
    memcpy(n->data, text, strlen(text));
    d->used += room_of(n);
    return fd_new(d, c, path, n);
}

static int disk_open(void *ctx, const char *path, int flags, mode_t mode)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    enum sim_kind kind = kind_of(path);
    struct entry *e;
    struct sim_verdict v;
    struct inode *n;
    int rc;

    (void)mode;
    if (c->dead)
        return -EIO;
    if (strncmp(path, "/proc/", 6) == 0)
        return open_proc(d, c, path);
    e = entries_find(&d->names, path);
    if (e && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (e && e->inode->is_dir && (flags & O_ACCMODE) != O_RDONLY)
        return -EISDIR;
    if (e && (flags & O_TRUNC) && e->inode->size > 0) {
        n = e->inode;
        rc = step_begin(c, kind, SIM_TRUNCATE, path, &v);
        if (rc < 0)
            return rc;
        undo_cut(n, 0, n->size);
        clear_from(n, 0);
        n->allocated = 0;
        set_size(d, n, 0);
        rc = step_end(c, kind, SIM_TRUNCATE, &v, 0);
        if (rc < 0)
            return rc;
        e = entries_find(&d->names, path);
    }
    if (e)
        return fd_new(d, c, path, e->inode);
    if (!(flags & O_CREAT) || !parent_exists(d, path))
        return -ENOENT;
    rc = step_begin(c, kind, SIM_CREATE, path, &v);
    if (rc < 0)
        return rc;
    if (room_left(d) == 0)
        return -ENOSPC;
    n = inode_new(d, false);
    name_set(d, path, n, -1);
    trace_call(d, kind, SIM_CREATE, path, 0, 0);
    rc = step_end(c, kind, SIM_CREATE, &v, 0);
    return rc < 0 ? rc : fd_new(d, c, path, n);
}

static void lock_release(struct fd *f)
{
    if (f->inode->lock_holder == f)
        f->inode->lock_holder = NULL;
    if (f->shared_lock)
        f->inode->lock_sharers--;
    f->shared_lock = false;
}

static int disk_close(void *ctx, int fd)
{
    struct sim_caller *c = ctx;
    struct fd *f = fd_get(c->disk, fd);

    lock_release(f);
    inode_unref(c->disk, f->inode);
    f->inode = NULL;
    return 0;
}

static ssize_t disk_pread(void *ctx, int fd, void *buf, size_t size, int64_t pos)
{
    struct sim_caller *c = ctx;
    struct fd *f = fd_get(c->disk, fd);
    struct sim_verdict v;
    int rc = 0;
    int64_t left;

    if (strncmp(f->path, "/proc/", 6) != 0)
        rc = step_begin(c, f->kind, SIM_READ, f->path, &v);
    if (rc < 0)
        return rc;
    left = f->inode->size - pos;
    if (left <= 0)
        return 0;
    if ((int64_t)size > left)
        size = (size_t)left;
    memcpy(buf, f->inode->data + pos, size);
    return (ssize_t)size;
}

static size_t iov_bytes(const struct iovec *iov, int count)
{
    size_t size = 0;

    for (int i = 0; i < count; i++)
        size += iov[i].iov_len;
    return size;
}

static void iov_write(uint8_t *to, const struct iovec *iov, size_t size)
{
    for (; size > 0; iov++) {
        size_t n = iov->iov_len < size ? iov->iov_len : size;

        if (n > 0)
            memcpy(to, iov->iov_base, n);
        to += n;
        size -= n;
    }
}

static ssize_t disk_pwritev(void *ctx, int fd, const struct iovec *iov, int count, int64_t pos)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    struct fd *f = fd_get(d, fd);
    struct inode *n = f->inode;
    size_t size = iov_bytes(iov, count);
    struct sim_verdict v;
    int rc = step_begin(c, f->kind, SIM_WRITE, f->path, &v);

    if (rc == -ENOSPC && size > 1 && v.chance % 2 == 0) { /* as much as there was room for */
        size = 1 + v.chance / 2 % (size - 1);
        rc = 0;
    }
    if (rc < 0)
        return rc;
    if (v.faulty && v.fault == SIM_TORN)
        size = v.chance % (size + 1);
    while (size > 0 && !has_room(d, n, pos + (int64_t)size))
        size -= size > SIM_SECTOR ? SIM_SECTOR : size;
    if (size == 0 && !(v.faulty && v.fault == SIM_TORN))
        return -ENOSPC;
    assert(pos + (int64_t)size <= SLOT_SIZE);
    undo_range(n, pos, pos + (int64_t)size);
    touch(n, pos, (int64_t)size);
    iov_write(n->data + pos, iov, size);
    if (pos + (int64_t)size > n->size)
        set_size(d, n, pos + (int64_t)size);
    trace_call(d, f->kind, SIM_WRITE, f->path, pos, (int64_t)size);
    sim_trace_bytes(d->hooks.trace, n->data + pos, size);
    rc = step_end(c, f->kind, SIM_WRITE, &v, 0);
    return rc < 0 ? rc : (ssize_t)size;
}

static int disk_sync(void *ctx, int fd)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    struct fd *f = fd_get(d, fd);
    struct sim_verdict v;
    int rc = step_begin(c, f->kind, SIM_SYNC, f->path, &v);

    if (rc < 0)
        return rc;
    if (v.faulty && v.fault == SIM_ERROR) {
        if (!f->inode->is_dir)
            data_sync_failed(d, f->inode);
        trace_call(d, f->kind, SIM_SYNC, f->path, -1, 0);
        return -EIO;
    }
    if (f->inode->is_dir)
        names_sync(d, f->dir);
    else
        data_sync(f->inode);
    trace_call(d, f->kind, SIM_SYNC, f->path, 0, 0);
    return step_end(c, f->kind, SIM_SYNC, &v, 0);
}

static int disk_fallocate(void *ctx, int fd, int mode, int64_t pos, int64_t size)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    struct fd *f = fd_get(d, fd);
    struct inode *n = f->inode;
    struct sim_verdict v;
    int rc = step_begin(c, f->kind, SIM_ALLOCATE, f->path, &v);
    uint64_t before = room_of(n);
    struct inode larger = *n;

    if (rc < 0)
        return rc;
    larger.allocated = pos + size > n->allocated ? pos + size : n->allocated;
    if (room_of(&larger) - before > room_left(d))
        return -ENOSPC;
    n->allocated = larger.allocated;
    if (!(mode & FALLOC_FL_KEEP_SIZE) && pos + size > n->size)
        n->size = pos + size;
    d->used += room_of(n) - before;
    trace_call(d, f->kind, SIM_ALLOCATE, f->path, pos, size);
    return step_end(c, f->kind, SIM_ALLOCATE, &v, 0);
}

static int disk_ftruncate(void *ctx, int fd, int64_t size)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    struct fd *f = fd_get(d, fd);
    struct inode *n = f->inode;
    struct sim_verdict v;
    uint64_t before;
    int rc = step_begin(c, f->kind, SIM_TRUNCATE, f->path, &v);

    if (rc < 0)
        return rc;
    assert(size <= SLOT_SIZE);
    if (size < n->size) {
        undo_cut(n, size, n->size);
        clear_from(n, size);
    }
    before = room_of(n);
    n->size = size;
    n->allocated = 0;
    d->used += room_of(n) - before;
    trace_call(d, f->kind, SIM_TRUNCATE, f->path, size, 0);
    return step_end(c, f->kind, SIM_TRUNCATE, &v, 0);
}

static void stat_fill(const struct sim_disk *d, const struct inode *n, struct stat *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->st_dev = 1;
    ret->st_ino = n->number;
    ret->st_mode = n->is_dir ? S_IFDIR | 0777 : S_IFREG | 0666;
    ret->st_size = n->size;
    ret->st_blocks = (blkcnt_t)(room_of(n) / 512);
    for (size_t i = 0; i < d->names.count; i++)
        ret->st_nlink += d->names.v[i].inode == n;
}

static int disk_fstat(void *ctx, int fd, struct stat *ret)
{
    struct sim_caller *c = ctx;

    stat_fill(c->disk, fd_get(c->disk, fd)->inode, ret);
    return 0;
}

static int disk_stat(void *ctx, const char *path, struct stat *ret)
{
    struct sim_caller *c = ctx;
    struct entry *e;

    if (c->dead)
        return -EIO;
    e = entries_find(&c->disk->names, path);
    if (!e)
        return -ENOENT;
    stat_fill(c->disk, e->inode, ret);
    return 0;
}

static int disk_rename(void *ctx, const char *from, const char *to)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    enum sim_kind kind = kind_of(to);
    struct entry *e;
    struct sim_verdict v;
    int rc = step_begin(c, kind, SIM_RENAME, to, &v), change;

    if (rc < 0)
        return rc;
    e = entries_find(&d->names, from);
    if (!e || !parent_exists(d, to))
        return -ENOENT;
    assert(!e->inode->is_dir);
    change = name_set(d, to, e->inode, -1);
    name_set(d, from, NULL, change);
    trace_call(d, kind, SIM_RENAME, to, 0, 0);
    return step_end(c, kind, SIM_RENAME, &v, 0);
}

static int disk_link(void *ctx, const char *from, const char *to)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    enum sim_kind kind = kind_of(to);
    struct entry *e;
    struct sim_verdict v;
    int rc = step_begin(c, kind, SIM_LINK, to, &v);

    if (rc < 0)
        return rc;
    e = entries_find(&d->names, from);
    if (!e || !parent_exists(d, to))
        return -ENOENT;
    if (entries_find(&d->names, to))
        return -EEXIST;
    name_set(d, to, e->inode, -1);
    trace_call(d, kind, SIM_LINK, to, 0, 0);
    return step_end(c, kind, SIM_LINK, &v, 0);
}

static bool has_other_name(const struct sim_disk *d, const struct inode *n, const char *path)
{
    for (size_t i = 0; i < d->durable.count; i++)
        if (d->durable.v[i].inode == n && strcmp(d->durable.v[i].path, path) != 0)
            return true;
    return false;
}

static int disk_unlink(void *ctx, const char *path)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    enum sim_kind kind = kind_of(path);
    struct entry *e;
    struct sim_verdict v;
    int rc;

    if (c->dead)
        return -EIO;
    e = entries_find(&d->names, path);
    if (!e)
        return -ENOENT;
    if (e->inode->is_dir)
        return -EISDIR;
    rc = step_begin(c, kind, SIM_UNLINK, path, &v);
    if (rc < 0)
        return rc;
    e = entries_find(&d->names, path);
    if (!e)
        return -ENOENT;
    if (kind == SIM_SEGMENT && !has_other_name(d, e->inode, path))
        d->hooks.unlink(d->hooks.ctx, c, path, e->inode->data, e->inode->size);
    name_set(d, path, NULL, -1);
    trace_call(d, kind, SIM_UNLINK, path, 0, 0);
    return step_end(c, kind, SIM_UNLINK, &v, 0);
}

static int disk_mkdir(void *ctx, const char *path, mode_t mode)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    struct sim_verdict v;
    int rc;

    (void)mode;
    if (c->dead)
        return -EIO;
    if (entries_find(&d->names, path))
        return -EEXIST;
    if (!parent_exists(d, path))
        return -ENOENT;
    rc = step_begin(c, SIM_DIRECTORY, SIM_MKDIR, path, &v);
    if (rc < 0)
        return rc;
    name_set(d, path, inode_new(d, true), -1);
    trace_call(d, SIM_DIRECTORY, SIM_MKDIR, path, 0, 0);
    return step_end(c, SIM_DIRECTORY, SIM_MKDIR, &v, 0);
}

static int disk_rmdir(void *ctx, const char *path)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    size_t n = strlen(path);
    struct sim_verdict v;
    int rc;

    if (c->dead)
        return -EIO;
    if (!entries_find(&d->names, path))
        return -ENOENT;
    for (size_t i = 0; i < d->names.count; i++)
        if (strncmp(d->names.v[i].path, path, n) == 0 && d->names.v[i].path[n] == '/')
            return -ENOTEMPTY;
    rc = step_begin(c, SIM_DIRECTORY, SIM_RMDIR, path, &v);
    if (rc < 0)
        return rc;
    name_set(d, path, NULL, -1);
    trace_call(d, SIM_DIRECTORY, SIM_RMDIR, path, 0, 0);
    return step_end(c, SIM_DIRECTORY, SIM_RMDIR, &v, 0);
}

/* A visitor may change the directory: the names are copied first. */
static int disk_list(void *ctx, const char *path,
                     int (*visit)(void *arg, const char *name, bool is_dir), void *arg)
{
    struct sim_caller *c = ctx;
    struct sim_disk *d = c->disk;
    size_t n = strlen(path), count = 0;
    struct {
        char name[100];
        bool is_dir;
    } * found;
    int rc = 0;

    if (c->dead)
        return -EIO;
    if (!entries_find(&d->names, path))
        return -ENOENT;
    found = calloc(d->names.count + 1, sizeof(*found));
    assert(found);
    for (size_t i = 0; i < d->names.count; i++) {
        const char *name = d->names.v[i].path + n + 1;

        if (strlen(d->names.v[i].path) <= n + 1 || strncmp(d->names.v[i].path, path, n) != 0 ||
            d->names.v[i].path[n] != '/' || strchr(name, '/'))
            continue;
        assert(strlen(name) < sizeof(found[count].name));
        strcpy(found[count].name, name);
        found[count++].is_dir = d->names.v[i].inode->is_dir;
    }
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = visit(arg, found[i].name, found[i].is_dir);
    free(found);
    return rc;
}

static int disk_mmap(void *ctx, int fd, size_t size, bool writable, void **ret)
{
    struct sim_caller *c = ctx;
    struct inode *n;

    if (c->dead)
        return -EIO;
    n = fd_get(c->disk, fd)->inode;
    assert((int64_t)size <= SLOT_SIZE);
    if (writable && !n->by_map) {
        assert(size <= PAGE);
        touch(n, 0, PAGE);
        memcpy(n->synced_page, n->data, PAGE);
        for (size_t i = 0; i < n->undo_count; i++) /* as the sectors are on the disk */
            if ((n->undo[i].sector + 1) * SIM_SECTOR <= PAGE)
                memcpy(n->synced_page + (size_t)n->undo[i].sector * SIM_SECTOR, n->undo[i].before,
                       SIM_SECTOR);
        while (n->undo_count > 0)
            undo_drop(n, n->undo_count - 1);
        n->by_map = true;
    }
    n->refs++;
    n->maps++;
    *ret = n->data;
    return 0;
}

static int disk_munmap(void *ctx, void *addr, size_t size)
{
    struct sim_caller *c = ctx;
    struct inode *n = slot_owner[slot_of(addr)];

    (void)size;
    assert(n);
    n->maps--;
    inode_unref(c->disk, n);
    return 0;
}

static int disk_flock(void *ctx, int fd, int operation)
{
    struct sim_caller *c = ctx;
    struct fd *f;

    if (c->dead)
        return -EIO;
    f = fd_get(c->disk, fd);
    if (operation & LOCK_UN) {
        lock_release(f);
        return 0;
    }
    if (f->inode->lock_holder && f->inode->lock_holder != f)
        return -EWOULDBLOCK;
    if ((operation & LOCK_EX) && f->inode->lock_sharers > (f->shared_lock ? 1u : 0u))
        return -EWOULDBLOCK;
    lock_release(f);
    if (operation & LOCK_EX) {
        f->inode->lock_holder = f;
    } else {
        f->shared_lock = true;
        f->inode->lock_sharers++;
    }
    return 0;
}

static int disk_fadvise(void *ctx, int fd, int64_t pos, int64_t size, int advice)
{
    struct sim_caller *c = ctx;

    (void)pos;
    (void)size;
    if (!c->dead && advice == POSIX_FADV_DONTNEED)
        data_forget_cache(fd_get(c->disk, fd)->inode);
    return 0;
}

/* What the kernel has begun to write may be on the disk or not: as without. */
static int disk_writeback(void *ctx, int fd, int64_t pos, int64_t size)
{
    (void)ctx;
    (void)fd;
    (void)pos;
    (void)size;
    return 0;
}

static int disk_free_bytes(void *ctx, const char *path, uint64_t *ret_free, uint64_t *ret_total)
{
    struct sim_caller *c = ctx;

    (void)path;
    if (c->dead)
        return -EIO;
    *ret_free = room_left(c->disk);
    *ret_total = c->disk->total;
    return 0;
}

void sim_disk_io(struct sim_caller *c, struct base_io *ret)
{
    *ret = (struct base_io){
        .ctx = c,
        .open = disk_open,
        .close = disk_close,
        .pread = disk_pread,
        .pwritev = disk_pwritev,
        .fdatasync = disk_sync,
        .fsync = disk_sync,
        .fallocate = disk_fallocate,
        .ftruncate = disk_ftruncate,
        .fstat = disk_fstat,
        .stat = disk_stat,
        .rename = disk_rename,
        .link = disk_link,
        .unlink = disk_unlink,
        .mkdir = disk_mkdir,
        .rmdir = disk_rmdir,
        .list = disk_list,
        .mmap = disk_mmap,
        .munmap = disk_munmap,
        .flock = disk_flock,
        .fadvise = disk_fadvise,
        .writeback = disk_writeback,
        .disk_free = disk_free_bytes,
    };
}

/* ---- from outside ---- */

#define FDS_MAX 512

/* The mount point: always there. */
static void disk_format(struct sim_disk *d)
{
    struct inode *top = inode_new(d, true);

    entries_set(d, &d->names, SIM_DISK_TOP, top);
    entries_set(d, &d->durable, SIM_DISK_TOP, top);
}

static void disk_empty(struct sim_disk *d)
{
    for (size_t i = 0; i < d->pending_count; i++)
        change_free(d, &d->pending[i]);
    d->pending_count = 0;
    entries_clear(d, &d->names);
    entries_clear(d, &d->durable);
}

struct sim_disk *sim_disk_new(const struct sim_disk_hooks *hooks, uint64_t bytes)
{
    struct sim_disk *d = calloc(1, sizeof(*d));

    assert(d);
    d->hooks = *hooks;
    d->total = bytes;
    d->fds = calloc(FDS_MAX, sizeof(*d->fds));
    assert(d->fds);
    d->fd_count = FDS_MAX;
    disk_format(d);
    return d;
}

void sim_disk_wipe(struct sim_disk *d)
{
    disk_empty(d);
    disk_format(d);
}

struct sim_disk *sim_disk_free(struct sim_disk *d)
{
    if (!d)
        return NULL;
    disk_empty(d);
    assert(sim_disk_open_count(d) == 0);
    free(d->names.v);
    free(d->durable.v);
    free(d->pending);
    free(d->fds);
    free(d);
    return NULL;
}

void sim_disk_freeze(struct sim_disk *d)
{
    for (size_t i = 0; i < d->names.count; i++) {
        struct inode *n = d->names.v[i].inode;

        if (n->by_map && !n->frozen) {
            memcpy(n->frozen_page, n->data, PAGE);
            n->frozen = true;
        }
    }
}

void sim_disk_thaw(struct sim_disk *d)
{
    for (size_t i = 0; i < d->names.count; i++) {
        struct inode *n = d->names.v[i].inode;

        if (n->frozen)
            memcpy(n->data, n->frozen_page, PAGE);
        n->frozen = false;
    }
}

static bool survives(struct sim_disk *d, unsigned mood)
{
    return mood == 0 ? false : mood == 1 ? true : sim_chance(d->hooks.random, mood, 6);
}

static void inode_cut_power(struct sim_disk *d, struct inode *n, bool strict)
{
    unsigned mood = strict ? 0 : (unsigned)sim_below(d->hooks.random, 6);
    int64_t size = n->size;

    for (size_t i = n->undo_count; i > 0; i--) {
        if (n->undo[i - 1].lost || !survives(d, mood))
            undo_apply(n, i - 1);
        undo_drop(n, i - 1);
    }
    if (n->by_map)
        for (int s = 0; s < PAGE / SIM_SECTOR; s++)
            if (!survives(d, mood))
                memcpy(n->data + s * SIM_SECTOR, n->synced_page + s * SIM_SECTOR, SIM_SECTOR);
    n->by_map = false;
    if (n->size != n->durable_size)
        switch (strict ? 0 : sim_below(d->hooks.random, 4)) {
        case 0:
            size = n->durable_size;
            break;
        case 1: /* in between, as delayed allocation leaves it */
            if (n->size > n->durable_size)
                size = n->durable_size +
                       (int64_t)sim_below(d->hooks.random, (uint64_t)(n->size - n->durable_size));
            break;
        default:
            break;
        }
    clear_from(n, size);
    n->allocated = 0;
    n->size = n->durable_size = size;
}

void sim_disk_cut_power(struct sim_disk *d, bool strict)
{
    unsigned mood = strict ? 0 : (unsigned)sim_below(d->hooks.random, 6);
    struct entries left = {0};

    assert(sim_disk_open_count(d) == 0);
    for (size_t i = 0; i < d->pending_count; i++) {
        struct change *c = &d->pending[i];

        c->survived = (c->partner < 0 || d->pending[c->partner].survived) && survives(d, mood);
        if (c->survived)
            durable_set(d, c);
    }
    for (size_t i = 0; i < d->pending_count; i++)
        change_free(d, &d->pending[i]);
    d->pending_count = 0;
    entries_clear(d, &d->names);
    /* Only what can still be reached from the top; parents were made before what is in them. */
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < d->durable.count; i++) {
            const struct entry *e = &d->durable.v[i];

            if (!entries_find(&d->names, e->path) && parent_exists(d, e->path)) {
                entries_set(d, &d->names, e->path, e->inode);
                more = true;
            }
        }
    }
    left = d->durable;
    d->durable = (struct entries){0};
    for (size_t i = 0; i < d->names.count; i++)
        entries_set(d, &d->durable, d->names.v[i].path, d->names.v[i].inode);
    entries_clear(d, &left);
    free(left.v);
    d->used = 0;
    for (size_t i = 0; i < d->names.count; i++) {
        struct inode *n = d->names.v[i].inode;
        bool again = false; /* by another name */

        for (size_t j = 0; j < i; j++)
            again = again || d->names.v[j].inode == n;
        if (again || n->is_dir)
            continue;
        inode_cut_power(d, n, strict);
        d->used += room_of(n);
    }
}

void sim_disk_set_room(struct sim_disk *d, uint64_t free_bytes)
{
    d->squeeze = 0;
    if (free_bytes < room_left(d))
        d->squeeze = room_left(d) - free_bytes;
}

unsigned sim_disk_open_count(const struct sim_disk *d)
{
    unsigned count = 0;

    for (size_t i = 0; i < d->fd_count; i++)
        count += d->fds[i].inode != NULL;
    return count;
}

void sim_disk_each(struct sim_disk *d, const char *prefix,
                   void (*visit)(void *arg, const char *path, uint8_t *data, int64_t size),
                   void *arg)
{
    size_t n = strlen(prefix);

    for (size_t i = 0; i < d->names.count; i++)
        if (!d->names.v[i].inode->is_dir && strncmp(d->names.v[i].path, prefix, n) == 0)
            visit(arg, d->names.v[i].path, d->names.v[i].inode->data, d->names.v[i].inode->size);
}

enum sim_kind sim_disk_kind(const char *path)
{
    return kind_of(path);
}

bool sim_disk_rot(struct sim_disk *d, const char *path, bool copy, int64_t pos, uint8_t mask,
                  struct sim_rot *ret)
{
    struct entry *e = entries_find(&d->names, path);
    struct inode *n = e ? e->inode : NULL;
    size_t sector = (size_t)(pos / SIM_SECTOR);
    int64_t end = pos + SIM_ROT_AROUND + 1;

    if (!n || n->is_dir || n->by_map || pos >= n->size)
        return false;
    if (!copy && (n->maps > 0 || pos >= n->durable_size ||
                  (sector < n->undo_sectors && n->undo_at[sector] > 0)))
        return false;
    *ret = (struct sim_rot){.inode = n->number, .pos = pos, .mask = mask};
    ret->from = pos > SIM_ROT_AROUND ? pos - SIM_ROT_AROUND : 0;
    ret->around_size = (uint8_t)((end < n->size ? end : n->size) - ret->from);
    memcpy(ret->around, n->data + ret->from, ret->around_size);
    touch(n, pos, 1);
    n->data[pos] ^= mask;
    return true;
}

/* Is it in this file, or was it? *ret_wrong: is the byte wrong? A copy has it as well. */
static bool rot_is_in(const struct inode *n, const struct sim_rot *rot, bool *ret_wrong)
{
    uint8_t around[sizeof(rot->around)];
    size_t at = (size_t)(rot->pos - rot->from);

    if (n->is_dir || rot->from + rot->around_size > n->size)
        return false;
    memcpy(around, n->data + rot->from, rot->around_size);
    *ret_wrong = around[at] != rot->around[at];
    if (*ret_wrong)
        around[at] ^= rot->mask;
    return memcmp(around, rot->around, rot->around_size) == 0;
}

bool sim_disk_rotten(struct sim_disk *d, const struct sim_rot *rot, const char *path, bool there)
{
    for (size_t i = 0; i < d->names.count; i++) {
        const struct entry *e = &d->names.v[i];
        bool is_there = strcmp(e->path, path) == 0, wrong;

        if ((is_there || (!there && e->inode->number == rot->inode)) &&
            rot_is_in(e->inode, rot, &wrong) && wrong)
            return true;
    }
    return false;
}

void sim_disk_turn(struct sim_disk *d, const struct sim_rot *rot, const char *path, bool wrong)
{
    for (size_t i = 0; i < d->names.count; i++) {
        const struct entry *e = &d->names.v[i];
        bool is_wrong;

        if ((strcmp(e->path, path) == 0 || e->inode->number == rot->inode) &&
            rot_is_in(e->inode, rot, &is_wrong) && is_wrong != wrong)
            e->inode->data[rot->pos] ^= rot->mask;
    }
}
