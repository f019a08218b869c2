/*
 * The client. A call's life:
 *
 *   READY    wants a place in the window and credentials to sign with; queued by priority
 *   RUNNING  one request in flight, or two: the second is a hedge
 *   WAITING  a request failed; the next begins at due_ns
 *   over     unlinked, then `done`
 *
 * Requests begin in the thread that starts a call, in the HTTP engine's threads (when one that ends
 * gives its place to the next), and in the client's own thread, the dispatcher: it alone waits for
 * credentials, for delays and for the moment to hedge.
 *
 *   L1 `done` is called with no lock held, never inside start or cancel; freeing the client waits
 *      for it.
 *   L2 While a request writes into a call's room, the call is not over: where a hedge wins, the
 *      first request is cancelled and waited for, then the hedge's bytes are copied.
 *   L3 A call that changes something and may have been done without our knowing is `uncertain`; who
 *      made the call finds out by its write id (I7).
 */
#include "cold/s3/client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "base/thread.h"
#include "cold/s3/request.h"
#include "cold/s3/retry.h"
#include "cold/s3/verdict.h"

#define KEYS_LEFT_MIN_MS 10000 /* credentials with less to live are not signed with */
#define KEYS_REFRESH_INTERVAL_NS INT64_C(30000000000)
#define CLOCK_OFF_MS (10 * 60 * 1000) /* stores allow 15 minutes */
#define DAMAGED_REQUESTS_MAX 4        /* of answers that are not what was asked for */
#define ODD_REQUESTS_MAX 4            /* of answers that are none */
/* MinIO calls a put denied whose directory a delete beside it has just pruned. */
#define DENIED_REQUESTS_MAX 3

enum call_state { CALL_READY, CALL_RUNNING, CALL_WAITING };

struct s3_attempt {
    struct s3_client *client;
    struct s3_call *call; /* NULL: it lost against the other one, nobody waits for it */
    unsigned which;       /* in the call's attempts */
    struct s3_request request;
    void *hedge_room;
    int64_t started_ns;
};

struct s3_client {
    const struct base_env *env;
    struct s3_transport transport;
    struct s3_keys keys;
    struct s3_signer *signer;
    char *endpoint_url, *bucket; /* for a corrected region */
    enum s3_style style;
    unsigned delay_divisor;
    struct base_thread *dispatcher;

    /* Protects everything below, and the `internal` part of calls. Held while a request is signed;
     * the HTTP engine's queue lock is taken under it. */
    struct base_mutex lock;
    struct base_cond wake;   /* the dispatcher's */
    struct base_cond idle;   /* for freeing */
    int64_t dispatch_due_ns; /* when the dispatcher wakes by itself */
    struct s3_endpoint endpoint;
    struct s3_credentials credentials;
    bool has_credentials;
    int64_t keys_again_ns; /* not asked for again before, while those there are good */
    int64_t skew_ms;       /* the store's clock minus ours */
    struct s3_window window;
    struct s3_budget budget;
    struct s3_hedge hedge;
    struct s3_call *calls; /* all */
    struct s3_call *ready;
    unsigned busy; /* calls whose done has not returned, and lost attempts in flight */
    bool answered; /* the store has answered at least once */
    bool welcome;  /* it has let a request of ours through */
    bool closing;
    struct s3_client_stats stats;
};

static int64_t mono_ns(const struct s3_client *c)
{
    return c->env->clock->mono_ns(c->env->clock->ctx);
}

static int64_t wall_ms(const struct s3_client *c)
{
    return c->env->clock->wall_ms(c->env->clock->ctx);
}

/* ---- the adapters ---- */

static int http_start(void *ctx, struct s3_http_request *request, struct varve_error *err)
{
    return s3_http_start(ctx, request, err);
}

static void http_cancel(void *ctx, struct s3_http_request *request)
{
    s3_http_cancel(ctx, request);
}

struct s3_transport s3_transport_http(struct s3_http *http)
{
    return (struct s3_transport){.ctx = http, .start = http_start, .cancel = http_cancel};
}

static int source_get(void *ctx, struct s3_credentials *ret, struct varve_error *err)
{
    return s3_credentials_source_get(ctx, ret, err);
}

static void source_expire(void *ctx, const char *access_key)
{
    s3_credentials_source_expire(ctx, access_key);
}

struct s3_keys s3_keys_source(struct s3_credentials_source *source)
{
    return (struct s3_keys){.ctx = source, .get = source_get, .expire = source_expire};
}

/* ---- credentials ---- */

static bool keys_usable_locked(const struct s3_client *c)
{
    return c->has_credentials && (c->credentials.expires_ms == INT64_MAX ||
                                  wall_ms(c) < c->credentials.expires_ms - KEYS_LEFT_MIN_MS);
}

static bool keys_old_locked(const struct s3_client *c)
{
    return c->has_credentials && c->credentials.expires_ms != INT64_MAX &&
           wall_ms(c) > c->credentials.expires_ms - S3_CREDENTIALS_EARLY_MS &&
           mono_ns(c) > c->keys_again_ns;
}

/* Drops the lock while it asks. */
static int keys_get_locked(struct s3_client *c, struct varve_error *err)
{
    struct s3_credentials fresh = {0};
    int rc;

    c->keys_again_ns = mono_ns(c) + KEYS_REFRESH_INTERVAL_NS;
    base_mutex_unlock(&c->lock);
    rc = c->keys.get(c->keys.ctx, &fresh, err);
    base_mutex_lock(&c->lock);
    if (rc < 0)
        return rc;
    s3_credentials_clear(&c->credentials);
    c->credentials = fresh;
    c->has_credentials = true;
    return 0;
}

/* ---- lists ---- */

static void call_link_locked(struct s3_client *c, struct s3_call *call)
{
    call->internal.next = c->calls;
    if (c->calls)
        c->calls->internal.prev = call;
    c->calls = call;
    c->busy++;
}

static void call_unlink_locked(struct s3_client *c, struct s3_call *call)
{
    if (call->internal.prev)
        call->internal.prev->internal.next = call->internal.next;
    else
        c->calls = call->internal.next;
    if (call->internal.next)
        call->internal.next->internal.prev = call->internal.prev;
}

static void ready_put_locked(struct s3_client *c, struct s3_call *call)
{
    struct s3_call **at = &c->ready;

    while (*at && (*at)->priority <= call->priority)
        at = &(*at)->internal.queue;
    call->internal.queue = *at;
    *at = call;
    call->internal.state = CALL_READY;
}

static void unbusy(struct s3_client *c)
{
    base_mutex_lock(&c->lock);
    if (--c->busy == 0)
        base_cond_broadcast(&c->idle);
    base_mutex_unlock(&c->lock);
}

/* Ends calls that are over, linked by `queue` and unlinked from the rest: L1. */
static void calls_end(struct s3_client *c, struct s3_call *over)
{
    while (over) {
        struct s3_call *call = over;

        over = call->internal.queue;
        if (call->rc <= VARVE_E_IO && call->requests > 1)
            base_error_context(&call->err, call->rc, "after %u requests", call->requests);
        call->done(call);
        unbusy(c);
    }
}

static void over_put_locked(struct s3_client *c, struct s3_call *call, struct s3_call **over)
{
    call_unlink_locked(c, call);
    call->internal.queue = *over;
    *over = call;
}

/* ---- one request ---- */

static void attempt_free(struct s3_attempt *a)
{
    if (!a)
        return;
    s3_request_deinit(&a->request);
    free(a->hedge_room);
    free(a);
}

static void attempt_done(struct s3_http_request *request, struct s3_http_reply *reply);

/* At least 1. */
static int64_t patience_left_ms(const struct s3_client *c, const struct s3_call *call)
{
    int64_t left = call->patience_ms - (mono_ns(c) - call->internal.started_ns) / 1000000;

    return left > 1 ? left : 1;
}

/* The caller has a place in the window. On failure the call is as it was. */
static int attempt_begin_locked(struct s3_client *c, struct s3_call *call, unsigned which,
                                struct varve_error *err)
{
    struct s3_attempt *a = calloc(1, sizeof(*a));
    int rc;

    if (!a)
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    *a = (struct s3_attempt){.client = c, .call = call, .which = which, .started_ns = mono_ns(c)};
    if (which == 1)
        a->hedge_room = malloc(call->room_size);
    rc = which == 1 && !a->hedge_room
             ? base_fail(err, VARVE_E_NO_MEMORY, "out of memory")
             : s3_request_build(c->signer, &c->endpoint, &c->credentials, wall_ms(c) + c->skew_ms,
                                call, &a->request, err);
    if (rc == 0) {
        if (which == 1)
            a->request.http.room = a->hedge_room;
        if (call->patience_ms > 0)
            a->request.http.connect_timeout_ms = a->request.http.first_byte_timeout_ms =
                patience_left_ms(c, call);
        a->request.http.done = attempt_done;
        a->request.http.ctx = a;
        call->internal.attempts[which] = a;
        rc = c->transport.start(c->transport.ctx, &a->request.http, err);
    }
    if (rc < 0) {
        call->internal.attempts[which] = NULL;
        attempt_free(a);
        return rc;
    }
    call->internal.state = CALL_RUNNING;
    call->requests++;
    c->stats.requests++;
    return 0;
}

/* A first request; sees to it that the dispatcher is awake when it may be time to hedge. */
static int call_begin_locked(struct s3_client *c, struct s3_call *call, struct varve_error *err)
{
    int64_t delay = s3_hedge_delay_ns(&c->hedge);
    int rc = attempt_begin_locked(c, call, 0, err);

    call->internal.hedge_ns = 0;
    if (rc < 0 || !call->may_hedge || delay == 0 || call->room_size > S3_HEDGE_SIZE_MAX)
        return rc;
    call->internal.hedge_ns = mono_ns(c) + delay;
    if (call->internal.hedge_ns < c->dispatch_due_ns)
        base_cond_signal(&c->wake);
    return 0;
}

static void hedge_begin_locked(struct s3_client *c, struct s3_call *call)
{
    call->internal.hedge_ns = 0;
    if (!call->internal.attempts[0] || call->internal.attempts[1] || call->internal.cancelled ||
        !s3_window_enter(&c->window))
        return;
    if (s3_hedge_take(&c->hedge) && attempt_begin_locked(c, call, 1, NULL) == 0)
        c->stats.hedges++;
    else
        s3_window_leave(&c->window);
}

/* Begins what is ready as far as the window goes; what cannot begin is over. */
static void ready_begin_locked(struct s3_client *c, struct s3_call **over)
{
    while (c->ready && keys_usable_locked(c)) {
        struct s3_call *call = c->ready;
        struct varve_error err;
        int rc = 0;

        if (!call->internal.cancelled && !s3_window_enter(&c->window))
            return;
        c->ready = call->internal.queue;
        if (call->internal.cancelled) {
            rc = base_fail(&err, VARVE_E_CANCELLED, "cancelled");
        } else {
            rc = call_begin_locked(c, call, &err);
            if (rc < 0)
                s3_window_leave(&c->window);
        }
        if (rc < 0) {
            call->rc = rc;
            call->err = err;
            over_put_locked(c, call, over);
        }
    }
}

/* ---- what comes of it ---- */

/* False: the call ends. */
static bool region_correct_locked(struct s3_client *c, struct s3_call *call)
{
    const char *region = call->error.region;
    const struct s3_endpoint_options options = {
        .endpoint = c->endpoint_url, .region = region, .bucket = c->bucket, .style = c->style};
    struct s3_endpoint endpoint;
    struct varve_error err;
    int rc;

    if (strcmp(c->endpoint.region, region) == 0)
        return true; /* another call was faster */
    rc = s3_endpoint_init(&options, &endpoint, &err);
    if (rc == VARVE_E_NO_MEMORY) { /* else what the store said is better to know */
        call->rc = rc;
        call->err = err;
    }
    if (rc < 0)
        return false;
    s3_endpoint_deinit(&c->endpoint);
    c->endpoint = endpoint;
    return true;
}

/* The refusal of a HEAD has no body: where it comes with a Date that no store takes, it is the
 * clock's. */
static bool is_clock_refusal_locked(const struct s3_client *c, const struct s3_call *call,
                                    const struct s3_http_reply *reply)
{
    int64_t store_ms = s3_verdict_date(reply->headers[S3_REPLY_DATE]), off;

    if (call->rc != VARVE_E_DENIED || call->error.code[0] || store_ms < 0)
        return false;
    off = store_ms - (wall_ms(c) + c->skew_ms);
    return off > CLOCK_OFF_MS || off < -CLOCK_OFF_MS;
}

/* True: the call waits for its next request. */
static bool retry_locked(struct s3_client *c, struct s3_call *call, const struct s3_http_reply *r)
{
    int64_t now = mono_ns(c), delay;
    unsigned cost = r->outcome == S3_HTTP_REPLY ? S3_BUDGET_COST : S3_BUDGET_COST_TIMEOUT;

    if ((!c->answered && call->requests >= S3_RETRY_UNPROVEN_ATTEMPTS) ||
        (call->rc == VARVE_E_CORRUPT && call->requests >= DAMAGED_REQUESTS_MAX))
        return false;
    delay = s3_retry_delay_ms(call->internal.last_delay_ms, base_random_u64(c->env->random));
    if ((now - call->internal.started_ns) / 1000000 + delay / c->delay_divisor >
            (call->patience_ms > 0 ? call->patience_ms : S3_RETRY_CALL_MS / c->delay_divisor) ||
        !s3_budget_take(&c->budget, cost))
        return false;
    call->internal.last_delay_ms = delay;
    call->internal.due_ns = now + delay * 1000000 / c->delay_divisor;
    call->internal.state = CALL_WAITING;
    c->stats.retries++;
    base_log(&c->env->logger, BASE_LOG_INFO, "bucket %s: %s %s: %s; request %u in %lld ms",
             c->endpoint.bucket, call->method, call->key[0] ? call->key : "/",
             call->err.msg[0] ? call->err.msg : "no answer", call->requests + 1,
             (long long)(delay / c->delay_divisor));
    if (call->internal.due_ns < c->dispatch_due_ns)
        base_cond_signal(&c->wake);
    return true;
}

/* Once per call: true the first time. */
static bool once(bool *tried)
{
    bool first = !*tried;

    *tried = true;
    return first;
}

/* At once and without a token: the cause is known and removed. */
static bool again_locked(struct s3_client *c, struct s3_call *call)
{
    c->stats.retries++;
    ready_put_locked(c, call);
    base_cond_signal(&c->wake);
    return true;
}

/* True: there will be another request. */
static bool verdict_follow_locked(struct s3_client *c, struct s3_attempt *a,
                                  enum s3_verdict verdict, const struct s3_http_reply *reply)
{
    struct s3_call *call = a->call;

    if (call->internal.cancelled && verdict != S3_VERDICT_DONE) {
        call->rc = base_fail(&call->err, VARVE_E_CANCELLED, "cancelled");
        return false;
    }
    switch (verdict) {
    case S3_VERDICT_DONE:
    case S3_VERDICT_CANCELLED:
        return false;
    case S3_VERDICT_CLOCK:
        if (!once(&call->internal.clock_tried))
            return false;
        c->skew_ms = s3_verdict_date(reply->headers[S3_REPLY_DATE]) - wall_ms(c);
        return again_locked(c, call);
    case S3_VERDICT_KEYS:
        if (!once(&call->internal.keys_tried))
            return false;
        c->keys.expire(c->keys.ctx, a->request.access_key);
        if (c->has_credentials && strcmp(c->credentials.access_key, a->request.access_key) == 0)
            c->has_credentials = false;
        return again_locked(c, call);
    case S3_VERDICT_REGION:
        if (!once(&call->internal.region_tried) || !region_correct_locked(c, call))
            return false;
        return again_locked(c, call);
    case S3_VERDICT_AT_ONCE:
        return call->requests == 1 && c->answered ? again_locked(c, call)
                                                  : retry_locked(c, call, reply);
    case S3_VERDICT_SLOWER:
        c->stats.slow_downs++;
        s3_window_slow_down(&c->window, mono_ns(c));
        return retry_locked(c, call, reply);
    case S3_VERDICT_DENIED:
        return c->welcome && call->requests < DENIED_REQUESTS_MAX && retry_locked(c, call, reply);
    case S3_VERDICT_ODD:
        return call->requests < ODD_REQUESTS_MAX && retry_locked(c, call, reply);
    case S3_VERDICT_AGAIN:
        return retry_locked(c, call, reply);
    }
    return false;
}

static void success_note_locked(struct s3_client *c, const struct s3_attempt *a)
{
    c->welcome = true;
    s3_budget_refund(&c->budget);
    s3_window_succeeded(&c->window);
    if (a->call->may_hedge && a->call->room_size <= S3_HEDGE_SIZE_MAX)
        s3_hedge_sample(&c->hedge, mono_ns(c) - a->started_ns);
}

static void cancel_attempt_locked(struct s3_client *c, struct s3_attempt *a)
{
    c->transport.cancel(c->transport.ctx, &a->request.http);
}

/* The call has its answer from `a`. True: it is over; false: L2. */
static bool success_locked(struct s3_client *c, struct s3_attempt *a)
{
    struct s3_call *call = a->call;
    struct s3_attempt *other = call->internal.attempts[!a->which];

    success_note_locked(c, a);
    if (a->which == 1 && other) {
        call->internal.winner = a;
        cancel_attempt_locked(c, other);
        return false;
    }
    if (other) { /* a hedge writes into its own room */
        other->call = NULL;
        call->internal.attempts[1] = NULL;
        c->busy++;
        cancel_attempt_locked(c, other);
    }
    if (a->which == 1)
        memcpy(call->room, a->hedge_room, call->room_size);
    call->body_memory = a->request.http.body_memory;
    call->body_memory_size = a->request.http.body_memory_size;
    a->request.http.body_memory = NULL;
    return true;
}

/* The first request has let go of the room after the hedge had won: L2. */
static void winner_locked(struct s3_call *call)
{
    struct s3_attempt *winner = call->internal.winner;

    memcpy(call->room, winner->hedge_room, call->room_size);
    call->internal.winner = NULL;
    call->rc = 0;
    attempt_free(winner);
}

/* True: the call is over. *ret_keep: the attempt lives on as the winner. */
static bool attempt_judge_locked(struct s3_client *c, struct s3_attempt *a,
                                 const struct s3_http_reply *reply, bool *ret_keep)
{
    struct s3_call *call = a->call;
    enum s3_verdict verdict;
    bool over;

    call->internal.attempts[a->which] = NULL;
    if (reply->outcome == S3_HTTP_REPLY)
        c->answered = true;
    if (call->internal.winner) {
        winner_locked(call);
        return true;
    }
    verdict = s3_verdict_reach(call, &a->request.http, reply, c->bucket);
    if (verdict == S3_VERDICT_DONE && is_clock_refusal_locked(c, call, reply))
        verdict = S3_VERDICT_CLOCK;
    if (verdict == S3_VERDICT_DONE && call->rc == 0) {
        over = success_locked(c, a);
        *ret_keep = call->internal.winner == a;
        return over;
    }
    if (call->internal.attempts[!a->which])
        return false; /* the other one decides */
    return !verdict_follow_locked(c, a, verdict, reply);
}

/* On a thread of the HTTP engine. */
static void attempt_done(struct s3_http_request *request, struct s3_http_reply *reply)
{
    struct s3_attempt *a = request->ctx;
    struct s3_client *c = a->client;
    struct s3_call *over = NULL;
    bool keep = false, lost;

    base_mutex_lock(&c->lock);
    s3_window_leave(&c->window);
    lost = !a->call;
    if (a->call && attempt_judge_locked(c, a, reply, &keep))
        over_put_locked(c, a->call, &over);
    ready_begin_locked(c, &over);
    base_mutex_unlock(&c->lock);
    if (!keep)
        attempt_free(a);
    calls_end(c, over);
    if (lost)
        unbusy(c);
}

/* ---- the dispatcher ---- */

/* Delays that have passed, hedges that are due. Returns when the next is. */
static int64_t timers_locked(struct s3_client *c)
{
    int64_t now = mono_ns(c), due = INT64_MAX;

    for (struct s3_call *call = c->calls; call; call = call->internal.next) {
        if (call->internal.state == CALL_WAITING) {
            if (call->internal.due_ns <= now || call->internal.cancelled)
                ready_put_locked(c, call);
            else if (call->internal.due_ns < due)
                due = call->internal.due_ns;
        }
        if (call->internal.state == CALL_RUNNING && call->internal.hedge_ns) {
            if (call->internal.hedge_ns <= now)
                hedge_begin_locked(c, call);
            else if (call->internal.hedge_ns < due)
                due = call->internal.hedge_ns;
        }
    }
    return due;
}

/* What is ready ends with rc: nothing can be signed. Cancelled calls end anyway. */
static void ready_fail_locked(struct s3_client *c, bool only_cancelled, int rc,
                              const struct varve_error *err, struct s3_call **over)
{
    for (struct s3_call **at = &c->ready; *at;) {
        struct s3_call *call = *at;

        if (only_cancelled && !call->internal.cancelled) {
            at = &call->internal.queue;
            continue;
        }
        *at = call->internal.queue;
        call->rc = rc;
        call->err = *err;
        if (call->internal.cancelled)
            call->rc = base_fail(&call->err, VARVE_E_CANCELLED, "cancelled");
        over_put_locked(c, call, over);
    }
}

/* One round. Returns when the next is due; *ret_over are calls to end. */
static int64_t dispatch_locked(struct s3_client *c, struct s3_call **ret_over)
{
    struct varve_error err = {0};
    int rc;

    timers_locked(c);
    ready_fail_locked(c, true, 0, &err, ret_over);
    if ((c->ready && !keys_usable_locked(c)) || keys_old_locked(c)) {
        rc = keys_get_locked(c, &err);
        if (rc == 0 && !keys_usable_locked(c))
            rc = base_fail_retriable(&err, VARVE_E_DENIED, "the credentials have expired");
        if (!keys_usable_locked(c))
            ready_fail_locked(c, false, rc, &err, ret_over);
    }
    ready_begin_locked(c, ret_over);
    return timers_locked(c); /* what has come while the lock was dropped */
}

static void dispatcher_run(void *arg)
{
    struct s3_client *c = arg;

    base_mutex_lock(&c->lock);
    while (!c->closing || c->calls) {
        struct s3_call *over = NULL;
        int64_t due = dispatch_locked(c, &over), left = due - mono_ns(c);

        if (over) {
            base_mutex_unlock(&c->lock);
            calls_end(c, over);
            base_mutex_lock(&c->lock);
            continue;
        }
        if (c->ready && (!keys_usable_locked(c) || c->window.in_flight < c->window.size))
            continue; /* it came while the lock was dropped */
        c->dispatch_due_ns = due;
        if (due == INT64_MAX)
            base_cond_wait(&c->wake, &c->lock);
        else if (left > 0)
            base_cond_wait_for(&c->wake, &c->lock, left);
        c->dispatch_due_ns = INT64_MIN;
    }
    base_mutex_unlock(&c->lock);
}

/* ---- the face ---- */

static void call_reset(struct s3_call *call)
{
    call->rc = 0;
    memset(&call->err, 0, sizeof(call->err));
    memset(&call->error, 0, sizeof(call->error));
    memset(&call->internal, 0, sizeof(call->internal));
    call->uncertain = call->answered = false;
    call->trouble = S3_HTTP_TROUBLE_OTHER;
    call->date_ms = -1;
    call->requests = 0;
    call->etag[0] = call->write_id[0] = '\0';
    call->body_memory = NULL;
    call->body_memory_size = 0;
}

int s3_client_start(struct s3_client *c, struct s3_call *call, struct varve_error *err)
{
    int rc = 0;

    call_reset(call);
    base_mutex_lock(&c->lock);
    if (c->closing) {
        base_mutex_unlock(&c->lock);
        return base_fail(err, VARVE_E_CANCELLED, "closing");
    }
    call->internal.started_ns = mono_ns(c);
    call_link_locked(c, call);
    if (c->ready || !keys_usable_locked(c) || !s3_window_enter(&c->window)) {
        ready_put_locked(c, call);
        if (!keys_usable_locked(c))
            base_cond_signal(&c->wake);
    } else {
        rc = call_begin_locked(c, call, err);
        if (rc < 0) {
            s3_window_leave(&c->window);
            call_unlink_locked(c, call);
            c->busy--;
        } else if (keys_old_locked(c)) {
            base_cond_signal(&c->wake);
        }
    }
    base_mutex_unlock(&c->lock);
    return rc;
}

void s3_client_cancel(struct s3_client *c, struct s3_call *call)
{
    base_mutex_lock(&c->lock);
    call->internal.cancelled = true;
    for (int i = 0; i < 2; i++)
        if (call->internal.attempts[i])
            cancel_attempt_locked(c, call->internal.attempts[i]);
    base_cond_signal(&c->wake);
    base_mutex_unlock(&c->lock);
}

struct waiter {
    struct base_mutex lock;
    struct base_cond ended;
    bool done;
};

static void waiter_done(struct s3_call *call)
{
    struct waiter *w = call->ctx;

    base_mutex_lock(&w->lock);
    w->done = true;
    base_cond_signal(&w->ended);
    base_mutex_unlock(&w->lock);
}

int s3_client_call(struct s3_client *c, struct s3_call *call, struct varve_error *err)
{
    struct waiter w = {.done = false};
    int rc;

    call->done = waiter_done;
    call->ctx = &w;
    base_mutex_init(&w.lock);
    base_cond_init(&w.ended);
    rc = s3_client_start(c, call, err);
    if (rc == 0) {
        base_mutex_lock(&w.lock);
        while (!w.done)
            base_cond_wait(&w.ended, &w.lock);
        base_mutex_unlock(&w.lock);
        rc = call->rc;
        if (rc < 0 && err)
            *err = call->err;
    }
    base_cond_deinit(&w.ended);
    base_mutex_deinit(&w.lock);
    return rc;
}

void s3_client_stats(struct s3_client *c, struct s3_client_stats *ret)
{
    base_mutex_lock(&c->lock);
    *ret = c->stats;
    ret->window = c->window.size;
    base_mutex_unlock(&c->lock);
}

void s3_client_place(struct s3_client *c, struct s3_client_place *ret)
{
    base_mutex_lock(&c->lock);
    snprintf(ret->base, sizeof(ret->base), "%s", c->endpoint.base);
    snprintf(ret->region, sizeof(ret->region), "%s", c->endpoint.region);
    ret->tls = c->endpoint.tls;
    ret->virtual_style = c->endpoint.path[0] == '\0';
    base_mutex_unlock(&c->lock);
}

static int client_init(struct s3_client *c, const struct s3_client_options *o,
                       struct varve_error *err)
{
    int rc = base_format(&c->bucket, err, "%s", o->endpoint.bucket);

    if (rc == 0 && o->endpoint.endpoint)
        rc = base_format(&c->endpoint_url, err, "%s", o->endpoint.endpoint);
    if (rc == 0)
        rc = s3_endpoint_init(&o->endpoint, &c->endpoint, err);
    if (rc == 0)
        rc = s3_signer_new(&c->signer, err);
    return rc < 0 ? rc : base_thread_start(&c->dispatcher, "varve-s3", dispatcher_run, c, err);
}

int s3_client_new(const struct base_env *env, const struct s3_client_options *options,
                  struct s3_client **ret, struct varve_error *err)
{
    struct s3_client *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    c->env = env;
    c->transport = options->transport;
    c->keys = options->keys;
    c->style = options->endpoint.style;
    c->delay_divisor = options->delay_divisor ? options->delay_divisor : 1;
    c->dispatch_due_ns = INT64_MIN;
    s3_window_init(&c->window, options->window ? options->window : S3_CLIENT_WINDOW_DEFAULT);
    s3_budget_init(&c->budget);
    s3_hedge_init(&c->hedge);
    base_mutex_init(&c->lock);
    base_cond_init(&c->wake);
    base_cond_init(&c->idle);
    rc = client_init(c, options, err);
    if (rc < 0) {
        s3_client_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

struct s3_client *s3_client_free(struct s3_client *c)
{
    if (!c)
        return NULL;
    base_mutex_lock(&c->lock);
    c->closing = true;
    for (struct s3_call *call = c->calls; call; call = call->internal.next) {
        call->internal.cancelled = true;
        for (int i = 0; i < 2; i++)
            if (call->internal.attempts[i])
                cancel_attempt_locked(c, call->internal.attempts[i]);
    }
    base_cond_signal(&c->wake);
    while (c->busy > 0)
        base_cond_wait(&c->idle, &c->lock);
    base_cond_signal(&c->wake);
    base_mutex_unlock(&c->lock);
    base_thread_join(c->dispatcher);
    s3_endpoint_deinit(&c->endpoint);
    s3_signer_free(c->signer);
    s3_credentials_clear(&c->credentials);
    free(c->endpoint_url);
    free(c->bucket);
    base_cond_deinit(&c->wake);
    base_cond_deinit(&c->idle);
    base_mutex_deinit(&c->lock);
    free(c);
    return NULL;
}
