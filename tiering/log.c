/* A log open for tiering: opening, attaching its hot set, state, configuration, deletion. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "tiering/state.h"

#define LEADER_EPOCH_READ_BYTES (64 * 1024)

int64_t tiering_now_ms(const struct tiering_log *t)
{
    return t->env->clock->wall_ms(t->env->clock->ctx);
}

struct tiering_policy tiering_policy_now(struct tiering_log *t)
{
    struct tiering_policy policy;

    base_mutex_lock(&t->lock);
    policy = t->policy;
    base_mutex_unlock(&t->lock);
    return policy;
}

/* Being fenced. */

int tiering_fence(struct tiering_log *t, struct varve_error *err, const char *format, ...)
{
    struct varve_error why = {.code = VARVE_E_FENCED};
    va_list args;

    va_start(args, format);
    vsnprintf(why.msg, sizeof(why.msg), format, args);
    va_end(args);
    base_mutex_lock(&t->lock);
    t->status.last_error = why;
    base_mutex_unlock(&t->lock);
    if (!atomic_exchange_explicit(&t->fenced, true, memory_order_relaxed))
        base_log(&t->env->logger, BASE_LOG_ERROR, "%s; this store does not write to it any more",
                 why.msg);
    if (err)
        *err = why;
    return VARVE_E_FENCED;
}

int tiering_check_fenced(struct tiering_log *t, struct varve_error *err)
{
    if (!atomic_load_explicit(&t->fenced, memory_order_relaxed))
        return 0;
    base_mutex_lock(&t->lock);
    if (err)
        *err = t->status.last_error;
    base_mutex_unlock(&t->lock);
    if (err && err->code != VARVE_E_FENCED)
        base_fail(err, VARVE_E_FENCED, "log %s: another store owns it", t->log_name);
    return VARVE_E_FENCED;
}

int tiering_log_check(struct tiering_log *t, struct varve_error *err)
{
    return tiering_check_fenced(t, err);
}

/* Events. */

void tiering_event_add(struct tiering_log *t, enum tiering_event_kind kind, int64_t base_offset,
                       int64_t end_offset, uint64_t bytes)
{
    if (!t->o.event)
        return;
    base_mutex_lock(&t->lock);
    if (t->event_count == t->event_capacity) {
        size_t capacity = t->event_capacity ? t->event_capacity * 2 : 64;
        struct tiering_event *events = realloc(t->events, capacity * sizeof(*events));

        if (events) {
            t->events = events;
            t->event_capacity = capacity;
        }
    }
    if (t->event_count < t->event_capacity)
        t->events[t->event_count++] = (struct tiering_event){
            .kind = kind,
            .log_name = t->log_name,
            .base_offset = base_offset,
            .end_offset = end_offset,
            .bytes = bytes,
        };
    base_mutex_unlock(&t->lock);
}

void tiering_event_tell(struct tiering_log *t)
{
    struct tiering_event *events;
    size_t count;

    if (!t->o.event)
        return;
    /* The callback is the embedder's: it does not run under a lock. Only a simulation whose seams
     * call the engine gets here with one; the outer call tells then. */
    if (base_mutex_held() > 0)
        return;
    base_mutex_lock(&t->lock);
    events = t->events;
    count = t->event_count;
    t->events = NULL;
    t->event_count = t->event_capacity = 0;
    base_mutex_unlock(&t->lock);
    for (size_t i = 0; i < count; i++)
        t->o.event(t->o.event_ctx, &events[i]);
    free(events);
}

/* Opening. */

struct tiering_log *tiering_log_close(struct tiering_log *t)
{
    if (!t)
        return NULL;
    while (t->uploads) {
        struct tiering_upload *u = t->uploads;

        t->uploads = u->next;
        tiering_upload_free(u); /* stored and not committed: an orphan, uploaded again (I10) */
    }
    tiering_journal_close(t->journal);
    base_mutex_deinit(&t->lock);
    base_mutex_deinit(&t->root_lock);
    base_mutex_deinit(&t->step_lock);
    free(t->events); /* every call that makes some tells them */
    free(t->held);
    free(t->log_name);
    free(t);
    return NULL;
}

int tiering_log_open(const struct base_env *env, const struct tiering_log_options *options,
                     bool take_over, struct tiering_log **ret, struct varve_error *err)
{
    struct tiering_log *t = calloc(1, sizeof(*t));
    int rc;

    if (!t)
        return base_fail(err, VARVE_E_NO_MEMORY, "open log %s: out of memory", options->log_name);
    t->env = env;
    t->o = *options;
    t->policy = options->policy;
    t->active_base = t->oldest_base = t->looked_end = -1;
    base_mutex_init(&t->step_lock);
    base_mutex_init(&t->root_lock);
    base_mutex_init(&t->lock);
    atomic_init(&t->fenced, false);
    atomic_init(&t->cancel, false);
    t->log_name = strdup(options->log_name);
    t->o.log_name = t->log_name;
    t->collect_ms = tiering_now_ms(t) + TIERING_COLLECT_FIRST_MS;
    rc = t->log_name ? 0 : base_fail(err, VARVE_E_NO_MEMORY, "open log: out of memory");
    if (rc == 0 && options->journal_path && !options->set_aside)
        rc = tiering_journal_open(env, options->journal_path, &t->journal, err);
    t->o.journal_path = NULL;
    if (rc == 0)
        rc = tiering_root_open(t, take_over, err);
    t->o.hot_dir = t->o.divergent_dir = NULL;
    if (rc < 0) {
        tiering_log_close(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void tiering_log_set_policy(struct tiering_log *t, const struct tiering_policy *policy)
{
    base_mutex_lock(&t->lock);
    t->policy = *policy;
    base_mutex_unlock(&t->lock);
}

bool tiering_log_fenced(const struct tiering_log *t)
{
    return atomic_load_explicit(&t->fenced, memory_order_relaxed);
}

uint32_t tiering_log_epoch(struct tiering_log *t)
{
    return t->epoch;
}

/* Attaching. */

/* The leader epoch of the batch that holds `offset`. */
static int leader_epoch_at(struct hot_set *hot, int64_t offset, int64_t *ret,
                           struct varve_error *err)
{
    struct hot_segment *segment;
    uint64_t pos = 0;
    int64_t at;
    uint8_t *buf = malloc(LEADER_EPOCH_READ_BYTES);
    int rc;

    if (!buf)
        return base_fail(err, VARVE_E_NO_MEMORY, "read the last epoch: out of memory");
    rc = hot_segment_find(hot, offset, true, &segment, err);
    if (rc < 0) {
        free(buf);
        return rc;
    }
    rc = hot_segment_locate(segment, offset, &pos, &at, err);
    while (rc == 0) {
        uint8_t *header = buf;
        size_t got, size;

        rc = hot_segment_read(segment, header, RECORD_BATCH_HEADER_SIZE, pos, &got, err);
        if (rc < 0)
            break;
        size = got == RECORD_BATCH_HEADER_SIZE ? record_batch_size(header) : 0;
        if (size == 0) {
            rc = base_fail(err, VARVE_E_CORRUPT, "%s at position %llu: not a batch",
                           hot_segment_path(segment), (unsigned long long)pos);
            break;
        }
        /* Base offset, then last offset delta, of the header: KIP-98's table. */
        if ((int64_t)base_get_be64(header) + (int32_t)base_get_be32(header + 23) >= offset) {
            *ret = (int32_t)base_get_be32(header + 12);
            break;
        }
        pos += size;
    }
    hot_segment_unref(segment);
    free(buf);
    return rc;
}

/*
 * The leader epoch of the newest batch that can be read. The newest of all cannot where a loss of
 * power has torn, or half evicted, what was never synced.
 */
static int leader_epoch_last(struct hot_set *hot, const struct hot_range *range, int64_t *ret,
                             struct varve_error *err)
{
    struct hot_segment *segment;
    struct hot_segment_info info;
    struct varve_error why;
    int rc = leader_epoch_at(hot, range->end - 1, ret, err);

    for (int64_t at = range->end - 1; rc == VARVE_E_CORRUPT && at >= range->floor;
         at = info.base_offset - 1) {
        if (hot_segment_find(hot, at, false, &segment, &why) < 0)
            break;
        hot_segment_extent(segment, &info);
        int one = hot_segment_epoch(segment, ret, &why);
        hot_segment_unref(segment);
        if (one == VARVE_E_NOT_FOUND)
            continue;
        rc = one;
        if (rc < 0 && err)
            *err = why;
    }
    return rc;
}

/* A batch's CRC32C leaves its leader epoch out. What follows from one that no writer had is not
 * that a tail diverged. Of the oldest the history may be merged. */
static bool epoch_known(const struct index_root *root, int64_t epoch)
{
    struct index_epoch e = {0};

    for (size_t i = 0; i < root->epoch_count; i++) {
        index_root_epoch(root, i, &e);
        if (e.epoch == epoch || (i == 0 && epoch < e.epoch && e.epoch > 0 &&
                                 root->epoch_count == INDEX_ROOT_EPOCHS_MAX))
            return true;
    }
    return false;
}

/*
 * Where the local tail parts from the log's history: the start of the first epoch that came after
 * the one the tail was written in (I13). The batches themselves say which that was, so that it is
 * seen also when the local root was thrown away, or replaced before a crash. INT64_MAX: nowhere.
 */
static int divergence_find(struct tiering_log *t, const struct hot_range *range, int64_t *ret,
                           int64_t *ret_epoch, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    int64_t epoch = 0, from = INT64_MAX;
    struct varve_error why = {0};
    struct index_root now;
    int rc;

    if (range->end <= range->floor) {
        *ret = INT64_MAX;
        return 0;
    }
    rc = leader_epoch_last(t->hot, range, &epoch, &why);
    if (rc == VARVE_E_CORRUPT && tiering_root_get(t, &now, NULL) == 0 &&
        range->end <= now.end_offset) {
        /* An eviction that a loss of power has half undone: nothing here reaches beyond n, and what
         * this copy lacks is read from the cold tier. */
        *ret = INT64_MAX;
        return 0;
    }
    if (rc < 0 && err)
        *err = why;
    if (rc == 0)
        rc = index_manifest_pin(t->o.manifest, &pin, &root, err);
    if (rc < 0)
        return rc;
    if (!epoch_known(root, epoch)) {
        index_manifest_unpin(pin);
        return base_fail(err, VARVE_E_CORRUPT,
                         "the batch that ends at offset %lld has leader epoch %lld, which the log "
                         "never had",
                         (long long)range->end, (long long)epoch);
    }
    for (size_t i = 0; i < root->epoch_count; i++) {
        struct index_epoch e;

        index_root_epoch(root, i, &e);
        if ((int64_t)e.epoch > epoch && e.start_offset < from)
            from = e.start_offset;
    }
    index_manifest_unpin(pin);
    *ret = from < range->end ? from : INT64_MAX;
    *ret_epoch = epoch;
    return 0;
}

/*
 * Moves the tail into a directory of its own, "<from>-<epoch it was written in>": each take-over
 * has another epoch, so no later tail meets the files of an earlier one, and one that was
 * interrupted goes on where it stopped.
 */
static int divergence_move(struct tiering_log *t, int64_t from, int64_t end, int64_t epoch,
                           const char *divergent_dir, struct varve_error *err)
{
    char *aside;
    int rc = base_format(&aside, err, "%s/%020lld-%lld", divergent_dir, (long long)from,
                         (long long)epoch);

    if (rc < 0)
        return rc;
    rc = hot_set_move_tail(t->hot, from, aside, err);
    if (rc == 0)
        base_log(&t->env->logger, BASE_LOG_WARNING,
                 "log %s: offsets %lld to %lld were written here (epoch %lld) and not uploaded "
                 "before another store took the log over: moved to %s, not part of the log",
                 t->log_name, (long long)from, (long long)end, (long long)epoch, aside);
    free(aside);
    return rc;
}

static int attach_reconcile(struct tiering_log *t, const char *divergent_dir,
                            struct varve_error *err)
{
    struct index_root root;
    struct hot_range range;
    int64_t from = INT64_MAX, epoch = 0;
    int rc = tiering_root_get(t, &root, err);

    hot_set_range(t->hot, &range);
    if (rc == 0)
        rc = divergence_find(t, &range, &from, &epoch, err);
    if (rc < 0)
        return rc;
    if (from != INT64_MAX) {
        if (from < range.floor)
            from = range.floor;
        rc = divergence_move(t, from, range.end, epoch, divergent_dir, err);
        if (rc < 0)
            return rc;
        hot_set_range(t->hot, &range);
    }
    if (range.end < root.end_offset || (from != INT64_MAX && range.end != root.end_offset)) {
        rc = hot_set_reset(t->hot, root.end_offset, err); /* the cold tier holds all below n */
        if (rc < 0)
            return rc;
        hot_set_range(t->hot, &range);
    }
    if (range.floor > root.end_offset)
        return base_fail(err, VARVE_E_CORRUPT,
                         "offsets %lld to %lld are in neither tier (I1): the bucket's root ends "
                         "below the local segments",
                         (long long)root.end_offset, (long long)range.floor);
    return 0;
}

/* What was set aside may have ended in the middle of a segment: its first part is committed, and
 * what is appended from now on must begin a segment of its own, or it never continues n. */
static int attach_align(struct tiering_log *t, struct varve_error *err)
{
    struct hot_segment *active;
    struct hot_segment_info info;
    struct hot_range range;
    struct index_root root;
    int rc = tiering_root_get(t, &root, err);

    hot_set_range(t->hot, &range);
    if (rc < 0 || range.end != root.end_offset)
        return rc;
    rc = hot_segment_find(t->hot, range.end, false, &active, err);
    if (rc < 0)
        return rc;
    hot_segment_extent(active, &info);
    hot_segment_unref(active);
    return info.base_offset < range.end ? hot_set_seal(t->hot, err) : 0;
}

int tiering_log_attach(struct tiering_log *t, struct hot_set *hot, const char *divergent_dir,
                       struct varve_error *err)
{
    struct hot_segment *active;
    struct hot_segment_info info;
    struct hot_range range;
    struct index_root root;
    int rc;

    t->hot = hot;
    rc = attach_reconcile(t, divergent_dir, err);
    if (rc == 0)
        rc = attach_align(t, err);
    if (rc == 0) {
        hot_set_range(hot, &range);
        rc = hot_segment_find(hot, range.end, false, &active, err);
    }
    if (rc == 0) {
        rc = hot_segment_info(active, &info, err);
        if (rc == 0)
            t->sealed_seen = info.base_offset;
        hot_segment_unref(active);
    }
    if (rc == 0)
        rc = tiering_root_get(t, &root, err);
    if (rc < 0) {
        t->hot = NULL;
        return base_error_context(err, rc, "open log %s", t->log_name);
    }
    hot_set_publish_root(hot, root.generation);
    return 0;
}

/* Status. */

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Adds up what is sealed and not committed. */
static void status_pending(struct tiering_log *t, int64_t n, struct tiering_status *status)
{
    struct hot_range range;
    int64_t at = n, now = tiering_now_ms(t);

    if (!t->hot)
        return;
    hot_set_range(t->hot, &range);
    if (at < range.floor)
        at = range.floor;
    while (at < range.end) {
        struct hot_segment *segment;
        struct hot_segment_info info;

        if (hot_segment_find(t->hot, at, false, &segment, NULL) < 0)
            return;
        hot_segment_extent(segment, &info); /* a damaged one stalls uploads: it shows */
        hot_segment_unref(segment);
        if (info.end_offset <= at)
            return;
        if (status->oldest_pending_ms == 0) {
            int64_t since = info.append_time;

            base_mutex_lock(&t->lock);
            if (info.base_offset == t->oldest_base)
                since = min64(since, t->oldest_since);
            else if (info.base_offset == t->active_base)
                since = min64(since, t->active_since);
            base_mutex_unlock(&t->lock);
            status->oldest_pending_ms = now > since ? now - since : 1;
        }
        if (!info.sealed)
            return;
        status->pending_bytes += info.size;
        status->pending_segments++;
        at = info.end_offset;
    }
}

void tiering_log_status(struct tiering_log *t, struct tiering_status *ret)
{
    struct index_root root;

    base_mutex_lock(&t->lock);
    *ret = t->status;
    base_mutex_unlock(&t->lock);
    ret->fenced = atomic_load_explicit(&t->fenced, memory_order_relaxed);
    ret->pending_bytes = 0;
    ret->pending_segments = 0;
    ret->oldest_pending_ms = 0;
    if (tiering_root_get(t, &root, NULL) == 0) {
        ret->committed_end = root.end_offset;
        status_pending(t, root.end_offset, ret);
    }
}

/* Changing a log as a whole. */

struct config {
    const char *text;
    size_t size;
};

static int change_config(struct index_edit *edit, const void *arg, struct varve_error *err)
{
    const struct config *config = arg;

    return index_edit_config(edit, config->text, config->size, err);
}

int tiering_log_configure(struct tiering_log *t, const char *config, size_t size,
                          const struct tiering_policy *policy, struct varve_error *err)
{
    int rc = tiering_root_change(t, change_config, &(struct config){config, size}, err);

    if (rc < 0)
        return base_error_context(err, rc, "configure log %s", t->log_name);
    tiering_log_set_policy(t, policy);
    return 0;
}
