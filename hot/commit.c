/*
 * Durability: group commit.
 *
 * Whoever waits belongs to the generation that was being gathered when its batches were written.
 * The first who finds no leader at work becomes it: it closes the generation, notes how far the
 * files are written, syncs without any lock while others go on writing, and then tells its
 * generation. At most two generations wait at any time, the one being synced and the one being
 * gathered, so that two conditions, by the parity of the generation, wake exactly those concerned.
 *
 * INVARIANTS
 *   C1  The synced point moves only after fdatasync of every file it covers, and after fsync of the
 *       directory when names were made before (I11).
 *   C2  In `fsync` mode the visible end moves with the synced point and never otherwise (I11).
 *   C3  One sync at a time: a failure is reported once per descriptor, to whoever asks first, and
 *       must not be missed by another who asks at the same time.
 *   C4  After a failed sync nothing is synced, shown or appended any more (I11): what the kernel
 *       has dropped cannot be known. The set has to be opened again.
 */
#include "base/error.h"
#include "hot/internal.h"

void hot_commit_show_locked(struct hot_set *set, struct hot_segment *segment,
                            const struct hot_extent *extent)
{
    segment->visible = *extent;
    hot_publish_locked(set, HOT_WRITER_LIVE);
    if (set->visible_waiters > 0)
        base_cond_broadcast(&set->visible);
}

int hot_commit_failure_locked(struct hot_set *set, struct varve_error *err)
{
    if (!set->failed)
        return 0;
    if (err)
        *err = set->failure;
    return VARVE_E_FAILED;
}

static void commit_fail_locked(struct hot_set *set, const struct varve_error *why)
{
    set->failed = true; /* C4 */
    base_fail(&set->failure, VARVE_E_FAILED, "%s; open %s again to recover", why->msg, set->dir);
    set->failure.sys_errno = why->sys_errno;
    hot_publish_locked(set, HOT_WRITER_FAILED);
    base_log(&set->env->logger, BASE_LOG_ERROR, "%s", set->failure.msg);
}

/* Syncs one file without set->lock. */
static int commit_sync_file(struct hot_set *set, struct hot_segment *segment,
                            struct varve_error *err)
{
    base_mutex_unlock(&set->lock);
    int rc = set->io->fdatasync(set->io->ctx, segment->fd);
    if (rc < 0)
        rc = base_fail_errno(err, rc, "fdatasync %s", segment->path);
    base_mutex_lock(&set->lock);
    return rc;
}

/* The sealed segments that no sync covers yet; only `os` mode leaves such. Their descriptors stay
 * open until then. */
static int commit_sync_sealed_locked(struct hot_set *set, struct varve_error *err)
{
    for (;;) {
        struct hot_segment *segment = NULL;
        for (size_t i = set->count; i > 0; i--) { /* they are the newest ones */
            struct hot_segment *s = set->segments[i - 1];
            if (s->sealed && s->synced)
                break;
            if (s->sealed)
                segment = s;
        }
        if (!segment)
            return 0;
        segment->refs++;
        int rc = commit_sync_file(set, segment, err);
        if (rc == 0)
            segment->synced = true;
        hot_segment_unref_locked(segment);
        if (rc < 0)
            return rc;
    }
}

static void commit_lead_locked(struct hot_set *set)
{
    struct varve_error why = {0};
    struct hot_segment *active = hot_set_active_locked(set);
    struct hot_extent target = active->written;
    uint64_t generation = set->generation++;
    bool dir = set->dir_dirty;
    int64_t dirty_ms = set->dirty_ms;
    int rc = 0;

    set->syncing = true; /* C3 */
    set->dir_dirty = false;
    set->dirty_ms = -1;
    active->refs++;
    if (dir) { /* C1, I11 */
        base_mutex_unlock(&set->lock);
        rc = base_dir_sync(set->io, set->dir, &why);
        base_mutex_lock(&set->lock);
    }
    if (rc == 0)
        rc = commit_sync_sealed_locked(set, &why);
    if (rc == 0)
        rc = commit_sync_file(set, active, &why);
    set->syncing = false;
    if (rc < 0) {
        set->dirty_ms = dirty_ms;
        commit_fail_locked(set, &why);
        base_cond_broadcast(&set->commit[0]);
        base_cond_broadcast(&set->commit[1]);
        hot_segment_unref_locked(active);
        return;
    }
    set->generation_synced = generation;
    set->synced = (struct hot_point){active->base_offset, target.size, target.end_offset};
    if (set->options.durability == HOT_DURABILITY_FSYNC) /* C2 */
        hot_commit_show_locked(set, active, &target);
    else
        hot_publish_locked(set, HOT_WRITER_LIVE);
    /* First the next leader, then those who are done. */
    base_cond_signal(&set->commit[(generation + 1) & 1]);
    base_cond_broadcast(&set->commit[generation & 1]);
    hot_segment_unref_locked(active);
}

int hot_commit_wait_locked(struct hot_set *set, uint64_t generation, struct varve_error *err)
{
    for (;;) {
        if (set->generation_synced >= generation)
            return 0;
        int rc = hot_commit_failure_locked(set, err);
        if (rc < 0)
            return rc;
        if (!set->syncing)
            commit_lead_locked(set);
        else
            base_cond_wait(&set->commit[generation & 1], &set->lock);
    }
}

int hot_commit_all_locked(struct hot_set *set, struct varve_error *err)
{
    int rc = hot_commit_failure_locked(set, err);
    if (rc < 0)
        return rc;
    struct hot_segment *active = hot_set_active_locked(set);
    bool sealed_synced = set->count < 2 || set->segments[set->count - 2]->synced;
    if (!set->dir_dirty && !set->syncing && sealed_synced &&
        set->synced.base_offset == active->base_offset && set->synced.size == active->written.size)
        return 0;
    return hot_commit_wait_locked(set, set->generation, err);
}

int hot_set_sync(struct hot_set *set, struct varve_error *err)
{
    if (set->options.read_only)
        return base_fail(err, VARVE_E_READ_ONLY, "%s is open for reading", set->dir);
    base_mutex_lock(&set->lock);
    int rc = hot_commit_all_locked(set, err);
    hot_set_unlock(set);
    return rc;
}
