/* Random bytes that are the same for the same seed. Threads: any (then the order is theirs). */
#ifndef SUPPORT_RANDOM_H
#define SUPPORT_RANDOM_H

#include <stdatomic.h>

#include "base/random.h"

struct support_random {
    struct base_random seam; /* give &random.seam to the engine */
    atomic_uint_fast64_t state;
};

/* Do not copy it later. */
void support_random_init(struct support_random *r, uint64_t seed);
uint64_t support_random_u64(struct support_random *r);
/* From 0 up to, but not including, `limit`, which is above 0. */
uint64_t support_random_below(struct support_random *r, uint64_t limit);

#endif
