/* A set as a whole: opening and closing, its range, waiting, the clock's work. */
#include "hot/set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "hot/internal.h"

#define SET_CHECK_TRIES 100 /* looks at a `published` that a writer keeps changing */
#define SET_CHECK_RETRY_NS 1000000

struct hot_segment *hot_set_active_locked(struct hot_set *set)
{
    return set->count == 0 ? NULL : set->segments[set->count - 1];
}

/* Puts a segment at the end of the list, which takes over the caller's reference. */
int hot_set_list_locked(struct hot_set *set, struct hot_segment *segment, struct varve_error *err)
{
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 16;
        struct hot_segment **grown = realloc(set->segments, capacity * sizeof(*grown));
        if (!grown)
            return base_fail(err, VARVE_E_NO_MEMORY, "list of %zu segments", capacity);
        set->segments = grown;
        set->capacity = capacity;
    }
    segment->listed = true;
    set->segments[set->count++] = segment;
    return 0;
}

void hot_set_recount_locked(struct hot_set *set)
{
    set->sealed_bytes = 0;
    for (size_t i = 0; i + 1 < set->count; i++)
        set->sealed_bytes += set->segments[i]->visible.size;
}

static int set_check_options(const struct hot_set_options *o, struct varve_error *err)
{
    if (o->segment_bytes < HOT_SEGMENT_BYTES_MIN || o->segment_bytes > HOT_SEGMENT_BYTES_MAX)
        return base_fail(err, VARVE_E_INVALID, "segment bytes of %lld",
                         (long long)o->segment_bytes);
    if (o->index_interval_bytes < 1 || o->index_interval_bytes > HOT_SEGMENT_BYTES_MAX)
        return base_fail(err, VARVE_E_INVALID, "index interval of %lld bytes",
                         (long long)o->index_interval_bytes);
    if (o->start_offset < 0)
        return base_fail(err, VARVE_E_INVALID, "start offset %lld", (long long)o->start_offset);
    return 0;
}

static int set_copy_epochs(struct hot_set *set, const struct hot_set_options *options,
                           struct varve_error *err)
{
    size_t size = options->epoch_count * sizeof(*set->epochs);
    set->options.epochs = NULL;
    if (size == 0)
        return 0;
    set->epochs = malloc(size);
    if (!set->epochs)
        return base_fail(err, VARVE_E_NO_MEMORY, "history of %zu epochs", options->epoch_count);
    memcpy(set->epochs, options->epochs, size);
    set->options.epochs = set->epochs;
    return 0;
}

int hot_set_new(const struct base_env *env, const char *dir, const struct hot_set_options *options,
                struct hot_set **ret, struct varve_error *err)
{
    struct hot_set *set = calloc(1, sizeof(*set));
    if (!set)
        return base_fail(err, VARVE_E_NO_MEMORY, "segment set");
    set->env = env;
    set->io = env->io;
    set->options = *options;
    hot_set_configure(set, options);
    set->published.fd = -1;
    set->dirty_ms = -1;
    set->generation = 1;
    base_mutex_init(&set->evict);
    base_mutex_init(&set->append);
    base_mutex_init(&set->checkpoint);
    base_mutex_init(&set->lock);
    base_cond_init(&set->commit[0]);
    base_cond_init(&set->commit[1]);
    base_cond_init(&set->visible);
    int rc = set_copy_epochs(set, options, err);
    if (rc == 0)
        rc = base_format(&set->dir, err, "%s", dir);
    if (rc == 0)
        rc = base_format(&set->published_path, err, "%s/published", dir);
    if (rc == 0)
        rc = base_format(&set->checkpoint_path, err, "%s/checkpoint", dir);
    if (rc < 0) {
        hot_set_abandon(set);
        return rc;
    }
    *ret = set;
    return 0;
}

void hot_set_drop_segments(struct hot_set *set)
{
    base_mutex_lock(&set->lock);
    for (size_t i = 0; i < set->count; i++) {
        set->segments[i]->listed = false;
        hot_segment_unref_locked(set->segments[i]);
    }
    set->count = 0;
    set->active = NULL;
    set->dirty_ms = -1;
    hot_set_unlock(set);
}

struct hot_set *hot_set_abandon(struct hot_set *set)
{
    if (!set)
        return NULL;
    hot_set_drop_segments(set);
    hot_publish_close(set);
    base_cond_deinit(&set->visible);
    base_cond_deinit(&set->commit[0]);
    base_cond_deinit(&set->commit[1]);
    base_mutex_deinit(&set->lock);
    base_mutex_deinit(&set->checkpoint);
    base_mutex_deinit(&set->append);
    base_mutex_deinit(&set->evict);
    free(set->segments);
    free(set->headers);
    free(set->iov);
    free(set->epochs);
    free(set->published_path);
    free(set->checkpoint_path);
    free(set->dir);
    free(set);
    return NULL;
}

/* Says that a writer is at work on the files, keeping what the last one has proved (P2, P3). */
static void set_announce(struct hot_set *set, const struct hot_publication *old, bool known,
                         enum hot_writer_state state)
{
    struct hot_publication p = {.state = HOT_WRITER_NONE, .instance = set->instance};
    if (known && old->state != HOT_WRITER_NONE) {
        p = *old;
        p.instance = set->instance;
        bool same_run = memcmp(old->boot, set->boot, sizeof(set->boot)) == 0;
        if (old->state == HOT_WRITER_FAILED || !same_run)
            p.visible = p.synced;
        if (p.visible.base_offset < p.floor)
            p.floor = p.visible.base_offset;
        p.state = state;
        /* While the last writer's run of the machine stands there, nobody takes `visible` for all
         * that has survived its end (P3). */
        if (same_run || state == HOT_WRITER_FAILED)
            memcpy(p.boot, set->boot, sizeof(p.boot));
    }
    base_mutex_lock(&set->lock);
    hot_publish_write_locked(set, &p);
    base_mutex_unlock(&set->lock);
}

static void set_go_live(struct hot_set *set)
{
    base_mutex_lock(&set->lock);
    hot_set_recount_locked(set);
    hot_publish_locked(set, HOT_WRITER_LIVE);
    base_mutex_unlock(&set->lock);
}

static int set_open_writing(struct hot_set *set, struct hot_recovery *ret, struct varve_error *err)
{
    struct hot_publication old = {0};
    bool known;
    int rc = base_dir_create(set->io, set->dir, true, err);
    if (rc < 0)
        return rc;
    rc = hot_publish_create(set, &old, &known, err);
    if (rc < 0)
        return rc;
    hot_publish_boot(set);
    set->instance = base_random_u64(set->env->random);
    set_announce(set, &old, known, HOT_WRITER_RECOVERING);
    rc = hot_recovery_run(set, known ? &old : NULL, ret, err);
    if (rc < 0) {
        /* Visible is then no more than what was synced, for the next opening, too (I11). */
        if (set->recovery_unsynced)
            set_announce(set, &old, known, HOT_WRITER_FAILED);
        return rc;
    }
    set_go_live(set);
    struct varve_error why;
    /* Also the first one of a set: without any, what a loss of power tears in a file that was never
     * synced could not be told from damage. Where there is no room for it, `published` has its own,
     * and vouches alone. */
    bool first = set->checkpointed.base_offset < 0;
    if ((!ret->unclean && !first) || hot_checkpoint_write(set, false, true, &why) == 0)
        return 0;
    base_log(&set->env->logger, BASE_LOG_WARNING, "%s", why.msg);
    if (!first)
        return 0;
    rc = hot_publish_sync(set, err);
    return rc < 0 ? rc : base_dir_sync(set->io, set->dir, err);
}

int hot_set_open(const struct base_env *env, const char *dir, const struct hot_set_options *options,
                 struct hot_set **ret, struct hot_recovery *ret_recovery, struct varve_error *err)
{
    struct hot_recovery recovery = {.truncated_at = -1};
    struct hot_set *set = NULL;
    int rc = set_check_options(options, err);
    if (rc < 0)
        return rc;
    rc = hot_set_new(env, dir, options, &set, err);
    if (rc < 0)
        return rc;
    rc = options->read_only ? hot_follow_open(set, err) : set_open_writing(set, &recovery, err);
    if (rc < 0) {
        hot_set_abandon(set);
        return rc;
    }
    if (ret_recovery)
        *ret_recovery = recovery;
    *ret = set;
    return 0;
}

struct hot_set *hot_set_close(struct hot_set *set)
{
    if (!set)
        return NULL;
    if (!set->options.read_only) {
        struct varve_error why;
        int rc = hot_set_sync(set, &why);
        if (rc == 0) {
            base_mutex_lock(&set->active->lock);
            hot_sparse_flush_locked(set->active, true);
            base_mutex_unlock(&set->active->lock);
            if (set->active->preallocated > set->active->written.size)
                set->io->ftruncate(set->io->ctx, set->active->fd,
                                   (int64_t)set->active->written.size);
            rc = hot_checkpoint_write(set, true, false, &why);
            base_mutex_lock(&set->lock);
            hot_publish_locked(set, HOT_WRITER_CLOSED);
            base_mutex_unlock(&set->lock);
        }
        if (rc < 0)
            base_log(&set->env->logger, BASE_LOG_WARNING, "close: %s", why.msg);
    }
    return hot_set_abandon(set);
}

void hot_set_range(struct hot_set *set, struct hot_range *ret)
{
    base_mutex_lock(&set->lock);
    struct hot_segment *active = hot_set_active_locked(set);
    *ret = (struct hot_range){.segments = set->count};
    if (active) {
        ret->floor = set->segments[0]->base_offset;
        ret->end = active->visible.end_offset;
        ret->synced = set->synced.end_offset;
        ret->bytes = set->sealed_bytes + active->visible.size;
    }
    base_mutex_unlock(&set->lock);
}

/* Waits for a change for up to `left` ns; returns what is left of them. */
static int64_t wait_locked(struct hot_set *set, int64_t left, int64_t slice)
{
    const struct base_clock *clock = set->env->clock;
    int64_t before = clock->mono_ns(clock->ctx);
    if (slice > left)
        slice = left;
    set->visible_waiters++;
    bool woken = base_cond_wait_for(&set->visible, &set->lock, slice);
    set->visible_waiters--;
    return left - (woken ? clock->mono_ns(clock->ctx) - before : slice);
}

int hot_set_wait(struct hot_set *set, int64_t offset, int64_t timeout_ns, struct varve_error *err)
{
    int64_t poll_ns = set->options.read_only ? HOT_WAIT_POLL_NS_MIN : INT64_MAX;
    int64_t left = timeout_ns;
    for (;;) {
        int rc = hot_set_refresh(set, err);
        if (rc < 0)
            return rc;
        base_mutex_lock(&set->lock);
        struct hot_segment *active = hot_set_active_locked(set);
        bool there = active && active->visible.end_offset > offset;
        bool interrupted = set->interrupted;
        if (!there && !interrupted && left > 0) {
            left = wait_locked(set, left, poll_ns);
            base_mutex_unlock(&set->lock);
            if (poll_ns < HOT_WAIT_POLL_NS_MAX)
                poll_ns = 2 * poll_ns < HOT_WAIT_POLL_NS_MAX ? 2 * poll_ns : HOT_WAIT_POLL_NS_MAX;
            continue;
        }
        base_mutex_unlock(&set->lock);
        if (interrupted)
            return base_fail(err, VARVE_E_CANCELLED, "interrupted");
        if (there)
            return 0;
        return base_fail(err, VARVE_E_TIMEOUT, "nothing above offset %lld yet", (long long)offset);
    }
}

void hot_set_interrupt(struct hot_set *set)
{
    base_mutex_lock(&set->lock);
    set->interrupted = true;
    base_cond_broadcast(&set->visible);
    base_mutex_unlock(&set->lock);
}

void hot_set_configure(struct hot_set *set, const struct hot_set_options *options)
{
    atomic_store(&set->segment_bytes, options->segment_bytes);
    atomic_store(&set->segment_ms, options->segment_ms);
    atomic_store(&set->flush_ms, options->flush_ms);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rolls on age; *next is when that is due. */
static int tick_roll(struct hot_set *set, int64_t now, int64_t *next, struct varve_error *err)
{
    if (set->segment_ms < 0)
        return 0;
    base_mutex_lock(&set->append);
    int64_t first = set->active->written.size > 0 ? set->active->first_append_ms : -1;
    base_mutex_unlock(&set->append);
    if (first < 0)
        return 0;
    if (now - first >= set->segment_ms)
        return hot_set_seal(set, err);
    *next = earlier(*next, base_clock_after(first, set->segment_ms));
    return 0;
}

/* Syncs on the interval, and what was sealed without being synced. */
static int tick_flush(struct hot_set *set, int64_t now, int64_t *next, struct varve_error *err)
{
    if (set->options.durability != HOT_DURABILITY_OS)
        return 0;
    base_mutex_lock(&set->lock);
    bool sealed = set->count > 1 && !set->segments[set->count - 2]->synced;
    int64_t dirty = set->dirty_ms;
    base_mutex_unlock(&set->lock);
    int64_t due =
        dirty >= 0 && set->flush_ms >= 0 ? base_clock_after(dirty, set->flush_ms) : INT64_MAX;
    if (sealed || due <= now)
        return hot_set_sync(set, err);
    *next = earlier(*next, due);
    return 0;
}

static int tick_checkpoint(struct hot_set *set, int64_t now, int64_t *next, struct varve_error *err)
{
    base_mutex_lock(&set->lock);
    struct hot_point synced = set->synced;
    base_mutex_unlock(&set->lock);
    base_mutex_lock(&set->checkpoint);
    bool moved = synced.end_offset > set->checkpointed.end_offset;
    bool sealed = synced.base_offset > set->checkpointed.base_offset;
    int64_t due = set->checkpoint_ms + HOT_CHECKPOINT_MS;
    base_mutex_unlock(&set->checkpoint);
    if (!moved && !sealed)
        return 0;
    if (due > now && due <= now + HOT_CHECKPOINT_MS && !sealed) {
        *next = earlier(*next, due);
        return 0;
    }
    return hot_checkpoint_write(set, false, false, err);
}

int hot_set_tick(struct hot_set *set, int64_t *ret_next_ms, struct varve_error *err)
{
    int64_t now = set->env->clock->wall_ms(set->env->clock->ctx);
    int64_t next = now + HOT_TICK_MS_MAX;
    if (set->options.read_only) {
        *ret_next_ms = next;
        return 0;
    }
    base_mutex_lock(&set->lock);
    int rc = hot_commit_failure_locked(set, err);
    hot_publish_repair_locked(set);
    hot_publish_locked(set, HOT_WRITER_LIVE);
    base_mutex_unlock(&set->lock);
    if (rc == 0)
        rc = tick_roll(set, now, &next, err);
    if (rc == 0)
        rc = tick_flush(set, now, &next, err);
    if (rc == 0)
        rc = tick_checkpoint(set, now, &next, err);
    if (rc < 0)
        return rc;
    *ret_next_ms = next;
    return 0;
}

uint64_t hot_set_rolls(const struct hot_set *set)
{
    return atomic_load_explicit(&set->rolls, memory_order_relaxed);
}

/* ---- the files beside the segments ---- */

/* The bytes of `published` from the file, so that a header is seen too; false: they are damaged.
 * A writer may be changing them: that shows as an odd sequence or a wrong sum, and passes. */
static bool check_published(struct hot_set *set, struct varve_error *ret_what)
{
    uint8_t page[HOT_PUBLISHED_SIZE];
    struct hot_publication p;
    int rc = 0;
    for (int i = 0; i < SET_CHECK_TRIES; i++) {
        size_t got;
        int fd = set->io->open(set->io->ctx, set->published_path, O_RDONLY, 0);
        if (fd < 0)
            return true; /* none was made yet */
        rc = base_io_pread_some(set->io, fd, page, sizeof(page), 0, &got, set->published_path,
                                ret_what);
        set->io->close(set->io->ctx, fd);
        if (rc == 0)
            rc = hot_publish_decode(page, got, &p, ret_what);
        if (rc == 0)
            return true;
        if (i > 0 && !hot_set_has_writer(set))
            break;
        set->env->clock->sleep_ns(set->env->clock->ctx, SET_CHECK_RETRY_NS);
    }
    base_error_context(ret_what, rc, "%s", set->published_path);
    return false;
}

int hot_set_check_files(struct hot_set *set,
                        void (*report)(void *arg, const char *path, const struct varve_error *what,
                                       bool repaired),
                        void *arg, struct varve_error *err)
{
    struct varve_error what = {0};
    struct hot_checkpoint checkpoint;
    bool writing = !set->options.read_only;
    if (!check_published(set, &what)) {
        if (writing) {
            base_mutex_lock(&set->lock);
            hot_publish_repair_locked(set);
            hot_publish_locked(set, HOT_WRITER_LIVE);
            base_mutex_unlock(&set->lock);
        }
        report(arg, set->published_path, &what, writing);
    }
    int rc = hot_checkpoint_read(set, &checkpoint, &what);
    if (rc == VARVE_E_CORRUPT || rc == VARVE_E_VERSION) {
        bool repaired = writing && hot_checkpoint_write(set, false, true, NULL) == 0;
        report(arg, set->checkpoint_path, &what, repaired);
    } else if (rc < 0 && rc != VARVE_E_NOT_FOUND) {
        if (err)
            *err = what;
        return rc;
    }
    return 0;
}
