/*
 * Eviction: local copies that the durable root covers go, by local retention (I3).
 *
 * It takes a prefix of the hot segments and stops at the first that stays. The offset handed to the
 * hot tier never exceeds n of the local root, which is installed durably after the bucket's.
 */
#include "base/error.h"
#include "tiering/state.h"

#define EVICT_EVENTS_MAX 256 /* of one call; the rest of a larger eviction is told as one */

/* What a walk over the hot segments is after. */
struct evict_plan {
    int64_t now;
    int64_t n;
    int64_t start; /* log start offset: what is below serves nobody */
    int64_t local_ms;
    int64_t local_bytes;
    bool all;
    uint64_t left; /* local bytes if what was taken so far goes */
    int64_t to;    /* evict up to here */
    int64_t next_ms;
    size_t count;
    struct hot_segment_info taken[EVICT_EVENTS_MAX];
};

static bool plan_takes(struct evict_plan *plan, const struct hot_segment_info *info)
{
    if (!info->sealed || info->end_offset > plan->n) /* I3 */
        return false;
    if (plan->all || info->end_offset <= plan->start)
        return true;
    /* As Kafka counts: at least local_bytes stay. */
    if (plan->local_bytes >= 0 && plan->left >= info->size &&
        plan->left - info->size >= (uint64_t)plan->local_bytes)
        return true;
    if (plan->local_ms < 0)
        return false;
    if (plan->now - info->append_time >= plan->local_ms)
        return true;
    plan->next_ms = base_clock_after(info->append_time, plan->local_ms);
    return false;
}

static int plan_make(struct tiering_log *t, struct evict_plan *plan, struct varve_error *err)
{
    struct hot_range range;
    int64_t at;

    hot_set_range(t->hot, &range);
    plan->left = range.bytes;
    plan->to = range.floor;
    for (at = range.floor; at < plan->n && at < range.end; at = plan->to) {
        struct hot_segment *segment;
        struct hot_segment_info info;
        int rc = hot_segment_find(t->hot, at, false, &segment, err);

        if (rc == VARVE_E_OUT_OF_RANGE) /* a trim has just unlinked it */
            return 0;
        if (rc < 0)
            return rc;
        hot_segment_extent(segment, &info); /* nothing is read: one that is damaged goes, too */
        hot_segment_unref(segment);
        if (!plan_takes(plan, &info))
            break;
        plan->left -= info.size < plan->left ? info.size : plan->left;
        plan->to = info.end_offset;
        if (plan->count < EVICT_EVENTS_MAX)
            plan->taken[plan->count++] = info;
    }
    return 0;
}

/* What went is what now lies below the floor; the hot tier stops at a pinned segment. */
static void evict_tell(struct tiering_log *t, const struct evict_plan *plan, uint64_t bytes,
                       unsigned count)
{
    struct hot_range range;

    hot_set_range(t->hot, &range);
    for (size_t i = 0; i < plan->count; i++)
        if (plan->taken[i].end_offset <= range.floor)
            tiering_event_add(t, TIERING_EVICTED, plan->taken[i].base_offset,
                              plan->taken[i].end_offset, plan->taken[i].size);
    if (plan->count == EVICT_EVENTS_MAX && range.floor > plan->taken[plan->count - 1].end_offset)
        tiering_event_add(t, TIERING_EVICTED, plan->taken[plan->count - 1].end_offset, range.floor,
                          0);
    base_mutex_lock(&t->lock);
    t->status.evicted_segments += count;
    base_mutex_unlock(&t->lock);
    if (t->run) {
        t->run->evicted_segments += count;
        t->run->evicted_bytes += bytes;
    }
}

int tiering_evict(struct tiering_log *t, bool all, int64_t *ret_next_ms, struct varve_error *err)
{
    struct tiering_policy policy = tiering_policy_now(t);
    struct evict_plan plan = {
        .now = tiering_now_ms(t),
        .local_ms =
            policy.local_retention_ms == -2 ? policy.retention_ms : policy.local_retention_ms,
        .local_bytes = policy.local_retention_bytes == -2 ? policy.retention_bytes
                                                          : policy.local_retention_bytes,
        .all = all,
        .next_ms = INT64_MAX,
    };
    struct index_root root;
    struct hot_range range;
    uint64_t bytes = 0;
    unsigned count = 0;
    int rc = tiering_root_get(t, &root, err);

    if (rc < 0)
        return rc;
    plan.n = root.end_offset;
    plan.start = root.start_offset;
    rc = plan_make(t, &plan, err);
    if (rc < 0)
        return base_error_context(err, rc, "evict");
    hot_set_range(t->hot, &range);
    if (plan.to > range.floor) {
        rc = hot_set_evict(t->hot, plan.to, &bytes, &count, err);
        if (rc < 0)
            return base_error_context(err, rc, "evict");
        evict_tell(t, &plan, bytes, count);
    }
    *ret_next_ms = plan.next_ms;
    return 0;
}
