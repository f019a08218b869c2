/* The system's clocks. */
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)

/* These clocks always exist on the systems varve builds for; a failure is our own bug. */
static struct timespec now(clockid_t id)
{
    struct timespec ts;

    if (clock_gettime(id, &ts) != 0)
        abort();
    return ts;
}

static int64_t system_wall_ms(void *ctx)
{
    struct timespec ts = now(CLOCK_REALTIME);

    (void)ctx;
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t system_mono_ns(void *ctx)
{
    struct timespec ts = now(CLOCK_MONOTONIC);

    (void)ctx;
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int64_t system_boot_ns(void *ctx)
{
    struct timespec ts = now(CLOCK_BOOTTIME);

    (void)ctx;
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static void system_sleep_ns(void *ctx, int64_t ns)
{
    struct timespec left = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};

    (void)ctx;
    if (ns <= 0)
        return;
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        continue;
}

int64_t base_clock_after(int64_t time_ms, int64_t ms)
{
    return time_ms > INT64_MAX - ms ? INT64_MAX : time_ms + ms;
}

const struct base_clock base_clock_system = {
    .wall_ms = system_wall_ms,
    .mono_ns = system_mono_ns,
    .boot_ns = system_boot_ns,
    .sleep_ns = system_sleep_ns,
};
