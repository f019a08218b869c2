/*
 * The root of a log's manifest.
 *
 * FORMAT (little-endian)
 *
 *   pos size                                   pos size
 *     0    8  magic "VARVROOT"                 120   32  chain hash at the end offset
 *     8    2  version, 1                       152    8  segments reachable
 *    10    2  header size, 224 (x 8)           160    8  their bytes
 *    12    4  may-ignore features              168    8  their objects' bytes
 *    16    4  must-understand features         176    8  their maximum timestamp, -1: none
 *    20    4  flags: 1 tombstone               184    4  epoch
 *    24    8  root size, checksum included     188    4  log name size
 *    32   16  log id                           192    4  configuration size
 *    48   16  owner                            196    4  epochs
 *    64   16  write id                         200    4  cuts
 *    80    8  generation                       204    4  references
 *    88    8  created, ms                      208    4  entries
 *    96    8  log start offset                 212   12  zero
 *   104    8  end offset
 *   112    8  deleted to
 *
 *   then, each beginning at a multiple of 8 (zeros between):
 *     log name                 UTF-8, not terminated
 *     configuration            "name=value\n" lines
 *     epochs, 16 each          epoch (4), zero (4), start offset (8)
 *     cuts, 16 each            offset (8), time in ms (8)
 *     reference groups         ceil(references / 16) times base offset (8), maximum timestamp (8)
 *     references, 96 each      entry.c
 *     entry groups             ceil(entries / 16) times the same
 *     entries, 192 each        entry.c
 *   last: 4  CRC32C of all bytes before
 *
 * VALID: as the table says, the parts filling the root exactly, each count at most its limit; 0 <=
 * deleted to <= start <= end; epochs ascend, their starts do not descend, the last is the header's
 * epoch; cuts ascend, above deleted to, at most the start; the references' levels never ascend;
 * the sums are those of the items; and R1 to R3.
 *
 * INVARIANTS
 *   R1 Items (references, then entries) ascend without overlap, and without a hole above the log
 *      start (I1): a hole, left by a trim beyond the end, ends at or below the start.
 *   R2 The first item ends above deleted-to and begins at or below max(deleted-to, start). The
 *      last ends at the end offset, or below it when start == end. No items: start == end.
 *   R3 A root is at most INDEX_ROOT_SIZE_MAX bytes.
 *   R4 The checksum lies in the last 4 bytes in every version, so that a flipped bit in the version
 *      is told from a newer format.
 */
#include "index/root.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "index/items.h"

static const uint8_t root_magic[8] = {'V', 'A', 'R', 'V', 'R', 'O', 'O', 'T'};

#define ROOT_VERSION 1
#define ROOT_HEADER_SIZE 224
#define ROOT_CRC_SIZE 4
#define ROOT_FLAG_TOMBSTONE 1u
#define ROOT_EPOCH_SIZE 16
#define ROOT_CUT_SIZE 16
#define ROOT_ENTRIES_MAX 4096 /* that a reader accepts; a writer folds far earlier */
#define ROOT_REFS_MAX (INDEX_LEVELS_MAX * INDEX_PAGE_REFS)

static uint64_t align8(uint64_t v)
{
    return (v + 7) & ~(uint64_t)7;
}

/* Where each part begins. The sum cannot overflow: counts are 32 bits. */
struct layout {
    uint64_t name, config, epochs, cuts, ref_groups, refs, groups, entries, crc;
};

static struct layout layout_of(uint64_t header_size, uint64_t name_size, uint64_t config_size,
                               uint64_t epoch_count, uint64_t cut_count, uint64_t ref_count,
                               uint64_t entry_count)
{
    struct layout l;

    l.name = header_size;
    l.config = align8(l.name + name_size);
    l.epochs = align8(l.config + config_size);
    l.cuts = l.epochs + epoch_count * ROOT_EPOCH_SIZE;
    l.ref_groups = l.cuts + cut_count * ROOT_CUT_SIZE;
    l.refs = l.ref_groups + index_groups_count((size_t)ref_count) * INDEX_GROUP_SIZE;
    l.groups = l.refs + ref_count * INDEX_REF_SIZE;
    l.entries = l.groups + index_groups_count((size_t)entry_count) * INDEX_GROUP_SIZE;
    l.crc = l.entries + entry_count * INDEX_ENTRY_SIZE;
    return l;
}

static void header_encode(const struct index_root_parts *parts, const struct index_totals *totals,
                          uint64_t size, uint8_t *p)
{
    const struct index_root *r = parts->root;

    memcpy(p, root_magic, sizeof(root_magic));
    base_put_le16(p + 8, ROOT_VERSION);
    base_put_le16(p + 10, ROOT_HEADER_SIZE);
    base_put_le32(p + 20, r->tombstone ? ROOT_FLAG_TOMBSTONE : 0);
    base_put_le64(p + 24, size);
    memcpy(p + 32, r->log_id.bytes, BASE_ID_SIZE);
    memcpy(p + 48, r->owner.bytes, BASE_ID_SIZE);
    memcpy(p + 64, r->write_id.bytes, BASE_ID_SIZE);
    base_put_le64(p + 80, r->generation);
    base_put_le64(p + 88, (uint64_t)r->created);
    base_put_le64(p + 96, (uint64_t)r->start_offset);
    base_put_le64(p + 104, (uint64_t)r->end_offset);
    base_put_le64(p + 112, (uint64_t)r->deleted_to);
    memcpy(p + 120, r->chain_hash, BASE_SHA256_SIZE);
    base_put_le64(p + 152, totals->segment_count);
    base_put_le64(p + 160, totals->segment_bytes);
    base_put_le64(p + 168, totals->object_bytes);
    base_put_le64(p + 176, (uint64_t)totals->max_timestamp);
    base_put_le32(p + 184, r->epoch);
    base_put_le32(p + 188, (uint32_t)r->log_name_size);
    base_put_le32(p + 192, (uint32_t)r->config_size);
    base_put_le32(p + 196, (uint32_t)parts->epoch_count);
    base_put_le32(p + 200, (uint32_t)parts->cut_count);
    base_put_le32(p + 204, (uint32_t)parts->ref_count);
    base_put_le32(p + 208, (uint32_t)parts->entry_count);
}

int index_root_encode(const struct index_root_parts *parts, void **ret, size_t *ret_size,
                      struct varve_error *err)
{
    const struct index_root *r = parts->root;
    struct layout l =
        layout_of(ROOT_HEADER_SIZE, r->log_name_size, r->config_size, parts->epoch_count,
                  parts->cut_count, parts->ref_count, parts->entry_count);
    uint64_t size = l.crc + ROOT_CRC_SIZE;
    struct index_totals totals = {.max_timestamp = -1};

    if (size > INDEX_ROOT_SIZE_MAX) /* R3 */
        return base_fail(err, VARVE_E_TOO_LARGE, "root of %" PRIu64 " bytes: at most %d", size,
                         INDEX_ROOT_SIZE_MAX);
    for (size_t i = 0; i < parts->ref_count; i++)
        index_totals_add(&totals, parts->refs + i * INDEX_REF_SIZE, INDEX_REF_SIZE);
    for (size_t i = 0; i < parts->entry_count; i++)
        index_totals_add(&totals, parts->entries + i * INDEX_ENTRY_SIZE, INDEX_ENTRY_SIZE);

    uint8_t *p = calloc(1, size);
    if (p == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "root of %" PRIu64 " bytes: out of memory", size);
    header_encode(parts, &totals, size, p);
    memcpy(p + l.name, r->log_name, r->log_name_size);
    if (r->config_size > 0)
        memcpy(p + l.config, r->config, r->config_size);
    for (size_t i = 0; i < parts->epoch_count; i++) {
        base_put_le32(p + l.epochs + i * ROOT_EPOCH_SIZE, parts->epochs[i].epoch);
        base_put_le64(p + l.epochs + i * ROOT_EPOCH_SIZE + 8,
                      (uint64_t)parts->epochs[i].start_offset);
    }
    for (size_t i = 0; i < parts->cut_count; i++) {
        base_put_le64(p + l.cuts + i * ROOT_CUT_SIZE, (uint64_t)parts->cuts[i].offset);
        base_put_le64(p + l.cuts + i * ROOT_CUT_SIZE + 8, (uint64_t)parts->cuts[i].time);
    }
    if (parts->ref_count > 0)
        memcpy(p + l.refs, parts->refs, parts->ref_count * INDEX_REF_SIZE);
    if (parts->entry_count > 0)
        memcpy(p + l.entries, parts->entries, parts->entry_count * INDEX_ENTRY_SIZE);
    index_groups_encode(parts->refs, parts->ref_count, INDEX_REF_SIZE, p + l.ref_groups);
    index_groups_encode(parts->entries, parts->entry_count, INDEX_ENTRY_SIZE, p + l.groups);
    base_put_le32(p + l.crc, base_crc32c(0, p, l.crc));
    *ret = p;
    *ret_size = size;
    return 0;
}

static int magic_check(const uint8_t *d, size_t size, struct varve_error *err)
{
    if (size < ROOT_HEADER_SIZE + ROOT_CRC_SIZE || memcmp(d, root_magic, sizeof(root_magic)) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "not a manifest root");
    return 0;
}

static int header_check(const uint8_t *d, size_t size, struct varve_error *err)
{
    if (base_get_le16(d + 8) != ROOT_VERSION)
        return base_fail(err, VARVE_E_VERSION, "root: version %u, this library knows %d",
                         base_get_le16(d + 8), ROOT_VERSION);
    if (base_get_le32(d + 16) != 0)
        return base_fail(err, VARVE_E_VERSION, "root: unknown features 0x%" PRIx32,
                         base_get_le32(d + 16));
    if (size > INDEX_ROOT_SIZE_MAX || base_get_le64(d + 24) != size) /* R3 */
        return base_fail(err, VARVE_E_CORRUPT, "root: %zu bytes, its header says %" PRIu64, size,
                         base_get_le64(d + 24));
    return 0;
}

static void header_fields(const uint8_t *d, struct index_root *r)
{
    memcpy(r->log_id.bytes, d + 32, BASE_ID_SIZE);
    memcpy(r->owner.bytes, d + 48, BASE_ID_SIZE);
    memcpy(r->write_id.bytes, d + 64, BASE_ID_SIZE);
    r->tombstone = (base_get_le32(d + 20) & ROOT_FLAG_TOMBSTONE) != 0;
    r->generation = base_get_le64(d + 80);
    r->created = (int64_t)base_get_le64(d + 88);
    r->start_offset = (int64_t)base_get_le64(d + 96);
    r->end_offset = (int64_t)base_get_le64(d + 104);
    r->deleted_to = (int64_t)base_get_le64(d + 112);
    memcpy(r->chain_hash, d + 120, BASE_SHA256_SIZE);
    r->segment_count = base_get_le64(d + 152);
    r->segment_bytes = base_get_le64(d + 160);
    r->object_bytes = base_get_le64(d + 168);
    r->max_timestamp = (int64_t)base_get_le64(d + 176);
    r->epoch = base_get_le32(d + 184);
    r->log_name_size = base_get_le32(d + 188);
    r->config_size = base_get_le32(d + 192);
    r->epoch_count = base_get_le32(d + 196);
    r->cut_count = base_get_le32(d + 200);
    r->ref_count = base_get_le32(d + 204);
    r->entry_count = base_get_le32(d + 208);
}

int index_root_view(const void *data, size_t size, struct index_root *ret, struct varve_error *err)
{
    const uint8_t *d = data;
    struct index_root r = {.data = data, .size = size};

    int rc = magic_check(d, size, err);
    if (rc == 0)
        rc = header_check(d, size, err);
    if (rc < 0)
        return rc;
    header_fields(d, &r);
    if (r.log_name_size == 0 || r.log_name_size > INDEX_LOG_NAME_MAX ||
        r.config_size > INDEX_ROOT_CONFIG_MAX || r.epoch_count == 0 ||
        r.epoch_count > INDEX_ROOT_EPOCHS_MAX || r.cut_count > INDEX_ROOT_CUTS_MAX ||
        r.ref_count > ROOT_REFS_MAX || r.entry_count > ROOT_ENTRIES_MAX)
        return base_fail(err, VARVE_E_CORRUPT, "root: a part is above its limit");
    if (r.deleted_to < 0 || r.deleted_to > r.start_offset || r.start_offset > r.end_offset)
        return base_fail(err, VARVE_E_CORRUPT,
                         "root: impossible offsets: deleted to %" PRId64 ", start %" PRId64
                         ", end %" PRId64,
                         r.deleted_to, r.start_offset, r.end_offset);

    size_t header_size = base_get_le16(d + 10);
    struct layout l = layout_of(header_size, r.log_name_size, r.config_size, r.epoch_count,
                                r.cut_count, r.ref_count, r.entry_count);
    if (header_size < ROOT_HEADER_SIZE || header_size % 8 != 0 || l.crc + ROOT_CRC_SIZE != size)
        return base_fail(err, VARVE_E_CORRUPT, "root: its parts do not fill its %zu bytes", size);
    r.log_name = (const char *)d + l.name;
    r.config = (const char *)d + l.config;
    r.epochs = d + l.epochs;
    r.cuts = d + l.cuts;
    r.ref_groups = d + l.ref_groups;
    r.refs = d + l.refs;
    r.groups = d + l.groups;
    r.entries = d + l.entries;
    *ret = r;
    return 0;
}

static int epochs_check(const struct index_root *r, struct varve_error *err)
{
    struct index_epoch last = {0};

    for (size_t i = 0; i < r->epoch_count; i++) {
        struct index_epoch e;
        index_root_epoch(r, i, &e);
        if (e.start_offset < 0 || e.start_offset > r->end_offset ||
            (i > 0 && (e.epoch <= last.epoch || e.start_offset < last.start_offset)))
            return base_fail(err, VARVE_E_CORRUPT, "root: epoch %zu is impossible", i);
        last = e;
    }
    if (last.epoch != r->epoch)
        return base_fail(err, VARVE_E_CORRUPT, "root: epoch %" PRIu32 ", its history says %" PRIu32,
                         r->epoch, last.epoch);
    return 0;
}

static int cuts_check(const struct index_root *r, struct varve_error *err)
{
    int64_t last = r->deleted_to;

    for (size_t i = 0; i < r->cut_count; i++) {
        struct index_cut c;
        index_root_cut(r, i, &c);
        if (c.offset <= last || c.offset > r->start_offset)
            return base_fail(err, VARVE_E_CORRUPT, "root: cut %zu is impossible", i);
        last = c.offset;
    }
    return 0;
}

/* R1, R2 and the sums. */
static int items_check(const struct index_root *r, struct varve_error *err)
{
    struct index_items refs = index_items_root_refs(r), entries = index_items_root_entries(r);
    struct index_totals totals = {.max_timestamp = -1};
    const uint8_t *first = refs.count > 0 ? refs.data : entries.count > 0 ? entries.data : NULL;

    if (first == NULL) {
        if (r->start_offset != r->end_offset)
            return base_fail(err, VARVE_E_CORRUPT,
                             "root: nothing covers [%" PRId64 ", %" PRId64 ")", r->start_offset,
                             r->end_offset);
    } else {
        int64_t end = index_item_base(first);
        if (end > r->start_offset || index_item_end(first) <= r->deleted_to)
            return base_fail(err, VARVE_E_CORRUPT,
                             "root: begins at offset %" PRId64 " with start %" PRId64
                             " and deleted to %" PRId64,
                             end, r->start_offset, r->deleted_to);
        int rc =
            index_items_check(&refs, INDEX_LEVELS_MAX, false, r->start_offset, &end, &totals, err);
        if (rc == 0)
            rc = index_items_check(&entries, 0, false, r->start_offset, &end, &totals, err);
        if (rc < 0)
            return base_error_context(err, rc, "root");
        if (end > r->end_offset || (end < r->end_offset && r->start_offset != r->end_offset))
            return base_fail(err, VARVE_E_CORRUPT,
                             "root: items end at %" PRId64 ", the log at %" PRId64, end,
                             r->end_offset);
    }
    if (totals.segment_count != r->segment_count || totals.segment_bytes != r->segment_bytes ||
        totals.object_bytes != r->object_bytes || totals.max_timestamp != r->max_timestamp)
        return base_fail(err, VARVE_E_CORRUPT, "root: sums differ from those of its items");
    return 0;
}

int index_root_decode(const void *data, size_t size, struct index_root *ret,
                      struct varve_error *err)
{
    struct index_root r;
    struct varve_error what;

    int rc = magic_check(data, size, err);
    if (rc < 0)
        return rc;
    /* Before the version: a flipped bit there is damage, not a newer format. */
    if (base_get_le32((const uint8_t *)data + size - ROOT_CRC_SIZE) !=
        base_crc32c(0, data, size - ROOT_CRC_SIZE))
        return base_fail(err, VARVE_E_CORRUPT, "root: checksum does not match");
    rc = index_root_view(data, size, &r, err);
    if (rc < 0)
        return rc;
    if (index_log_name_check(r.log_name, r.log_name_size, &what) < 0)
        return base_fail(err, VARVE_E_CORRUPT, "root: %s", what.msg);
    rc = epochs_check(&r, err);
    if (rc == 0)
        rc = cuts_check(&r, err);
    if (rc == 0)
        rc = items_check(&r, err);
    if (rc < 0)
        return rc;
    *ret = r;
    return 0;
}

void index_root_epoch(const struct index_root *r, size_t i, struct index_epoch *ret)
{
    assert(i < r->epoch_count);
    const uint8_t *p = r->epochs + i * ROOT_EPOCH_SIZE;
    *ret = (struct index_epoch){base_get_le32(p), (int64_t)base_get_le64(p + 8)};
}

int64_t index_root_epoch_at(const struct index_root *r, int64_t offset, int64_t *ret_end)
{
    int64_t epoch = -1, end = INT64_MAX;

    for (size_t i = 0; i < r->epoch_count; i++) {
        struct index_epoch e;
        index_root_epoch(r, i, &e);
        if (e.start_offset <= offset)
            epoch = e.epoch;
        else if (e.start_offset < end)
            end = e.start_offset;
    }
    if (ret_end)
        *ret_end = end;
    return r->epoch_count < INDEX_ROOT_EPOCHS_MAX ? epoch : -1; /* the oldest are merged */
}

void index_root_cut(const struct index_root *r, size_t i, struct index_cut *ret)
{
    assert(i < r->cut_count);
    const uint8_t *p = r->cuts + i * ROOT_CUT_SIZE;
    *ret = (struct index_cut){(int64_t)base_get_le64(p), (int64_t)base_get_le64(p + 8)};
}

void index_root_ref(const struct index_root *r, size_t i, struct index_ref *ret)
{
    assert(i < r->ref_count);
    index_ref_decode(r->refs + i * INDEX_REF_SIZE, ret);
}

void index_root_entry(const struct index_root *r, size_t i, struct index_entry *ret)
{
    assert(i < r->entry_count);
    index_entry_decode(r->entries + i * INDEX_ENTRY_SIZE, ret);
}
