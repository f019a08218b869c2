#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/logger.h"
#include "base/thread.h"

struct heard {
    char text[256]; /* messages, each with its level in front and a semicolon behind */
    unsigned held;  /* locks held when one came */
    unsigned count;
};

static void hear(void *ctx, int level, const char *text)
{
    struct heard *h = ctx;
    size_t n = strlen(h->text);

    snprintf(h->text + n, sizeof(h->text) - n, "%d %s;", level, text);
    h->held += base_mutex_held();
    h->count++;
}

static void a_message_comes_at_once_when_no_lock_is_held(void **state)
{
    struct heard h = {0};
    struct base_logger logger = {hear, &h};

    (void)state;
    base_log(&logger, BASE_LOG_WARNING, "disk %d", 7);
    assert_string_equal(h.text, "4 disk 7;");
    base_log(NULL, BASE_LOG_WARNING, "nobody");
    base_log(&(struct base_logger){0}, BASE_LOG_WARNING, "nobody");
}

static void a_message_of_someone_with_a_lock_waits_for_the_last_unlock(void **state)
{
    struct heard h = {0};
    struct base_logger logger = {hear, &h};
    struct base_mutex outer, inner;

    (void)state;
    base_mutex_init(&outer);
    base_mutex_init(&inner);
    base_mutex_lock(&outer);
    base_log(&logger, BASE_LOG_ERROR, "first");
    base_mutex_lock(&inner);
    assert_int_equal(base_mutex_held(), 2);
    base_log(&logger, BASE_LOG_INFO, "second");
    base_mutex_unlock(&outer); /* not in the order of locking: the last one counts */
    assert_int_equal(h.count, 0);
    base_mutex_unlock(&inner);
    assert_string_equal(h.text, "3 first;6 second;");
    assert_int_equal(h.held, 0);
    base_mutex_lock(&outer);
    base_mutex_unlock(&outer);
    assert_int_equal(h.count, 2);
    base_mutex_deinit(&inner);
    base_mutex_deinit(&outer);
}

static void a_wait_for_a_condition_keeps_the_count_of_locks(void **state)
{
    struct heard h = {0};
    struct base_logger logger = {hear, &h};
    struct base_mutex lock;
    struct base_cond never;

    (void)state;
    base_mutex_init(&lock);
    base_cond_init(&never);
    base_mutex_lock(&lock);
    base_log(&logger, BASE_LOG_INFO, "kept");
    assert_false(base_cond_wait_for(&never, &lock, 1000));
    assert_int_equal(base_mutex_held(), 1);
    assert_int_equal(h.count, 0);
    base_mutex_unlock(&lock);
    assert_int_equal(h.count, 1);
    base_cond_deinit(&never);
    base_mutex_deinit(&lock);
}

/* A callback that does what it must not, and takes a lock and logs itself. */
static void hear_and_say(void *ctx, int level, const char *text)
{
    struct heard *h = ctx;
    struct base_mutex lock;

    hear(ctx, level, text);
    if (h->count > 3)
        return;
    base_mutex_init(&lock);
    base_mutex_lock(&lock);
    base_log(&(struct base_logger){hear_and_say, ctx}, level, "more");
    base_mutex_unlock(&lock);
    base_mutex_deinit(&lock);
}

static void a_callback_that_logs_itself_loses_nothing(void **state)
{
    struct heard h = {0};
    struct base_logger logger = {hear_and_say, &h};
    struct base_mutex lock;

    (void)state;
    base_mutex_init(&lock);
    base_mutex_lock(&lock);
    base_log(&logger, BASE_LOG_INFO, "a");
    base_log(&logger, BASE_LOG_INFO, "b");
    base_mutex_unlock(&lock);
    assert_string_equal(h.text, "6 a;6 b;6 more;6 more;6 more;");
    base_mutex_deinit(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_at_once_when_no_lock_is_held),
        cmocka_unit_test(a_message_of_someone_with_a_lock_waits_for_the_last_unlock),
        cmocka_unit_test(a_wait_for_a_condition_keeps_the_count_of_locks),
        cmocka_unit_test(a_callback_that_logs_itself_loses_nothing),
    };

    return cmocka_run_group_tests_name("base_logger", tests, NULL, NULL);
}
