/*
 * Files whose place another history takes: all of a set (reset), a tail (set aside), those of a log
 * that is no more (cleared).
 *
 * The order is the same in each: what is wanted has a second name, then what vouches for the first
 * is taken back, then the first goes; each durably before the next (I13). Whatever cuts this short,
 * the files are wholly there or wanted no more, and the next opening goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "hot/internal.h"

#define DISPLACE_COPY_BYTES (256 * 1024)

/* Nothing may vouch for files that are about to go, nor for what half of it would leave: closing
 * writes nothing more, and the next opening goes on (I13). */
static void displace_fail(struct hot_set *set)
{
    base_mutex_lock(&set->lock);
    set->failed = true;
    base_fail(&set->failure, VARVE_E_FAILED, "%s has to be opened again", set->dir);
    base_mutex_unlock(&set->lock);
}

/*
 * The point up to which the files will vouch once a tail is gone; durably (K2, P2). Of a set that
 * goes wholly that is the zero point, and `known` false: then any of its files that comes back may
 * be cut, which without a word of it would be damage.
 */
static int displace_vouch(struct hot_set *set, const struct hot_point *point, bool known,
                          struct varve_error *err)
{
    const struct base_io *io = set->io;
    struct hot_publication p = {.state = HOT_WRITER_RECOVERING,
                                .instance = set->instance,
                                .visible = *point,
                                .synced = *point};
    memcpy(p.boot, set->boot, sizeof(p.boot));
    base_mutex_lock(&set->lock);
    p.floor = set->count > 0 && set->segments[0]->base_offset < point->base_offset
                  ? set->segments[0]->base_offset
                  : point->base_offset;
    hot_publish_write_locked(set, &p);
    base_mutex_unlock(&set->lock);
    int rc = hot_publish_sync(set, err);
    if (rc < 0)
        return rc;
    if (known) {
        struct hot_checkpoint c = {.point = *point, .first_append_ms = -1, .clean = true};
        uint8_t buf[HOT_CHECKPOINT_SIZE];
        hot_checkpoint_encode(&c, buf);
        return base_file_replace(io, set->checkpoint_path, buf, sizeof(buf), true, err);
    }
    rc = io->unlink(io->ctx, set->checkpoint_path);
    if (rc < 0 && rc != -ENOENT)
        return base_fail_errno(err, rc, "remove %s", set->checkpoint_path);
    return base_dir_sync(io, set->dir, err);
}

/* Takes up the files that are left, as opening does. */
static int displace_reload(struct hot_set *set, int64_t start_offset,
                           const struct hot_publication *old, struct varve_error *err)
{
    struct hot_recovery report;
    hot_set_drop_segments(set);
    set->options.start_offset = start_offset;
    set->cut_due = false;
    int rc = hot_recovery_run(set, old, &report, err);
    if (rc == 0) {
        base_mutex_lock(&set->lock);
        hot_set_recount_locked(set);
        hot_publish_locked(set, HOT_WRITER_LIVE);
        base_mutex_unlock(&set->lock);
    }
    return rc;
}

/* From the newest on, so that what is there stays contiguous whenever we are interrupted. */
static int displace_unlink(struct hot_set *set, size_t first, struct varve_error *err)
{
    for (size_t i = set->count; i > first; i--) {
        struct hot_segment *segment = set->segments[i - 1];
        int rc = set->io->unlink(set->io->ctx, segment->path);
        if (rc < 0 && rc != -ENOENT)
            return base_fail_errno(err, rc, "remove %s", segment->path);
        set->io->unlink(set->io->ctx, segment->index_path);
    }
    return 0;
}

int hot_set_reset(struct hot_set *set, int64_t offset, struct varve_error *err)
{
    if (set->options.read_only)
        return base_fail(err, VARVE_E_READ_ONLY, "%s is open for reading", set->dir);
    if (offset < 0)
        return base_fail(err, VARVE_E_INVALID, "reset to offset %lld", (long long)offset);
    set->instance = base_random_u64(set->env->random);
    struct hot_point none = {0};
    struct hot_publication old = {.state = HOT_WRITER_RECOVERING};
    int rc = displace_vouch(set, &none, false, err);
    if (rc == 0)
        rc = displace_unlink(set, 0, err);
    if (rc == 0)
        rc = displace_reload(set, offset, &old, err);
    if (rc == 0) /* as opening does */
        rc = hot_checkpoint_write(set, false, true, err);
    if (rc < 0)
        displace_fail(set);
    return rc;
}

/* Writes the first `size` bytes of a segment to a new file, synced. */
static int move_copy(struct hot_set *set, struct hot_segment *segment, const char *path,
                     uint64_t size, struct varve_error *err)
{
    const struct base_io *io = set->io;
    uint8_t *buf = malloc(DISPLACE_COPY_BYTES);
    if (!buf)
        return base_fail(err, VARVE_E_NO_MEMORY, "copy of %s", segment->path);
    int fd = -1;
    int rc = base_file_create(io, path, 0644, &fd, err);
    for (uint64_t pos = 0; rc == 0 && pos < size;) {
        size_t part = size - pos < DISPLACE_COPY_BYTES ? (size_t)(size - pos) : DISPLACE_COPY_BYTES;
        rc = base_io_pread_full(io, segment->fd, buf, part, (int64_t)pos, segment->path, err);
        if (rc == 0)
            rc = base_io_pwrite_full(io, fd, buf, part, (int64_t)pos, path, err);
        pos += part;
    }
    if (rc == 0) {
        rc = io->fdatasync(io->ctx, fd);
        if (rc < 0)
            rc = base_fail_errno(err, rc, "fdatasync %s", path);
    }
    if (fd >= 0)
        io->close(io->ctx, fd);
    free(buf);
    return rc;
}

/* Where the batch that holds `from` begins. */
static int move_find(struct hot_set *set, struct hot_segment *segment, int64_t from,
                     struct hot_point *ret, struct varve_error *err)
{
    struct hot_scan scan;
    struct record_batch batch;
    const void *data;
    uint64_t pos;
    int64_t offset;
    *ret = (struct hot_point){segment->base_offset, 0, segment->base_offset};
    if (from == segment->base_offset) /* whatever is in it */
        return 0;
    int rc = hot_segment_locate(segment, from, &pos, &offset, err);
    if (rc == 0)
        rc = hot_scan_init(&scan, set->io, err);
    if (rc < 0)
        return rc;
    hot_scan_start(&scan, segment->fd, segment->path, pos, offset, segment->visible.size);
    *ret = (struct hot_point){segment->base_offset, pos, offset};
    while ((rc = hot_scan_next(&scan, &data, &batch, err)) == 0 && batch.last_offset < from)
        *ret = (struct hot_point){segment->base_offset, scan.pos, scan.offset};
    hot_scan_deinit(&scan);
    return rc == VARVE_E_END ? 0 : rc;
}

static int move_name(char **ret, const char *aside, const struct hot_segment *segment,
                     struct varve_error *err)
{
    return base_format(ret, err, "%s/%020lld.log", aside, (long long)segment->base_offset);
}

/* Gives the segments from `first` on a second name in `aside`, durably. */
static int move_link(struct hot_set *set, size_t first, const char *aside, struct varve_error *err)
{
    const struct base_io *io = set->io;
    int rc = 0;
    for (size_t i = first; rc == 0 && i < set->count; i++) {
        struct hot_segment *segment = set->segments[i];
        char *target;
        rc = move_name(&target, aside, segment, err);
        if (rc < 0)
            break;
        rc = io->link(io->ctx, segment->path, target);
        if (rc == -EEXIST) /* from an attempt that was interrupted */
            rc = 0;
        if (rc < 0)
            rc = base_fail_errno(err, rc, "link %s to %s", segment->path, target);
        free(target);
    }
    return rc == 0 ? base_dir_sync(io, aside, err) : rc;
}

/* The segment that holds offsets on both sides: the whole of it is aside, its first part is written
 * anew (never cut: others may have it open, I3). */
static int move_split(struct hot_set *set, struct hot_segment *segment, uint64_t size,
                      struct varve_error *err)
{
    const struct base_io *io = set->io;
    char *part = NULL;
    int rc = base_format(&part, err, "%s.tmp", segment->path);
    if (rc == 0)
        rc = move_copy(set, segment, part, size, err);
    if (rc == 0) {
        rc = io->rename(io->ctx, part, segment->path);
        if (rc < 0)
            rc = base_fail_errno(err, rc, "rename %s", part);
        io->unlink(io->ctx, segment->index_path); /* rebuilt: it described the longer one */
    }
    free(part);
    return rc;
}

int hot_segment_shorten(struct hot_set *set, struct hot_segment *segment, uint64_t size,
                        struct varve_error *err)
{
    int rc = move_split(set, segment, size, err);
    if (rc == 0)
        rc = base_dir_sync(set->io, set->dir, err);
    if (rc < 0)
        return rc;
    set->io->close(set->io->ctx, segment->fd);
    segment->fd = -1;
    base_mutex_lock(&set->lock);
    set->open_count--;
    base_mutex_unlock(&set->lock);
    return hot_segment_open(segment, err);
}

/*
 * All of the tail has its second name durably before the first name of any of it goes: whatever a
 * loss of power keeps of what follows, in whatever order, the next opening may cut what stands
 * behind a hole, and the records are in `aside` all the same (I13).
 */
int hot_set_move_tail(struct hot_set *set, int64_t from, const char *aside, struct varve_error *err)
{
    const struct base_io *io = set->io;
    if (set->options.read_only)
        return base_fail(err, VARVE_E_READ_ONLY, "%s is open for reading", set->dir);
    struct hot_range range;
    hot_set_range(set, &range);
    if (from >= range.end)
        return 0;
    int rc = hot_set_sync(set, err);
    if (rc == 0)
        rc = base_dir_create(io, aside, true, err);
    if (rc < 0)
        return rc;

    /* What stays, and whether a segment has to be split for it. */
    struct hot_point keep = {0};
    struct hot_segment *split = NULL;
    size_t first = 0; /* of those that go wholly */
    if (from > range.floor) {
        rc = hot_segment_find(set, from, false, &split, err);
        if (rc == 0)
            rc = move_find(set, split, from, &keep, err);
        if (rc < 0)
            goto out;
        while (set->segments[first] != split)
            first++;
        if (keep.size == 0) { /* it begins there: the one before stays whole */
            split = hot_segment_unref(split);
            if (first > 0)
                keep = (struct hot_point){set->segments[first - 1]->base_offset,
                                          set->segments[first - 1]->visible.size,
                                          set->segments[first - 1]->visible.end_offset};
        } else {
            first++;
        }
    }
    set->instance = base_random_u64(set->env->random);
    bool known = keep.size > 0;
    struct hot_publication old = {.state = HOT_WRITER_RECOVERING, .visible = keep, .synced = keep};
    rc = move_link(set, split ? first - 1 : first, aside, err);
    if (rc == 0) /* until all is aside it is vouched for: damage in it is not cut as a torn tail */
        rc = displace_vouch(set, &keep, known, err);
    if (rc == 0)
        rc = displace_unlink(set, first, err);
    if (rc == 0 && split)
        rc = move_split(set, split, keep.size, err);
    if (rc == 0)
        rc = base_dir_sync(io, set->dir, err);
    if (rc == 0) {
        split = hot_segment_unref(split);
        rc = displace_reload(set, known ? set->options.start_offset : from, &old, err);
    }
    if (rc < 0)
        displace_fail(set);
out:
    hot_segment_unref(split);
    return rc;
}

/* ---- files of another log ---- */

static int clear_load(struct hot_set *set, struct varve_error *err)
{
    struct hot_names names;
    int rc = hot_recovery_list(set, &names, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        struct hot_segment *segment;
        rc = hot_segment_new(set, names.bases[i], &segment, err);
        if (rc < 0)
            break;
        rc = hot_set_list_locked(set, segment, err);
        if (rc < 0)
            hot_segment_unref(segment);
    }
    hot_recovery_names_deinit(&names);
    return rc;
}

/* VARVE_E_EXISTS: the name is another file's. That is so where this was begun before, and then the
 * old log was written to once more, without its bucket. */
static int clear_link_one(const struct base_io *io, const char *path, const struct stat *of,
                          const char *target, struct varve_error *err)
{
    struct stat there;
    int fd = io->open(io->ctx, path, O_RDWR, 0);
    int rc = fd < 0 ? fd : io->fdatasync(io->ctx, fd);
    if (fd >= 0)
        io->close(io->ctx, fd);
    if (rc < 0)
        return base_fail_errno(err, rc, "sync %s", path);
    rc = io->link(io->ctx, path, target);
    if (rc == -EEXIST) {
        rc = io->stat(io->ctx, target, &there);
        if (rc == 0 && (there.st_ino != of->st_ino || there.st_dev != of->st_dev))
            return base_fail(err, VARVE_E_EXISTS, "%s is another file", target);
    }
    return rc < 0 ? base_fail_errno(err, rc, "link %s to %s", path, target) : 0;
}

static int clear_link(struct hot_set *set, const char *aside, unsigned *ret_count,
                      struct varve_error *err)
{
    const struct base_io *io = set->io;
    unsigned count = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < set->count; i++) {
        const char *path = set->segments[i]->path;
        char *target;
        struct stat st;
        rc = io->stat(io->ctx, path, &st);
        if (rc < 0)
            return base_fail_errno(err, rc, "stat %s", path);
        if (st.st_size == 0)
            continue;
        if (count++ == 0)
            rc = base_dir_create(io, aside, true, err);
        if (rc == 0)
            rc = move_name(&target, aside, set->segments[i], err);
        if (rc < 0)
            return rc;
        rc = clear_link_one(io, path, &st, target, err);
        free(target);
    }
    if (rc == 0 && count > 0)
        rc = base_dir_sync(io, aside, err);
    if (rc == 0)
        *ret_count = count;
    return rc;
}

static int clear_aside(struct hot_set *set, const char *aside, unsigned *ret_count,
                       struct varve_error *err)
{
    int rc = VARVE_E_EXISTS;
    for (unsigned i = 1; rc == VARVE_E_EXISTS; i++) {
        char *dir;
        rc = i == 1 ? base_format(&dir, err, "%s", aside)
                    : base_format(&dir, err, "%s-%u", aside, i);
        if (rc < 0)
            return rc;
        rc = clear_link(set, dir, ret_count, err);
        free(dir);
    }
    return rc;
}

/*
 * The order is that of a tail (I13): all is aside, then nothing vouches for it any more, then its
 * names go; each durably before the next, so that the files are wholly there or wanted no more.
 */
int hot_set_clear(const struct base_env *env, const char *dir, const char *aside,
                  unsigned *ret_count, struct varve_error *err)
{
    const struct hot_set_options options = {0};
    const struct hot_point none = {0};
    struct hot_publication old;
    struct hot_set *set;
    unsigned count = 0;
    bool known;
    int rc = hot_set_new(env, dir, &options, &set, err);
    if (rc < 0)
        return rc;
    rc = base_dir_create(set->io, set->dir, true, err);
    if (rc == 0)
        rc = hot_publish_create(set, &old, &known, err);
    if (rc == 0) {
        hot_publish_boot(set);
        set->instance = base_random_u64(env->random);
        rc = clear_load(set, err);
    }
    if (rc == 0 && aside)
        rc = clear_aside(set, aside, &count, err);
    if (rc == 0)
        rc = displace_vouch(set, &none, false, err);
    if (rc == 0)
        rc = displace_unlink(set, 0, err);
    if (rc == 0) /* also of a call before, that was cut short */
        rc = base_dir_sync(set->io, set->dir, err);
    hot_set_abandon(set);
    if (rc == 0)
        *ret_count = count;
    return rc;
}
