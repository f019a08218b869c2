#include "tests/support/clock.h"

#define NS_PER_MS 1000000

static int64_t clock_wall_ms(void *ctx)
{
    return atomic_load(&((struct support_clock *)ctx)->wall_ms);
}

static int64_t clock_mono_ns(void *ctx)
{
    return atomic_load(&((struct support_clock *)ctx)->mono_ns);
}

static int64_t clock_boot_ns(void *ctx)
{
    struct support_clock *c = ctx;

    return atomic_load(&c->mono_ns) + atomic_load(&c->suspended_ns);
}

/* The wall clock takes the millisecond borders that the monotonic one crosses. */
static void clock_sleep_ns(void *ctx, int64_t ns)
{
    struct support_clock *c = ctx;
    int64_t before;

    if (ns <= 0)
        return;
    before = atomic_fetch_add(&c->mono_ns, ns);
    atomic_fetch_add(&c->wall_ms, (before + ns) / NS_PER_MS - before / NS_PER_MS);
}

void support_clock_init(struct support_clock *c, int64_t wall_ms)
{
    c->seam = (struct base_clock){
        .ctx = c,
        .wall_ms = clock_wall_ms,
        .mono_ns = clock_mono_ns,
        .boot_ns = clock_boot_ns,
        .sleep_ns = clock_sleep_ns,
    };
    atomic_init(&c->wall_ms, wall_ms);
    atomic_init(&c->mono_ns, 1000 * NS_PER_MS);
    atomic_init(&c->suspended_ns, 0);
}

void support_clock_advance_ms(struct support_clock *c, int64_t ms)
{
    clock_sleep_ns(c, ms * NS_PER_MS);
}

void support_clock_suspend_ms(struct support_clock *c, int64_t ms)
{
    atomic_fetch_add(&c->suspended_ns, ms * NS_PER_MS);
    atomic_fetch_add(&c->wall_ms, ms);
}

void support_clock_set_wall_ms(struct support_clock *c, int64_t wall_ms)
{
    atomic_store(&c->wall_ms, wall_ms);
}
