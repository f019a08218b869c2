/*
 * What opening for writing does with the files that the last writer has left.
 *
 * Two sources vouch for bytes: the checkpoint, and the synced point in `published`. Both were
 * durable when they were written, so the further one counts: below it nothing is scanned. Above it
 * lies the tail. Each file of the tail is synced, dropped from the page cache and read from the
 * disk (I11), batch by batch.
 *
 * Where the tail breaks, it is cut, if nothing above may ever have been acknowledged as durable:
 * that is above the vouched point, and above the visible end too while the machine has not been
 * restarted since (the page cache of a killed process survives). A break below is damage and is
 * reported, never cut. When neither source is readable, only a break with no valid batch behind it
 * counts as a torn tail. So it is when the checkpoint is damaged, whatever `published` says: that
 * is the older of the two, and what the checkpoint vouched for may lie above it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "hot/internal.h"

struct recovery {
    struct hot_set *set;
    struct hot_recovery *report;
    struct hot_checkpoint checkpoint;
    bool checkpoint_known;
    bool checkpoint_damaged;
    bool border_known;
    struct hot_point vouched; /* good and durable up to here */
    struct hot_point border;  /* a break below is damage */
    int64_t held;             /* below it all is held elsewhere, too; -1: not asked yet */
    int64_t floor;            /* the last writer had evicted what lies below */
};

static bool point_below(const struct hot_point *a, const struct hot_point *b)
{
    return a->base_offset < b->base_offset ||
           (a->base_offset == b->base_offset && a->size < b->size);
}

static bool names_add(int64_t **list, size_t *count, size_t *capacity, int64_t base)
{
    if (*count == *capacity) {
        size_t want = *capacity ? *capacity * 2 : 64;
        int64_t *grown = realloc(*list, want * sizeof(*grown));
        if (!grown)
            return false;
        *list = grown;
        *capacity = want;
    }
    (*list)[(*count)++] = base;
    return true;
}

static int names_visit(void *arg, const char *name, bool is_dir)
{
    struct hot_names *names = arg;
    char digits[HOT_NAME_DIGITS + 1];
    int64_t base;
    if (is_dir || strlen(name) < HOT_NAME_DIGITS)
        return 0;
    memcpy(digits, name, HOT_NAME_DIGITS);
    digits[HOT_NAME_DIGITS] = '\0';
    if (strspn(digits, "0123456789") != HOT_NAME_DIGITS || !base_parse_i64(digits, &base))
        return 0;
    bool ok = true;
    if (strcmp(name + HOT_NAME_DIGITS, ".log") == 0)
        ok = names_add(&names->bases, &names->count, &names->capacity, base);
    else if (strcmp(name + HOT_NAME_DIGITS, ".index") == 0)
        ok = names_add(&names->index_bases, &names->index_count, &names->index_capacity, base);
    if (!ok)
        names->no_memory = true;
    return ok ? 0 : 1;
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int hot_recovery_list(struct hot_set *set, struct hot_names *ret, struct varve_error *err)
{
    struct hot_names names = {0};
    int rc = set->io->list(set->io->ctx, set->dir, names_visit, &names);
    if (rc < 0 || names.no_memory) {
        hot_recovery_names_deinit(&names);
        if (rc < 0)
            return base_fail_errno(err, rc, "list %s", set->dir);
        return base_fail(err, VARVE_E_NO_MEMORY, "list %s", set->dir);
    }
    if (names.count > 0)
        qsort(names.bases, names.count, sizeof(*names.bases), compare_i64);
    if (names.index_count > 0)
        qsort(names.index_bases, names.index_count, sizeof(*names.index_bases), compare_i64);
    *ret = names;
    return 0;
}

void hot_recovery_names_deinit(struct hot_names *names)
{
    free(names->bases);
    free(names->index_bases);
}

/* Index files whose segment is gone: an eviction that did not get to them. */
static void recovery_sweep(struct hot_set *set, const struct hot_names *names)
{
    for (size_t i = 0; i < names->index_count; i++) {
        char *path;
        if (names->count > 0 && bsearch(&names->index_bases[i], names->bases, names->count,
                                        sizeof(*names->bases), compare_i64))
            continue;
        if (base_format(&path, NULL, "%s/%020lld.index", set->dir,
                        (long long)names->index_bases[i]) < 0)
            return;
        set->io->unlink(set->io->ctx, path);
        free(path);
    }
}

static int recovery_sources(struct recovery *r, const struct hot_publication *old,
                            struct varve_error *err)
{
    struct hot_set *set = r->set;
    struct varve_error why;
    int rc = hot_checkpoint_read(set, &r->checkpoint, &why);
    if (rc == 0) {
        r->checkpoint_known = r->border_known = true;
        r->vouched = r->border = r->checkpoint.point;
    } else if (rc == VARVE_E_CORRUPT) {
        base_log(&set->env->logger, BASE_LOG_WARNING, "%s; ignored", why.msg);
        r->checkpoint_damaged = true;
    } else if (rc != VARVE_E_NOT_FOUND) {
        if (err)
            *err = why;
        return rc;
    }
    if (!old || old->state == HOT_WRITER_NONE)
        return 0;
    r->border_known = true;
    r->floor = old->floor;
    if (point_below(&r->vouched, &old->synced))
        r->vouched = r->border = old->synced;
    if (hot_publish_same_run(set, old) && old->state != HOT_WRITER_FAILED &&
        point_below(&r->border, &old->visible))
        r->border = old->visible;
    return 0;
}

/* Unlinks the segments from `first` on, from the end, so that what is there stays contiguous
 * whenever we are interrupted. */
static int recovery_drop(struct recovery *r, size_t first, struct varve_error *err)
{
    struct hot_set *set = r->set;
    while (set->count > first) {
        struct hot_segment *last = set->segments[set->count - 1];
        struct stat st;
        int rc = set->io->stat(set->io->ctx, last->path, &st);
        if (rc == 0) {
            r->report->truncated_bytes += st.st_size;
            rc = set->io->unlink(set->io->ctx, last->path);
        }
        if (rc < 0 && rc != -ENOENT)
            return base_fail_errno(err, rc, "remove %s", last->path);
        set->io->unlink(set->io->ctx, last->index_path);
        set->count--;
        last->listed = false;
        hot_segment_unref(last);
    }
    return base_dir_sync(set->io, set->dir, err);
}

/* May more have been vouched for than the border says? */
static bool recovery_unsure(const struct recovery *r)
{
    return !r->border_known || r->checkpoint_damaged;
}

/* Does any of the segments from `first` on begin with a whole batch? */
static int recovery_holds(struct hot_set *set, size_t first, bool *ret, struct varve_error *err)
{
    struct hot_scan scan;
    struct record_batch batch;
    const void *data;
    int rc = hot_scan_init(&scan, set->io, err);
    *ret = false;
    for (size_t i = first; rc == 0 && !*ret && i < set->count; i++) {
        struct hot_segment *segment = set->segments[i];
        segment->refs++;
        rc = hot_segment_open(segment, err);
        if (rc == 0) {
            hot_scan_start(&scan, segment->fd, segment->path, 0, segment->base_offset,
                           segment->visible.size);
            rc = hot_scan_next(&scan, &data, &batch, err);
            *ret = rc == 0;
        }
        if (rc == VARVE_E_CORRUPT || rc == VARVE_E_END)
            rc = 0;
        hot_segment_unref(segment);
    }
    hot_scan_deinit(&scan);
    return rc;
}

/*
 * The tail breaks at `pos` of segment `i` because of `why`: cuts it there and drops the segments
 * behind, or says that it is damage.
 */
static int recovery_cut(struct recovery *r, size_t i, uint64_t pos, uint64_t size, int64_t offset,
                        const struct varve_error *why, struct varve_error *err)
{
    struct hot_set *set = r->set;
    struct hot_segment *segment = set->segments[i];
    struct hot_point at = {.base_offset = segment->base_offset, .size = pos};
    bool below = r->border_known && point_below(&at, &r->border);
    bool damage = below || (!r->border_known && i + 1 < set->count);
    if (!damage && recovery_unsure(r)) {
        struct record_batch batch; /* a whole one behind the break: that is no torn tail */
        int rc = hot_segment_search(segment, pos + 1, size, offset, &batch, err);
        damage = rc == 0;
        if (rc == VARVE_E_NOT_FOUND)
            rc = recovery_holds(set, i + 1, &damage, err);
        if (rc < 0)
            return rc;
    }
    if (damage && !below && r->checkpoint_damaged)
        return base_fail(err, VARVE_E_CORRUPT,
                         "%s; whole batches follow, and %s, which would say whether they were "
                         "synced, is damaged too: remove it, and the log is cut here",
                         why->msg, set->checkpoint_path);
    if (damage)
        return base_fail(err, VARVE_E_CORRUPT, "%s", why->msg);

    base_log(&set->env->logger, BASE_LOG_WARNING, "torn tail cut at offset %lld: %s",
             (long long)offset, why->msg);
    int rc = recovery_drop(r, i + 1, err);
    if (rc < 0)
        return rc;
    if (size > pos) { /* I3: above the published end, or that would be damage */
        struct stat st;
        rc = set->io->fstat(set->io->ctx, segment->fd, &st);
        if (rc == 0 && st.st_nlink > 1) { /* all of it was set aside: it stays whole there (I13) */
            rc = hot_segment_shorten(set, segment, pos, err);
            if (rc < 0)
                return rc;
        } else if (rc == 0) {
            rc = set->io->ftruncate(set->io->ctx, segment->fd, (int64_t)pos);
            if (rc == 0)
                rc = set->io->fdatasync(set->io->ctx, segment->fd);
        }
        if (rc < 0)
            return base_fail_errno(err, rc, "truncate %s", segment->path);
        r->report->truncated_bytes += (int64_t)(size - pos);
    }
    r->report->truncated_at = offset;
    return 0;
}

/*
 * Is all below `offset` held elsewhere, too? Not where another writer's history has replaced what
 * lies here: this is the only copy then, and it is to be set aside (I13). The newest batch that can
 * be read says which epoch the files were written in; the next epoch of the log ends it. Where none
 * can there is nothing to lose.
 */
static bool recovery_held(struct recovery *r, int64_t offset)
{
    struct hot_set *set = r->set;
    const struct hot_set_options *o = &set->options;
    if (r->held < 0) {
        int64_t epoch = -1;
        int rc = VARVE_E_NOT_FOUND;
        for (size_t i = set->count; o->epoch_count > 0 && i > 0 && rc == VARVE_E_NOT_FOUND; i--) {
            struct hot_segment *segment = set->segments[i - 1];
            segment->refs++;
            rc = hot_segment_epoch(segment, &epoch, NULL);
            hot_segment_unref(segment);
        }
        if (rc < 0 && rc != VARVE_E_NOT_FOUND)
            return false; /* nobody can say so */
        r->held = o->start_offset;
        for (size_t i = 0; epoch >= 0 && i < o->epoch_count; i++)
            if (o->epochs[i].epoch > epoch && o->epochs[i].start_offset < r->held)
                r->held = o->epochs[i].start_offset;
    }
    return offset <= r->held;
}

/* Makes reading go to the disk: what could not be written there must not be found. */
static int recovery_settle(struct hot_set *set, struct hot_segment *segment,
                           struct varve_error *err)
{
    int rc = set->io->fdatasync(set->io->ctx, segment->fd);
    if (rc < 0) {
        set->recovery_unsynced = true;
        return base_fail_errno(err, rc, "fdatasync %s", segment->path);
    }
    set->io->fadvise(set->io->ctx, segment->fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

/* A sealed segment that is vouched for: its index says whether it reaches the next one. */
static int recovery_trusted(struct recovery *r, size_t i, struct varve_error *err)
{
    struct hot_set *set = r->set;
    struct hot_segment *segment = set->segments[i];
    int64_t next = set->segments[i + 1]->base_offset;
    uint64_t pos;
    int64_t offset;
    for (int tries = 0;; tries++) {
        int rc = hot_sparse_end(segment, &pos, &offset, err);
        if (rc < 0)
            return rc;
        if (pos == segment->visible.size && offset == next)
            break;
        if (tries > 0)
            return base_fail(err, VARVE_E_CORRUPT,
                             "%s ends at offset %lld (position %llu of %llu) where %lld comes next",
                             segment->path, (long long)offset, (unsigned long long)pos,
                             (unsigned long long)segment->visible.size, (long long)next);
        base_log(&set->env->logger, BASE_LOG_WARNING, "%s does not reach the end; rebuilt",
                 segment->index_path);
        rc = hot_sparse_rebuild(segment, err);
        if (rc < 0)
            return rc;
    }
    segment->synced = true;
    return 0;
}

/* Scans to the end and feeds the builder; scan->pos and scan->offset: where the good batches end.
 * VARVE_E_END: at the end of the file. */
static int recovery_scan(struct recovery *r, struct hot_segment *segment, struct hot_scan *scan,
                         uint64_t good, struct varve_error *err)
{
    struct index_sparse_entry entry;
    struct record_batch batch;
    const void *data;
    for (;;) {
        uint64_t pos = scan->pos;
        int rc = hot_scan_next(scan, &data, &batch, err);
        if (rc < 0)
            return rc;
        if (pos >= good)
            r->report->scanned_bytes += batch.size;
        if (pos == 0)
            segment->visible.first_timestamp = batch.base_timestamp;
        if (batch.max_timestamp > segment->visible.max_timestamp)
            segment->visible.max_timestamp = batch.max_timestamp;
        if (segment->index_live &&
            index_sparse_builder_add(&segment->builder, batch.base_offset, batch.last_offset + 1,
                                     (uint32_t)pos, batch.size, batch.max_timestamp, &entry)) {
            rc = hot_sparse_add_locked(segment, &entry, err);
            if (rc < 0)
                return rc;
        }
    }
}

/* Takes up the index of a segment of the tail. *ret_dirty: the file is not what it should be. */
static int recovery_index(struct recovery *r, struct hot_segment *segment, uint64_t good,
                          uint64_t *ret_pos, int64_t *ret_offset, bool *ret_dirty,
                          struct varve_error *err)
{
    struct hot_set *set = r->set;
    struct varve_error why = {0};
    struct stat st;
    bool dirty = true;
    int rc = hot_sparse_adopt_locked(segment, good, ret_pos, ret_offset, &why);
    if (rc == VARVE_E_CORRUPT || rc == VARVE_E_NOT_FOUND) {
        if (good > 0) {
            base_log(&set->env->logger, BASE_LOG_WARNING, "%s: %s; rebuilt", segment->index_path,
                     why.msg);
            r->report->indexes_rebuilt++;
        }
    } else if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    } else {
        rc = set->io->stat(set->io->ctx, segment->index_path, &st);
        dirty = rc < 0 || (uint64_t)st.st_size != segment->index.size;
    }
    index_sparse_builder_init(&segment->builder, segment->base_offset,
                              (uint32_t)set->options.index_interval_bytes);
    *ret_dirty = dirty;
    return 0;
}

/*
 * Takes up the index of a segment of the tail and reads on where it ends; all of the segment, where
 * the index does not fit what was synced: it is only a hint, and the batches say what they are. As
 * recovery_scan. *ret_adopted: bytes of the index that come from the file.
 */
static int recovery_batches(struct recovery *r, struct hot_segment *segment, struct hot_scan *scan,
                            uint64_t good, bool *ret_dirty, size_t *ret_adopted,
                            struct varve_error *err)
{
    uint64_t known = good;
    for (;;) {
        uint64_t pos;
        int64_t offset;
        base_mutex_lock(&segment->lock);
        int rc = recovery_index(r, segment, known, &pos, &offset, ret_dirty, err);
        base_mutex_unlock(&segment->lock);
        if (rc < 0)
            return rc;
        *ret_adopted = segment->index.size;
        hot_scan_start(scan, segment->fd, segment->path, pos, offset, segment->visible.size);
        bool fits = pos == 0 || pos < good || offset == r->vouched.end_offset;
        if (fits)
            rc = recovery_scan(r, segment, scan, good, err);
        if (fits && (rc != VARVE_E_CORRUPT || pos == 0 || scan->pos >= good))
            return rc;
        base_log(&r->set->env->logger, BASE_LOG_WARNING, "%s does not fit what was synced; rebuilt",
                 segment->index_path);
        r->report->indexes_rebuilt++;
        known = 0;
    }
}

/* A segment that is not vouched for wholly, or the last one, which goes on being written. */
static int recovery_tail(struct recovery *r, size_t i, struct varve_error *err)
{
    struct hot_set *set = r->set;
    struct hot_segment *segment = set->segments[i];
    uint64_t size = segment->visible.size;
    uint64_t good = segment->base_offset == r->vouched.base_offset ? r->vouched.size : 0;
    size_t adopted = 0;
    bool dirty = true;
    struct hot_scan scan;
    struct varve_error why = {0};

    if (size < good)
        return base_fail(err, VARVE_E_CORRUPT, "%s has %llu bytes, but %llu were synced",
                         segment->path, (unsigned long long)size, (unsigned long long)good);
    if (size > good) {
        int rc = recovery_settle(set, segment, err);
        if (rc < 0)
            return rc;
    }
    int rc = hot_scan_init(&scan, set->io, err);
    if (rc < 0)
        return rc;
    rc = recovery_batches(r, segment, &scan, good, &dirty, &adopted, &why);
    hot_scan_deinit(&scan);
    if (rc != VARVE_E_END && rc != VARVE_E_CORRUPT) {
        if (err)
            *err = why;
        return rc;
    }
    bool hole =
        rc == VARVE_E_END && i + 1 < set->count && scan.offset != set->segments[i + 1]->base_offset;
    if (hole)
        rc = base_fail(&why, VARVE_E_CORRUPT, "%s ends at offset %lld where %lld comes next",
                       segment->path, (long long)scan.offset,
                       (long long)set->segments[i + 1]->base_offset);
    /* What is missing the cold tier holds: an eviction that a loss of power has half undone tears
     * nothing. */
    if (rc == VARVE_E_CORRUPT && i + 1 < set->count &&
        recovery_held(r, set->segments[i + 1]->base_offset)) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc == VARVE_E_CORRUPT) {
        rc = recovery_cut(r, i, scan.pos, size, scan.offset, &why, err);
        if (rc < 0)
            return rc;
    }
    segment->visible.size = scan.pos;
    segment->visible.end_offset = scan.offset;
    segment->synced = true;

    bool sealed = i + 1 < set->count;
    struct index_sparse_entry entry;
    base_mutex_lock(&segment->lock);
    rc = 0;
    if (sealed && index_sparse_builder_finish(&segment->builder, &entry))
        rc = hot_sparse_add_locked(segment, &entry, err);
    /* Entries of a cut tail must not come back with the old file: replaced durably. */
    if (rc == 0 && (dirty || segment->index.size != adopted || size != scan.pos)) {
        struct varve_error ignored;
        if (hot_sparse_rewrite_locked(segment, true, &ignored) < 0) {
            base_log(&set->env->logger, BASE_LOG_WARNING, "%s; rebuilt later", ignored.msg);
            rc = set->io->unlink(set->io->ctx, segment->index_path);
            rc = rc < 0 && rc != -ENOENT
                     ? base_fail_errno(err, rc, "remove %s", segment->index_path)
                     : base_dir_sync(set->io, set->dir, err);
        }
    } else if (rc == 0) {
        segment->index_flushed = segment->index.size;
        int fd = set->io->open(set->io->ctx, segment->index_path, O_WRONLY, 0);
        segment->index_fd = fd < 0 ? -1 : fd;
    }
    if (rc == 0 && sealed)
        hot_sparse_seal_locked(segment);
    base_mutex_unlock(&segment->lock);
    return rc;
}

static int recovery_load(struct hot_set *set, const struct hot_names *names,
                         struct varve_error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        struct hot_segment *segment;
        struct stat st;
        int rc = hot_segment_new(set, names->bases[i], &segment, err);
        if (rc < 0)
            return rc;
        rc = hot_set_list_locked(set, segment, err);
        if (rc < 0) {
            hot_segment_unref(segment);
            return rc;
        }
        rc = set->io->stat(set->io->ctx, segment->path, &st);
        if (rc < 0)
            return base_fail_errno(err, rc, "stat %s", segment->path);
        segment->sealed = i + 1 < names->count;
        segment->visible.size = (uint64_t)st.st_size;
        segment->visible.append_time =
            (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
        if (segment->visible.size > HOT_SEGMENT_BYTES_MAX)
            return base_fail(err, VARVE_E_CORRUPT, "%s has %llu bytes, more than a segment can",
                             segment->path, (unsigned long long)segment->visible.size);
        if (segment->sealed)
            segment->visible.end_offset = names->bases[i + 1];
    }
    return 0;
}

/* A segment that is damaged, or in front of one that is missing: as its name and its successor's
 * say. Who reads it meets the damage, and finds its offsets in the cold tier. */
static void recovery_leave(struct hot_segment *segment, int64_t end_offset)
{
    struct stat st;
    base_mutex_lock(&segment->lock);
    hot_sparse_release_locked(segment);
    base_mutex_unlock(&segment->lock);
    if (segment->fd >= 0 && segment->set->io->fstat(segment->set->io->ctx, segment->fd, &st) == 0)
        segment->visible.size = (uint64_t)st.st_size;
    segment->visible.end_offset = end_offset;
    segment->stamps_known = false;
    segment->incomplete = true;
    segment->synced = true;
}

/*
 * The first file's name was lost with the power and a later one's was not: all of it stands behind
 * a hole. It goes like any torn tail, if none of it was ever vouched for; without any proof, if
 * there is nothing in it. What was evicted left no hole: the writer had said so before it unlinked.
 */
static int recovery_front(struct recovery *r, struct varve_error *err)
{
    struct hot_set *set = r->set;
    int64_t start = set->options.start_offset;
    bool damage = r->border_known && r->border.end_offset > start;
    if (set->count == 0 || set->segments[0]->base_offset <= start ||
        set->segments[0]->base_offset <= r->floor)
        return 0;
    if (!damage && recovery_unsure(r)) {
        int rc = recovery_holds(set, 0, &damage, err);
        if (rc < 0)
            return rc;
    }
    if (damage)
        return 0; /* who knows both tiers says that offsets are missing */
    base_log(&set->env->logger, BASE_LOG_WARNING,
             "torn tail cut at offset %lld: %s stands behind files that are not there",
             (long long)start, set->segments[0]->path);
    r->report->truncated_at = start;
    return recovery_drop(r, 0, err);
}

static int recovery_walk(struct recovery *r, struct varve_error *err)
{
    struct hot_set *set = r->set;
    struct varve_error why = {0};
    if (r->border_known && set->count > 0 && r->border.end_offset > set->options.start_offset &&
        r->vouched.base_offset > set->segments[set->count - 1]->base_offset)
        return base_fail(err, VARVE_E_CORRUPT, "%s: segment %020lld.log is missing", set->dir,
                         (long long)r->vouched.base_offset);
    for (size_t i = 0; i < set->count; i++) {
        struct hot_segment *segment = set->segments[i];
        bool last = i + 1 == set->count;
        /* One that ends just where it was vouched for is whole only if the next begins there: what
         * was appended after that sync may be gone while the next one's name is not. */
        bool trusted = r->border_known && !last &&
                       (segment->base_offset < r->vouched.base_offset ||
                        (segment->base_offset == r->vouched.base_offset &&
                         segment->visible.size == r->vouched.size &&
                         set->segments[i + 1]->base_offset == r->vouched.end_offset));
        segment->refs++;
        int rc = hot_segment_open(segment, &why);
        if (rc == 0)
            rc = trusted ? recovery_trusted(r, i, &why) : recovery_tail(r, i, &why);
        if (rc == VARVE_E_CORRUPT && !last && recovery_held(r, set->segments[i + 1]->base_offset)) {
            base_log(&set->env->logger, BASE_LOG_WARNING,
                     "%s; the cold tier holds these offsets too (repair: varve verify --repair)",
                     why.msg);
            recovery_leave(segment, set->segments[i + 1]->base_offset);
            rc = 0;
        }
        hot_segment_unref(segment);
        if (rc < 0) {
            if (err)
                *err = why;
            return rc;
        }
    }
    return 0;
}

/* The set is not shared yet: set->lock guards nothing here, and is not held over I/O. */
int hot_recovery_run(struct hot_set *set, const struct hot_publication *old,
                     struct hot_recovery *ret, struct varve_error *err)
{
    struct hot_recovery report = {.truncated_at = -1};
    struct recovery r = {.set = set, .report = &report, .held = -1};
    struct hot_names names;

    int rc = recovery_sources(&r, old, err);
    if (rc < 0)
        return rc;
    /* Names that the last writer, or what was done just now, took away must not come back beside
     * files that are made from now on. */
    rc = base_dir_sync(set->io, set->dir, err);
    if (rc < 0)
        return rc;
    rc = hot_recovery_list(set, &names, err);
    if (rc < 0)
        return rc;
    recovery_sweep(set, &names);
    rc = recovery_load(set, &names, err);
    hot_recovery_names_deinit(&names);
    if (rc == 0)
        rc = recovery_front(&r, err);
    size_t found = set->count;
    if (rc == 0)
        rc = recovery_walk(&r, err);
    if (rc < 0)
        return rc;

    if (found == 0) {
        struct hot_segment *first;
        if (r.border_known && r.vouched.size > 0 && r.border.end_offset > set->options.start_offset)
            return base_fail(err, VARVE_E_CORRUPT, "%s: segment %020lld.log is missing", set->dir,
                             (long long)r.vouched.base_offset);
        rc = hot_append_create_segment(set, set->options.start_offset, &first, err);
        if (rc < 0)
            return rc;
        rc = hot_set_list_locked(set, first, err);
        if (rc < 0) {
            hot_segment_unref(first);
            return rc;
        }
        set->active = first;
    } else {
        struct hot_segment *last = set->segments[set->count - 1];
        int64_t first_append = -1;
        if (last->visible.size > 0) {
            first_append = last->visible.append_time;
            if (r.checkpoint_known && r.checkpoint.point.base_offset == last->base_offset &&
                r.checkpoint.first_append_ms >= 0)
                first_append = r.checkpoint.first_append_ms;
        }
        last->sealed = false;
        last->synced = false;
        rc = hot_segment_open(last, err);
        if (rc < 0)
            return rc;
        last->written = last->visible;
        set->active = last;
        hot_append_activate(last, first_append);
        struct hot_segment_info info;
        if (last->visible.size > 0) {
            rc = hot_segment_info(last, &info, err);
            if (rc < 0)
                return rc;
            last->visible.first_timestamp = last->written.first_timestamp = info.first_timestamp;
            last->visible.max_timestamp = last->written.max_timestamp = info.max_timestamp;
        }
        last->stamps_known = true;
    }
    set->dir_dirty = true; /* I11: who knows whether the last writer got to it */
    set->synced = (struct hot_point){set->active->base_offset, set->active->visible.size,
                                     set->active->visible.end_offset};
    set->checkpointed =
        r.checkpoint_known ? r.checkpoint.point : (struct hot_point){.base_offset = -1};
    report.unclean = report.scanned_bytes > 0 || report.truncated_at >= 0 ||
                     (found > 0 && !(r.checkpoint_known && r.checkpoint.clean));
    report.indexes_rebuilt +=
        atomic_exchange_explicit(&set->indexes_rebuilt, 0, memory_order_relaxed);
    *ret = report;
    return 0;
}
