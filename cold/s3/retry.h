/*
 * When to try again, how many requests at once, and when to ask twice: plain numbers, no threads.
 * The client holds its lock around all of it.
 */
#ifndef COLD_S3_RETRY_H
#define COLD_S3_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define S3_RETRY_DELAY_MIN_MS 100
#define S3_RETRY_DELAY_MAX_MS 15000
/* No attempt begins later than this after its call began: those above see the store's absence as
 * lag, and decide. */
#define S3_RETRY_CALL_MS 30000
/* As long as a client has never had an answer the endpoint is more likely wrong than away. */
#define S3_RETRY_UNPROVEN_ATTEMPTS 3

/* Decorrelated jitter: between the minimum and three times the last delay, capped. `last` 0: none
 * yet. */
int64_t s3_retry_delay_ms(int64_t last_ms, uint64_t random);

/*
 * The budget of retries: each takes tokens, each success gives one back. A store that answers
 * nothing but errors is then asked about once a call, not ten times.
 */
#define S3_BUDGET_TOKENS_MAX 500
#define S3_BUDGET_COST 5
#define S3_BUDGET_COST_TIMEOUT 10
struct s3_budget {
    unsigned tokens;
};
void s3_budget_init(struct s3_budget *budget);
bool s3_budget_take(struct s3_budget *budget, unsigned cost); /* false: there are not so many */
void s3_budget_refund(struct s3_budget *budget);

/*
 * How many requests may be in flight: halved when the store says SlowDown, but once an interval,
 * since all that were in flight say so together; one more after S3_WINDOW_GROW_AFTER successes.
 */
#define S3_WINDOW_GROW_AFTER 32
#define S3_WINDOW_SHRINK_INTERVAL_NS INT64_C(500000000)
struct s3_window {
    unsigned max;
    unsigned size;
    unsigned in_flight;
    unsigned successes; /* since it last changed */
    int64_t shrunk_ns;
};
void s3_window_init(struct s3_window *window, unsigned max);
bool s3_window_enter(struct s3_window *window); /* false: full */
void s3_window_leave(struct s3_window *window);
void s3_window_succeeded(struct s3_window *window);
void s3_window_slow_down(struct s3_window *window, int64_t now_ns);

/*
 * When a second GET is sent beside a slow first one: after the 99th percentile of the last
 * S3_HEDGE_SAMPLES, never before so many have been seen, never earlier than S3_HEDGE_DELAY_MIN_NS
 * (a near store's slow request is the machine's, and a second makes it slower), and never more than
 * one GET in S3_HEDGE_SHARE.
 */
#define S3_HEDGE_SAMPLES 1024
#define S3_HEDGE_DELAY_MIN_NS INT64_C(50000000)
#define S3_HEDGE_SHARE 20
#define S3_HEDGE_SIZE_MAX (2 * 1024 * 1024) /* larger reads are bound by bandwidth, not by luck */
struct s3_hedge {
    uint32_t samples_us[S3_HEDGE_SAMPLES]; /* a ring */
    uint64_t seen;
    uint64_t sent;
    int64_t delay_ns; /* 0: not known yet */
};
void s3_hedge_init(struct s3_hedge *hedge);
void s3_hedge_sample(struct s3_hedge *hedge, int64_t took_ns);
int64_t s3_hedge_delay_ns(const struct s3_hedge *hedge); /* 0: do not */
bool s3_hedge_take(struct s3_hedge *hedge);              /* false: the share is used up */

#endif
