/*
 * Pages of a manifest: immutable, named by a reference.
 *
 * FORMAT (little-endian)
 *
 *   pos size
 *     0    8  magic "VARVPAGE"
 *     8    2  version, 1
 *    10    2  header size, 80 (a multiple of 8)
 *    12    4  may-ignore features
 *    16    4  must-understand features
 *    20    4  level: 0 entries, n references of level n-1
 *    24    4  count of items, not 0
 *    28    4  page size, checksum included
 *    32   16  log id
 *    48    8  base offset: the first item's
 *    56    8  end offset: the last item's
 *    64   16  zero
 *     H       group table: ceil(count / 16) times base offset (8), maximum timestamp (8)
 *             items: count times 192 (level 0) or 96 bytes (entry.c)
 *   S-4    4  CRC32C of bytes 0..S-5
 *
 * VALID: as the table says; the group table is that of the items; items ascend and do not overlap;
 * references in it are of level n-1; offsets, count, size, checksum and sums equal those of the
 * reference that names it, the log id that of the root.
 *
 * INVARIANTS
 *   P1 A page never changes; a change makes a new page with a new attempt id.
 *   P2 Between items there may be holes where a trim went beyond the end of what was uploaded; no
 *      hole ends above the log start of the root (I1). A look-up above the start that meets one
 *      is VARVE_E_CORRUPT.
 *   P3 The checksum lies in the last 4 bytes in every version.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "index/items.h"

static const uint8_t page_magic[8] = {'V', 'A', 'R', 'V', 'P', 'A', 'G', 'E'};

#define PAGE_VERSION 1
#define PAGE_HEADER_SIZE 80
#define PAGE_CRC_SIZE 4

void index_page_name(const struct index_ref *ref, char ret[INDEX_PAGE_NAME_SIZE])
{
    char attempt[BASE_ID_TEXT_SIZE];

    base_id_format(&ref->attempt, attempt);
    snprintf(ret, INDEX_PAGE_NAME_SIZE,
             "page-%" PRIu32 "-%020" PRId64 "-%020" PRId64 "-%" PRIu32 "-%s", ref->level,
             ref->base_offset, ref->end_offset, ref->epoch, attempt);
}

int index_page_encode(const struct base_id *log_id, uint32_t level, const uint8_t *items,
                      size_t count, struct index_ref *ref, void **ret, size_t *ret_size,
                      struct varve_error *err)
{
    size_t item_size = level == 0 ? INDEX_ENTRY_SIZE : INDEX_REF_SIZE;
    size_t groups_size = index_groups_count(count) * INDEX_GROUP_SIZE;
    size_t size = PAGE_HEADER_SIZE + groups_size + count * item_size + PAGE_CRC_SIZE;
    struct index_totals totals = {.max_timestamp = INT64_MIN};

    assert(count > 0 && size <= INDEX_PAGE_SIZE_MAX);
    uint8_t *p = calloc(1, size);
    if (p == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "page of %zu bytes: out of memory", size);
    for (size_t i = 0; i < count; i++)
        index_totals_add(&totals, items + i * item_size, item_size);

    ref->level = level;
    ref->base_offset = index_item_base(items);
    ref->end_offset = index_item_end(items + (count - 1) * item_size);
    ref->max_timestamp = totals.max_timestamp;
    ref->segment_bytes = totals.segment_bytes;
    ref->object_bytes = totals.object_bytes;
    ref->segment_count = totals.segment_count;
    ref->count = (uint32_t)count;
    ref->page_size = (uint32_t)size;

    memcpy(p, page_magic, sizeof(page_magic));
    base_put_le16(p + 8, PAGE_VERSION);
    base_put_le16(p + 10, PAGE_HEADER_SIZE);
    base_put_le32(p + 20, level);
    base_put_le32(p + 24, (uint32_t)count);
    base_put_le32(p + 28, (uint32_t)size);
    memcpy(p + 32, log_id->bytes, BASE_ID_SIZE);
    base_put_le64(p + 48, (uint64_t)ref->base_offset);
    base_put_le64(p + 56, (uint64_t)ref->end_offset);
    index_groups_encode(items, count, item_size, p + PAGE_HEADER_SIZE);
    memcpy(p + PAGE_HEADER_SIZE + groups_size, items, count * item_size);
    ref->page_crc32c = base_crc32c(0, p, size - PAGE_CRC_SIZE);
    base_put_le32(p + size - PAGE_CRC_SIZE, ref->page_crc32c);
    *ret = p;
    *ret_size = size;
    return 0;
}

/* Magic, version, features, checksum, and that the arrays fill the page exactly. */
static int header_decode(const uint8_t *d, size_t size, struct index_page *ret,
                         struct varve_error *err)
{
    if (size < PAGE_HEADER_SIZE + PAGE_CRC_SIZE || memcmp(d, page_magic, sizeof(page_magic)) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "not a manifest page");
    if (base_get_le32(d + size - PAGE_CRC_SIZE) != base_crc32c(0, d, size - PAGE_CRC_SIZE))
        return base_fail(err, VARVE_E_CORRUPT, "checksum does not match");
    if (base_get_le16(d + 8) != PAGE_VERSION)
        return base_fail(err, VARVE_E_VERSION, "version %u, this library knows %d",
                         base_get_le16(d + 8), PAGE_VERSION);
    if (base_get_le32(d + 16) != 0)
        return base_fail(err, VARVE_E_VERSION, "unknown features 0x%" PRIx32,
                         base_get_le32(d + 16));

    size_t header_size = base_get_le16(d + 10);
    struct index_page page = {
        .level = base_get_le32(d + 20),
        .count = base_get_le32(d + 24),
        .base_offset = (int64_t)base_get_le64(d + 48),
        .end_offset = (int64_t)base_get_le64(d + 56),
    };
    uint64_t item_size = page.level == 0 ? INDEX_ENTRY_SIZE : INDEX_REF_SIZE;
    uint64_t groups_size = (uint64_t)index_groups_count(page.count) * INDEX_GROUP_SIZE;
    if (header_size < PAGE_HEADER_SIZE || header_size % 8 != 0 || page.count == 0 ||
        page.level >= INDEX_LEVELS_MAX || base_get_le32(d + 28) != size ||
        header_size + groups_size + page.count * item_size + PAGE_CRC_SIZE != size)
        return base_fail(err, VARVE_E_CORRUPT,
                         "impossible layout: level %" PRIu32 ", %zu items, %zu bytes", page.level,
                         page.count, size);
    memcpy(page.log_id.bytes, d + 32, BASE_ID_SIZE);
    page.groups = d + header_size;
    page.items = page.groups + groups_size;
    *ret = page;
    return 0;
}

static int page_check_ref(const struct index_page *page, size_t size, const struct index_ref *ref,
                          uint32_t crc, struct varve_error *err)
{
    struct index_items items = index_items_of_page(page);
    struct index_totals totals = {.max_timestamp = INT64_MIN};
    int64_t end = page->base_offset;

    if (page->level != ref->level || page->count != ref->count || size != ref->page_size ||
        crc != ref->page_crc32c || page->base_offset != ref->base_offset ||
        page->end_offset != ref->end_offset)
        return base_fail(err, VARVE_E_CORRUPT, "not the page that its reference names");
    /* P2: where holes may lie the page itself does not know. */
    int rc = index_items_check(&items, page->level, true, INT64_MAX, &end, &totals, err);
    if (rc < 0)
        return rc;
    if (index_item_base(items.data) != page->base_offset || end != page->end_offset)
        return base_fail(err, VARVE_E_CORRUPT, "items do not fill the page's offsets");
    if (totals.segment_count != ref->segment_count || totals.segment_bytes != ref->segment_bytes ||
        totals.object_bytes != ref->object_bytes || totals.max_timestamp != ref->max_timestamp)
        return base_fail(err, VARVE_E_CORRUPT, "sums differ from those of its reference");
    return 0;
}

int index_page_decode(const void *data, size_t size, const struct index_ref *ref,
                      const struct base_id *log_id, struct index_page *ret, struct varve_error *err)
{
    const uint8_t *d = data;
    struct index_page page;

    int rc = header_decode(d, size, &page, err);
    if (rc == 0 && !base_id_equal(&page.log_id, log_id))
        rc = base_fail(err, VARVE_E_CORRUPT, "page of another log");
    if (rc == 0)
        rc = page_check_ref(&page, size, ref, base_get_le32(d + size - PAGE_CRC_SIZE), err);
    if (rc < 0) {
        char name[INDEX_PAGE_NAME_SIZE];
        index_page_name(ref, name);
        return base_error_context(err, rc, "%s", name);
    }
    *ret = page;
    return 0;
}
