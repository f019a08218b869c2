/*
 * The hot tier of a log: its segments, their sparse indexes, `published` and `checkpoint`.
 *
 * The segments are walked by the borders that the list has, so that one that is damaged does not
 * hide those behind it.
 */
#include "tiering/verify_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

#define VERIFY_READ_BYTES (1024 * 1024)
#define VERIFY_HOLDS_MAX 16 /* times a list of segments that changes under us is taken up again */

/* The SHA-256 of the committed segment with the same offsets, if there is one. */
static bool committed_sha(struct tiering_verify_state *x, const struct hot_segment_info *info,
                          uint8_t ret[BASE_SHA256_SIZE])
{
    struct index_entry e;
    int64_t offset = info->base_offset;

    if (offset < x->start_offset) /* the log starts inside it */
        offset = x->start_offset;
    if (!info->sealed || index_manifest_find_offset(x->v->manifest, offset, &e, NULL) < 0 ||
        e.base_offset != info->base_offset || e.end_offset != info->end_offset)
        return false;
    memcpy(ret, e.segment_sha256, BASE_SHA256_SIZE);
    return true;
}

/* Content of a hot segment against that of the committed one. */
static int compare_tiers(struct tiering_verify_state *x, struct hot_segment *segment,
                         const struct hot_segment_info *info, struct varve_error *err)
{
    uint8_t committed[BASE_SHA256_SIZE], sha[BASE_SHA256_SIZE];
    uint64_t pos = 0;
    int r = 0;

    if (!committed_sha(x, info, committed))
        return 0;
    r = tiering_verify_room(&x->raw, VERIFY_READ_BYTES, err);
    base_sha256_reset(x->sha);
    while (r == 0 && pos < info->size) {
        size_t n = 0;
        r = hot_segment_read(segment, x->raw.data, VERIFY_READ_BYTES, pos, &n, err);
        if (r == 0 && n == 0)
            break;
        base_sha256_update(x->sha, x->raw.data, n);
        pos += n;
    }
    if (r < 0)
        return r;
    base_sha256_final(x->sha, sha);
    if (memcmp(sha, committed, sizeof(sha)) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "%s: not what the cold tier holds for these offsets",
                         hot_segment_path(segment));
    return 0;
}

/*
 * The leader epoch of every batch. A batch's CRC32C leaves it out, as Kafka's does, and what was
 * not uploaded yet has no other sum. (An upload looks at it, too.)
 */
static int check_epochs(struct tiering_verify_state *x, struct hot_segment *segment,
                        const struct hot_segment_info *info, struct varve_error *err)
{
    uint8_t header[RECORD_BATCH_HEADER_SIZE];
    struct index_root_pin *pin;
    const struct index_root *root;
    uint64_t pos = 0;
    int r = index_manifest_pin(x->v->manifest, &pin, &root, err);

    if (r < 0)
        return r;
    while (r == 0 && pos < info->size) {
        size_t n = 0, size;
        int64_t offset, expected, epoch;
        r = hot_segment_read(segment, header, sizeof(header), pos, &n, err);
        if (r < 0 || n < sizeof(header) || (size = record_batch_size(header)) == 0)
            break; /* the batches have been checked: the visible end moved */
        offset = (int64_t)base_get_be64(header);
        epoch = (int32_t)base_get_be32(header + 12);
        expected = index_root_epoch_at(root, offset, NULL);
        if (expected >= 0 && epoch != expected)
            r = base_fail(err, VARVE_E_CORRUPT,
                          "%s: position %" PRIu64 ": leader epoch %" PRId64 " at offset %" PRId64
                          ", which was written in epoch %" PRId64,
                          hot_segment_path(segment), pos, epoch, offset, expected);
        pos += size;
    }
    index_manifest_unpin(pin);
    return r;
}

static void hot_damaged(struct tiering_verify_state *x, const struct hot_segment_info *info,
                        const char *path, const struct varve_error *what)
{
    bool repaired = false;
    struct hot_range range;

    /* V1: with it goes all that lies before it in the hot tier (I1, I3). */
    hot_set_range(x->v->hot, &range);
    if (tiering_verify_can_repair(x) && info->sealed &&
        tiering_verify_objects_hold(x, range.floor, info->end_offset))
        repaired = hot_segment_discard(x->v->hot, info->base_offset, NULL) == 0;
    tiering_verify_found(x, TIERING_FOUND_DAMAGE, path, info->base_offset, repaired, what->msg);
}

static int check_content(struct tiering_verify_state *x, struct hot_segment *segment,
                         const struct hot_segment_info *info, struct varve_error *err)
{
    struct hot_segment_info stamps;
    int r;

    if (!x->v->deep)
        return hot_segment_info(segment, &stamps, err);
    r = hot_segment_verify(segment, err);
    if (r == 0)
        r = compare_tiers(x, segment, info, err);
    if (r == 0)
        r = check_epochs(x, segment, info, err);
    tiering_verify_progress(x, info->size);
    return r;
}

static int check_segment(struct tiering_verify_state *x, int64_t *offset, struct varve_error *err)
{
    struct hot_segment *segment = NULL;
    struct hot_segment_info info = {0};
    struct varve_error what = {0};
    char *path = NULL;
    int r = hot_segment_find(x->v->hot, *offset, false, &segment, err);

    if (r < 0)
        return r;
    hot_segment_extent(segment, &info);
    r = base_format(&path, err, "%s", hot_segment_path(segment));
    if (r == 0 && info.size > 0) {
        /* The index is only a cache of the batches: a writer has rebuilt it by now. */
        if (hot_segment_check_index(segment, &what) == VARVE_E_CORRUPT)
            tiering_verify_found(x, TIERING_FOUND_DAMAGE, hot_segment_index_path(segment),
                                 info.base_offset, x->v->tiering != NULL, what.msg);
        r = check_content(x, segment, &info, &what);
    }
    segment = hot_segment_unref(segment);
    if (r == VARVE_E_CORRUPT || r == VARVE_E_IO) {
        hot_damaged(x, &info, path, &what);
        r = 0;
    } else if (r < 0 && what.code && err) {
        *err = what;
    }
    if (r == 0) {
        x->v->hot_segments += info.size > 0;
        *offset = info.end_offset > *offset ? info.end_offset : INT64_MAX;
    }
    free(path);
    return r;
}

static int check_segments(struct tiering_verify_state *x, struct varve_error *err)
{
    struct hot_range range;
    unsigned again = 0;
    int64_t offset;
    int r = 0;

    hot_set_range(x->v->hot, &range);
    offset = range.floor;
    while (r == 0 && offset < range.end) {
        r = check_segment(x, &offset, err);
        if (r != VARVE_E_OUT_OF_RANGE)
            continue;
        /* Evicted meanwhile, or a file that somebody removed. */
        hot_set_refresh(x->v->hot, NULL);
        hot_set_range(x->v->hot, &range);
        if (range.floor > offset)
            offset = range.floor;
        r = 0;
        if (again++ == VERIFY_HOLDS_MAX) {
            tiering_verify_found(x, TIERING_FOUND_MISSING, x->v->log_name, offset, false,
                                 "the file of a hot segment is not there");
            break;
        }
    }
    return r;
}

static void file_damaged(void *arg, const char *path, const struct varve_error *what, bool repaired)
{
    tiering_verify_found(arg, TIERING_FOUND_DAMAGE, path, -1, repaired, what->msg);
}

int tiering_verify_hot(struct tiering_verify_state *x, struct varve_error *err)
{
    char text[VERIFY_TEXT_MAX];
    int r;

    if (!x->v->hot)
        return 0;
    if (x->hot_floor != INT64_MAX && x->hot_floor > x->end_offset) {
        snprintf(text, sizeof(text),
                 "the hot tier begins at %" PRId64 ", the cold one ends at %" PRId64, x->hot_floor,
                 x->end_offset);
        tiering_verify_found(x, TIERING_FOUND_GAP, x->v->log_name, x->end_offset, false, text);
    }
    r = hot_set_check_files(x->v->hot, file_damaged, x, err);
    return r < 0 ? r : check_segments(x, err);
}
