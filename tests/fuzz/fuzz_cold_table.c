/* Block tables: decoding, and the look-ups in what decodes. */
#include "cold/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cold_table_view t;
    struct cold_block_info b;
    size_t i;

    if (cold_table_decode(data, size, &t, NULL) < 0)
        return 0;
    for (i = 0; i < t.block_count; i++) {
        cold_table_block(&t, i, &b);
        if (cold_table_find_offset(&t, b.first_offset) != i)
            __builtin_trap();
    }
    (void)cold_table_find_time(&t, 0, t.info.max_timestamp, t.info.base_offset, &i);
    return 0;
}
