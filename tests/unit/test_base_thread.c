#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"

#define MS INT64_C(1000000)

/* A gate that threads wait at. */
struct gate {
    struct base_mutex lock; /* protects the rest */
    struct base_cond changed;
    bool open;
    unsigned waiting;
    char order[64]; /* what jobs leave behind */
    unsigned count;
};

static void gate_init(struct gate *g)
{
    memset(g, 0, sizeof(*g));
    base_mutex_init(&g->lock);
    base_cond_init(&g->changed);
}

static void gate_deinit(struct gate *g)
{
    base_cond_deinit(&g->changed);
    base_mutex_deinit(&g->lock);
}

static void gate_open(struct gate *g)
{
    base_mutex_lock(&g->lock);
    g->open = true;
    base_cond_broadcast(&g->changed);
    base_mutex_unlock(&g->lock);
}

static void gate_wait(struct gate *g)
{
    base_mutex_lock(&g->lock);
    g->waiting++;
    base_cond_broadcast(&g->changed);
    while (!g->open)
        base_cond_wait(&g->changed, &g->lock);
    base_mutex_unlock(&g->lock);
}

static void gate_await_waiting(struct gate *g, unsigned count)
{
    base_mutex_lock(&g->lock);
    while (g->waiting < count)
        base_cond_wait(&g->changed, &g->lock);
    base_mutex_unlock(&g->lock);
}

struct test_job {
    struct base_job job;
    struct gate *gate;
    struct base_pool *pool;
    struct test_job *then;
    char mark;
};

static void job_wait(struct base_job *job)
{
    gate_wait(((struct test_job *)job)->gate);
}

static void job_mark(struct base_job *job)
{
    struct test_job *t = (struct test_job *)job;
    struct gate *g = t->gate;

    base_mutex_lock(&g->lock);
    g->order[g->count++] = t->mark;
    base_mutex_unlock(&g->lock);
    if (t->then)
        base_pool_submit(t->pool, &t->then->job);
}

static void jobs_run_by_priority_and_in_order_within_one(void **state)
{
    static const struct {
        char mark;
        int priority;
    } submitted[] = {{'e', 5}, {'a', 1}, {'f', 5}, {'c', 3},
                     {'b', 1}, {'d', 3}, {'h', 9}, {'g', 5}};
    struct test_job jobs[8], blocker = {.job = {.run = job_wait}};
    struct base_pool *pool;
    struct gate gate;

    (void)state;
    gate_init(&gate);
    assert_int_equal(base_pool_new(1, "test", &pool, NULL), 0);
    assert_int_equal(base_pool_threads(pool), 1);
    blocker.gate = &gate;
    base_pool_submit(pool, &blocker.job);
    gate_await_waiting(&gate, 1);
    for (size_t i = 0; i < 8; i++) {
        jobs[i] = (struct test_job){
            .job = {.run = job_mark, .priority = submitted[i].priority},
            .gate = &gate,
            .mark = submitted[i].mark,
        };
        base_pool_submit(pool, &jobs[i].job);
    }
    gate_open(&gate);
    assert_null(base_pool_free(pool));
    assert_string_equal(gate.order, "abcdefgh");
    gate_deinit(&gate);
}

static void a_pool_without_threads_runs_a_job_inside_submit(void **state)
{
    struct base_pool *pool;
    struct gate gate;
    struct test_job second = {.job = {.run = job_mark}, .gate = &gate, .mark = '2'};
    struct test_job first = {.job = {.run = job_mark}, .gate = &gate, .mark = '1'};

    (void)state;
    gate_init(&gate);
    assert_int_equal(base_pool_new(0, "test", &pool, NULL), 0);
    assert_int_equal(base_pool_threads(pool), 0);
    first.pool = pool;
    first.then = &second;
    base_pool_submit(pool, &first.job);
    assert_string_equal(gate.order, "12");
    base_pool_free(pool);
    gate_deinit(&gate);
}

static void freeing_a_pool_runs_what_is_queued_and_what_that_queues(void **state)
{
    struct test_job jobs[20];
    struct base_pool *pool;
    struct gate gate;

    (void)state;
    gate_init(&gate);
    assert_int_equal(base_pool_new(3, "test", &pool, NULL), 0);
    for (size_t i = 0; i < 20; i++) {
        jobs[i] =
            (struct test_job){.job = {.run = job_mark}, .gate = &gate, .pool = pool, .mark = 'x'};
        if (i >= 10)
            jobs[i - 10].then = &jobs[i];
    }
    for (size_t i = 0; i < 10; i++)
        base_pool_submit(pool, &jobs[i].job);
    base_pool_free(pool);
    assert_int_equal(gate.count, 20);
    gate_deinit(&gate);
    assert_null(base_pool_free(NULL));
}

static void all_workers_run_at_once(void **state)
{
    struct test_job jobs[4];
    struct base_pool *pool;
    struct gate gate;

    (void)state;
    gate_init(&gate);
    assert_int_equal(base_pool_new(4, "test", &pool, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        jobs[i] = (struct test_job){.job = {.run = job_wait}, .gate = &gate};
        base_pool_submit(pool, &jobs[i].job);
    }
    gate_await_waiting(&gate, 4); /* hangs if one worker took two */
    gate_open(&gate);
    base_pool_free(pool);
    gate_deinit(&gate);
}

static void open_it(void *arg)
{
    gate_open(arg);
}

static void waiting_ends_at_the_deadline_or_at_the_signal(void **state)
{
    const struct base_clock *clock = &base_clock_system;
    struct base_thread *opener;
    struct gate gate;
    int64_t before = clock->mono_ns(clock->ctx);

    (void)state;
    gate_init(&gate);
    base_mutex_lock(&gate.lock);
    while (base_cond_wait_for(&gate.changed, &gate.lock, 20 * MS)) /* it may wake without cause */
        continue;
    assert_true(clock->mono_ns(clock->ctx) - before >= 20 * MS);
    assert_false(base_cond_wait_for(&gate.changed, &gate.lock, -5));
    base_mutex_unlock(&gate.lock);
    /* "For ever" is a time like any other. */
    assert_int_equal(base_thread_start(&opener, "opener", open_it, &gate, NULL), 0);
    base_mutex_lock(&gate.lock);
    while (!gate.open)
        assert_true(base_cond_wait_for(&gate.changed, &gate.lock, INT64_MAX));
    base_mutex_unlock(&gate.lock);
    assert_null(base_thread_join(opener));
    gate_deinit(&gate);
}

struct seen {
    char name[32];
    bool blocked;
};

static void look(void *arg)
{
    struct seen *seen = arg;
    sigset_t set;

    pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    seen->blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGINT) &&
                    sigismember(&set, SIGUSR1) && !sigismember(&set, SIGSEGV);
}

static void a_thread_has_its_name_and_no_signals(void **state)
{
    struct base_thread *t;
    struct seen seen = {0};
    sigset_t set;

    (void)state;
    assert_int_equal(base_thread_start(&t, "a-name-longer-than-15", look, &seen, NULL), 0);
    assert_null(base_thread_join(t));
    assert_string_equal(seen.name, "a-name-longer-t");
    assert_true(seen.blocked);
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    assert_false(sigismember(&set, SIGTERM));
    assert_null(base_thread_join(NULL));
}

/* Runs `misuse` in a child and says whether it aborted. */
static bool aborts(void (*misuse)(void))
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit none = {0, 0};

        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        misuse();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void unlock_what_is_not_locked(void)
{
    struct base_mutex m;

    base_mutex_init(&m);
    base_mutex_unlock(&m);
}

static void lock_twice(void)
{
    struct base_mutex m;

    base_mutex_init(&m);
    base_mutex_lock(&m);
    base_mutex_lock(&m);
}

static void wait_without_the_lock(void)
{
    struct base_mutex m;
    struct base_cond c;

    base_mutex_init(&m);
    base_cond_init(&c);
    base_cond_wait(&c, &m);
}

static void deinit_what_is_locked(void)
{
    struct base_mutex m;

    base_mutex_init(&m);
    base_mutex_lock(&m);
    base_mutex_deinit(&m);
}

static void misuse_of_a_lock_aborts(void **state)
{
    (void)state;
    assert_true(aborts(unlock_what_is_not_locked));
    assert_true(aborts(lock_twice));
    assert_true(aborts(wait_without_the_lock));
    assert_true(aborts(deinit_what_is_locked));
}

static void the_systems_clocks_run(void **state)
{
    const struct base_clock *clock = &base_clock_system;
    int64_t before = clock->mono_ns(clock->ctx);

    (void)state;
    assert_true(clock->wall_ms(clock->ctx) > INT64_C(1600000000000));
    clock->sleep_ns(clock->ctx, 2 * MS);
    clock->sleep_ns(clock->ctx, 0);
    clock->sleep_ns(clock->ctx, -1);
    assert_true(clock->mono_ns(clock->ctx) - before >= 2 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_run_by_priority_and_in_order_within_one),
        cmocka_unit_test(a_pool_without_threads_runs_a_job_inside_submit),
        cmocka_unit_test(freeing_a_pool_runs_what_is_queued_and_what_that_queues),
        cmocka_unit_test(all_workers_run_at_once),
        cmocka_unit_test(waiting_ends_at_the_deadline_or_at_the_signal),
        cmocka_unit_test(a_thread_has_its_name_and_no_signals),
        cmocka_unit_test(misuse_of_a_lock_aborts),
        cmocka_unit_test(the_systems_clocks_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
