/*
 * Walks batches from an offset on, segment after segment, out of one buffer: reads of 256 KiB, each
 * batch checked, views into the buffer. The segment it stands in is pinned and referenced, so that
 * an eviction by this process waits, and one by another does not disturb it before the next
 * segment.
 */
#include "hot/reader.h"

#include <stdlib.h>

#include "base/error.h"
#include "hot/internal.h"
#include "record/iterator.h"

struct hot_reader {
    struct hot_set *set;
    struct hot_segment *segment; /* NULL: found when needed */
    struct hot_scan scan;
    uint64_t lives;   /* hot_follow_lives when the segment was found */
    int64_t offset;   /* the next batch returned holds it */
    bool by_index;    /* nothing has been read yet where the index said */
    bool index_tried; /* the index was rebuilt for this place already */
};

int hot_reader_new(struct hot_set *set, struct hot_reader **ret, struct varve_error *err)
{
    struct hot_range range;
    struct hot_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return base_fail(err, VARVE_E_NO_MEMORY, "reader");
    int rc = hot_scan_init(&reader->scan, set->io, err);
    if (rc < 0) {
        free(reader);
        return rc;
    }
    hot_set_range(set, &range);
    reader->set = set;
    reader->offset = range.floor;
    *ret = reader;
    return 0;
}

static void reader_leave(struct hot_reader *reader)
{
    struct hot_segment *segment = reader->segment;
    if (!segment)
        return;
    base_mutex_lock(&reader->set->lock);
    segment->pins--;
    hot_segment_unref_locked(segment);
    hot_set_unlock(reader->set);
    reader->segment = NULL;
}

struct hot_reader *hot_reader_free(struct hot_reader *reader)
{
    if (reader) {
        reader_leave(reader);
        hot_scan_deinit(&reader->scan);
        free(reader);
    }
    return NULL;
}

static uint64_t reader_visible(struct hot_segment *segment)
{
    base_mutex_lock(&segment->set->lock);
    uint64_t size = segment->visible.size;
    base_mutex_unlock(&segment->set->lock);
    return size;
}

/* Places the scan in the reader's segment where the index says that its offset is near. */
static int reader_place(struct hot_reader *reader, struct varve_error *err)
{
    struct hot_segment *segment = reader->segment;
    uint64_t pos;
    int64_t offset;
    int rc = hot_segment_locate(segment, reader->offset, &pos, &offset, err);
    if (rc < 0)
        return rc;
    hot_scan_start(&reader->scan, segment->fd, segment->path, pos, offset, reader_visible(segment));
    reader->by_index = pos > 0;
    return 0;
}

static int reader_enter(struct hot_reader *reader, struct varve_error *err)
{
    reader->lives = hot_follow_lives(reader->set);
    int rc = hot_segment_find(reader->set, reader->offset, true, &reader->segment, err);
    if (rc < 0) {
        reader->segment = NULL;
        return rc;
    }
    reader->index_tried = false;
    if (reader->offset == reader->segment->base_offset) {
        hot_scan_start(&reader->scan, reader->segment->fd, reader->segment->path, 0, reader->offset,
                       reader_visible(reader->segment));
        reader->by_index = false;
        return 0;
    }
    rc = reader_place(reader, err);
    if (rc < 0)
        reader_leave(reader);
    return rc;
}

/* There is no batch where the index pointed to, as *err says: it may have pointed to a wrong place.
 * Where it cannot be made again, or is our own, the damage is what *err says. */
static int reader_place_anew(struct hot_reader *reader, struct varve_error *err)
{
    struct varve_error why;
    int rc = hot_sparse_rebuild(reader->segment, &why);
    reader->index_tried = true;
    if (rc == 0)
        return reader_place(reader, err);
    if (rc != VARVE_E_CORRUPT && err)
        *err = why;
    return rc;
}

/* Damage where the reader stands, or was about to. 0: look again. */
static int reader_doubt(struct hot_reader *reader, struct varve_error *err)
{
    int rc = hot_follow_doubt(reader->set, reader->lives, err);
    if (rc != VARVE_E_CORRUPT)
        reader_leave(reader);
    return rc;
}

int hot_reader_seek(struct hot_reader *reader, int64_t offset, struct varve_error *err)
{
    struct hot_range range;
    int rc = hot_set_refresh(reader->set, err);
    if (rc < 0)
        return rc;
    hot_set_range(reader->set, &range);
    if (offset < range.floor || offset > range.end)
        return base_fail(err, VARVE_E_OUT_OF_RANGE, "offset %lld lies outside %lld to %lld",
                         (long long)offset, (long long)range.floor, (long long)range.end);
    int64_t before = reader->offset;
    reader_leave(reader);
    reader->offset = offset;
    if (range.segments == 0)
        return 0;
    rc = reader_enter(reader, err);
    if (rc == VARVE_E_CORRUPT) {
        rc = reader_doubt(reader, err);
        if (rc == 0)
            rc = reader_enter(reader, err);
    }
    if (rc < 0)
        reader->offset = before;
    return rc;
}

int64_t hot_reader_offset(const struct hot_reader *reader)
{
    return reader->offset;
}

/* At the end of what was visible: 0 when there is more now, here or in the next segment. */
static int reader_advance(struct hot_reader *reader, struct varve_error *err)
{
    struct hot_set *set = reader->set;
    struct hot_segment *segment = reader->segment;
    base_mutex_lock(&set->lock);
    struct hot_extent visible = segment->visible;
    bool sealed = segment->sealed;
    bool listed = segment->listed;
    base_mutex_unlock(&set->lock);

    if (visible.size > reader->scan.limit) {
        reader->scan.limit = visible.size;
        return 0;
    }
    if (sealed && reader->scan.offset != visible.end_offset)
        return base_fail(err, VARVE_E_CORRUPT, "%s ends at offset %lld where %lld comes next",
                         segment->path, (long long)reader->scan.offset,
                         (long long)visible.end_offset);
    if (!sealed && listed)
        return base_fail(err, VARVE_E_END, "at the end, offset %lld", (long long)reader->offset);
    reader_leave(reader);
    return 0;
}

int hot_reader_next(struct hot_reader *reader, const void **ret_data, struct record_batch *ret,
                    struct varve_error *err)
{
    bool refreshed = false;
    for (;;) {
        int rc;
        struct record_batch batch;
        const void *data;
        rc = reader->segment ? 0 : reader_enter(reader, err);
        if (rc == 0)
            rc = hot_scan_next(&reader->scan, &data, &batch, err);
        else if (rc != VARVE_E_CORRUPT)
            return rc;
        if (rc == 0) {
            reader->by_index = false;
            if (batch.last_offset < reader->offset)
                continue; /* between the place by the index and the one asked for */
            reader->offset = batch.last_offset + 1;
            *ret_data = data;
            *ret = batch;
            return 0;
        }
        if (rc == VARVE_E_END) {
            rc = reader_advance(reader, err);
            if (rc == VARVE_E_END && reader->set->options.read_only && !refreshed) {
                rc = hot_set_refresh(reader->set, err);
                refreshed = true;
            }
        } else if (rc == VARVE_E_CORRUPT && reader->segment && reader->by_index &&
                   !reader->index_tried) {
            rc = reader_place_anew(reader, err);
        }
        if (rc == VARVE_E_CORRUPT)
            rc = reader_doubt(reader, err);
        if (rc < 0)
            return rc;
    }
}

/* A search by time, through one segment. */
struct time_search {
    struct hot_scan scan;
    struct record_iterator *records;
    int64_t timestamp;
    int64_t min_offset;
    size_t decompressed_max;
    int64_t found_offset;
    int64_t found_timestamp;
};

/* The first match among the batches from `pos` to `limit`. VARVE_E_NOT_FOUND. */
static int time_scan(struct time_search *s, struct hot_segment *segment, uint64_t pos,
                     int64_t offset, uint64_t limit, struct varve_error *err)
{
    struct record_batch batch;
    struct varve_record record;
    const void *data;
    int rc;
    hot_scan_start(&s->scan, segment->fd, segment->path, pos, offset, limit);
    while ((rc = hot_scan_next(&s->scan, &data, &batch, err)) == 0) {
        if (batch.max_timestamp < s->timestamp || batch.last_offset < s->min_offset)
            continue;
        rc = record_iterator_start(s->records, data, &batch, s->decompressed_max, err);
        while (rc == 0 && (rc = record_iterator_next(s->records, &record, err)) == 0) {
            if (record.timestamp >= s->timestamp && record.offset >= s->min_offset) {
                s->found_offset = record.offset;
                s->found_timestamp = record.timestamp;
                return 0;
            }
        }
        if (rc != VARVE_E_END)
            return base_error_context(err, rc, "%s: offset %lld", segment->path,
                                      (long long)batch.base_offset);
    }
    return rc == VARVE_E_END ? VARVE_E_NOT_FOUND : rc;
}

static int time_search_segment(struct time_search *s, struct hot_segment *segment,
                               struct varve_error *err)
{
    struct index_sparse_entry entry;
    uint64_t size = reader_visible(segment);
    uint64_t end_pos;
    int64_t end_offset;
    size_t i = 0;
    /* Entries that are added from here on lie behind end_pos, which is scanned. */
    int rc = hot_sparse_end(segment, &end_pos, &end_offset, err);
    if (rc < 0)
        return rc;
    if (end_pos > size) { /* entries of what is not visible yet */
        end_pos = size;
        end_offset = INT64_MAX;
    }
    for (;; i++) {
        rc = hot_sparse_find_time(segment, i, s->timestamp, s->min_offset, &i, &entry, err);
        if (rc == VARVE_E_NOT_FOUND || (rc == 0 && entry.pos >= end_pos))
            break;
        uint64_t limit = rc == 0 ? (uint64_t)entry.pos + entry.size : 0;
        if (rc == 0)
            rc = time_scan(s, segment, entry.pos, entry.first_offset, limit < size ? limit : size,
                           err);
        if (rc != VARVE_E_NOT_FOUND)
            return rc;
    }
    return time_scan(s, segment, end_pos, end_offset, size, err);
}

static int time_search_set(struct time_search *s, struct hot_set *set, struct varve_error *err)
{
    int64_t offset = s->min_offset;
    for (;;) {
        struct hot_range range;
        struct hot_segment *segment;
        struct hot_segment_info info;
        hot_set_range(set, &range);
        if (offset < range.floor)
            offset = range.floor;
        if (offset >= range.end || range.segments == 0)
            return VARVE_E_NOT_FOUND;
        int rc = hot_segment_find(set, offset, true, &segment, err);
        if (rc == VARVE_E_OUT_OF_RANGE) {
            rc = hot_set_refresh(set, err);
            struct hot_range now;
            hot_set_range(set, &now);
            if (rc == 0 && now.floor == range.floor) /* the file has gone, the list has not moved */
                return base_fail_retriable(err, VARVE_E_BUSY, "offset %lld is being evicted",
                                           (long long)offset);
            if (rc == 0)
                continue;
        }
        if (rc < 0)
            return rc;
        rc = hot_segment_info(segment, &info, err);
        if (rc == 0)
            rc = info.max_timestamp >= s->timestamp ? time_search_segment(s, segment, err)
                                                    : VARVE_E_NOT_FOUND;
        /* What it lacks may be what is sought: the cold tier holds that. */
        if (rc == VARVE_E_NOT_FOUND && segment->incomplete)
            rc = base_fail(err, VARVE_E_CORRUPT, "%s is damaged", segment->path);
        base_mutex_lock(&set->lock);
        segment->pins--;
        hot_segment_unref_locked(segment);
        hot_set_unlock(set);
        if (rc != VARVE_E_NOT_FOUND)
            return rc;
        offset = info.end_offset;
    }
}

int hot_reader_find_time(struct hot_set *set, int64_t timestamp, int64_t min_offset,
                         size_t decompressed_max, int64_t *ret_offset, int64_t *ret_timestamp,
                         struct varve_error *err)
{
    struct time_search s = {
        .timestamp = timestamp, .min_offset = min_offset, .decompressed_max = decompressed_max};
    int rc = hot_scan_init(&s.scan, set->io, err);
    if (rc < 0)
        return rc;
    rc = record_iterator_new(&s.records, err);
    while (rc == 0) {
        uint64_t lives = hot_follow_lives(set);
        rc = time_search_set(&s, set, err);
        if (rc != VARVE_E_CORRUPT)
            break;
        rc = hot_follow_doubt(set, lives, err);
        if (rc == VARVE_E_OUT_OF_RANGE) /* asked again, it may be there */
            rc = base_fail_retriable(err, VARVE_E_BUSY, "%s is being recovered by another process",
                                     set->dir);
    }
    record_iterator_free(s.records);
    hot_scan_deinit(&s.scan);
    if (rc == VARVE_E_NOT_FOUND)
        return base_fail(err, rc, "no record at or after time %lld", (long long)timestamp);
    if (rc < 0)
        return rc;
    *ret_offset = s.found_offset;
    if (ret_timestamp)
        *ret_timestamp = s.found_timestamp;
    return 0;
}
