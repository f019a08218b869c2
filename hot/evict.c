/*
 * Segments that go because the cold tier holds them: evicted ones, and damaged ones.
 *
 * A segment leaves the list first, so that nobody new gets it, then its file is unlinked; whoever
 * has it open keeps it (I3).
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "hot/internal.h"

/* Takes the oldest segment off the list if it may go; set->evict is held. */
static struct hot_segment *evict_take(struct hot_set *set, int64_t offset, bool pinned_too)
{
    struct hot_segment *segment = NULL;
    base_mutex_lock(&set->lock);
    if (set->count > 1 && set->segments[0]->visible.end_offset <= offset &&
        (pinned_too || set->segments[0]->pins == 0)) {
        segment = set->segments[0];
        segment->listed = false;
        set->count--;
        memmove(set->segments, set->segments + 1, set->count * sizeof(*set->segments));
        hot_set_recount_locked(set);
        hot_publish_locked(set, HOT_WRITER_LIVE);
    }
    base_mutex_unlock(&set->lock);
    return segment;
}

static void evict_put_back(struct hot_set *set, struct hot_segment *segment)
{
    base_mutex_lock(&set->lock);
    /* The list has grown by a roll at most, which makes its own room; if there is none the segment
     * comes back with the next opening. */
    if (set->count < set->capacity) {
        memmove(set->segments + 1, set->segments, set->count * sizeof(*set->segments));
        set->segments[0] = segment;
        set->count++;
        segment->listed = true;
        hot_set_recount_locked(set);
        hot_publish_locked(set, HOT_WRITER_LIVE);
    } else {
        hot_segment_unref_locked(segment);
    }
    hot_set_unlock(set);
}

static int evict_below(struct hot_set *set, int64_t offset, bool pinned_too, uint64_t *ret_bytes,
                       unsigned *ret_count, struct varve_error *err)
{
    uint64_t bytes = 0;
    unsigned count = 0;
    int rc = 0;
    base_mutex_lock(&set->evict);
    for (;;) {
        struct hot_segment *segment = evict_take(set, offset, pinned_too);
        if (!segment)
            break;
        rc = set->io->unlink(set->io->ctx, segment->path);
        if (rc < 0 && rc != -ENOENT) {
            rc = base_fail_errno(err, rc, "remove %s", segment->path);
            evict_put_back(set, segment);
            break;
        }
        rc = 0;
        set->io->unlink(set->io->ctx, segment->index_path); /* or the next opening sweeps it */
        bytes += segment->visible.size;
        count++;
        hot_segment_unref(segment);
    }
    base_mutex_unlock(&set->evict);
    if (ret_bytes)
        *ret_bytes = bytes;
    if (ret_count)
        *ret_count = count;
    return rc;
}

int hot_set_evict(struct hot_set *set, int64_t offset, uint64_t *ret_bytes, unsigned *ret_count,
                  struct varve_error *err)
{
    if (set->options.read_only)
        return base_fail(err, VARVE_E_READ_ONLY, "%s is open for reading", set->dir);
    return evict_below(set, offset, false, ret_bytes, ret_count, err);
}

/* Also what lies before goes, for I1: the hot tier has no holes. Readers that stand in it keep
 * their files, and then go on cold. */
int hot_segment_discard(struct hot_set *set, int64_t base_offset, struct varve_error *err)
{
    if (set->options.read_only)
        return base_fail(err, VARVE_E_READ_ONLY, "%s is open for reading", set->dir);
    base_mutex_lock(&set->lock);
    struct hot_segment *segment = hot_segment_lookup_locked(set, base_offset);
    bool found = segment && segment->base_offset == base_offset && segment->sealed;
    int64_t end = found ? segment->visible.end_offset : 0;
    base_mutex_unlock(&set->lock);
    if (!found)
        return base_fail(err, VARVE_E_NOT_FOUND, "no sealed segment begins at %lld",
                         (long long)base_offset);
    return evict_below(set, end, true, NULL, NULL, err);
}
