/*
 * Steps and runs: what is due, in order, and what happens when it fails.
 *
 * A failure of any part is kept in the status, reported once per kind, and tried again after a
 * backoff with decorrelated jitter, for ever (I4). Local eviction goes on meanwhile.
 */
#include <string.h>

#include "base/error.h"
#include "tiering/state.h"

#define RUN_ROOT_GROWTH_BYTES 8192 /* by the entries of a batch, and blocks begun */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Failures. */

static int64_t backoff_next(struct tiering_log *t)
{
    int64_t high = t->backoff_ms * 3, span;

    if (high < TIERING_BACKOFF_MIN_MS)
        high = TIERING_BACKOFF_MIN_MS;
    if (high > TIERING_BACKOFF_MAX_MS)
        high = TIERING_BACKOFF_MAX_MS;
    span = high - TIERING_BACKOFF_MIN_MS + 1;
    t->backoff_ms =
        TIERING_BACKOFF_MIN_MS + (int64_t)(base_random_u64(t->env->random) % (uint64_t)span);
    return t->backoff_ms;
}

static void failure_note(struct tiering_log *t, const struct varve_error *why)
{
    bool is_new;
    unsigned failures;

    if (why->code == VARVE_E_CANCELLED || why->code == VARVE_E_FENCED)
        return; /* told where it was found */
    t->retry_ms = tiering_now_ms(t) + backoff_next(t);
    base_mutex_lock(&t->lock);
    is_new = t->status.failures == 0 || t->status.last_error.code != why->code;
    failures = ++t->status.failures;
    t->status.last_error = *why;
    base_mutex_unlock(&t->lock);
    if (!is_new)
        return;
    base_log(&t->env->logger, BASE_LOG_WARNING, "log %s: tiering failed and is tried again: %s",
             t->log_name, why->msg);
    /* Trying again will not help by itself: somebody should look. */
    if (!why->retriable && failures == 1)
        tiering_event_add(t, TIERING_STALLED, -1, -1, 0);
}

static void failure_over(struct tiering_log *t)
{
    unsigned failures;

    base_mutex_lock(&t->lock);
    failures = t->status.failures;
    t->status.failures = 0;
    if (failures > 0)
        memset(&t->status.last_error, 0, sizeof(t->status.last_error));
    base_mutex_unlock(&t->lock);
    t->retry_ms = 0;
    t->backoff_ms = 0;
    if (failures > 0)
        base_log(&t->env->logger, BASE_LOG_INFO, "log %s: tiering works again after %u failures",
                 t->log_name, failures);
}

/* Looking at the hot tier. */

static void watchdog_check(struct tiering_log *t, const struct hot_segment_info *oldest,
                           const struct tiering_policy *policy)
{
    int64_t age = tiering_now_ms(t) - oldest->append_time;

    if (policy->upload_age_warn_ms <= 0 || age <= policy->upload_age_warn_ms || t->stall_told)
        return;
    t->stall_told = true;
    tiering_event_add(t, TIERING_STALLED, oldest->base_offset, oldest->end_offset, oldest->size);
    base_log(&t->env->logger, BASE_LOG_WARNING,
             "log %s: offsets %lld to %lld were sealed %lld s ago and are not uploaded",
             t->log_name, (long long)oldest->base_offset, (long long)oldest->end_offset,
             (long long)(age / 1000));
}

static bool hot_info_at(struct tiering_log *t, int64_t offset, struct hot_segment_info *ret)
{
    struct hot_segment *segment;
    int rc;

    if (hot_segment_find(t->hot, offset, false, &segment, NULL) < 0)
        return false;
    rc = hot_segment_info(segment, ret, NULL);
    hot_segment_unref(segment);
    return rc == 0;
}

/* Tells of newly sealed segments; *ret_end: where the active one begins. */
static void sealed_tell(struct tiering_log *t, int64_t *ret_end)
{
    struct hot_segment_info info;
    struct hot_range range;

    hot_set_range(t->hot, &range);
    if (t->sealed_seen < range.floor)
        t->sealed_seen = range.floor;
    while (t->sealed_seen < range.end && hot_info_at(t, t->sealed_seen, &info) && info.sealed &&
           info.end_offset > t->sealed_seen) {
        tiering_event_add(t, TIERING_SEALED, info.base_offset, info.end_offset, info.size);
        t->sealed_seen = info.end_offset;
    }
    *ret_end = t->sealed_seen;
}

/* Remembers since when the oldest record that is only local is there; the watchdog. */
static void pending_look(struct tiering_log *t)
{
    struct tiering_policy policy = tiering_policy_now(t);
    struct hot_segment_info oldest = {0}, active = {0};
    bool has_oldest, has_active;
    struct index_root root;
    struct hot_range range;

    hot_set_range(t->hot, &range);
    if (tiering_root_get(t, &root, NULL) < 0)
        return;
    /* Looking may open a file and read it: before `lock`, which is a leaf. */
    has_oldest = root.end_offset < range.end && hot_info_at(t, root.end_offset, &oldest);
    has_active = hot_info_at(t, range.end, &active) && active.size > 0;
    base_mutex_lock(&t->lock);
    if (has_oldest && oldest.base_offset != t->oldest_base) {
        t->oldest_since = oldest.append_time;
        if (oldest.base_offset == t->active_base && t->active_since < oldest.append_time)
            t->oldest_since = t->active_since;
        t->oldest_base = oldest.base_offset;
    }
    if (has_active && active.base_offset != t->active_base) {
        t->active_base = active.base_offset;
        t->active_since = earlier(tiering_now_ms(t), active.append_time);
    }
    base_mutex_unlock(&t->lock);
    if (has_oldest && oldest.sealed)
        watchdog_check(t, &oldest, &policy);
    else
        t->stall_told = false;
}

/* Parts of a step. */

/*
 * Uploads and commits once; *ret_more: there is or may be more.
 *
 * Where the cold tier shares a full disk with the hot one, of two objects on their way each can
 * lack the room that the other has taken, the later one can take what the earlier needed, and a
 * batch can leave none for the root that names it. So after a VARVE_E_NO_SPACE segments go one by
 * one, each committed before the next begins, until all that is sealed is uploaded.
 */
static int upload_due(struct tiering_log *t, bool *ret_more, struct varve_error *err)
{
    struct varve_error commit_err = {0};
    unsigned count;
    int rc = 0, commit_rc;

    *ret_more = true;
    if (t->one_by_one) { /* what is stored already asks for no room but a root's */
        rc = tiering_commit_uploads(t, &count, err);
        if (rc < 0)
            return rc;
    }
    rc = tiering_upload_batch(t, err);
    *ret_more = rc == 0;
    if (rc == VARVE_E_END) {
        t->one_by_one = false;
        rc = 0;
    }
    /* What was stored before a failure is committed all the same. */
    commit_rc = tiering_commit_uploads(t, &count, &commit_err);
    if (commit_rc < 0 && (rc == 0 || commit_rc == VARVE_E_FENCED)) {
        rc = commit_rc;
        if (err)
            *err = commit_err;
    }
    if (rc == VARVE_E_NO_SPACE) {
        t->one_by_one = true;
        tiering_commit_drop_stranded(t);
    }
    return rc;
}

static void collect_due(struct tiering_log *t, int64_t now)
{
    struct tiering_collect c = {.share_max = TIERING_COLLECT_SHARE_MAX};
    struct varve_error why = {0};

    if (now < t->collect_ms)
        return;
    t->collect_ms = now + TIERING_COLLECT_EVERY_MS;
    if (tiering_log_collect(t, &c, &why) < 0)
        base_log(&t->env->logger, BASE_LOG_WARNING, "log %s: collecting orphans: %s", t->log_name,
                 why.msg);
}

/* All that asks the store. Retention goes on when uploads fail: what stalls them may be one damaged
 * file, and retention may be told to win. The first error counts. */
static int remote_due(struct tiering_log *t, int64_t now, int64_t *next, struct varve_error *err)
{
    int64_t retain_next = INT64_MAX, delete_next = INT64_MAX;
    unsigned deleted;
    bool more = false;
    int rc = upload_due(t, &more, err), other;

    if (rc == VARVE_E_FENCED || rc == VARVE_E_CANCELLED)
        return rc;
    other = tiering_retain(t, &retain_next, rc == 0 ? err : NULL);
    rc = rc == 0 ? other : rc;
    other = tiering_delete_due(t, &delete_next, &deleted, rc == 0 ? err : NULL);
    rc = rc == 0 ? other : rc;
    if (rc < 0)
        return rc;
    collect_due(t, now);
    *next = earlier(*next, earlier(retain_next, delete_next));
    if (more)
        *next = now;
    return 0;
}

static int step_locked(struct tiering_log *t, int64_t *ret_next_ms, struct varve_error *err)
{
    struct varve_error why = {0};
    int64_t now = tiering_now_ms(t), next = now + TIERING_IDLE_MS, tick_next = INT64_MAX;
    int64_t evict_next = INT64_MAX, active_base;
    int rc, local_rc;

    local_rc = hot_set_tick(t->hot, &tick_next, &why);
    if (local_rc == 0)
        next = earlier(next, tick_next);
    sealed_tell(t, &active_base);
    rc = 0;
    if (now >= t->retry_ms) {
        struct varve_error remote_why = {0};

        rc = remote_due(t, now, &next, &remote_why);
        if (rc < 0) /* what is said is what is returned */
            why = remote_why;
    }
    if (local_rc == 0) {
        struct varve_error evict_why = {0};

        local_rc = tiering_evict(t, false, &evict_next, &evict_why);
        if (local_rc < 0 && rc == 0)
            why = evict_why;
        next = earlier(next, evict_next);
    }
    if (rc == 0)
        rc = local_rc;
    if (rc < 0) {
        why.code = rc;
        failure_note(t, &why);
        if (err)
            *err = why;
    } else if (now >= t->retry_ms)
        failure_over(t);
    pending_look(t);
    *ret_next_ms = t->retry_ms > now ? earlier(next, t->retry_ms) : next;
    if (*ret_next_ms < now)
        *ret_next_ms = now;
    return rc;
}

int tiering_log_step(struct tiering_log *t, int64_t *ret_next_ms, struct varve_error *err)
{
    int rc = tiering_check_fenced(t, err);

    if (rc < 0) {
        *ret_next_ms = tiering_now_ms(t) + TIERING_IDLE_MS;
        return rc;
    }
    base_mutex_lock(&t->step_lock);
    rc = step_locked(t, ret_next_ms, err);
    base_mutex_unlock(&t->step_lock);
    tiering_event_tell(t);
    return rc;
}

/* Runs. */

/* Uploads all up to `to`, or one segment while they go one by one; *ret_more: not all yet. */
static int run_uploads(struct tiering_log *t, int64_t to, bool *ret_more, struct varve_error *err)
{
    struct index_root root;
    bool more = true;
    int rc = 0;

    *ret_more = true;
    while (more) {
        rc = tiering_root_get(t, &root, err);
        if (rc < 0)
            return rc;
        if (root.end_offset >= to)
            break;
        rc = upload_due(t, &more, err);
        if (rc < 0 || t->one_by_one)
            return rc;
    }
    *ret_more = false;
    return 0;
}

/* What makes room: all of it is tried, whatever fails. The first error counts. */
static int run_make_room(struct tiering_log *t, struct varve_error *err)
{
    struct tiering_run *run = t->run;
    unsigned deleted = 0;
    int64_t next;
    int rc = tiering_evict(t, run->evict, &next, err), other;

    other = tiering_retain(t, &next, rc == 0 ? err : NULL);
    rc = rc == 0 ? other : rc;
    other = tiering_delete_due(t, &next, &deleted, rc == 0 ? err : NULL);
    run->deleted_objects += deleted;
    return rc == 0 ? other : rc;
}

/* What the next root takes: in the bucket and here, beside those that they replace. Entries that
 * move into a page are as much less in the root. */
static uint64_t root_room(struct tiering_log *t)
{
    struct index_root root;

    if (tiering_root_get(t, &root, NULL) < 0)
        return 0;
    return 2 * ((uint64_t)root.size + RUN_ROOT_GROWTH_BYTES);
}

/* The last means: what the caller holds back. Only for a run that evicts, or it would be used up
 * for nothing. What is stored and cannot be committed lacks the room of a root. */
static bool run_given_room(struct tiering_log *t, bool for_root)
{
    struct tiering_run *run = t->run;

    if (!run->evict || !run->give_room)
        return false;
    return run->give_room(run->give_room_ctx, for_root || t->uploads ? 0 : root_room(t));
}

/*
 * Uploads need room where the cold tier shares the disk with the hot one. What is committed makes
 * room, so a full disk is worked off a few segments at a time, then one at a time, then with what
 * was held back for it.
 */
static int run_all(struct tiering_log *t, int64_t to, struct varve_error *err)
{
    struct tiering_run *run = t->run;

    for (;;) {
        struct varve_error room_err = {0};
        unsigned before = run->evicted_segments + run->deleted_objects;
        bool one_by_one = t->one_by_one, more;
        int rc = run_uploads(t, to, &more, err), room_rc;

        if (rc == VARVE_E_FENCED || rc == VARVE_E_CANCELLED)
            return rc;
        room_rc = run_make_room(t, &room_err);
        if (rc == 0 && room_rc < 0) {
            rc = room_rc;
            *err = room_err;
        }
        if (rc == 0 && !more)
            return 0;
        if ((rc < 0 && rc != VARVE_E_NO_SPACE) || (room_rc < 0 && room_rc != VARVE_E_NO_SPACE))
            return rc;
        if (rc == 0 || run->evicted_segments + run->deleted_objects != before)
            continue;
        if (one_by_one == t->one_by_one && !run_given_room(t, room_rc == VARVE_E_NO_SPACE))
            return rc;
    }
}

static int run_sealed(struct tiering_log *t, struct varve_error *err)
{
    struct tiering_status status;
    int64_t to;

    sealed_tell(t, &to);
    tiering_log_status(t, &status);
    t->run_done = 0;
    t->run_total = status.pending_bytes;
    return run_all(t, to, err);
}

/* Sealing needs the next segment's files: what is sealed makes room for them. */
static int run_seal(struct tiering_log *t, struct varve_error *err)
{
    int rc = hot_set_seal(t->hot, err);

    if (rc != VARVE_E_NO_SPACE)
        return rc;
    rc = run_sealed(t, err);
    if (rc == 0)
        rc = hot_set_seal(t->hot, err);
    while (rc == VARVE_E_NO_SPACE && run_given_room(t, true))
        rc = hot_set_seal(t->hot, err);
    return rc;
}

static int run_locked(struct tiering_log *t, struct varve_error *err)
{
    struct tiering_run *run = t->run;
    int rc;

    /* A batch of objects may fill the disk to the last byte; then its root needs what is held. */
    if (run->evict && run->give_room && run->room_held < root_room(t))
        t->one_by_one = true;
    rc = run->seal ? run_seal(t, err) : 0;
    if (rc == 0)
        rc = run_sealed(t, err);
    if (rc == 0 && run->progress)
        run->progress(run->progress_ctx, t->run_total, t->run_total);
    return rc;
}

int tiering_log_run(struct tiering_log *t, struct tiering_run *run, struct varve_error *err)
{
    struct varve_error why = {0};
    int rc = tiering_check_fenced(t, err);

    run->uploaded_segments = run->evicted_segments = run->deleted_objects = 0;
    run->uploaded_bytes = run->stored_bytes = run->evicted_bytes = 0;
    if (rc < 0)
        return rc;
    base_mutex_lock(&t->step_lock);
    t->run = run;
    rc = run_locked(t, &why);
    t->run = NULL;
    if (rc < 0) {
        why.code = rc;
        failure_note(t, &why);
    } else
        failure_over(t);
    pending_look(t);
    base_mutex_unlock(&t->step_lock);
    tiering_event_tell(t);
    if (rc < 0 && err)
        *err = why;
    return rc;
}
