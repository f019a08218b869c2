/*
 * Each call passes three gates: `enter` counts it, asks the hook and decides whether it fails; then
 * the seam below; then `leave` records it. The lock is held inside enter and leave only, so that
 * calls of several threads overlap as they would without the wrapper.
 */
#include "tests/support/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

#define UNKNOWN_PATH "?" /* of a descriptor that was not opened here */

struct support_io {
    struct base_io seam;
    const struct base_io *under;
    void (*hook)(void *arg, enum support_io_call call, const char *path);
    void *hook_arg;

    struct base_mutex lock; /* protects everything below */
    uint64_t counts[SUPPORT_IO_ANY + 1];
    uint64_t sequence;
    char **paths; /* by descriptor; NULL where none is open */
    size_t paths_size;
    struct support_io_fault fault; /* nth 0: none */
    char *fault_path;
    uint64_t matched;
    uint64_t failed;
    size_t write_max;
    size_t read_max;
    bool tracing;
    struct support_io_step **steps;
    size_t step_count;
    size_t step_capacity;
};

/* One call on its way through. */
struct passage {
    struct support_io *s;
    struct support_io_step step;
    char *path; /* own copies: another thread may close the descriptor meanwhile */
    char *to;
    int fault; /* -errno when it is to fail */
    size_t torn_size;
    size_t size_max;
};

static const char *const call_names[] = {
    [SUPPORT_IO_OPEN] = "open",
    [SUPPORT_IO_CLOSE] = "close",
    [SUPPORT_IO_PREAD] = "pread",
    [SUPPORT_IO_PWRITEV] = "pwritev",
    [SUPPORT_IO_FDATASYNC] = "fdatasync",
    [SUPPORT_IO_FSYNC] = "fsync",
    [SUPPORT_IO_FALLOCATE] = "fallocate",
    [SUPPORT_IO_FTRUNCATE] = "ftruncate",
    [SUPPORT_IO_FSTAT] = "fstat",
    [SUPPORT_IO_STAT] = "stat",
    [SUPPORT_IO_RENAME] = "rename",
    [SUPPORT_IO_LINK] = "link",
    [SUPPORT_IO_UNLINK] = "unlink",
    [SUPPORT_IO_MKDIR] = "mkdir",
    [SUPPORT_IO_RMDIR] = "rmdir",
    [SUPPORT_IO_LIST] = "list",
    [SUPPORT_IO_MMAP] = "mmap",
    [SUPPORT_IO_MUNMAP] = "munmap",
    [SUPPORT_IO_FLOCK] = "flock",
    [SUPPORT_IO_FADVISE] = "fadvise",
    [SUPPORT_IO_WRITEBACK] = "writeback",
    [SUPPORT_IO_DISK_FREE] = "disk_free",
    [SUPPORT_IO_ANY] = "any",
};

const char *support_io_call_name(enum support_io_call call)
{
    return call_names[call];
}

static void *must_have(void *p)
{
    if (!p)
        abort();
    return p;
}

static const char *path_of_locked(const struct support_io *s, int fd)
{
    if (fd < 0 || (size_t)fd >= s->paths_size || !s->paths[fd])
        return UNKNOWN_PATH;
    return s->paths[fd];
}

static void path_set_locked(struct support_io *s, int fd, const char *path)
{
    size_t size = s->paths_size;

    while ((size_t)fd >= size)
        size = size > 0 ? 2 * size : 64;
    if (size > s->paths_size) {
        s->paths = must_have(realloc(s->paths, size * sizeof(*s->paths)));
        memset(s->paths + s->paths_size, 0, (size - s->paths_size) * sizeof(*s->paths));
        s->paths_size = size;
    }
    free(s->paths[fd]);
    s->paths[fd] = path ? must_have(strdup(path)) : NULL;
}

static bool is_harmless(enum support_io_call call)
{
    return call == SUPPORT_IO_CLOSE || call == SUPPORT_IO_MUNMAP || call == SUPPORT_IO_FADVISE ||
           call == SUPPORT_IO_WRITEBACK || call == SUPPORT_IO_FSTAT;
}

static bool fault_matches_locked(const struct support_io *s, const struct passage *p)
{
    const struct support_io_fault *fault = &s->fault;

    if (fault->nth == 0)
        return false;
    if (fault->call == SUPPORT_IO_ANY ? is_harmless(p->step.call) : fault->call != p->step.call)
        return false;
    return !s->fault_path || strstr(p->path, s->fault_path) ||
           (p->to && strstr(p->to, s->fault_path));
}

static void decide_locked(struct support_io *s, struct passage *p)
{
    if (!fault_matches_locked(s, p))
        return;
    s->matched++;
    if (s->matched == s->fault.nth || (s->matched > s->fault.nth && s->fault.keep)) {
        p->fault = -s->fault.sys_errno;
        p->torn_size = s->fault.torn_size;
        s->failed++;
    }
}

static struct passage enter(void *ctx, enum support_io_call call, int fd, const char *path,
                            const char *to)
{
    struct support_io *s = ctx;
    struct passage p = {.s = s, .step = {.call = call}};

    base_mutex_lock(&s->lock);
    p.path = must_have(strdup(path ? path : path_of_locked(s, fd)));
    p.to = to ? must_have(strdup(to)) : NULL;
    base_mutex_unlock(&s->lock);
    if (s->hook)
        s->hook(s->hook_arg, call, p.path);
    base_mutex_lock(&s->lock);
    s->counts[call]++;
    s->counts[SUPPORT_IO_ANY]++;
    p.step.began = ++s->sequence;
    p.size_max = call == SUPPORT_IO_PWRITEV ? s->write_max : s->read_max;
    decide_locked(s, &p);
    base_mutex_unlock(&s->lock);
    return p;
}

static bool is_traced(enum support_io_call call)
{
    switch (call) {
    case SUPPORT_IO_OPEN:
    case SUPPORT_IO_PWRITEV:
    case SUPPORT_IO_FDATASYNC:
    case SUPPORT_IO_FSYNC:
    case SUPPORT_IO_FALLOCATE:
    case SUPPORT_IO_FTRUNCATE:
    case SUPPORT_IO_RENAME:
    case SUPPORT_IO_LINK:
    case SUPPORT_IO_UNLINK:
    case SUPPORT_IO_MKDIR:
    case SUPPORT_IO_RMDIR:
        return true;
    default:
        return false;
    }
}

/* Takes over the passage's paths. */
static void record_locked(struct support_io *s, const struct passage *p)
{
    struct support_io_step *step = must_have(malloc(sizeof(*step)));

    if (s->step_count == s->step_capacity) {
        s->step_capacity = s->step_capacity > 0 ? 2 * s->step_capacity : 256;
        s->steps = must_have(realloc(s->steps, s->step_capacity * sizeof(*s->steps)));
    }
    *step = p->step;
    step->path = p->path;
    step->to = p->to;
    s->steps[s->step_count++] = step;
}

static int64_t leave(struct passage *p, int64_t result)
{
    struct support_io *s = p->s;

    base_mutex_lock(&s->lock);
    p->step.ended = ++s->sequence;
    if (result >= 0 && s->tracing && is_traced(p->step.call)) {
        record_locked(s, p);
    } else {
        free(p->path);
        free(p->to);
    }
    base_mutex_unlock(&s->lock);
    return result;
}

static int io_open(void *ctx, const char *path, int flags, mode_t mode)
{
    struct passage p = enter(ctx, SUPPORT_IO_OPEN, -1, path, NULL);
    const struct base_io *under = p.s->under;
    int rc = p.fault ? p.fault : under->open(under->ctx, path, flags, mode);

    if (rc >= 0) {
        base_mutex_lock(&p.s->lock);
        path_set_locked(p.s, rc, path);
        base_mutex_unlock(&p.s->lock);
    }
    p.step.created = (flags & O_CREAT) != 0;
    return (int)leave(&p, rc);
}

/* The path is forgotten first: once the descriptor is closed another open may get its number. */
static int io_close(void *ctx, int fd)
{
    struct passage p = enter(ctx, SUPPORT_IO_CLOSE, fd, NULL, NULL);
    const struct base_io *under = p.s->under;
    int rc;

    base_mutex_lock(&p.s->lock);
    if (fd >= 0)
        path_set_locked(p.s, fd, NULL);
    base_mutex_unlock(&p.s->lock);
    rc = under->close(under->ctx, fd);
    return (int)leave(&p, p.fault ? p.fault : rc);
}

static ssize_t io_pread(void *ctx, int fd, void *buf, size_t size, int64_t pos)
{
    struct passage p = enter(ctx, SUPPORT_IO_PREAD, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    if (p.size_max > 0 && size > p.size_max)
        size = p.size_max;
    return leave(&p, p.fault ? p.fault : under->pread(under->ctx, fd, buf, size, pos));
}

/* Writes at most `size_max` bytes of the vector. */
static ssize_t write_part(const struct base_io *under, int fd, const struct iovec *iov, int count,
                          int64_t pos, size_t size_max)
{
    struct iovec *part = must_have(malloc((size_t)count * sizeof(*part) + 1));
    int used = 0;
    ssize_t n;

    for (; used < count && size_max > 0; used++) {
        part[used] = iov[used];
        if (part[used].iov_len > size_max)
            part[used].iov_len = size_max;
        size_max -= part[used].iov_len;
    }
    n = under->pwritev(under->ctx, fd, part, used, pos);
    free(part);
    return n;
}

static ssize_t io_pwritev(void *ctx, int fd, const struct iovec *iov, int count, int64_t pos)
{
    struct passage p = enter(ctx, SUPPORT_IO_PWRITEV, fd, NULL, NULL);
    const struct base_io *under = p.s->under;
    ssize_t n;

    if (p.fault) {
        if (p.torn_size > 0)
            (void)write_part(under, fd, iov, count, pos, p.torn_size);
        n = p.fault;
    } else if (p.size_max > 0) {
        n = write_part(under, fd, iov, count, pos, p.size_max);
    } else {
        n = under->pwritev(under->ctx, fd, iov, count, pos);
    }
    p.step.pos = pos;
    p.step.size = n;
    return leave(&p, n);
}

static int io_fdatasync(void *ctx, int fd)
{
    struct passage p = enter(ctx, SUPPORT_IO_FDATASYNC, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->fdatasync(under->ctx, fd));
}

static int io_fsync(void *ctx, int fd)
{
    struct passage p = enter(ctx, SUPPORT_IO_FSYNC, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->fsync(under->ctx, fd));
}

static int io_fallocate(void *ctx, int fd, int mode, int64_t pos, int64_t size)
{
    struct passage p = enter(ctx, SUPPORT_IO_FALLOCATE, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    p.step.pos = pos;
    p.step.size = size;
    return (int)leave(&p, p.fault ? p.fault : under->fallocate(under->ctx, fd, mode, pos, size));
}

static int io_ftruncate(void *ctx, int fd, int64_t size)
{
    struct passage p = enter(ctx, SUPPORT_IO_FTRUNCATE, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    p.step.pos = size;
    return (int)leave(&p, p.fault ? p.fault : under->ftruncate(under->ctx, fd, size));
}

static int io_fstat(void *ctx, int fd, struct stat *ret)
{
    struct passage p = enter(ctx, SUPPORT_IO_FSTAT, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->fstat(under->ctx, fd, ret));
}

static int io_stat(void *ctx, const char *path, struct stat *ret)
{
    struct passage p = enter(ctx, SUPPORT_IO_STAT, -1, path, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->stat(under->ctx, path, ret));
}

static int io_rename(void *ctx, const char *from, const char *to)
{
    struct passage p = enter(ctx, SUPPORT_IO_RENAME, -1, from, to);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->rename(under->ctx, from, to));
}

static int io_link(void *ctx, const char *from, const char *to)
{
    struct passage p = enter(ctx, SUPPORT_IO_LINK, -1, from, to);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->link(under->ctx, from, to));
}

static int io_unlink(void *ctx, const char *path)
{
    struct passage p = enter(ctx, SUPPORT_IO_UNLINK, -1, path, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->unlink(under->ctx, path));
}

static int io_mkdir(void *ctx, const char *path, mode_t mode)
{
    struct passage p = enter(ctx, SUPPORT_IO_MKDIR, -1, path, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->mkdir(under->ctx, path, mode));
}

static int io_rmdir(void *ctx, const char *path)
{
    struct passage p = enter(ctx, SUPPORT_IO_RMDIR, -1, path, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->rmdir(under->ctx, path));
}

static int io_list(void *ctx, const char *path,
                   int (*visit)(void *arg, const char *name, bool is_dir), void *arg)
{
    struct passage p = enter(ctx, SUPPORT_IO_LIST, -1, path, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->list(under->ctx, path, visit, arg));
}

static int io_mmap(void *ctx, int fd, size_t size, bool writable, void **ret)
{
    struct passage p = enter(ctx, SUPPORT_IO_MMAP, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->mmap(under->ctx, fd, size, writable, ret));
}

static int io_munmap(void *ctx, void *addr, size_t size)
{
    struct passage p = enter(ctx, SUPPORT_IO_MUNMAP, -1, NULL, NULL);
    const struct base_io *under = p.s->under;
    int rc = under->munmap(under->ctx, addr, size);

    return (int)leave(&p, p.fault ? p.fault : rc);
}

static int io_flock(void *ctx, int fd, int operation)
{
    struct passage p = enter(ctx, SUPPORT_IO_FLOCK, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->flock(under->ctx, fd, operation));
}

static int io_fadvise(void *ctx, int fd, int64_t pos, int64_t size, int advice)
{
    struct passage p = enter(ctx, SUPPORT_IO_FADVISE, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->fadvise(under->ctx, fd, pos, size, advice));
}

static int io_writeback(void *ctx, int fd, int64_t pos, int64_t size)
{
    struct passage p = enter(ctx, SUPPORT_IO_WRITEBACK, fd, NULL, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p, p.fault ? p.fault : under->writeback(under->ctx, fd, pos, size));
}

static int io_disk_free(void *ctx, const char *path, uint64_t *ret_free, uint64_t *ret_total)
{
    struct passage p = enter(ctx, SUPPORT_IO_DISK_FREE, -1, path, NULL);
    const struct base_io *under = p.s->under;

    return (int)leave(&p,
                      p.fault ? p.fault : under->disk_free(under->ctx, path, ret_free, ret_total));
}

struct support_io *support_io_new(const struct base_io *under)
{
    struct support_io *s = must_have(calloc(1, sizeof(*s)));

    s->under = under ? under : &base_io_posix;
    s->tracing = true;
    base_mutex_init(&s->lock);
    s->seam = (struct base_io){
        .ctx = s,
        .open = io_open,
        .close = io_close,
        .pread = io_pread,
        .pwritev = io_pwritev,
        .fdatasync = io_fdatasync,
        .fsync = io_fsync,
        .fallocate = io_fallocate,
        .ftruncate = io_ftruncate,
        .fstat = io_fstat,
        .stat = io_stat,
        .rename = io_rename,
        .link = io_link,
        .unlink = io_unlink,
        .mkdir = io_mkdir,
        .rmdir = io_rmdir,
        .list = io_list,
        .mmap = io_mmap,
        .munmap = io_munmap,
        .flock = io_flock,
        .fadvise = io_fadvise,
        .writeback = io_writeback,
        .disk_free = io_disk_free,
    };
    return s;
}

static void trace_clear_locked(struct support_io *s)
{
    for (size_t i = 0; i < s->step_count; i++) {
        free((char *)(uintptr_t)s->steps[i]->path);
        free((char *)(uintptr_t)s->steps[i]->to);
        free(s->steps[i]);
    }
    s->step_count = 0;
}

struct support_io *support_io_free(struct support_io *s)
{
    if (!s)
        return NULL;
    base_mutex_lock(&s->lock);
    trace_clear_locked(s);
    base_mutex_unlock(&s->lock);
    base_mutex_deinit(&s->lock);
    for (size_t i = 0; i < s->paths_size; i++)
        free(s->paths[i]);
    free(s->paths);
    free(s->steps);
    free(s->fault_path);
    free(s);
    return NULL;
}

const struct base_io *support_io_seam(struct support_io *s)
{
    return &s->seam;
}

uint64_t support_io_count(struct support_io *s, enum support_io_call call)
{
    uint64_t count;

    base_mutex_lock(&s->lock);
    count = s->counts[call];
    base_mutex_unlock(&s->lock);
    return count;
}

size_t support_io_open_count(struct support_io *s)
{
    size_t count = 0;

    base_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->paths_size; i++)
        count += s->paths[i] != NULL;
    base_mutex_unlock(&s->lock);
    return count;
}

void support_io_reset(struct support_io *s)
{
    base_mutex_lock(&s->lock);
    memset(s->counts, 0, sizeof(s->counts));
    trace_clear_locked(s);
    base_mutex_unlock(&s->lock);
}

void support_io_fail(struct support_io *s, const struct support_io_fault *fault)
{
    base_mutex_lock(&s->lock);
    free(s->fault_path);
    s->fault_path = fault && fault->path ? must_have(strdup(fault->path)) : NULL;
    s->fault = fault ? *fault : (struct support_io_fault){0};
    s->matched = 0;
    s->failed = 0;
    base_mutex_unlock(&s->lock);
}

uint64_t support_io_failed(struct support_io *s)
{
    uint64_t failed;

    base_mutex_lock(&s->lock);
    failed = s->failed;
    base_mutex_unlock(&s->lock);
    return failed;
}

void support_io_limit_write(struct support_io *s, size_t size)
{
    base_mutex_lock(&s->lock);
    s->write_max = size;
    base_mutex_unlock(&s->lock);
}

void support_io_limit_read(struct support_io *s, size_t size)
{
    base_mutex_lock(&s->lock);
    s->read_max = size;
    base_mutex_unlock(&s->lock);
}

void support_io_set_hook(struct support_io *s,
                         void (*hook)(void *arg, enum support_io_call call, const char *path),
                         void *arg)
{
    s->hook = hook;
    s->hook_arg = arg;
}

void support_io_set_tracing(struct support_io *s, bool on)
{
    base_mutex_lock(&s->lock);
    s->tracing = on;
    base_mutex_unlock(&s->lock);
}

size_t support_io_trace_size(struct support_io *s)
{
    size_t count;

    base_mutex_lock(&s->lock);
    count = s->step_count;
    base_mutex_unlock(&s->lock);
    return count;
}

const struct support_io_step *support_io_trace_at(struct support_io *s, size_t index)
{
    const struct support_io_step *step;

    base_mutex_lock(&s->lock);
    step = index < s->step_count ? s->steps[index] : NULL;
    base_mutex_unlock(&s->lock);
    return step;
}

static bool step_matches(const struct support_io_step *step, enum support_io_call call,
                         const char *part)
{
    if (call != SUPPORT_IO_ANY && step->call != call)
        return false;
    return !part || strstr(step->path, part) || (step->to && strstr(step->to, part));
}

const struct support_io_step *support_io_trace_find(struct support_io *s, size_t from,
                                                    enum support_io_call call, const char *part,
                                                    size_t *ret_index)
{
    const struct support_io_step *found = NULL;

    base_mutex_lock(&s->lock);
    for (size_t i = from; i < s->step_count && !found; i++) {
        if (!step_matches(s->steps[i], call, part))
            continue;
        found = s->steps[i];
        if (ret_index)
            *ret_index = i;
    }
    base_mutex_unlock(&s->lock);
    return found;
}

bool support_io_before(const struct support_io_step *a, const struct support_io_step *b)
{
    return a && b && a->ended < b->began;
}

static void step_print(const struct support_io_step *step, FILE *out)
{
    fprintf(out, "%s %s", step->created ? "create" : call_names[step->call], step->path);
    if (step->to)
        fprintf(out, " %s", step->to);
    if (step->call == SUPPORT_IO_PWRITEV || step->call == SUPPORT_IO_FALLOCATE)
        fprintf(out, " %lld at %lld", (long long)step->size, (long long)step->pos);
    if (step->call == SUPPORT_IO_FTRUNCATE)
        fprintf(out, " to %lld", (long long)step->pos);
    fputc('\n', out);
}

void support_io_trace_print(struct support_io *s, FILE *out)
{
    base_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->step_count; i++)
        step_print(s->steps[i], out);
    base_mutex_unlock(&s->lock);
}
