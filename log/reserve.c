/* The reserve: a file whose allocated blocks are given back when there is no other room. */
#include "log/reserve.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cold/url.h"

#define RESERVE_GRAIN 4096
#define RESERVE_BLOCK 512 /* of st_blocks */

void log_reserve_init(struct log_reserve *r, const struct base_env *env)
{
    memset(r, 0, sizeof(*r));
    r->io = env->io;
    r->fd = -1;
    base_mutex_init(&r->lock);
}

void log_reserve_deinit(struct log_reserve *r)
{
    if (r->fd >= 0)
        r->io->close(r->io->ctx, r->fd);
    base_mutex_deinit(&r->lock);
    free(r->path);
    free(r->dir);
}

/* Whether the cold tier is a directory of the same file system. */
static bool cold_is_here(const struct log_reserve *r, const struct cold_store *segments)
{
    struct stat here, there;
    struct cold_url *url;
    bool same;

    if (cold_url_parse(cold_store_url(segments), &url, NULL) < 0)
        return false;
    same = strcmp(url->scheme, "file") == 0 && r->io->stat(r->io->ctx, r->dir, &here) == 0 &&
           r->io->stat(r->io->ctx, url->path, &there) == 0 && here.st_dev == there.st_dev;
    cold_url_free(url);
    return same;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Allocates up to `size`; what is held stays held when that fails. */
static void grow_locked(struct log_reserve *r, uint64_t size)
{
    size = size / RESERVE_GRAIN * RESERVE_GRAIN;
    if (size <= r->held)
        return;
    if (r->io->fallocate(r->io->ctx, r->fd, 0, (int64_t)r->held, (int64_t)(size - r->held)) == 0)
        r->held = size;
    else /* some file systems keep what they found before it was too little */
        r->io->ftruncate(r->io->ctx, r->fd, (int64_t)r->held);
}

/* What the file holds by now: less than its size where it was copied without its blocks. */
static uint64_t file_held(const struct log_reserve *r)
{
    struct stat st;

    if (r->io->fstat(r->io->ctx, r->fd, &st) < 0)
        return 0;
    return smaller((uint64_t)st.st_size, (uint64_t)st.st_blocks * RESERVE_BLOCK) / RESERVE_GRAIN *
           RESERVE_GRAIN;
}

void log_reserve_open(struct log_reserve *r, const char *dir, const struct cold_store *segments,
                      int64_t bytes, struct cold_cache *blocks, struct cold_cache *tables)
{
    uint64_t free_bytes, total;

    r->caches[0] = blocks;
    r->caches[1] = tables;
    if (base_format(&r->dir, NULL, "%s", dir) < 0 ||
        base_format(&r->path, NULL, "%s/reserve", dir) < 0)
        return;
    r->cold_here = cold_is_here(r, segments);
    r->wanted = LOG_RESERVE_ROOT_BYTES + (r->cold_here ? LOG_RESERVE_OBJECT_BYTES : 0);
    if (bytes > 0)
        r->wanted = (uint64_t)bytes;
    if (bytes < 0) {
        r->io->unlink(r->io->ctx, r->path); /* an earlier life's; nothing to fail for */
        return;
    }
    r->fd = r->io->open(r->io->ctx, r->path, O_RDWR | O_CREAT, 0666);
    if (r->fd < 0) {
        r->fd = -1;
        return;
    }
    base_mutex_lock(&r->lock);
    r->held = file_held(r);
    if (r->io->disk_free(r->io->ctx, r->dir, &free_bytes, &total) == 0) {
        r->wanted = smaller(r->wanted, total / LOG_RESERVE_DISK_SHARE);
        grow_locked(r, smaller(r->wanted, (free_bytes + r->held) / LOG_RESERVE_FREE_SHARE));
    }
    base_mutex_unlock(&r->lock);
}

static bool give_file(struct log_reserve *r, uint64_t keep)
{
    bool given = false;

    keep = (keep + RESERVE_GRAIN - 1) / RESERVE_GRAIN * RESERVE_GRAIN;
    base_mutex_lock(&r->lock);
    if (r->fd >= 0 && r->held > keep && r->io->ftruncate(r->io->ctx, r->fd, (int64_t)keep) == 0) {
        r->lent += r->held - keep;
        r->held = keep;
        given = true;
    }
    base_mutex_unlock(&r->lock);
    return given;
}

bool log_reserve_give(struct log_reserve *r, uint64_t keep)
{
    bool given = false;

    /* Where objects go to another disk its lack of room is nothing that we can mend. */
    if (keep > 0 && !r->cold_here)
        return false;
    for (size_t i = 0; i < sizeof(r->caches) / sizeof(r->caches[0]); i++)
        given = (r->caches[i] && cold_cache_give(r->caches[i]) > 0) || given;
    return given || give_file(r, keep);
}

uint64_t log_reserve_held(struct log_reserve *r, uint64_t bytes)
{
    uint64_t held, free_bytes, total;

    if (!r->cold_here ||
        (r->io->disk_free(r->io->ctx, r->dir, &free_bytes, &total) == 0 && free_bytes > bytes))
        return UINT64_MAX;
    base_mutex_lock(&r->lock);
    held = r->held;
    base_mutex_unlock(&r->lock);
    return held;
}

/* No more than was given: what else is free on a disk that is nearly full is for appends. */
void log_reserve_refill(struct log_reserve *r)
{
    uint64_t free_bytes, total, had;

    base_mutex_lock(&r->lock);
    had = r->held;
    if (r->fd >= 0 && r->lent > 0 &&
        r->io->disk_free(r->io->ctx, r->dir, &free_bytes, &total) == 0 &&
        free_bytes > LOG_RESERVE_SLACK_BYTES)
        grow_locked(r, had + smaller(r->lent, free_bytes - LOG_RESERVE_SLACK_BYTES));
    r->lent -= r->held - had;
    base_mutex_unlock(&r->lock);
}
