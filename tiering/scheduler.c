/*
 * Threads that step logs when they are due.
 *
 * Each log has one due time; the thread that finds the earliest one past takes it. Times are
 * monotonic; what a step asks for by wall clock is turned into a distance, and a wait ends after
 * WAIT_MAX_NS, so that a jump of the wall clock cannot put anything off for long.
 */
#include <stdlib.h>

#include "base/error.h"
#include "tiering/state.h"

#define NS_PER_MS INT64_C(1000000)
#define WAIT_MAX_NS (60 * 1000 * NS_PER_MS)

struct item {
    struct item *next;
    struct tiering_log *t;
    int64_t due_ns;
    bool running;
    bool kicked;  /* while it ran: again at once */
    bool leaving; /* is being removed: not to be taken any more */
};

struct tiering_scheduler {
    const struct base_env *env;
    struct base_mutex lock; /* protects all below but `threads` */
    struct base_cond work;  /* something is due earlier, or `stopping` */
    struct base_cond idle;  /* a step ended */
    struct item *items;
    bool stopping;
    unsigned thread_count;
    struct base_thread *threads[];
};

static int64_t mono_now(const struct tiering_scheduler *s)
{
    return s->env->clock->mono_ns(s->env->clock->ctx);
}

static struct item *item_earliest_locked(struct tiering_scheduler *s)
{
    struct item *best = NULL;

    for (struct item *i = s->items; i; i = i->next)
        if (!i->running && !i->leaving && (!best || i->due_ns < best->due_ns))
            best = i;
    return best;
}

/* Steps one log without the lock. */
static void item_run_locked(struct tiering_scheduler *s, struct item *i)
{
    const struct base_clock *clock = s->env->clock;
    int64_t next_ms = 0, wait_ms;

    i->running = true;
    i->kicked = false;
    base_mutex_unlock(&s->lock);
    (void)tiering_log_step(i->t, &next_ms, NULL); /* it reports by itself */
    wait_ms = next_ms - clock->wall_ms(clock->ctx);
    base_mutex_lock(&s->lock);
    if (wait_ms < 0 || i->kicked)
        wait_ms = 0;
    if (wait_ms > WAIT_MAX_NS / NS_PER_MS)
        wait_ms = WAIT_MAX_NS / NS_PER_MS;
    i->due_ns = mono_now(s) + wait_ms * NS_PER_MS;
    i->running = false;
    base_cond_broadcast(&s->idle);
}

static void scheduler_main(void *arg)
{
    struct tiering_scheduler *s = arg;

    base_mutex_lock(&s->lock);
    while (!s->stopping) {
        struct item *i = item_earliest_locked(s);
        int64_t wait = i ? i->due_ns - mono_now(s) : WAIT_MAX_NS;

        if (i && wait <= 0)
            item_run_locked(s, i);
        else
            (void)base_cond_wait_for(&s->work, &s->lock, wait < WAIT_MAX_NS ? wait : WAIT_MAX_NS);
    }
    base_mutex_unlock(&s->lock);
}

int tiering_scheduler_new(const struct base_env *env, unsigned threads,
                          struct tiering_scheduler **ret, struct varve_error *err)
{
    struct tiering_scheduler *s = calloc(1, sizeof(*s) + threads * sizeof(s->threads[0]));

    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "start the tierer: out of memory");
    s->env = env;
    base_mutex_init(&s->lock);
    base_cond_init(&s->work);
    base_cond_init(&s->idle);
    for (unsigned i = 0; i < threads; i++) {
        int rc = base_thread_start(&s->threads[i], "varve-tier", scheduler_main, s, err);

        if (rc < 0) {
            tiering_scheduler_free(s);
            return rc;
        }
        s->thread_count++;
    }
    *ret = s;
    return 0;
}

struct tiering_scheduler *tiering_scheduler_free(struct tiering_scheduler *s)
{
    if (!s)
        return NULL;
    base_mutex_lock(&s->lock);
    s->stopping = true;
    for (struct item *i = s->items; i; i = i->next)
        atomic_store_explicit(&i->t->cancel, true, memory_order_relaxed);
    base_cond_broadcast(&s->work);
    base_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->thread_count; i++)
        base_thread_join(s->threads[i]);
    while (s->items) {
        struct item *i = s->items;

        s->items = i->next;
        atomic_store_explicit(&i->t->cancel, false, memory_order_relaxed);
        free(i);
    }
    base_cond_deinit(&s->idle);
    base_cond_deinit(&s->work);
    base_mutex_deinit(&s->lock);
    free(s);
    return NULL;
}

int tiering_scheduler_add(struct tiering_scheduler *s, struct tiering_log *t,
                          struct varve_error *err)
{
    struct item *i = calloc(1, sizeof(*i));

    if (!i)
        return base_fail(err, VARVE_E_NO_MEMORY, "log %s: schedule: out of memory", t->log_name);
    base_mutex_lock(&s->lock);
    i->t = t;
    i->due_ns = mono_now(s);
    i->next = s->items;
    s->items = i;
    base_cond_signal(&s->work);
    base_mutex_unlock(&s->lock);
    return 0;
}

static struct item **item_find_locked(struct tiering_scheduler *s, const struct tiering_log *t)
{
    struct item **at = &s->items;

    while (*at && (*at)->t != t)
        at = &(*at)->next;
    return at;
}

void tiering_scheduler_remove(struct tiering_scheduler *s, struct tiering_log *t)
{
    struct item *i;

    base_mutex_lock(&s->lock);
    i = *item_find_locked(s, t);
    if (i) {
        atomic_store_explicit(&t->cancel, true, memory_order_relaxed);
        i->leaving = true;
        while (i->running)
            base_cond_wait(&s->idle, &s->lock);
        *item_find_locked(s, t) = i->next;
        free(i);
        atomic_store_explicit(&t->cancel, false, memory_order_relaxed);
    }
    base_mutex_unlock(&s->lock);
}

void tiering_scheduler_kick(struct tiering_scheduler *s, struct tiering_log *t)
{
    struct item *i;

    base_mutex_lock(&s->lock);
    i = *item_find_locked(s, t);
    if (i && i->running)
        i->kicked = true;
    else if (i) {
        i->due_ns = mono_now(s);
        base_cond_signal(&s->work);
    }
    base_mutex_unlock(&s->lock);
}
