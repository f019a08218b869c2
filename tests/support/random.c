/* SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). */
#include "tests/support/random.h"

#include <string.h>

uint64_t support_random_u64(struct support_random *r)
{
    uint64_t z = atomic_fetch_add(&r->state, UINT64_C(0x9e3779b97f4a7c15));

    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void random_fill(void *ctx, void *buf, size_t size)
{
    uint8_t *pos = buf;

    while (size > 0) {
        uint64_t v = support_random_u64(ctx);
        size_t part = size < sizeof(v) ? size : sizeof(v);

        memcpy(pos, &v, part);
        pos += part;
        size -= part;
    }
}

void support_random_init(struct support_random *r, uint64_t seed)
{
    r->seam = (struct base_random){.ctx = r, .fill = random_fill};
    atomic_init(&r->state, seed);
}

uint64_t support_random_below(struct support_random *r, uint64_t limit)
{
    return support_random_u64(r) % limit;
}
