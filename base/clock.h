/* The clock seam. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct base_clock {
    void *ctx;
    int64_t (*wall_ms)(void *ctx); /* ms since 1970 UTC; may jump */
    int64_t (*mono_ns)(void *ctx); /* monotonic ns */
    int64_t (*boot_ns)(void *ctx); /* likewise, and goes on while the machine is suspended: for what
                                      runs out elsewhere meanwhile */
    void (*sleep_ns)(void *ctx, int64_t ns); /* for pacing; waits for events use base_cond */
};

extern const struct base_clock base_clock_system;

/* `ms` (none negative) after `time_ms`, at most INT64_MAX: people set durations, and the largest
 * stands for "for ever". */
int64_t base_clock_after(int64_t time_ms, int64_t ms);

#endif
