/* hot_publish_decode, with the bytes as they come and again with right checksums. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hot/internal.h"
#include "tests/fuzz/sums.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const void *data, size_t size)
{
    struct hot_publication p;
    struct varve_error err = {0};
    int rc = hot_publish_decode(data, size, &p, &err);
    if (rc < 0) {
        if (err.code != rc || err.msg[0] == '\0')
            abort();
        return;
    }
    if (p.floor < 0 || p.visible.base_offset < p.floor ||
        p.visible.end_offset < p.visible.base_offset || p.synced.end_offset < p.synced.base_offset)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t page[HOT_PUBLISHED_SIZE];
    decode(data, size);
    memset(page, 0, sizeof(page)); /* a corpus of the part that matters is enough */
    memcpy(page, data, size < sizeof(page) ? size : sizeof(page));
    decode(page, sizeof(page));
    fuzz_sum_published(page);
    decode(page, sizeof(page));
    return 0;
}
