/*
 * Pacing of uploads.
 *
 * Instead of a bucket that is filled and emptied there is one moment: when the bytes taken so far
 * will have been paid for. Who takes bytes moves it on by their price and sleeps until it was their
 * turn. An idle limiter saves up BURST_NS at most. Nobody sleeps with the lock held, and takers get
 * their turns in the order in which they came. Who will send a buffer takes it as a whole: if many
 * took theirs step by step between each other, all would have their turn at the same moment.
 */
#include <stdlib.h>

#include "base/error.h"
#include "tiering/state.h"

#define NS_PER_S INT64_C(1000000000)
#define BURST_NS (NS_PER_S / 10)

struct tiering_rate {
    const struct base_env *env;
    uint64_t bytes_per_second; /* constant */
    struct base_mutex lock;    /* protects the rest */
    int64_t paid_ns;           /* monotonic */
    uint64_t rest;             /* of the last division: what rounding would lose */
};

int tiering_rate_new(const struct base_env *env, uint64_t bytes_per_second,
                     struct tiering_rate **ret, struct varve_error *err)
{
    struct tiering_rate *rate = calloc(1, sizeof(*rate));

    if (!rate)
        return base_fail(err, VARVE_E_NO_MEMORY, "upload rate limit: out of memory");
    rate->env = env;
    rate->bytes_per_second = bytes_per_second;
    base_mutex_init(&rate->lock);
    rate->paid_ns = env->clock->mono_ns(env->clock->ctx);
    *ret = rate;
    return 0;
}

struct tiering_rate *tiering_rate_free(struct tiering_rate *rate)
{
    if (rate)
        base_mutex_deinit(&rate->lock);
    free(rate);
    return NULL;
}

static uint64_t step_of(uint64_t bytes)
{
    return bytes < TIERING_RATE_STEP_BYTES ? bytes : TIERING_RATE_STEP_BYTES;
}

/* `bytes` is at most TIERING_RATE_STEP_BYTES, so that the product fits. */
static void pay_locked(struct tiering_rate *rate, uint64_t bytes)
{
    uint64_t price = bytes * (uint64_t)NS_PER_S + rate->rest;

    rate->paid_ns += (int64_t)(price / rate->bytes_per_second);
    rate->rest = price % rate->bytes_per_second;
}

int64_t tiering_rate_reserve(struct tiering_rate *rate, uint64_t bytes)
{
    const struct base_clock *clock;
    int64_t now, turn;

    if (!rate || rate->bytes_per_second == 0)
        return INT64_MIN;
    clock = rate->env->clock;
    now = clock->mono_ns(clock->ctx);
    base_mutex_lock(&rate->lock);
    if (rate->paid_ns < now - BURST_NS) {
        rate->paid_ns = now - BURST_NS;
        rate->rest = 0;
    }
    for (uint64_t step; bytes > 0; bytes -= step) {
        step = step_of(bytes);
        pay_locked(rate, step);
    }
    turn = rate->paid_ns;
    base_mutex_unlock(&rate->lock);
    return turn;
}

void tiering_rate_take(struct tiering_rate *rate, uint64_t bytes)
{
    if (!rate || rate->bytes_per_second == 0)
        return;
    for (uint64_t step; bytes > 0; bytes -= step) {
        const struct base_clock *clock = rate->env->clock;
        int64_t wait;

        step = step_of(bytes);
        wait = tiering_rate_reserve(rate, step) - clock->mono_ns(clock->ctx);
        if (wait > 0)
            clock->sleep_ns(clock->ctx, wait);
    }
}
