/*
 * Listings that do not know of the latest changes. What a key looked like in front of each change
 * is remembered for a while; a stale listing is the store's own, with these keys put back to what
 * they were: hidden, shown again, or shown as they were.
 */
#include "cold/faulty_stale.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/thread.h"

struct change {
    int64_t at; /* ms of the clock */
    bool existed;
    struct cold_meta meta;
    char key[COLD_KEY_MAX + 1];
};

struct cold_faulty_stale {
    const struct base_env *env;
    int64_t keep_ms;
    struct base_mutex lock; /* protects the ring; a leaf */
    struct change *ring;    /* in the order of the changes */
    size_t first, count;
};

int cold_faulty_stale_new(const struct base_env *env, int64_t keep_ms,
                          struct cold_faulty_stale **ret, struct varve_error *err)
{
    struct cold_faulty_stale *s = calloc(1, sizeof(*s));

    if (s)
        s->ring = calloc(COLD_FAULTY_CHANGES_MAX, sizeof(*s->ring));
    if (!s || !s->ring) {
        free(s);
        return base_fail(err, VARVE_E_NO_MEMORY, "faults: out of memory");
    }
    s->env = env;
    s->keep_ms = keep_ms;
    base_mutex_init(&s->lock);
    *ret = s;
    return 0;
}

struct cold_faulty_stale *cold_faulty_stale_free(struct cold_faulty_stale *stale)
{
    if (!stale)
        return NULL;
    base_mutex_deinit(&stale->lock);
    free(stale->ring);
    free(stale);
    return NULL;
}

static int64_t now_ms(const struct cold_faulty_stale *s)
{
    return s->env->clock->mono_ns(s->env->clock->ctx) / 1000000;
}

static struct change *change_at(struct cold_faulty_stale *s, size_t i)
{
    return &s->ring[(s->first + i) % COLD_FAULTY_CHANGES_MAX];
}

int cold_faulty_stale_note(struct cold_faulty_stale *stale, struct cold_store *under,
                           const char *key, struct varve_error *err)
{
    struct cold_meta meta = {0};
    struct change *c;
    int rc = cold_store_head(under, key, &meta, err);

    if (rc < 0 && rc != VARVE_E_NOT_FOUND)
        return rc;
    base_mutex_lock(&stale->lock);
    while (stale->count > 0 && (stale->count == COLD_FAULTY_CHANGES_MAX ||
                                change_at(stale, 0)->at + stale->keep_ms < now_ms(stale))) {
        stale->first = (stale->first + 1) % COLD_FAULTY_CHANGES_MAX;
        stale->count--;
    }
    c = change_at(stale, stale->count++);
    c->at = now_ms(stale);
    c->existed = rc == 0;
    c->meta = meta;
    memcpy(c->key, key, strlen(key) + 1);
    base_mutex_unlock(&stale->lock);
    return 0;
}

/* ---- a listing ---- */

struct listing {
    struct change *past; /* of each key the first change since then, in key order */
    size_t count, next;
    unsigned told, max;
    char last[COLD_KEY_MAX + 1]; /* the last key that the store named */
    int (*visit)(void *arg, const char *key, const struct cold_meta *meta);
    void *arg;
    int ended; /* what a visit returned */
    bool full;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct change *)a)->key, ((const struct change *)b)->key);
}

/* Takes a copy of what lies within the page and is to be put back. */
static int past_take(struct cold_faulty_stale *s, int64_t ago_ms, const char *prefix,
                     const char *start_after, struct listing *l, struct varve_error *err)
{
    const size_t prefix_size = strlen(prefix);
    int64_t since;

    l->past = malloc(COLD_FAULTY_CHANGES_MAX * sizeof(*l->past));
    if (!l->past)
        return base_fail(err, VARVE_E_NO_MEMORY, "list %s: out of memory", prefix);
    base_mutex_lock(&s->lock);
    since = now_ms(s) - ago_ms;
    for (size_t i = s->count; i-- > 0 && change_at(s, i)->at > since;) {
        const struct change *c = change_at(s, i);
        size_t k = 0;

        if (strncmp(c->key, prefix, prefix_size) != 0 ||
            (start_after && strcmp(c->key, start_after) <= 0))
            continue;
        while (k < l->count && strcmp(l->past[k].key, c->key) != 0)
            k++;
        l->past[k] = *c; /* an earlier one of the same key counts */
        l->count += k == l->count;
    }
    base_mutex_unlock(&s->lock);
    qsort(l->past, l->count, sizeof(*l->past), compare);
    return 0;
}

static int tell(struct listing *l, const char *key, const struct cold_meta *meta)
{
    if (l->told == l->max) {
        l->full = true;
        return 1;
    }
    l->told++;
    l->ended = l->visit(l->arg, key, meta);
    return l->ended;
}

/* Tells what was there in front of `key` (NULL: to the end); *ret_past is the key's own past. */
static int tell_past(struct listing *l, const char *key, const struct change **ret_past)
{
    *ret_past = NULL;
    while (l->next < l->count) {
        const struct change *c = &l->past[l->next];
        int order = key ? strcmp(c->key, key) : -1;

        if (order > 0)
            return 0;
        if (order == 0) {
            *ret_past = c;
            l->next++;
            return 0;
        }
        if (c->existed) {
            int rc = tell(l, c->key, &c->meta);

            if (rc != 0)
                return rc;
        }
        l->next++;
    }
    return 0;
}

static int listing_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    struct listing *l = arg;
    const struct change *past;
    int rc = tell_past(l, key, &past);

    if (rc != 0)
        return rc;
    memcpy(l->last, key, strlen(key) + 1);
    if (past)
        return past->existed ? tell(l, key, &past->meta) : 0;
    return tell(l, key, meta);
}

int cold_faulty_stale_list(struct cold_faulty_stale *stale, struct cold_store *under,
                           int64_t ago_ms, const char *prefix, const char *start_after,
                           unsigned max,
                           int (*visit)(void *arg, const char *key, const struct cold_meta *meta),
                           void *arg, bool *ret_more, struct varve_error *err)
{
    struct listing l = {.max = max, .visit = visit, .arg = arg};
    const struct change *past;
    bool more = true;
    int rc = past_take(stale, ago_ms, prefix, start_after, &l, err);

    /* A page of hidden keys alone is no page. */
    while (rc == 0 && more && l.told == 0)
        rc = cold_store_list(under, prefix, l.last[0] ? l.last : start_after, max, listing_visit,
                             &l, &more, err);
    if (rc == 0 && !more)
        rc = tell_past(&l, NULL, &past);
    free(l.past);
    if (rc < 0 && l.ended == 0)
        return rc;
    if (l.ended != 0)
        return l.ended;
    *ret_more = more || l.full;
    return 0;
}
