/*
 * What a log consists of and what is done to it as a whole: statistics, its segments in both tiers,
 * tiering, trimming, checking.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "hot/aside.h"
#include "hot/segment.h"
#include "log/log.h"
#include "tiering/verify.h"

/*
 * The recovery point as a process that does not run the tierer sees it: what lies above n, aged by
 * the last append to the first segment there (when exactly its first record came is known to the
 * writer only).
 */
static void info_pending(struct varve_log *log, struct varve_log_info *o)
{
    const struct base_clock *clock = log->store->env.clock;
    int64_t now = clock->wall_ms(clock->ctx);
    int64_t offset = o->cold_end;

    while (offset < o->end_offset) {
        struct hot_segment *segment = NULL;
        struct hot_segment_info h;
        int r = hot_segment_find(log->hot, offset, false, &segment, NULL);

        if (r < 0)
            return;
        hot_segment_extent(segment, &h); /* a damaged one is not uploaded, and counts */
        hot_segment_unref(segment);
        if (h.end_offset <= offset)
            return;
        if (o->pending_age_ms == 0)
            o->pending_age_ms = now > h.append_time ? now - h.append_time : 1;
        if (h.sealed)
            o->pending_bytes += h.size;
        offset = h.end_offset;
    }
}

static int count_divergent(void *arg, const struct hot_aside *file)
{
    struct varve_log_info *o = arg;

    o->divergent_segments++;
    o->divergent_bytes += file->size;
    return 0;
}

static int info_divergent(struct varve_log *log, struct varve_log_info *o, struct varve_error *err)
{
    char *dir;
    int r;

    if (log->store->attached)
        return 0;
    r = log_divergent_dir(log, &dir, err);
    if (r < 0)
        return r;
    r = hot_aside_each(log->store->env.io, dir, true, count_divergent, o, err);
    free(dir);
    return r;
}

int varve_log_info(struct varve_log *log, struct varve_log_info *info, struct varve_error *err)
{
    struct varve_log_info o = {0};
    struct index_root_pin *pin;
    const struct index_root *root;
    struct tiering_status status = {0};
    struct hot_range range = {0};
    size_t size = info->size < sizeof(o) ? info->size : sizeof(o);
    int r = log_refresh(log, true, err);

    /* The hot range first: h never passes an n that was durable before (I1), also as seen here. */
    log_range(log, &o.hot_start, &o.end_offset);
    if (log->hot)
        hot_set_range(log->hot, &range);
    if (log->tiering)
        tiering_log_status(log->tiering, &status);
    if (r == 0)
        r = index_manifest_pin(log->manifest, &pin, &root, err);
    if (r < 0)
        return log_context(log, r, err);
    if (o.end_offset < root->end_offset) /* appended, sealed and uploaded in between */
        o.end_offset = root->end_offset;
    o.start_offset = root->start_offset;
    o.cold_end = root->end_offset;
    o.hot_segments = range.segments;
    o.hot_bytes = range.bytes;
    o.cold_segments = root->segment_count;
    o.cold_bytes = root->segment_bytes;
    o.cold_stored_bytes = root->object_bytes;
    o.epoch = root->epoch;
    o.pending_age_ms = status.oldest_pending_ms;
    o.pending_bytes = status.pending_bytes;
    o.upload_failures = status.failures;
    if (!log->tiering && log->hot)
        info_pending(log, &o);
    base_id_format(&root->log_id, o.id);
    base_id_format(&root->owner, o.owner);
    o.owned = log->store->attached || base_id_equal(&root->owner, &log->store->id);
    index_manifest_unpin(pin);
    r = info_divergent(log, &o, err);
    if (r < 0)
        return log_context(log, r, err);
    o.size = size;
    memcpy(info, &o, size);
    return 0;
}

/* ---- the segments of both tiers, merged by offset ---- */

#define MERGE_ROUNDS_MAX 64 /* segments going cold under the walk make it look again */

struct merge {
    struct varve_log *log;
    int (*visit)(void *ctx, const struct varve_segment_info *segment);
    void *ctx;
    int64_t next;    /* segments below have been visited */
    int64_t hot_end; /* where the log ended when the walk began */
    bool ended;      /* visit said so: `visited` is what it returned */
    int visited;
};

/*
 * The hot segment that holds `offset`, or the first one when that lies above. VARVE_E_END: there is
 * none (any more). Empty ones do not count.
 */
static int merge_hot(struct merge *m, int64_t offset, struct hot_segment_info *ret,
                     struct varve_error *err)
{
    struct hot_segment *segment = NULL;
    struct hot_range range;
    int r;

    if (!m->log->hot)
        return VARVE_E_END;
    hot_set_range(m->log->hot, &range);
    if (offset < range.floor)
        offset = range.floor;
    if (offset >= m->hot_end || offset >= range.end)
        return VARVE_E_END;
    r = hot_segment_find(m->log->hot, offset, false, &segment, err);
    if (r == VARVE_E_OUT_OF_RANGE)
        return VARVE_E_END;
    if (r < 0)
        return r;
    r = hot_segment_info(segment, ret, err);
    hot_segment_unref(segment);
    if (r == 0 && ret->end_offset <= ret->base_offset)
        return VARVE_E_END;
    return r;
}

static int merge_visit(struct merge *m, const struct varve_segment_info *info)
{
    m->next = info->end_offset;
    m->visited = m->visit(m->ctx, info);
    m->ended = m->visited != 0;
    return m->ended;
}

static int merge_visit_hot(struct merge *m, const struct hot_segment_info *h)
{
    const struct varve_segment_info info = {
        .base_offset = h->base_offset,
        .end_offset = h->end_offset,
        .first_timestamp = h->first_timestamp,
        .max_timestamp = h->max_timestamp,
        .size = h->size,
        .hot = true,
        .sealed = h->sealed,
    };

    return merge_visit(m, &info);
}

static int merge_cold(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct merge *m = arg;
    struct varve_segment_info info = {
        .base_offset = e->base_offset,
        .end_offset = e->end_offset,
        .first_timestamp = e->first_timestamp,
        .max_timestamp = e->max_timestamp,
        .size = e->segment_size,
        .stored_size = e->object_size,
        .cold = true,
        .sealed = true,
    };
    struct hot_segment_info h;
    char *key = NULL;
    int r;

    if (e->end_offset <= m->next)
        return 0; /* cut off and waiting for its deletion, or visited */
    r = merge_hot(m, e->base_offset, &h, err);
    if (r < 0 && r != VARVE_E_END)
        return r;
    info.hot = r == 0 && h.base_offset == e->base_offset;
    r = index_key_object(m->log->name, &m->log->source.log_id, e, &key, err);
    if (r < 0)
        return r;
    info.object_key = key;
    r = merge_visit(m, &info);
    free(key);
    return r;
}

/* What is cold from m->next on, then what is hot behind it. */
static int merge_round(struct merge *m, struct varve_error *err)
{
    struct hot_segment_info h;
    int r = index_manifest_each(m->log->manifest, m->next, merge_cold, m, err);

    while (r == 0 && (r = merge_hot(m, m->next, &h, err)) == 0) {
        if (h.base_offset > m->next)
            return 0; /* what lay between was evicted meanwhile: it is in the manifest now (I3) */
        r = merge_visit_hot(m, &h);
    }
    return r == VARVE_E_END ? 0 : r;
}

int varve_log_each_segment(struct varve_log *log,
                           int (*visit)(void *ctx, const struct varve_segment_info *segment),
                           void *ctx, struct varve_error *err)
{
    struct merge m = {.log = log, .visit = visit, .ctx = ctx};
    int64_t floor, end, before = -1;
    int r = 0;

    for (unsigned round = 0; round < MERGE_ROUNDS_MAX; round++) {
        r = log_refresh(log, true, err);
        if (r < 0)
            return r;
        if (round == 0) {
            m.next = log_start(log);
            log_range(log, &floor, &m.hot_end);
        }
        r = merge_round(&m, err);
        if (m.ended)
            return m.visited;
        if (r < 0)
            return log_context(log, r, err);
        if (m.next >= m.hot_end)
            break;
        if (m.next < log_start(log)) /* trimmed under the walk */
            m.next = log_start(log);
        log_range(log, &floor, &end);
        if (m.next == before && m.next < floor && round > 0)
            m.next = floor; /* a hole: varve_log_verify names it, what lies behind it is shown */
        before = m.next;
    }
    return 0;
}

/* ---- what was set aside ---- */

struct divergent_visit {
    int (*visit)(void *ctx, const struct varve_divergent_info *file);
    void *ctx;
    int ended; /* what visit returned */
};

static int visit_divergent(void *arg, const struct hot_aside *file)
{
    struct divergent_visit *v = arg;
    const struct varve_divergent_info info = {
        .path = file->path,
        .first_offset = file->first_offset,
        .end_offset = file->end_offset,
        .size = file->size,
        .epoch = file->epoch,
    };

    v->ended = v->visit(v->ctx, &info);
    return v->ended;
}

int varve_log_each_divergent(struct varve_log *log,
                             int (*visit)(void *ctx, const struct varve_divergent_info *file),
                             void *ctx, struct varve_error *err)
{
    struct divergent_visit v = {.visit = visit, .ctx = ctx};
    char *dir;
    int r;

    if (log->store->attached)
        return 0;
    r = log_divergent_dir(log, &dir, err);
    if (r < 0)
        return log_context(log, r, err);
    r = hot_aside_each(log->store->env.io, dir, false, visit_divergent, &v, err);
    free(dir);
    if (v.ended != 0)
        return v.ended;
    return r < 0 ? log_context(log, r, err) : 0;
}

/* ---- tier, trim, verify ---- */

static bool tier_give_room(void *ctx, uint64_t keep)
{
    return log_reserve_give(ctx, keep);
}

int varve_log_tier(struct varve_log *log, struct varve_tier_options *options,
                   struct varve_error *err)
{
    struct varve_tier_options o;
    struct tiering_run run;
    struct hot_range local;
    int r = log_store_check_writable(log->store, err);

    if (r < 0)
        return log_context(log, r, err);
    log_options_copy(&o, sizeof(o), options);
    hot_set_range(log->hot, &local);
    run = (struct tiering_run){
        .seal = o.seal,
        .evict = o.evict,
        .progress = o.progress,
        .progress_ctx = o.progress_ctx,
        .give_room = tier_give_room,
        .give_room_ctx = &log->store->reserve,
        .room_held = log_reserve_held(&log->store->reserve,
                                      local.bytes + local.bytes / 8 + LOG_RESERVE_ROOT_BYTES),
    };
    r = tiering_log_run(log->tiering, &run, err);
    log_reserve_refill(&log->store->reserve);
    o.uploaded_segments = run.uploaded_segments;
    o.uploaded_bytes = run.uploaded_bytes;
    o.stored_bytes = run.stored_bytes;
    o.evicted_segments = run.evicted_segments;
    o.evicted_bytes = run.evicted_bytes;
    o.deleted_objects = run.deleted_objects;
    if (options)
        memcpy(options, &o, options->size < sizeof(o) ? options->size : sizeof(o));
    if (r == 0)
        r = log_take_root(log, err);
    return r < 0 ? log_context(log, r, err) : 0;
}

int varve_log_trim(struct varve_log *log, int64_t offset, struct varve_error *err)
{
    int r = log_store_check_writable(log->store, err);

    if (r == 0)
        r = tiering_log_trim(log->tiering, offset, err);
    if (r == 0)
        r = log_take_root(log, err);
    return r < 0 ? log_context(log, r, err) : 0;
}

struct verify_ctx {
    const struct varve_verify_options *options;
};

static void verify_found(void *ctx, const struct tiering_finding *f)
{
    static const char *const kinds[] = {
        [TIERING_FOUND_DAMAGE] = "damage",     [TIERING_FOUND_MISSING] = "missing",
        [TIERING_FOUND_GAP] = "gap",           [TIERING_FOUND_OVERLAP] = "overlap",
        [TIERING_FOUND_MISMATCH] = "mismatch", [TIERING_FOUND_ORPHAN] = "orphan",
        [TIERING_FOUND_NOTE] = "note",
    };
    const struct verify_ctx *v = ctx;
    const struct varve_finding finding = {
        .kind = kinds[f->kind],
        .where = f->where,
        .text = f->text,
        .offset = f->offset,
        .problem = f->kind != TIERING_FOUND_ORPHAN && f->kind != TIERING_FOUND_NOTE,
        .repaired = f->repaired,
    };

    if (v->options->found)
        v->options->found(v->options->ctx, &finding);
}

static void verify_progress(void *ctx, uint64_t done, uint64_t total)
{
    const struct verify_ctx *v = ctx;

    if (v->options->progress)
        v->options->progress(v->options->ctx, done, total);
}

/* What lies in `divergent/` is no damage, but nobody should be unaware of it. */
static int verify_divergent(void *arg, const struct varve_divergent_info *file)
{
    const struct varve_verify_options *o = arg;
    char text[160];
    const struct varve_finding finding = {
        .kind = "divergent", .where = file->path, .text = text, .offset = file->first_offset};

    snprintf(text, sizeof(text),
             "offsets %" PRId64 " to %" PRId64 " (epoch %" PRIu32
             ") were written here and lost against another owner's: not part of the log",
             file->first_offset, file->end_offset, file->epoch);
    if (o->found)
        o->found(o->ctx, &finding);
    return 0;
}

int varve_log_verify(struct varve_log *log, struct varve_verify_options *options,
                     struct varve_error *err)
{
    struct varve_verify_options o;
    struct verify_ctx ctx = {&o};
    struct tiering_verify v;
    int r;

    log_options_copy(&o, sizeof(o), options);
    r = o.repair ? log_store_check_writable(log->store, err) : 0;
    if (r == 0)
        r = log_refresh(log, true, err);
    if (r < 0)
        return log_context(log, r, err);
    v = (struct tiering_verify){
        .log_name = log->name,
        .hot = log->hot,
        .manifest = log->manifest,
        .segments = log->store->segments,
        .meta = log->store->meta,
        .tiering = log->tiering,
        .store_id = log->store->attached ? NULL : &log->store->id,
        .manifest_dir = log->store->attached ? NULL : log->dir,
        .caches = {log->store->blocks, log->store->tables},
        .deep = o.deep,
        .repair = o.repair,
        .all_orphans = o.all_orphans,
        .found = verify_found,
        .progress = verify_progress,
        .ctx = &ctx,
    };
    r = tiering_verify_run(&log->store->env, &v, err);
    if (r == 0)
        r = varve_log_each_divergent(log, verify_divergent, &o, err);
    o.hot_segments = v.hot_segments;
    o.cold_segments = v.cold_segments;
    o.bytes_read = v.bytes_read;
    o.problems = v.problems;
    o.repaired = v.repaired;
    if (options)
        memcpy(options, &o, options->size < sizeof(o) ? options->size : sizeof(o));
    return r < 0 ? log_context(log, r, err) : 0;
}
