/*
 * Any bytes as a page, with a checksum and a reference made to fit, so that the checks of the items
 * are reached: what decodes can be searched within its bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "index/items.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The reference a writer of these bytes would have made; sums only where the items lie inside. */
static struct index_ref ref_of(const uint8_t *d, size_t size)
{
    struct index_totals totals = {.max_timestamp = INT64_MIN};
    struct index_ref r = {
        .level = base_get_le32(d + 20),
        .count = base_get_le32(d + 24),
        .page_size = (uint32_t)size,
        .page_crc32c = base_get_le32(d + size - 4),
        .base_offset = (int64_t)base_get_le64(d + 48),
        .end_offset = (int64_t)base_get_le64(d + 56),
    };
    size_t item_size = r.level == 0 ? INDEX_ENTRY_SIZE : INDEX_REF_SIZE;
    size_t pos = base_get_le16(d + 10) + index_groups_count(r.count) * INDEX_GROUP_SIZE;

    for (size_t i = 0; i < r.count && pos + item_size <= size; i++, pos += item_size)
        index_totals_add(&totals, d + pos, item_size);
    r.segment_count = totals.segment_count;
    r.segment_bytes = totals.segment_bytes;
    r.object_bytes = totals.object_bytes;
    r.max_timestamp = totals.max_timestamp;
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct index_page page;
    struct base_id log_id;

    if (size < 84)
        return 0;
    uint8_t *copy = malloc(size);
    require(copy != NULL);
    memcpy(copy, data, size);
    base_put_le32(copy + size - 4, base_crc32c(0, copy, size - 4));
    memcpy(log_id.bytes, copy + 32, BASE_ID_SIZE);
    struct index_ref ref = ref_of(copy, size);
    if (index_page_decode(copy, size, &ref, &log_id, &page, NULL) == 0) {
        struct index_items items = index_items_of_page(&page);
        int64_t offset = page.base_offset;
        for (size_t i = 0; i < items.count; i++) {
            const uint8_t *item = index_items_at(&items, i);
            require(index_items_after(&items, index_item_base(item)) == i);
            require(index_item_base(item) >= offset);
            offset = index_item_end(item);
            size_t t = index_items_find_time(&items, index_item_max_timestamp(item), -1);
            require(t <= i);
        }
        require(offset == page.end_offset && offset == ref.end_offset);
    }
    free(copy);
    return 0;
}
