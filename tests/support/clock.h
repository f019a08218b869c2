/* A clock that stands still until the test moves it. Threads: any. */
#ifndef SUPPORT_CLOCK_H
#define SUPPORT_CLOCK_H

#include <stdatomic.h>

#include "base/clock.h"

struct support_clock {
    struct base_clock seam; /* give &clock.seam to the engine */
    atomic_int_fast64_t wall_ms;
    atomic_int_fast64_t mono_ns;
    atomic_int_fast64_t suspended_ns;
};

/* The monotonic clock begins at one second, so that 0 can mean "never". Do not copy it later. */
void support_clock_init(struct support_clock *c, int64_t wall_ms);
/* Both clocks go on. Sleeping on the seam does the same and returns at once. */
void support_clock_advance_ms(struct support_clock *c, int64_t ms);
/* The machine was suspended: the monotonic clock has not seen it. */
void support_clock_suspend_ms(struct support_clock *c, int64_t ms);
/* The wall clock alone jumps. */
void support_clock_set_wall_ms(struct support_clock *c, int64_t wall_ms);

#endif
