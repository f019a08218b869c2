/* hot_checkpoint_decode, with the bytes as they come and again with a right checksum. What decodes
 * must encode to the same bytes, features that may be ignored and unknown flags apart. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hot/internal.h"
#include "tests/fuzz/sums.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const void *data, size_t size)
{
    struct hot_checkpoint c, again;
    struct varve_error err = {0};
    uint8_t buf[HOT_CHECKPOINT_SIZE];
    int rc = hot_checkpoint_decode(data, size, &c, &err);
    if (rc < 0) {
        if (err.code != rc || err.msg[0] == '\0')
            abort();
        return;
    }
    hot_checkpoint_encode(&c, buf);
    if (hot_checkpoint_decode(buf, sizeof(buf), &again, NULL) < 0 ||
        again.point.base_offset != c.point.base_offset || again.point.size != c.point.size ||
        again.point.end_offset != c.point.end_offset || again.clean != c.clean ||
        again.first_append_ms != c.first_append_ms)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t buf[HOT_CHECKPOINT_SIZE];
    decode(data, size);
    if (size < sizeof(buf))
        return 0;
    memcpy(buf, data, sizeof(buf));
    fuzz_sum_checkpoint(buf);
    decode(buf, sizeof(buf));
    return 0;
}
