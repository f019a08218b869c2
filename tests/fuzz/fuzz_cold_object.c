/* An object's tail: the index frame, the seek table, and finding the one through the other. The
 * checksums are made right first, so that changed bytes reach the code behind them. */
#include <stdlib.h>

#include "base/hash.h"
#include "cold/object.h"

#define POS_TABLE_SIZE 32
#define POS_INDEX_SIZE 36
#define POS_SEEK_TABLE_CRC32C 244
#define HEADER_SIZE 256
#define SECTION_HEADER_SIZE 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sections_mend(uint8_t *p, size_t size)
{
    while (size >= SECTION_HEADER_SIZE) {
        size_t content = base_get_le32(p + 8);

        if (content > size - SECTION_HEADER_SIZE)
            return;
        base_put_le32(p + 12, base_crc32c(base_crc32c(0, p, 12), p + SECTION_HEADER_SIZE, content));
        p += SECTION_HEADER_SIZE + content;
        size -= SECTION_HEADER_SIZE + content;
    }
}

static void mend(uint8_t *p, size_t size)
{
    size_t table_size, index_size;

    if (size < HEADER_SIZE)
        return;
    table_size = base_get_le32(p + POS_TABLE_SIZE);
    index_size = base_get_le32(p + POS_INDEX_SIZE);
    if (index_size <= size)
        base_put_le32(p + POS_SEEK_TABLE_CRC32C, base_crc32c(0, p + index_size, size - index_size));
    if (table_size > size || table_size < HEADER_SIZE + 4)
        return;
    base_put_le32(p + table_size - 4, base_crc32c(0, p, table_size - 4));
    if (index_size <= size && index_size >= table_size)
        sections_mend(p + table_size, index_size - table_size);
}

static void use(const struct cold_index_view *v)
{
    struct cold_producer p;
    int64_t id, first, last;

    for (size_t i = 0; i < v->producer_count; i++)
        cold_index_producer(v, i, &p);
    for (size_t i = 0; i < v->aborted_count; i++)
        cold_index_aborted(v, i, &id, &first, &last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(1, size > 0 ? size : 1);
    struct cold_index_view v;
    uint64_t pos;
    uint32_t index_size;

    if (!copy)
        abort();
    if (size > 0)
        memcpy(copy, data, size);
    if (cold_object_find_index(copy, size, size, &pos, &index_size, NULL) == 0 &&
        (pos >= size || index_size > size - pos))
        __builtin_trap();
    mend(copy, size);
    if (cold_index_decode(copy, size, &v, NULL) == 0)
        use(&v);
    if (cold_tail_decode(copy, size, &v, NULL) == 0)
        use(&v);
    free(copy);
    return 0;
}
