/*
 * Read-only sets: what they know comes from `published` while a writer lives, and otherwise from
 * the files, the tail read once up to its first torn batch. set->evict is held by refreshes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "hot/internal.h"

#define FOLLOW_TRIES 100
#define FOLLOW_RETRY_NS 1000000

static bool publication_usable(const struct hot_publication *p)
{
    return p->state == HOT_WRITER_LIVE || p->state == HOT_WRITER_FAILED;
}

/* A writer has begun and has not said yet what there is. */
static bool publication_unsettled(const struct hot_publication *p)
{
    return !publication_usable(p) && p->state != HOT_WRITER_CLOSED;
}

/* Finds where the good batches of the last segment end, when no writer says so. What lies above the
 * visible end of the same run was never shown: a failed fsync may have left it in the page cache
 * alone, and the next writer cuts it off (I11, C2). */
static int follow_scan_tail(struct hot_set *set, struct hot_segment *last, struct varve_error *err)
{
    struct hot_checkpoint checkpoint;
    struct hot_publication p;
    struct record_batch batch;
    const void *data;
    uint64_t sequence;
    uint64_t size = last->visible.size, pos = 0;
    int64_t offset = last->base_offset;

    if (hot_checkpoint_read(set, &checkpoint, NULL) == 0 &&
        checkpoint.point.base_offset == last->base_offset && checkpoint.point.size <= size) {
        pos = checkpoint.point.size;
        offset = checkpoint.point.end_offset;
    }
    if (hot_publish_read(set, &p, &sequence)) {
        if (p.synced.base_offset == last->base_offset && p.synced.size <= size &&
            p.synced.size > pos) {
            pos = p.synced.size;
            offset = p.synced.end_offset;
        }
        if (p.visible.base_offset == last->base_offset && p.visible.size >= pos &&
            p.visible.size < size && hot_publish_same_run(set, &p))
            size = p.visible.size;
    }
    last->refs++;
    int rc = hot_segment_open(last, err);
    struct hot_scan scan;
    if (rc == 0)
        rc = hot_scan_init(&scan, set->io, err);
    if (rc == 0) {
        struct varve_error why;
        hot_scan_start(&scan, last->fd, last->path, pos, offset, size);
        while ((rc = hot_scan_next(&scan, &data, &batch, &why)) == 0)
            ;
        hot_scan_deinit(&scan);
        if (rc == VARVE_E_END || rc == VARVE_E_CORRUPT) {
            rc = 0;
            last->visible.size = scan.pos;
            last->visible.end_offset = scan.offset;
        } else if (err) {
            *err = why;
        }
    }
    base_mutex_lock(&set->lock);
    hot_segment_unref_locked(last);
    hot_set_unlock(set);
    return rc;
}

struct follow_list {
    struct hot_segment **segments;
    size_t count;
};

static void follow_list_free(struct hot_set *set, struct follow_list *list)
{
    base_mutex_lock(&set->lock);
    for (size_t i = 0; i < list->count; i++)
        hot_segment_unref_locked(list->segments[i]);
    hot_set_unlock(set);
    free(list->segments);
    *list = (struct follow_list){0};
}

/* A segment of the directory: the one we know when `reuse`, a new one otherwise. */
static int follow_segment(struct hot_set *set, int64_t base, bool reuse, struct hot_segment **ret,
                          struct varve_error *err)
{
    base_mutex_lock(&set->lock);
    struct hot_segment *known = reuse ? hot_segment_lookup_locked(set, base) : NULL;
    if (known && known->base_offset == base)
        known->refs++;
    else
        known = NULL;
    base_mutex_unlock(&set->lock);
    if (known) {
        *ret = known;
        return 0;
    }
    return hot_segment_new(set, base, ret, err);
}

/* Lists the directory from `floor` up to `last_base` (-1: to its end). *ret_retry: it is changing
 * just now. */
static int follow_build(struct hot_set *set, int64_t floor, int64_t last_base, bool reuse,
                        struct follow_list *ret, bool *ret_retry, struct varve_error *err)
{
    struct hot_names names;
    struct follow_list list = {0};
    int rc = hot_recovery_list(set, &names, err);
    if (rc < 0)
        return rc;
    while (last_base >= 0 && names.count > 0 && names.bases[names.count - 1] > last_base)
        names.count--; /* made, but not published yet */
    *ret_retry = last_base >= 0 && (names.count == 0 || names.bases[names.count - 1] != last_base);
    if (*ret_retry || names.count == 0)
        goto out;
    list.segments = calloc(names.count, sizeof(*list.segments));
    if (!list.segments) {
        rc = base_fail(err, VARVE_E_NO_MEMORY, "list of %zu segments", names.count);
        goto out;
    }
    for (size_t i = 0; i < names.count && rc == 0; i++) {
        if (names.bases[i] < floor)
            continue; /* evicted, and about to be unlinked */
        struct hot_segment *segment;
        struct stat st;
        rc = follow_segment(set, names.bases[i], reuse, &segment, err);
        if (rc < 0)
            break;
        list.segments[list.count++] = segment;
        bool last = i + 1 == names.count;
        if (segment->sealed || (last && segment->listed))
            continue;
        rc = set->io->stat(set->io->ctx, segment->path, &st);
        if (rc == -ENOENT && !last) { /* evicted meanwhile, and with it all before */
            rc = 0;
            follow_list_free(set, &list);
            list.segments = calloc(names.count, sizeof(*list.segments));
            if (!list.segments)
                rc = base_fail(err, VARVE_E_NO_MEMORY, "list of %zu segments", names.count);
            continue;
        }
        if (rc < 0) {
            rc = base_fail_errno(err, rc, "stat %s", segment->path);
            break;
        }
        base_mutex_lock(&segment->lock);
        hot_sparse_release_locked(segment); /* the index is complete now */
        base_mutex_unlock(&segment->lock);
        base_mutex_lock(&set->lock);
        segment->visible.size = (uint64_t)st.st_size;
        segment->visible.append_time =
            (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
        segment->sealed = !last;
        if (!last)
            segment->visible.end_offset = names.bases[i + 1];
        base_mutex_unlock(&set->lock);
    }
out:
    hot_recovery_names_deinit(&names);
    if (rc < 0)
        follow_list_free(set, &list);
    else
        *ret = list;
    return rc;
}

/* Puts the list in place of the old one. */
static void follow_adopt(struct hot_set *set, struct follow_list *list,
                         const struct hot_publication *p, bool reuse)
{
    base_mutex_lock(&set->lock);
    if (!reuse)
        set->lives++;
    struct follow_list old = {set->segments, set->count};
    for (size_t i = 0; i < old.count; i++)
        old.segments[i]->listed = false;
    for (size_t i = 0; i < list->count; i++)
        list->segments[i]->listed = true;
    for (size_t i = 0; i < old.count; i++)
        hot_segment_unref_locked(old.segments[i]);
    set->segments = list->segments;
    set->count = set->capacity = list->count;
    if (p) {
        struct hot_segment *active = hot_set_active_locked(set);
        active->visible.size = p->visible.size;
        active->visible.end_offset = p->visible.end_offset;
        set->instance = p->instance;
        set->synced = p->synced;
    }
    hot_set_recount_locked(set);
    base_cond_broadcast(&set->visible);
    hot_set_unlock(set);
    free(old.segments);
    *list = (struct follow_list){0};
}

static int follow_load_published(struct hot_set *set, const struct hot_publication *p,
                                 bool *ret_retry, struct varve_error *err)
{
    struct follow_list list;
    base_mutex_lock(&set->lock);
    bool reuse = set->count > 0 && p->instance == set->instance;
    base_mutex_unlock(&set->lock);
    int rc = follow_build(set, p->floor, p->visible.base_offset, reuse, &list, ret_retry, err);
    if (rc == 0 && !*ret_retry)
        follow_adopt(set, &list, p, reuse);
    return rc;
}

static int follow_load_files(struct hot_set *set, struct varve_error *err)
{
    struct follow_list list;
    bool retry;
    int rc = follow_build(set, 0, -1, false, &list, &retry, err);
    if (rc == 0 && list.count > 0)
        rc = follow_scan_tail(set, list.segments[list.count - 1], err);
    if (rc < 0) {
        follow_list_free(set, &list);
        return rc;
    }
    follow_adopt(set, &list, NULL, false);
    return 0;
}

int hot_follow_open(struct hot_set *set, struct varve_error *err)
{
    struct varve_error why = {0};
    hot_publish_boot(set);
    for (int i = 0; i < FOLLOW_TRIES; i++) {
        struct hot_publication p;
        uint64_t sequence = 0;
        bool retry;
        int rc = hot_publish_open(set, &why);
        if (rc < 0 && rc != VARVE_E_CORRUPT)
            break;
        bool valid = hot_publish_read(set, &p, &sequence);
        bool live = hot_set_has_writer(set);
        if (!live || !set->published.map || (valid && !publication_usable(&p))) {
            if (live && rc == VARVE_E_CORRUPT)
                goto again; /* a writer lives and would say more than the files do: not guessed */
            rc = follow_load_files(set, err);
            if (rc == 0 && valid) /* a dead writer's word: only what comes after it counts */
                set->published.sequence = sequence;
            return rc;
        }
        if (valid) {
            rc = follow_load_published(set, &p, &retry, err);
            if (rc < 0)
                return rc;
            if (!retry) {
                set->published.sequence = sequence;
                return 0;
            }
        }
        base_fail_retriable(&why, VARVE_E_CORRUPT, "%s is not readable at present",
                            set->published_path);
    again:
        set->env->clock->sleep_ns(set->env->clock->ctx, FOLLOW_RETRY_NS);
    }
    if (err) {
        *err = why;
        err->retriable = true;
    }
    return why.code;
}

static int follow_refresh(struct hot_set *set, struct varve_error *err)
{
    struct hot_publication p;
    uint64_t sequence;
    for (int i = 0; i < FOLLOW_TRIES; i++) {
        bool retry;
        int rc;
        if (!set->published.map && hot_publish_open(set, NULL) < 0)
            return 0;
        if (!hot_publish_read(set, &p, &sequence) || sequence == set->published.sequence)
            return 0;
        if (publication_unsettled(&p)) {
            if (hot_set_has_writer(set))
                return 0;                     /* it will say */
            rc = follow_load_files(set, err); /* it died before it could */
            if (rc == 0)
                set->published.sequence = sequence;
            return rc;
        }
        base_mutex_lock(&set->lock);
        struct hot_segment *active = hot_set_active_locked(set);
        bool same = active && p.instance == set->instance &&
                    p.visible.base_offset == active->base_offset &&
                    p.floor == set->segments[0]->base_offset;
        if (same) {
            active->visible.size = p.visible.size;
            active->visible.end_offset = p.visible.end_offset;
            set->synced = p.synced;
            base_cond_broadcast(&set->visible);
        }
        base_mutex_unlock(&set->lock);
        if (!same) {
            rc = follow_load_published(set, &p, &retry, err);
            if (rc < 0)
                return rc;
            if (retry) {
                set->env->clock->sleep_ns(set->env->clock->ctx, FOLLOW_RETRY_NS);
                continue;
            }
        }
        set->published.sequence = sequence;
        return 0;
    }
    return base_fail_retriable(err, VARVE_E_BUSY, "%s keeps changing", set->dir);
}

int hot_set_refresh(struct hot_set *set, struct varve_error *err)
{
    if (!set->options.read_only)
        return 0;
    base_mutex_lock(&set->evict);
    int rc = follow_refresh(set, err);
    base_mutex_unlock(&set->evict);
    return rc;
}

uint64_t hot_follow_lives(struct hot_set *set)
{
    base_mutex_lock(&set->lock);
    uint64_t lives = set->lives;
    base_mutex_unlock(&set->lock);
    return lives;
}

/* A writer announces itself before it takes anything away, and goes live after it (P4). So what is
 * missing without either is missing. */
int hot_follow_doubt(struct hot_set *set, uint64_t lives, struct varve_error *err)
{
    if (!set->options.read_only)
        return VARVE_E_CORRUPT;
    bool recovering = hot_set_recovering(set);
    int rc = hot_set_refresh(set, err);
    if (rc < 0)
        return rc;
    if (hot_follow_lives(set) != lives)
        return 0;
    if (recovering)
        return base_fail_retriable(err, VARVE_E_OUT_OF_RANGE,
                                   "%s is being recovered by another process", set->dir);
    return VARVE_E_CORRUPT;
}

bool hot_set_recovering(struct hot_set *set)
{
    struct hot_publication p;
    uint64_t sequence;
    if (!set->options.read_only)
        return false;
    base_mutex_lock(&set->evict);
    bool recovering = hot_publish_read(set, &p, &sequence) && sequence != set->published.sequence &&
                      publication_unsettled(&p);
    base_mutex_unlock(&set->evict);
    return recovering;
}
