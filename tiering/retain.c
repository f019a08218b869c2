/*
 * Retention and what follows it: trims, deletions after the grace period, page deletion.
 *
 * A trim is a root write that moves the log start and remembers the cut. Objects below a cut are
 * deleted when its grace period is over, in requests of at most TIERING_DELETE_KEYS_MAX; then one
 * root write forgets them (deleted_to), and then the pages go that this root does not name any
 * more. Each step may be repeated: deleting what is gone is no error.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tiering/state.h"

/* Keys that go. */

int tiering_doomed_flush(struct tiering_doomed *d, struct varve_error *err)
{
    int rc = 0;

    if (d->count > 0)
        rc = cold_store_delete(d->store, (const char *const *)d->keys, d->count, err);
    if (rc < 0)
        return rc;
    d->deleted += d->count;
    tiering_doomed_deinit(d);
    return 0;
}

int tiering_doomed_add(struct tiering_doomed *d, char *key, struct varve_error *err)
{
    if (d->count == TIERING_DELETE_KEYS_MAX) {
        int rc = tiering_doomed_flush(d, err);

        if (rc < 0) {
            free(key);
            return rc;
        }
    }
    d->keys[d->count++] = key;
    return 0;
}

void tiering_doomed_deinit(struct tiering_doomed *d)
{
    while (d->count > 0)
        free(d->keys[--d->count]);
}

/* Trimming. */

/* With root_lock held. */
static int trim_write(struct tiering_log *t, int64_t offset, struct varve_error *err)
{
    struct index_root root;
    struct index_edit *edit;
    uint64_t bytes;
    unsigned count;
    int rc = tiering_root_confirm(t, err);

    if (rc == 0)
        rc = tiering_root_get(t, &root, err);
    if (rc < 0 || offset <= root.start_offset)
        return rc;
    rc = index_edit_new(t->o.manifest, &edit, err);
    if (rc < 0)
        return rc;
    rc = index_edit_trim(edit, offset, tiering_now_ms(t), err);
    /* What moves n is synced first, see commit.c. */
    if (rc == 0 && t->hot && offset > root.end_offset)
        rc = hot_set_sync(t->hot, err);
    if (rc == 0) {
        rc = tiering_root_write(t, edit, err); /* I5: durable before anything goes */
        /* Also where that has failed: the bucket may have it all the same. */
        t->cuts[t->cut_next++ % INDEX_ROOT_CUTS_MAX] =
            (struct index_cut){offset, tiering_now_ms(t)};
    }
    index_edit_free(edit);
    if (rc < 0)
        return rc;
    tiering_event_add(t, TIERING_TRIMMED, root.start_offset, offset, 0);
    /* The new n is at or above `offset` (I3). A pinned segment stays; eviction comes back to it. */
    if (t->hot && hot_set_evict(t->hot, offset, &bytes, &count, NULL) == 0) {
        base_mutex_lock(&t->lock);
        t->status.evicted_segments += count;
        base_mutex_unlock(&t->lock);
    }
    return 0;
}

int tiering_log_trim(struct tiering_log *t, int64_t offset, struct varve_error *err)
{
    struct hot_range range;
    int rc;

    hot_set_range(t->hot, &range);
    if (offset > range.end)
        return base_fail(err, VARVE_E_OUT_OF_RANGE, "log %s: trim to offset %lld: it ends at %lld",
                         t->log_name, (long long)offset, (long long)range.end);
    base_mutex_lock(&t->root_lock);
    rc = trim_write(t, offset, err);
    /* An earlier write came in between: at most one can, its condition was the root before. Others
     * are tried again by the next step; who asks for a trim has done nothing wrong. */
    if (rc == VARVE_E_PRECONDITION)
        rc = trim_write(t, offset, err);
    base_mutex_unlock(&t->root_lock);
    tiering_event_tell(t);
    if (rc < 0)
        return base_error_context(err, rc, "trim %s", t->log_name);
    return 0;
}

/* Retention. */

struct retain_walk {
    const struct index_root *root;
    int64_t now;
    int64_t ms;
    int64_t bytes;   /* the policy's */
    uint64_t total;  /* of the log, both tiers, each byte once; falls as segments are dropped */
    int64_t to;      /* the new log start */
    int64_t next_ms; /* when the first that stays comes of age */
    bool stopped;
};

/* True when the segment goes; the walk ends at the first that stays. */
static bool walk_drops(struct retain_walk *w, int64_t end, uint64_t size, int64_t max_timestamp,
                       int64_t append_time)
{
    int64_t time = max_timestamp >= 0 ? max_timestamp : append_time;
    bool drop = false;

    /* As Kafka counts: at least `bytes` stay. */
    if (w->bytes >= 0 && w->total >= size && w->total - size >= (uint64_t)w->bytes)
        drop = true;
    if (w->ms >= 0 && w->now - time > w->ms)
        drop = true;
    else if (w->ms >= 0)
        w->next_ms = base_clock_after(base_clock_after(time, w->ms), 1);
    if (!drop) {
        w->stopped = true;
        return false;
    }
    w->next_ms = INT64_MAX;
    w->total -= size < w->total ? size : w->total;
    w->to = end;
    return true;
}

static int visit_retain(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct retain_walk *w = arg;

    (void)err;
    return walk_drops(w, e->end_offset, e->segment_size, e->max_timestamp, e->append_time) ? 0 : 1;
}

static int visit_below_start(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct retain_walk *w = arg;

    (void)err;
    if (e->end_offset > w->root->start_offset)
        return 1;
    w->total -= e->segment_size < w->total ? e->segment_size : w->total;
    return 0;
}

/* Calls walk_drops for sealed segments beyond n when `drop`, else only adds up their sizes. */
static int walk_hot(struct tiering_log *t, struct retain_walk *w, bool drop,
                    struct varve_error *err)
{
    struct hot_range range;
    int64_t at = w->root->end_offset;

    hot_set_range(t->hot, &range);
    if (at < range.floor)
        at = range.floor;
    while (at < range.end) {
        struct hot_segment *segment;
        struct hot_segment_info info;
        int rc = hot_segment_find(t->hot, at, false, &segment, err);

        if (rc == VARVE_E_OUT_OF_RANGE)
            return 0;
        if (rc < 0)
            return rc;
        if (drop)
            rc = hot_segment_info(segment, &info, err);
        else
            hot_segment_extent(segment, &info);
        hot_segment_unref(segment);
        if (rc < 0)
            return rc;
        if (!drop)
            w->total += info.size;
        else if (!info.sealed ||
                 !walk_drops(w, info.end_offset, info.size, info.max_timestamp, info.append_time))
            return 0;
        if (info.end_offset <= at)
            return 0;
        at = info.end_offset;
    }
    return 0;
}

static int retain_plan(struct tiering_log *t, const struct tiering_policy *policy,
                       struct retain_walk *w, struct varve_error *err)
{
    int rc = 0;

    w->total = w->root->segment_bytes;
    if (w->bytes >= 0) {
        /* One source of truth for sizes: the root's entries below n, the hot segments above. */
        rc = index_manifest_each(t->o.manifest, w->root->deleted_to, visit_below_start, w, err);
        if (rc >= 0)
            rc = walk_hot(t, w, false, err);
        if (rc < 0)
            return rc;
        if (w->total <= (uint64_t)w->bytes && w->ms < 0)
            return 0;
    }
    rc = index_manifest_each(t->o.manifest, w->root->start_offset, visit_retain, w, err);
    if (rc < 0)
        return rc;
    /* I5: beyond n only when the policy says so. */
    if (!w->stopped && policy->retention_wins)
        rc = walk_hot(t, w, true, err);
    return rc < 0 ? rc : 0;
}

int tiering_retain(struct tiering_log *t, int64_t *ret_next_ms, struct varve_error *err)
{
    struct tiering_policy policy = tiering_policy_now(t);
    struct index_root root;
    struct retain_walk w = {
        .root = &root,
        .now = tiering_now_ms(t),
        .ms = policy.retention_ms,
        .bytes = policy.retention_bytes,
        .to = INT64_MIN,
        .next_ms = INT64_MAX,
    };
    int rc = 0;

    if (w.ms < 0 && w.bytes < 0) {
        *ret_next_ms = INT64_MAX;
        return 0;
    }
    base_mutex_lock(&t->root_lock);
    rc = tiering_root_get(t, &root, err);
    if (rc == 0)
        rc = retain_plan(t, &policy, &w, err);
    if (rc == 0 && w.to > root.start_offset)
        rc = trim_write(t, w.to, err);
    base_mutex_unlock(&t->root_lock);
    if (rc < 0)
        return base_error_context(err, rc, "retention");
    *ret_next_ms = w.next_ms;
    return 0;
}

/* Deletion. */

struct delete_walk {
    struct tiering_log *t;
    int64_t to;
    struct tiering_doomed doomed;
    int64_t first; /* of what goes, for the event */
    uint64_t bytes;
};

static int visit_delete(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct delete_walk *w = arg;
    char *key;
    int rc;

    if (e->end_offset > w->to)
        return 1;
    rc = index_key_object(w->t->log_name, &w->t->log_id, e, &key, err);
    if (rc < 0)
        return rc;
    if (w->bytes == 0)
        w->first = e->base_offset;
    w->bytes += e->segment_size;
    return tiering_doomed_add(&w->doomed, key, err);
}

/* The pages a root names, or those of another list that it does not. */
struct ref_list {
    struct index_ref *refs;
    size_t count;
    size_t capacity;
};

static int visit_ref(void *arg, const struct index_ref *r, struct varve_error *err)
{
    struct ref_list *l = arg;

    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        struct index_ref *refs = realloc(l->refs, capacity * sizeof(*refs));

        if (!refs)
            return base_fail(err, VARVE_E_NO_MEMORY, "list of pages: out of memory");
        l->refs = refs;
        l->capacity = capacity;
    }
    l->refs[l->count++] = *r;
    return 0;
}

static int ref_compare(const void *a, const void *b)
{
    const struct index_ref *x = a, *y = b;

    return memcmp(x->attempt.bytes, y->attempt.bytes, BASE_ID_SIZE);
}

/* Deletes pages that only the root before named. Whatever fails is left to a collection. */
static void pages_delete(struct tiering_log *t, struct ref_list *before)
{
    struct ref_list after = {0};
    struct tiering_doomed *doomed = calloc(1, sizeof(*doomed));

    if (doomed && index_manifest_each_ref(t->o.manifest, visit_ref, &after, NULL) == 0) {
        if (after.count > 0)
            qsort(after.refs, after.count, sizeof(*after.refs), ref_compare);
        doomed->store = t->o.meta;
        for (size_t i = 0; i < before->count; i++) {
            const struct index_ref *r = &before->refs[i];
            char *key;

            if (after.count > 0 &&
                bsearch(r, after.refs, after.count, sizeof(*after.refs), ref_compare))
                continue;
            if (index_key_page(t->log_name, &t->log_id, r, &key, NULL) < 0 ||
                tiering_doomed_add(doomed, key, NULL) < 0)
                break;
        }
        (void)tiering_doomed_flush(doomed, NULL);
        tiering_doomed_deinit(doomed);
    }
    free(doomed);
    free(after.refs);
}

/* Forgets everything that ends at or below `to`: one root write, then the pages. */
static int deleted_write(struct tiering_log *t, int64_t to, struct varve_error *err)
{
    struct ref_list before = {0};
    struct index_edit *edit = NULL;
    int rc = index_manifest_each_ref(t->o.manifest, visit_ref, &before, err);

    if (rc == 0)
        rc = index_edit_new(t->o.manifest, &edit, err);
    if (rc == 0)
        rc = index_edit_deleted_to(edit, to, err);
    if (rc == 0)
        rc = tiering_root_write(t, edit, err);
    index_edit_free(edit);
    if (rc == 0)
        pages_delete(t, &before);
    free(before.refs);
    return rc;
}

/* From when readers could know of a cut. */
static int64_t cut_time(const struct tiering_log *t, const struct index_cut *cut)
{
    int64_t time = cut->time;

    for (size_t i = 0; i < INDEX_ROOT_CUTS_MAX && i < t->cut_next; i++)
        if (t->cuts[i].offset == cut->offset && t->cuts[i].time > time)
            time = t->cuts[i].time;
    return time;
}

/* The highest cut whose grace period is over; *ret_next_ms: when the next one's is. */
static int64_t cut_due(struct tiering_log *t, const struct index_root *root, int64_t *ret_next_ms)
{
    int64_t delay = tiering_policy_now(t).delete_delay_ms, now = tiering_now_ms(t);
    int64_t due = root->deleted_to;

    *ret_next_ms = INT64_MAX;
    for (size_t i = 0; i < root->cut_count; i++) {
        struct index_cut cut;

        index_root_cut(root, i, &cut);
        int64_t due_ms = base_clock_after(cut_time(t, &cut), delay);
        if (due_ms > now) {
            *ret_next_ms = due_ms;
            break;
        }
        if (cut.offset > due)
            due = cut.offset;
    }
    return due;
}

/* With root_lock held: nothing else deletes, and the root that is read stays. */
static int delete_to(struct tiering_log *t, int64_t to, unsigned *ret_deleted,
                     struct varve_error *err)
{
    struct delete_walk *w = calloc(1, sizeof(*w)); /* the list of keys is large */
    struct index_root root;
    int rc;

    if (!w)
        return base_fail(err, VARVE_E_NO_MEMORY, "delete: out of memory");
    w->t = t;
    w->to = to;
    w->doomed.store = t->o.segments;
    rc = tiering_root_confirm(t, err); /* I6: only the owner deletes */
    if (rc == 0)
        rc = tiering_root_get(t, &root, err);
    if (rc == 0)
        rc = index_manifest_each(t->o.manifest, root.deleted_to, visit_delete, w, err);
    if (rc >= 0)
        rc = tiering_doomed_flush(&w->doomed, err);
    if (rc == 0)
        rc = deleted_write(t, to, err);
    if (rc == 0) {
        *ret_deleted = (unsigned)w->doomed.deleted;
        base_mutex_lock(&t->lock);
        t->status.deleted_objects += w->doomed.deleted;
        base_mutex_unlock(&t->lock);
        if (w->doomed.deleted > 0)
            tiering_event_add(t, TIERING_DELETED, w->first, to, w->bytes);
    }
    tiering_doomed_deinit(&w->doomed);
    free(w);
    return rc;
}

int tiering_delete_due(struct tiering_log *t, int64_t *ret_next_ms, unsigned *ret_deleted,
                       struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    int64_t to;
    int rc;

    *ret_deleted = 0;
    base_mutex_lock(&t->root_lock);
    rc = index_manifest_pin(t->o.manifest, &pin, &root, err);
    if (rc == 0) {
        bool due;

        to = cut_due(t, root, ret_next_ms);
        due = to > root->deleted_to;
        index_manifest_unpin(pin);
        if (due)
            rc = delete_to(t, to, ret_deleted, err);
    }
    base_mutex_unlock(&t->root_lock);
    if (rc < 0)
        return base_error_context(err, rc, "delete what was cut off");
    return 0;
}

/* Everything under a log's id. */

static int visit_key(void *arg, const char *key, const struct cold_meta *meta)
{
    struct tiering_doomed *d = arg;
    char *copy;

    (void)meta;
    /* One page of the list at a time: it fits. */
    if (d->count == TIERING_DELETE_KEYS_MAX)
        return 1;
    copy = strdup(key);
    if (!copy)
        return VARVE_E_NO_MEMORY;
    d->keys[d->count++] = copy;
    return 0;
}

static int delete_prefix_in(struct cold_store *store, const char *prefix, uint64_t *deleted,
                            struct varve_error *err)
{
    struct tiering_doomed *d = calloc(1, sizeof(*d));
    char *last = NULL;
    bool more = true;
    int rc = 0;

    if (!d)
        return base_fail(err, VARVE_E_NO_MEMORY, "delete: out of memory");
    d->store = store;
    while (rc == 0 && more) {
        rc =
            cold_store_list(store, prefix, last, TIERING_DELETE_KEYS_MAX, visit_key, d, &more, err);
        if (rc == VARVE_E_NO_MEMORY)
            base_fail(err, rc, "delete: out of memory");
        if (rc < 0 || d->count == 0)
            break;
        free(last);
        last = strdup(d->keys[d->count - 1]);
        rc = last ? tiering_doomed_flush(d, err)
                  : base_fail(err, VARVE_E_NO_MEMORY, "delete: out of memory");
    }
    free(last);
    *deleted += d->deleted;
    tiering_doomed_deinit(d);
    free(d);
    return rc;
}

int tiering_delete_prefix(struct cold_store *segments, struct cold_store *meta,
                          const char *log_name, const struct base_id *log_id, uint64_t *ret_deleted,
                          struct varve_error *err)
{
    uint64_t deleted = 0;
    char *prefix;
    int rc = index_key_prefix(log_name, log_id, &prefix, err);

    if (rc < 0)
        return rc;
    if (segments)
        rc = delete_prefix_in(segments, prefix, &deleted, err);
    if (rc == 0 && meta != segments)
        rc = delete_prefix_in(meta, prefix, &deleted, err);
    free(prefix);
    if (rc == 0)
        *ret_deleted = deleted;
    return rc;
}
