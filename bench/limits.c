/*
 * The limits: the same bytes moved by the plainest code that could do the job, with as many threads
 * and syscalls of the same size.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include "base/env.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "bench/bench.h"

#define LIMIT_BLOCK_BYTES (1024 * 1024)
#define LIMIT_READ_BYTES (256 * 1024)
#define LIMIT_LEVEL 3

/* ---- files ---- */

struct finder {
    const char *dir;
    const char *suffix;
    struct bench_files *files;
    bool failed;
};

static int find_entry(void *arg, const char *name, bool is_dir)
{
    struct finder *f = arg;
    char *path = NULL;
    size_t n = strlen(name), m = strlen(f->suffix);

    if (base_format(&path, NULL, "%s/%s", f->dir, name) < 0) {
        f->failed = true;
        return 0;
    }
    if (is_dir) {
        struct finder inner = {path, f->suffix, f->files, false};
        base_io_posix.list(NULL, path, find_entry, &inner);
        f->failed |= inner.failed;
    } else if (n >= m && !strcmp(name + n - m, f->suffix)) {
        char **paths = realloc(f->files->paths, (f->files->count + 1) * sizeof(*paths));
        if (paths) {
            f->files->paths = paths;
            paths[f->files->count++] = path;
            return 0;
        }
        f->failed = true;
    }
    free(path);
    return 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int bench_files_find(const char *dir, const char *suffix, struct bench_files *ret,
                     struct varve_error *err)
{
    struct finder f = {dir, suffix, ret, false};

    *ret = (struct bench_files){0};
    base_io_posix.list(NULL, dir, find_entry, &f);
    if (f.failed) {
        bench_files_free(ret);
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    }
    if (ret->count)
        qsort(ret->paths, ret->count, sizeof(*ret->paths), compare_paths);
    return 0;
}

void bench_files_free(struct bench_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->paths[i]);
    free(files->paths);
    *files = (struct bench_files){0};
}

int bench_scratch_make(const char *parent, const char *name, char *ret, size_t size,
                       struct varve_error *err)
{
    snprintf(ret, size, "%s/varve-bench-%s-XXXXXX", parent, name);
    if (!mkdtemp(ret))
        return base_fail_errno(err, errno, "make a directory in %s", parent);
    return 0;
}

void bench_scratch_remove(const char *path)
{
    base_tree_remove(&base_io_posix, path, NULL);
}

/* ---- writing ---- */

static int write_ring(const char *dir, const struct bench_data *d, uint64_t bytes, uint64_t commit,
                      struct bench_time *ret_time, struct varve_error *err)
{
    char path[512];
    uint64_t done = 0, unsynced = 0;
    struct bench_time start;
    int fd, r = 0;

    snprintf(path, sizeof(path), "%s/limit", dir);
    start = bench_time_now();
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return base_fail_errno(err, errno, "open %s", path);
    for (size_t i = 0; r == 0 && done < bytes; i = (i + 1) % BENCH_RING_BATCHES) {
        if (write(fd, d->batches[i], d->sizes[i]) != (ssize_t)d->sizes[i])
            r = base_fail_errno(err, errno, "write %s", path);
        done += d->sizes[i];
        unsynced += d->sizes[i];
        if (r == 0 && commit && unsynced >= commit) {
            if (fdatasync(fd) < 0)
                r = base_fail_errno(err, errno, "sync %s", path);
            unsynced = 0;
        }
    }
    *ret_time = bench_time_since(start);
    close(fd);
    unlink(path);
    return r;
}

int bench_limit_write(const char *dir, const struct bench_data *d, uint64_t bytes,
                      struct bench_time *ret_time, struct varve_error *err)
{
    return write_ring(dir, d, bytes, 0, ret_time, err);
}

int bench_limit_write_sync(const char *dir, const struct bench_data *d, uint64_t bytes,
                           uint64_t commit_bytes, struct bench_time *ret_time,
                           struct varve_error *err)
{
    return write_ring(dir, d, bytes, commit_bytes ? commit_bytes : 1, ret_time, err);
}

/* ---- reading ---- */

int bench_limit_read(const char *dir, struct bench_time *ret_time, uint64_t *ret_bytes,
                     struct varve_error *err)
{
    struct bench_files files;
    uint8_t *buf = malloc(LIMIT_READ_BYTES);
    uint64_t bytes = 0;
    struct bench_time start;
    int r = bench_files_find(dir, ".log", &files, err);

    if (!buf)
        r = base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    start = bench_time_now();
    for (size_t i = 0; r == 0 && i < files.count; i++) {
        int fd = open(files.paths[i], O_RDONLY | O_CLOEXEC);
        ssize_t n;
        while (fd >= 0 && (n = read(fd, buf, LIMIT_READ_BYTES)) > 0)
            bytes += (uint64_t)n;
        if (fd < 0)
            r = base_fail_errno(err, errno, "open %s", files.paths[i]);
        else
            close(fd);
    }
    *ret_time = bench_time_since(start);
    *ret_bytes = bytes;
    free(buf);
    bench_files_free(&files);
    return r;
}

/* ---- jobs shared by threads, a file each ---- */

struct crew {
    const struct bench_files *files;
    const char *out;
    _Atomic size_t next;
    _Atomic uint64_t bytes;
    _Atomic int failed; /* errno */
    bool (*work)(struct crew *crew, unsigned thread, size_t i);
    bool (*sink)(void *ctx, unsigned thread, const char *path, size_t i);
    void *sink_ctx;
    _Atomic unsigned threads;
};

static void *crew_run(void *arg)
{
    struct crew *crew = arg;
    unsigned thread = atomic_fetch_add(&crew->threads, 1);

    pthread_setname_np(pthread_self(), "limit");
    for (size_t i; (i = atomic_fetch_add(&crew->next, 1)) < crew->files->count;)
        if (!crew->work(crew, thread, i))
            atomic_store(&crew->failed, errno ? errno : EIO);
    return NULL;
}

static int crew_start(struct crew *crew, unsigned threads, struct bench_time *ret_time,
                      struct varve_error *err)
{
    pthread_t t[64];
    struct bench_time start = bench_time_now();
    unsigned n = 0;

    for (; n < threads && n < 64; n++)
        if (pthread_create(&t[n], NULL, crew_run, crew) != 0)
            break;
    for (unsigned i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    *ret_time = bench_time_since(start);
    if (atomic_load(&crew->failed))
        return base_fail_errno(err, atomic_load(&crew->failed), "measure the limit");
    return 0;
}

static bool write_all(int fd, const void *data, size_t size)
{
    return write(fd, data, size) == (ssize_t)size;
}

static void tier_path(const char *out, size_t i, char *ret, size_t size)
{
    snprintf(ret, size, "%s/limit-%zu", out, i);
}

/* One segment: read, hash, compress block by block, write, sync or hand on. */
static bool tier_one(struct crew *crew, unsigned thread, size_t i)
{
    char path[512];
    uint8_t digest[BASE_SHA256_SIZE];
    size_t room = ZSTD_compressBound(LIMIT_BLOCK_BYTES);
    uint8_t *raw = malloc(LIMIT_BLOCK_BYTES), *out = malloc(room);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    struct base_sha256 *sha = base_sha256_new();
    int in = open(crew->files->paths[i], O_RDONLY | O_CLOEXEC);
    int to;
    bool ok = raw && out && zstd && sha && in >= 0;

    if (ok) { /* the same frames: a content checksum each, as the zstd program makes them */
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LIMIT_LEVEL);
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    }

    tier_path(crew->out, i, path, sizeof(path));
    to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    ok = ok && to >= 0;
    while (ok) {
        ssize_t n = read(in, raw, LIMIT_BLOCK_BYTES);
        if (n <= 0) {
            ok = n == 0;
            break;
        }
        base_sha256_update(sha, raw, (size_t)n);
        size_t size = ZSTD_compress2(zstd, out, room, raw, (size_t)n);
        ok = !ZSTD_isError(size) && write_all(to, out, size);
    }
    if (ok) {
        base_sha256_final(sha, digest);
        ok = crew->sink ? crew->sink(crew->sink_ctx, thread, path, i) : fdatasync(to) == 0;
    }
    close(in);
    close(to);
    ZSTD_freeCCtx(zstd);
    base_sha256_free(sha);
    free(raw);
    free(out);
    return ok;
}

int bench_limit_tier(const char *dir, const char *out, unsigned threads,
                     bool (*sink)(void *ctx, unsigned thread, const char *path, size_t i),
                     void *sink_ctx, struct bench_time *ret_time, struct varve_error *err)
{
    struct bench_files files;
    struct crew crew = {
        .files = &files, .out = out, .work = tier_one, .sink = sink, .sink_ctx = sink_ctx};
    int r = bench_files_find(dir, ".log", &files, err);

    if (r == 0)
        r = crew_start(&crew, threads, ret_time, err);
    /* Not before: pages given back would be taken again, warm, which the engine's cannot be. */
    for (size_t i = 0; i < files.count; i++) {
        char path[512];
        tier_path(out, i, path, sizeof(path));
        unlink(path);
    }
    bench_files_free(&files);
    return r;
}

/*
 * Decompresses the frames of one object one after the other, each read from the file first. As the
 * zstd program does, it lets the library compare the frames' checksums: nobody restores an archive
 * without looking, and the engine compares a CRC32C of the same bytes (I9).
 */
static bool decompress_one(struct crew *crew, unsigned thread, size_t i)
{
    (void)thread;
    uint8_t *raw = malloc(2 * LIMIT_BLOCK_BYTES), *stored = malloc(2 * LIMIT_BLOCK_BYTES);
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    int fd = open(crew->files->paths[i], O_RDONLY | O_CLOEXEC);
    bool ok = raw && stored && zstd && fd >= 0;
    size_t have = 0;

    while (ok) {
        ssize_t n = read(fd, stored + have, 2 * LIMIT_BLOCK_BYTES - have);
        size_t pos = 0;
        if (n < 0) {
            ok = false;
            break;
        }
        have += (size_t)n;
        if (!have)
            break;
        while (pos < have) {
            size_t size = ZSTD_findFrameCompressedSize(stored + pos, have - pos);
            if (ZSTD_isError(size))
                break; /* not all there yet */
            size_t got = ZSTD_decompressDCtx(zstd, raw, 2 * LIMIT_BLOCK_BYTES, stored + pos, size);
            ok = ok && !ZSTD_isError(got);
            atomic_fetch_add_explicit(&crew->bytes, ok ? got : 0, memory_order_relaxed);
            pos += size;
        }
        ok = ok && (pos > 0 || n > 0);
        memmove(stored, stored + pos, have - pos);
        have -= pos;
    }
    close(fd);
    ZSTD_freeDCtx(zstd);
    free(raw);
    free(stored);
    return ok;
}

int bench_limit_decompress(const char *dir, unsigned threads, struct bench_time *ret_time,
                           uint64_t *ret_bytes, struct varve_error *err)
{
    struct bench_files files;
    struct crew crew = {.files = &files, .work = decompress_one};
    int r = bench_files_find(dir, ".zst", &files, err);

    if (r == 0)
        r = crew_start(&crew, threads, ret_time, err);
    *ret_bytes = atomic_load(&crew.bytes);
    bench_files_free(&files);
    return r;
}

/* ---- programs ---- */

int bench_limit_program(const char *const *argv, struct bench_time *ret_time,
                        struct varve_error *err)
{
    struct bench_time start = bench_time_now();
    pid_t pid = fork();
    int status = 0;

    if (pid < 0)
        return base_fail_errno(err, errno, "fork");
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    *ret_time = bench_time_since(start);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return base_fail(err, VARVE_E_NOT_FOUND, "%s is not on this machine", argv[0]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return base_fail(err, VARVE_E_FAILED, "%s failed", argv[0]);
    return 0;
}
