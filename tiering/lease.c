/*
 * Leases: holding one, and waiting out somebody else's.
 *
 * INVARIANTS
 *   L1  The holder relies on a lease from before the request that confirmed it was sent, for the
 *       lease's duration less TIERING_LEASE_MARGIN_PERCENT. Whoever waits counts the whole duration
 *       from after it has read that lease, which is later.
 *   L2  Both count on a clock of their own that goes on while the machine is suspended (boot_ns),
 * and neither ever sees the other's. L3  Each change is a conditional write on what was read. So a
 * lease that was ended can not be renewed: the holder's next renewal is lost, and it finds out by
 * whom. L4  A lost lease stays lost for this process: what it had open has to be opened again. L5
 * What may still be running is `broken`, and `released` only when it has run out. So nobody has to
 * wait for it twice, and nobody too short.
 *
 * What no lease can do: a process that is stopped between its last look at the clock and the moment
 * its caller learns of the acknowledgement says so when it wakes, however late that is. The look is
 * the last thing an append does.
 */
#include "tiering/lease.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define NS_PER_MS INT64_C(1000000)
#define LEASE_TRIES 16 /* of a change, against others that come in between */
#define LEASE_POLL_NS_MIN (20 * NS_PER_MS)
#define LEASE_POLL_NS_MAX (1000 * NS_PER_MS)
#define LEASE_RETRY_DIVISOR 20 /* of its duration: the wait after a renewal that failed */

enum lease_state { LEASE_UNCLAIMED, LEASE_HOLDING, LEASE_LOST };

struct tiering_lease {
    const struct base_env *env;
    struct cold_store *meta;
    struct cold_lease mine; /* as last written; under `change` */
    struct cold_etag etag;  /* likewise */
    int64_t duration_ns;
    bool by_hand;

    struct base_mutex change; /* one request at a time: claim, renewal, release */

    struct base_mutex lock;   /* what follows; leaf */
    struct base_cond changed; /* confirmed again, lost, or `stopping` */
    enum lease_state state;
    struct varve_error lost; /* why */
    struct varve_error last; /* of the last renewal that failed */
    int64_t due_ns;          /* of the next renewal, boot clock */
    bool stopping;
    struct base_thread *thread;

    /* Until when it is confirmed, boot clock; 0: it is not. Release, with acquire by those who
     * look: who sees the time sees a lease that was confirmed. */
    _Atomic int64_t valid_until_ns;
};

static int64_t boot_now(const struct base_env *env)
{
    return env->clock->boot_ns(env->clock->ctx);
}

static void sleep_until(const struct base_env *env, int64_t end_ns)
{
    int64_t left;

    /* A clock that has counted a suspension needs less sleep than it seemed. */
    while ((left = end_ns - boot_now(env)) > 0)
        env->clock->sleep_ns(env->clock->ctx, left < LEASE_POLL_NS_MAX ? left : LEASE_POLL_NS_MAX);
}

/* ---- the holder ---- */

bool tiering_lease_valid(const struct tiering_lease *l)
{
    int64_t until = atomic_load_explicit(&l->valid_until_ns, memory_order_acquire);

    return until > 0 && boot_now(l->env) < until;
}

static void lease_confirmed(struct tiering_lease *l, int64_t sent_ns)
{
    int64_t margin = l->duration_ns * TIERING_LEASE_MARGIN_PERCENT / 100;

    base_mutex_lock(&l->lock);
    l->state = LEASE_HOLDING;
    l->due_ns = sent_ns + l->duration_ns / TIERING_LEASE_RENEWALS;
    atomic_store_explicit(&l->valid_until_ns, sent_ns + l->duration_ns - margin, /* L1 */
                          memory_order_release);
    base_cond_broadcast(&l->changed);
    base_mutex_unlock(&l->lock);
}

/* L4 */
static int lease_lose(struct tiering_lease *l, const struct varve_error *why,
                      struct varve_error *err)
{
    bool first;

    base_mutex_lock(&l->lock);
    first = l->state != LEASE_LOST;
    l->state = LEASE_LOST;
    if (first)
        l->lost = *why;
    atomic_store_explicit(&l->valid_until_ns, 0, memory_order_release);
    base_cond_broadcast(&l->changed);
    base_mutex_unlock(&l->lock);
    if (first)
        base_log(&l->env->logger, BASE_LOG_ERROR, "%s", why->msg);
    if (err)
        *err = *why;
    return VARVE_E_FENCED;
}

/* Something else lies there than we wrote: what does it say about us? */
static int lease_lost_to(struct tiering_lease *l, const struct cold_lease *there,
                         struct varve_error *err)
{
    char by[BASE_ID_TEXT_SIZE];
    struct varve_error why = {0};

    base_id_format(&there->broken_by, by);
    if (base_id_equal(&there->holder, &l->mine.holder))
        base_fail(&why, VARVE_E_FENCED,
                  "the lease of this process was ended by store %s, which has taken a log over: "
                  "nothing more is acknowledged until the store is opened again",
                  by);
    else
        base_fail(&why, VARVE_E_FENCED,
                  "%s holds the lease of this store now: two processes have a store of this id "
                  "open, and this one acknowledges nothing more",
                  there->process);
    return lease_lose(l, &why, err);
}

/* After a condition that was lost. 0: what lies there is our own, from an earlier write whose reply
 * never came; goes on from it. With `change` held. */
static int lease_reread(struct tiering_lease *l, struct varve_error *err)
{
    struct varve_error why = {0};
    struct cold_lease there;
    struct cold_etag etag;
    int rc = cold_lease_read(l->meta, &l->mine.store, &there, &etag, &why);

    if (rc == VARVE_E_NOT_FOUND) {
        base_fail(&why, VARVE_E_FENCED,
                  "the lease of this process was deleted from %s: nothing more is acknowledged "
                  "until the store is opened again",
                  cold_store_url(l->meta));
        return lease_lose(l, &why, err);
    }
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    if (!base_id_equal(&there.holder, &l->mine.holder) || there.state != COLD_LEASE_HELD)
        return lease_lost_to(l, &there, err);
    l->mine = there;
    l->etag = etag;
    return 0;
}

/* One write of `state`; VARVE_E_PRECONDITION when something else lies there. */
static int lease_put(struct tiering_lease *l, enum cold_lease_state state, bool fresh,
                     struct varve_error *err)
{
    struct cold_lease next = l->mine;
    int64_t sent_ns = boot_now(l->env); /* L1: before the request is made */
    int rc;

    next.state = state;
    next.write = base_id_new(l->env->random);
    rc = cold_lease_write(l->meta, &next, fresh ? NULL : &l->etag, &l->etag, err);
    if (rc < 0)
        return rc;
    l->mine = next;
    if (state == COLD_LEASE_HELD)
        lease_confirmed(l, sent_ns);
    return 0;
}

static int renew_changing(struct tiering_lease *l, struct varve_error *err)
{
    int rc = VARVE_E_PRECONDITION;

    for (unsigned i = 0; rc == VARVE_E_PRECONDITION && i < LEASE_TRIES; i++) {
        rc = i > 0 ? lease_reread(l, err) : 0;
        if (rc == 0)
            rc = lease_put(l, COLD_LEASE_HELD, false, err);
    }
    return rc;
}

static void lease_note_failure(struct tiering_lease *l, const struct varve_error *why)
{
    int64_t now = boot_now(l->env);

    base_mutex_lock(&l->lock);
    l->last = *why;
    l->due_ns = now + l->duration_ns / LEASE_RETRY_DIVISOR;
    base_mutex_unlock(&l->lock);
}

static bool lease_is_lost(struct tiering_lease *l, struct varve_error *err)
{
    bool lost;

    base_mutex_lock(&l->lock);
    lost = l->state == LEASE_LOST;
    if (lost && err)
        *err = l->lost;
    base_mutex_unlock(&l->lock);
    return lost;
}

int tiering_lease_renew(struct tiering_lease *l, struct varve_error *err)
{
    struct varve_error why = {0};
    int rc;

    if (lease_is_lost(l, err))
        return VARVE_E_FENCED;
    base_mutex_lock(&l->change);
    rc = renew_changing(l, &why);
    base_mutex_unlock(&l->change);
    if (rc < 0 && rc != VARVE_E_FENCED)
        lease_note_failure(l, &why);
    if (rc < 0 && err)
        *err = why;
    return rc;
}

static void lease_main(void *arg)
{
    struct tiering_lease *l = arg;
    int64_t wait;

    base_mutex_lock(&l->lock);
    while (!l->stopping && l->state != LEASE_LOST) {
        wait = l->due_ns - boot_now(l->env);
        if (wait > 0) {
            (void)base_cond_wait_for(&l->changed, &l->lock, wait);
            continue;
        }
        base_mutex_unlock(&l->lock);
        (void)tiering_lease_renew(l, NULL); /* failures are kept for those who wait */
        base_mutex_lock(&l->lock);
    }
    base_mutex_unlock(&l->lock);
}

/* Until something has changed; false when `left_ns` passed first. By hand it is the clock's seam
 * that renews, or lets time pass. */
static bool wait_changed_locked(struct tiering_lease *l, int64_t left_ns)
{
    if (!l->by_hand)
        return base_cond_wait_for(&l->changed, &l->lock, left_ns);
    base_mutex_unlock(&l->lock);
    l->env->clock->sleep_ns(l->env->clock->ctx,
                            left_ns < LEASE_POLL_NS_MAX ? left_ns : LEASE_POLL_NS_MAX);
    base_mutex_lock(&l->lock);
    return true;
}

int tiering_lease_wait(struct tiering_lease *l, struct varve_error *err)
{
    const struct base_clock *clock = l->env->clock;
    int64_t end = clock->mono_ns(clock->ctx) + l->duration_ns;
    bool timed_out = false;
    int rc = 0;

    if (tiering_lease_valid(l))
        return 0;
    base_mutex_lock(&l->lock);
    while (rc == 0 && !tiering_lease_valid(l)) {
        int64_t left = end - clock->mono_ns(clock->ctx);

        if (l->state == LEASE_LOST) {
            rc = VARVE_E_FENCED;
            if (err)
                *err = l->lost;
        } else if (left <= 0 || !wait_changed_locked(l, left)) {
            timed_out = true;
        }
        if (rc == 0 && timed_out && !tiering_lease_valid(l))
            rc = base_fail_retriable(err, VARVE_E_TIMEOUT,
                                     "the lease of this process could not be confirmed for %lld "
                                     "ms: %s",
                                     (long long)(l->duration_ns / NS_PER_MS),
                                     l->last.msg[0] ? l->last.msg : "the store has not answered");
    }
    base_mutex_unlock(&l->lock);
    return rc;
}

/* ---- claiming ---- */

/* What lies there is another process's: may it be replaced now? Not one that was left on another
 * machine, or before this one was restarted. */
static int claim_wait(struct tiering_lease *l, const struct cold_lease *there,
                      struct varve_error *err)
{
    struct tiering_lease_watch watch;

    if (there->state == COLD_LEASE_RELEASED || strcmp(there->place, l->mine.place) == 0)
        return 0;
    return tiering_lease_watch(l->env, l->meta, &l->mine.store, &watch, err);
}

static int claim_once(struct tiering_lease *l, struct varve_error *err)
{
    struct cold_lease there;
    int rc = cold_lease_read(l->meta, &l->mine.store, &there, &l->etag, err);

    if (rc < 0 && rc != VARVE_E_NOT_FOUND)
        return rc;
    if (rc == VARVE_E_NOT_FOUND) {
        l->mine.term = 1;
        return lease_put(l, COLD_LEASE_HELD, true, err);
    }
    rc = claim_wait(l, &there, err);
    if (rc < 0)
        return rc;
    l->mine.term = there.term + 1;
    /* If-match what was read before the wait: one that has changed is read again. */
    return lease_put(l, COLD_LEASE_HELD, false, err);
}

static int claim_changing(struct tiering_lease *l, struct varve_error *err)
{
    int rc = VARVE_E_PRECONDITION;

    if (lease_is_lost(l, err))
        return VARVE_E_FENCED;
    if (l->state == LEASE_HOLDING) /* written under `change` as well */
        rc = 0;
    for (unsigned i = 0; rc == VARVE_E_PRECONDITION && i < LEASE_TRIES; i++)
        rc = claim_once(l, err);
    if (rc == 0 && !l->by_hand && !l->thread)
        rc = base_thread_start(&l->thread, "varve-lease", lease_main, l, err);
    return rc < 0 ? base_error_context(err, rc, "claim the lease of this store") : 0;
}

int tiering_lease_claim(struct tiering_lease *l, struct varve_error *err)
{
    int rc;

    base_mutex_lock(&l->change);
    rc = claim_changing(l, err);
    base_mutex_unlock(&l->change);
    return rc;
}

/* ---- making and freeing ---- */

/* Texts of a settings file hold no control characters. */
static void text_copy(char to[COLD_LEASE_TEXT_SIZE], const char *from)
{
    snprintf(to, COLD_LEASE_TEXT_SIZE, "%s", from && from[0] ? from : "unknown");
    for (; *to; to++)
        if ((unsigned char)*to < ' ' || *to == 0x7f)
            *to = '?';
}

int tiering_lease_new(const struct base_env *env, const struct tiering_lease_options *options,
                      struct tiering_lease **ret, struct varve_error *err)
{
    struct tiering_lease *l = calloc(1, sizeof(*l));

    if (!l)
        return base_fail(err, VARVE_E_NO_MEMORY, "lease: out of memory");
    l->env = env;
    l->meta = options->meta;
    l->by_hand = options->by_hand;
    l->duration_ns = options->duration_ms * NS_PER_MS;
    l->mine.store = options->store_id;
    l->mine.holder = base_id_new(env->random);
    l->mine.duration_ms = options->duration_ms;
    text_copy(l->mine.place, options->place);
    text_copy(l->mine.process, options->process);
    base_mutex_init(&l->change);
    base_mutex_init(&l->lock);
    base_cond_init(&l->changed);
    atomic_init(&l->valid_until_ns, 0);
    *ret = l;
    return 0;
}

struct tiering_lease *tiering_lease_free(struct tiering_lease *l)
{
    struct varve_error why = {0};

    if (!l)
        return NULL;
    base_mutex_lock(&l->lock);
    l->stopping = true;
    base_cond_broadcast(&l->changed);
    base_mutex_unlock(&l->lock);
    if (l->thread)
        base_thread_join(l->thread);
    atomic_store_explicit(&l->valid_until_ns, 0, memory_order_release);
    base_mutex_lock(&l->change);
    if (l->state == LEASE_HOLDING && lease_put(l, COLD_LEASE_RELEASED, false, &why) < 0)
        base_log(&l->env->logger, BASE_LOG_INFO, "the lease was not released and runs out: %s",
                 why.msg);
    base_mutex_unlock(&l->change);
    base_cond_deinit(&l->changed);
    base_mutex_deinit(&l->lock);
    base_mutex_deinit(&l->change);
    free(l);
    return NULL;
}

/* ---- somebody else's ---- */

static int lease_alive(const struct cold_lease *there, struct varve_error *err)
{
    char store[BASE_ID_TEXT_SIZE];

    base_id_format(&there->store, store);
    return base_fail(err, VARVE_E_FENCED,
                     "store %s is in lease mode and its writer, %s, renews its lease: end that "
                     "process first",
                     store, there->process);
}

static void watch_tell(const struct base_env *env, const struct cold_lease *seen)
{
    char store[BASE_ID_TEXT_SIZE];

    base_id_format(&seen->store, store);
    base_log(&env->logger, BASE_LOG_WARNING,
             "waiting %lld ms for the lease of store %s, of %s, to run out",
             (long long)seen->duration_ms, store, seen->process);
}

/* Watches until *seen has run out. A store that does not answer for a moment only makes it longer,
 * but one that does not when the time is over leaves the question open. */
static int watch_lease(const struct base_env *env, struct cold_store *meta, struct cold_lease *seen,
                       struct varve_error *err)
{
    int64_t duration = seen->duration_ms * NS_PER_MS, poll = duration / 10, began, now;
    struct cold_lease there;
    struct cold_etag etag;

    if (poll < LEASE_POLL_NS_MIN)
        poll = LEASE_POLL_NS_MIN;
    if (poll > LEASE_POLL_NS_MAX)
        poll = LEASE_POLL_NS_MAX;
    began = boot_now(env); /* L1: after it was read */
    watch_tell(env, seen);
    for (;;) {
        int rc;

        now = boot_now(env);
        sleep_until(env, now + poll < began + duration ? now + poll : began + duration);
        now = boot_now(env);
        rc = cold_lease_read(meta, &seen->store, &there, &etag, err);
        if (rc == 0 && there.state == COLD_LEASE_RELEASED)
            return 0;
        if (rc == 0 && there.state == COLD_LEASE_HELD && !base_id_equal(&there.write, &seen->write))
            return lease_alive(&there, err);
        if (rc == 0 && !base_id_equal(&there.write, &seen->write)) {
            /* Another take-over has broken it; perhaps it was renewed just before. From here on. */
            *seen = there;
            duration = seen->duration_ms * NS_PER_MS;
            began = now = boot_now(env);
        }
        if (now - began < duration)
            continue;
        return rc == VARVE_E_NOT_FOUND ? 0 : rc;
    }
}

int tiering_lease_watch(const struct base_env *env, struct cold_store *meta,
                        const struct base_id *owner, struct tiering_lease_watch *ret,
                        struct varve_error *err)
{
    struct tiering_lease_watch watch = {0};
    struct cold_lease seen;
    struct cold_etag etag;
    int rc = cold_lease_read(meta, owner, &seen, &etag, err);

    if (rc == 0 && seen.state != COLD_LEASE_RELEASED) {
        rc = watch_lease(env, meta, &seen, err);
        watch.write = seen.write;
    } else if (rc == VARVE_E_NOT_FOUND) {
        rc = 0; /* not in lease mode */
    }
    if (rc == 0)
        *ret = watch;
    return rc;
}

static int end_write(const struct base_env *env, struct cold_store *meta, struct cold_lease *lease,
                     enum cold_lease_state state, const struct base_id *by, struct cold_etag *etag,
                     struct varve_error *err)
{
    lease->state = state;
    lease->broken_by = *by;
    lease->write = base_id_new(env->random);
    return cold_lease_write(meta, lease, etag, etag, err);
}

static int end_once(const struct base_env *env, struct cold_store *meta,
                    const struct base_id *owner, const struct base_id *by,
                    const struct tiering_lease_watch *watched, struct varve_error *err)
{
    struct cold_lease there;
    struct cold_etag etag;
    int rc = cold_lease_read(meta, owner, &there, &etag, err);

    if (rc == VARVE_E_NOT_FOUND || (rc == 0 && there.state == COLD_LEASE_RELEASED))
        return 0;
    if (rc < 0)
        return rc;
    if (!base_id_equal(&there.write, &watched->write)) { /* it may still be running: L5 */
        if (there.state == COLD_LEASE_HELD)
            rc = end_write(env, meta, &there, COLD_LEASE_BROKEN, by, &etag, err);
        if (rc < 0)
            return rc;
        watch_tell(env, &there);
        sleep_until(env, boot_now(env) + there.duration_ms * NS_PER_MS);
    }
    return end_write(env, meta, &there, COLD_LEASE_RELEASED, by, &etag, err);
}

int tiering_lease_end(const struct base_env *env, struct cold_store *meta,
                      const struct base_id *owner, const struct base_id *by,
                      const struct tiering_lease_watch *watched, struct varve_error *err)
{
    int rc = VARVE_E_PRECONDITION;

    for (unsigned i = 0; rc == VARVE_E_PRECONDITION && i < LEASE_TRIES; i++)
        rc = end_once(env, meta, owner, by, watched, err);
    return rc;
}
