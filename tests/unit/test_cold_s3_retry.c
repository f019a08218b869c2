/* Delays, budget, window and hedging as numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cold/s3/retry.h"

static void delays_grow_at_random_between_their_limits(void **state)
{
    int64_t last = 0, largest = 0;
    uint64_t random = 1;

    (void)state;
    assert_int_equal(s3_retry_delay_ms(0, 0), S3_RETRY_DELAY_MIN_MS);
    assert_int_equal(s3_retry_delay_ms(0, 200), 300);
    assert_int_equal(s3_retry_delay_ms(1000, 2900), 3000);
    assert_int_equal(s3_retry_delay_ms(1000, 2901), S3_RETRY_DELAY_MIN_MS);
    for (int i = 0; i < 1000; i++) {
        int64_t delay;

        random = random * 6364136223846793005u + 1442695040888963407u;
        delay = s3_retry_delay_ms(last, random >> 20);
        assert_true(delay >= S3_RETRY_DELAY_MIN_MS && delay <= S3_RETRY_DELAY_MAX_MS);
        assert_true(delay <= 3 * (last > 100 ? last : 100));
        last = delay;
        largest = delay > largest ? delay : largest;
    }
    assert_int_equal(largest, S3_RETRY_DELAY_MAX_MS);
}

static void a_budget_runs_out_and_comes_back_with_successes(void **state)
{
    struct s3_budget b;
    unsigned taken = 0;

    (void)state;
    s3_budget_init(&b);
    while (s3_budget_take(&b, S3_BUDGET_COST))
        taken++;
    assert_int_equal(taken, S3_BUDGET_TOKENS_MAX / S3_BUDGET_COST);
    for (unsigned i = 0; i + 1 < S3_BUDGET_COST; i++)
        s3_budget_refund(&b);
    assert_false(s3_budget_take(&b, S3_BUDGET_COST));
    s3_budget_refund(&b);
    assert_true(s3_budget_take(&b, S3_BUDGET_COST));
    for (unsigned i = 0; i < 2 * S3_BUDGET_TOKENS_MAX; i++)
        s3_budget_refund(&b);
    assert_int_equal(b.tokens, S3_BUDGET_TOKENS_MAX);
}

static void a_window_shrinks_once_an_interval_and_grows_slowly(void **state)
{
    struct s3_window w;

    (void)state;
    s3_window_init(&w, 16);
    for (int i = 0; i < 16; i++)
        assert_true(s3_window_enter(&w));
    assert_false(s3_window_enter(&w));
    for (int i = 0; i < 16; i++) /* all that were in flight say so */
        s3_window_slow_down(&w, 1000 + i);
    assert_int_equal(w.size, 8);
    for (int i = 0; i < 9; i++)
        s3_window_leave(&w);
    assert_true(s3_window_enter(&w));
    assert_false(s3_window_enter(&w));
    for (int i = 1; i < 10; i++)
        s3_window_slow_down(&w, 1000 + i * S3_WINDOW_SHRINK_INTERVAL_NS);
    assert_int_equal(w.size, 1);
    for (int i = 0; i < S3_WINDOW_GROW_AFTER - 1; i++)
        s3_window_succeeded(&w);
    assert_int_equal(w.size, 1);
    s3_window_succeeded(&w);
    assert_int_equal(w.size, 2);
    for (int i = 0; i < 100 * S3_WINDOW_GROW_AFTER; i++)
        s3_window_succeeded(&w);
    assert_int_equal(w.size, 16);
}

static void hedging_waits_for_samples_and_stays_within_its_share(void **state)
{
    static struct s3_hedge h;
    int hedges = 0;

    (void)state;
    s3_hedge_init(&h);
    for (int i = 0; i < S3_HEDGE_SAMPLES - 1; i++) {
        s3_hedge_sample(&h, 80000000);
        assert_int_equal(s3_hedge_delay_ns(&h), 0);
    }
    s3_hedge_sample(&h, 80000000);
    assert_int_equal(s3_hedge_delay_ns(&h), 80000000);
    for (int i = 0; i < S3_HEDGE_SAMPLES; i++) /* two of a hundred are slow: that is the p99 */
        s3_hedge_sample(&h, i % 50 == 0 ? 900000000 : 1000000);
    assert_int_equal(s3_hedge_delay_ns(&h), 900000000);
    for (int i = 0; i < S3_HEDGE_SAMPLES; i++)
        s3_hedge_sample(&h, 1000000);
    assert_int_equal(s3_hedge_delay_ns(&h), S3_HEDGE_DELAY_MIN_NS);
    while (s3_hedge_take(&h))
        hedges++;
    assert_int_equal(hedges, 3 * S3_HEDGE_SAMPLES / S3_HEDGE_SHARE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_grow_at_random_between_their_limits),
        cmocka_unit_test(a_budget_runs_out_and_comes_back_with_successes),
        cmocka_unit_test(a_window_shrinks_once_an_interval_and_grows_slowly),
        cmocka_unit_test(hedging_waits_for_samples_and_stays_within_its_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
