/*
 * The thread that looks whether its logs are still this store's.
 *
 * It has a thread of its own because a look must not wait behind an upload: a step may take as long
 * as the store takes. It takes no lock of a log but the leaf, and concludes nothing from a store
 * that does not answer.
 */
#include <stdlib.h>

#include "base/error.h"
#include "tiering/state.h"

#define NS_PER_MS INT64_C(1000000)

struct guard_item {
    struct guard_item *next;
    struct tiering_log *t;
    bool looking;
    bool leaving; /* is being removed: not to be looked at any more */
};

struct tiering_guard {
    int64_t check_ms;
    struct base_mutex lock; /* protects all below but `thread` */
    struct base_cond work;  /* `stopping` */
    struct base_cond idle;  /* a look ended */
    struct guard_item *items;
    bool stopping;
    struct base_thread *thread;
};

/* The list may change under a look. The item looked at stays in it: who removes it waits for the
 * look, and gets the lock only when the next item has been found. */
static void guard_round_locked(struct tiering_guard *g)
{
    struct guard_item *i = g->items;

    while (i && !g->stopping) {
        if (!i->leaving) {
            i->looking = true;
            base_mutex_unlock(&g->lock);
            (void)tiering_log_look(i->t, false, NULL); /* being fenced is told by the log */
            base_mutex_lock(&g->lock);
            i->looking = false;
            base_cond_broadcast(&g->idle);
        }
        i = i->next;
    }
}

static void guard_main(void *arg)
{
    struct tiering_guard *g = arg;

    base_mutex_lock(&g->lock);
    while (!g->stopping) {
        (void)base_cond_wait_for(&g->work, &g->lock, g->check_ms * NS_PER_MS);
        guard_round_locked(g);
    }
    base_mutex_unlock(&g->lock);
}

int tiering_guard_new(int64_t check_ms, struct tiering_guard **ret, struct varve_error *err)
{
    struct tiering_guard *g = calloc(1, sizeof(*g));
    int rc;

    if (!g)
        return base_fail(err, VARVE_E_NO_MEMORY, "start the owner's check: out of memory");
    g->check_ms = check_ms;
    base_mutex_init(&g->lock);
    base_cond_init(&g->work);
    base_cond_init(&g->idle);
    rc = base_thread_start(&g->thread, "varve-owner", guard_main, g, err);
    if (rc < 0) {
        tiering_guard_free(g);
        return rc;
    }
    *ret = g;
    return 0;
}

struct tiering_guard *tiering_guard_free(struct tiering_guard *g)
{
    if (!g)
        return NULL;
    base_mutex_lock(&g->lock);
    g->stopping = true;
    base_cond_broadcast(&g->work);
    base_mutex_unlock(&g->lock);
    if (g->thread)
        base_thread_join(g->thread);
    while (g->items) {
        struct guard_item *i = g->items;

        g->items = i->next;
        free(i);
    }
    base_cond_deinit(&g->idle);
    base_cond_deinit(&g->work);
    base_mutex_deinit(&g->lock);
    free(g);
    return NULL;
}

int tiering_guard_add(struct tiering_guard *g, struct tiering_log *t, struct varve_error *err)
{
    struct guard_item *i = calloc(1, sizeof(*i));

    if (!i)
        return base_fail(err, VARVE_E_NO_MEMORY, "log %s: out of memory", t->log_name);
    base_mutex_lock(&g->lock);
    i->t = t;
    i->next = g->items;
    g->items = i;
    base_mutex_unlock(&g->lock);
    return 0;
}

static struct guard_item **item_find_locked(struct tiering_guard *g, const struct tiering_log *t)
{
    struct guard_item **at = &g->items;

    while (*at && (*at)->t != t)
        at = &(*at)->next;
    return at;
}

void tiering_guard_remove(struct tiering_guard *g, struct tiering_log *t)
{
    struct guard_item *i;

    base_mutex_lock(&g->lock);
    i = *item_find_locked(g, t);
    if (i) {
        i->leaving = true;
        while (i->looking)
            base_cond_wait(&g->idle, &g->lock);
        *item_find_locked(g, t) = i->next;
        free(i);
    }
    base_mutex_unlock(&g->lock);
}
