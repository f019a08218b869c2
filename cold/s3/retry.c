/* When to try again, how many requests at once, and when to ask twice. */
#include "cold/s3/retry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HEDGE_RECKON_EVERY 128 /* samples between two reckonings of the percentile */

int64_t s3_retry_delay_ms(int64_t last_ms, uint64_t random)
{
    int64_t top = 3 * (last_ms < S3_RETRY_DELAY_MIN_MS ? S3_RETRY_DELAY_MIN_MS : last_ms);
    int64_t span = top - S3_RETRY_DELAY_MIN_MS + 1;
    int64_t delay = S3_RETRY_DELAY_MIN_MS + (int64_t)(random % (uint64_t)span);

    return delay < S3_RETRY_DELAY_MAX_MS ? delay : S3_RETRY_DELAY_MAX_MS;
}

void s3_budget_init(struct s3_budget *budget)
{
    budget->tokens = S3_BUDGET_TOKENS_MAX;
}

bool s3_budget_take(struct s3_budget *budget, unsigned cost)
{
    if (budget->tokens < cost)
        return false;
    budget->tokens -= cost;
    return true;
}

void s3_budget_refund(struct s3_budget *budget)
{
    if (budget->tokens < S3_BUDGET_TOKENS_MAX)
        budget->tokens++;
}

void s3_window_init(struct s3_window *window, unsigned max)
{
    *window = (struct s3_window){.max = max, .size = max, .shrunk_ns = INT64_MIN};
}

bool s3_window_enter(struct s3_window *window)
{
    if (window->in_flight >= window->size)
        return false;
    window->in_flight++;
    return true;
}

void s3_window_leave(struct s3_window *window)
{
    assert(window->in_flight > 0);
    window->in_flight--;
}

void s3_window_succeeded(struct s3_window *window)
{
    if (window->size == window->max || ++window->successes < S3_WINDOW_GROW_AFTER)
        return;
    window->size++;
    window->successes = 0;
}

void s3_window_slow_down(struct s3_window *window, int64_t now_ns)
{
    window->successes = 0;
    if (window->shrunk_ns != INT64_MIN && now_ns - window->shrunk_ns < S3_WINDOW_SHRINK_INTERVAL_NS)
        return;
    window->shrunk_ns = now_ns;
    window->size = window->size > 1 ? window->size / 2 : 1;
}

void s3_hedge_init(struct s3_hedge *hedge)
{
    memset(hedge, 0, sizeof(*hedge));
}

static int compare_samples(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

void s3_hedge_sample(struct s3_hedge *hedge, int64_t took_ns)
{
    uint32_t sorted[S3_HEDGE_SAMPLES];
    int64_t us = took_ns / 1000;

    hedge->samples_us[hedge->seen++ % S3_HEDGE_SAMPLES] = us > UINT32_MAX ? UINT32_MAX : us;
    if (hedge->seen < S3_HEDGE_SAMPLES || hedge->seen % HEDGE_RECKON_EVERY != 0)
        return;
    memcpy(sorted, hedge->samples_us, sizeof(sorted));
    qsort(sorted, S3_HEDGE_SAMPLES, sizeof(sorted[0]), compare_samples);
    hedge->delay_ns = (int64_t)sorted[S3_HEDGE_SAMPLES * 99 / 100] * 1000;
    if (hedge->delay_ns < S3_HEDGE_DELAY_MIN_NS)
        hedge->delay_ns = S3_HEDGE_DELAY_MIN_NS;
}

int64_t s3_hedge_delay_ns(const struct s3_hedge *hedge)
{
    return hedge->delay_ns;
}

bool s3_hedge_take(struct s3_hedge *hedge)
{
    if ((hedge->sent + 1) * S3_HEDGE_SHARE > hedge->seen)
        return false;
    hedge->sent++;
    return true;
}
