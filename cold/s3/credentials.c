/*
 * Credentials as they are now: fetched when they are first needed, refreshed before they expire.
 *
 * INVARIANTS
 *   K1  One caller fetches at a time. Those who have nothing usable wait for it and share its
 * result, a failure included; the others go on with what is there. K2  What is usable is never
 * given up for a fetch that fails: that is logged, and tried again after a while. K3  What has just
 * been fetched is used for a while even when it has expired by our clock: the clock may be wrong,
 * and whether they are good is the store's to say.
 */
#include "cold/s3/credentials.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "base/thread.h"
#include "cold/s3/credentials_private.h"

#define AGAIN_MS (30 * 1000) /* between attempts to refresh what is still usable */
#define NS_PER_MS INT64_C(1000000)

struct s3_credentials_source {
    struct s3_chain chain;    /* immutable */
    struct base_mutex lock;   /* protects all below; never held while fetching */
    struct base_cond changed; /* a fetch has ended */
    bool fetching;
    uint64_t fetches;           /* ended so far */
    struct varve_error failure; /* of the last one; code 0: it succeeded */
    bool has_current;
    bool stale; /* the store has called them expired */
    struct s3_credentials current;
    int64_t usable_until_ms;  /* wall clock; K3 */
    int64_t refresh_after_ms; /* monotonic; not before */
};

int s3_credentials_source_new(const struct base_env *env,
                              const struct s3_credentials_options *options,
                              struct s3_credentials_source **ret, struct varve_error *err)
{
    struct s3_credentials_source *s = calloc(1, sizeof(*s));
    int rc = 0;

    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "new S3 credentials: out of memory");
    s->chain.env = env;
    s->chain.http = options->http;
    s->chain.getenv = options->getenv;
    s->chain.getenv_ctx = options->getenv_ctx;
    base_mutex_init(&s->lock);
    base_cond_init(&s->changed);
    if (options->imds_endpoint)
        rc = base_format(&s->chain.imds_endpoint, err, "%s", options->imds_endpoint);
    if (rc == 0 && options->sts_endpoint)
        rc = base_format(&s->chain.sts_endpoint, err, "%s", options->sts_endpoint);
    if (rc == 0)
        rc = s3_signer_new(&s->chain.signer, err);
    if (rc == 0)
        rc = s3_chain_init(&s->chain, options->profile, options->region, err);
    if (rc < 0) {
        s3_credentials_source_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

struct s3_credentials_source *s3_credentials_source_free(struct s3_credentials_source *s)
{
    if (!s)
        return NULL;
    s3_chain_deinit(&s->chain);
    s3_credentials_clear(&s->current);
    base_cond_deinit(&s->changed);
    base_mutex_deinit(&s->lock);
    free(s);
    return NULL;
}

static int64_t wall_ms(const struct s3_credentials_source *s)
{
    const struct base_clock *clock = s->chain.env->clock;

    return clock->wall_ms(clock->ctx);
}

static int64_t mono_ms(const struct s3_credentials_source *s)
{
    const struct base_clock *clock = s->chain.env->clock;

    return clock->mono_ns(clock->ctx) / NS_PER_MS;
}

static bool is_usable_locked(const struct s3_credentials_source *s)
{
    return s->has_current && !s->stale && wall_ms(s) < s->usable_until_ms;
}

/* To be fetched now, by whoever asks first. */
static bool is_due_locked(const struct s3_credentials_source *s)
{
    if (!is_usable_locked(s))
        return true;
    return s->current.expires_ms != INT64_MAX &&
           wall_ms(s) >= s->current.expires_ms - S3_CREDENTIALS_EARLY_MS &&
           mono_ms(s) >= s->refresh_after_ms;
}

/* Puts what has been fetched in the place of what was there. */
static void accept_locked(struct s3_credentials_source *s, const struct s3_credentials *fetched)
{
    int64_t at_least = wall_ms(s) + AGAIN_MS;

    s3_credentials_clear(&s->current);
    s->current = *fetched;
    s->has_current = true;
    s->stale = false;
    s->usable_until_ms = fetched->expires_ms > at_least ? fetched->expires_ms : at_least; /* K3 */
}

/* Fetches with the lock let go of, and tells those who wait. */
static void fetch_locked(struct s3_credentials_source *s)
{
    struct s3_credentials fetched;
    struct varve_error failure = {0};
    int rc;

    s->fetching = true;
    base_mutex_unlock(&s->lock);
    rc = s3_chain_resolve(&s->chain, &fetched, &failure);
    base_mutex_lock(&s->lock);
    s->fetching = false;
    s->fetches++;
    s->refresh_after_ms = mono_ms(s) + AGAIN_MS;
    s->failure = failure;
    s->failure.code = rc; /* on success a condition on the way may have left something */
    if (rc == 0)
        accept_locked(s, &fetched);
    else if (is_usable_locked(s))
        base_log(&s->chain.env->logger, BASE_LOG_WARNING, "not refreshed, those at hand go on: %s",
                 failure.msg); /* K2 */
    base_cond_broadcast(&s->changed);
}

/* Until there is something usable, or a fetch that ended meanwhile has failed. */
static int ensure_locked(struct s3_credentials_source *s, struct varve_error *err)
{
    uint64_t before = s->fetches;

    if (!s->fetching && is_due_locked(s))
        fetch_locked(s);
    while (!is_usable_locked(s)) {
        if (s->fetches != before && s->failure.code != 0) {
            if (err)
                *err = s->failure;
            return s->failure.code;
        }
        if (s->fetching)
            base_cond_wait(&s->changed, &s->lock);
        else
            fetch_locked(s);
    }
    return 0;
}

int s3_credentials_source_get(struct s3_credentials_source *s, struct s3_credentials *ret,
                              struct varve_error *err)
{
    int rc;

    base_mutex_lock(&s->lock);
    rc = ensure_locked(s, err);
    if (rc == 0)
        rc = s3_credentials_copy(&s->current, ret, err);
    base_mutex_unlock(&s->lock);
    return rc;
}

void s3_credentials_source_expire(struct s3_credentials_source *s, const char *access_key)
{
    base_mutex_lock(&s->lock);
    if (s->has_current && strcmp(s->current.access_key, access_key) == 0)
        s->stale = true;
    base_mutex_unlock(&s->lock);
}

const char *s3_credentials_source_region(const struct s3_credentials_source *s)
{
    return s->chain.region;
}

const char *s3_credentials_source_profile(const struct s3_credentials_source *s)
{
    return s->chain.profile;
}

const char *s3_credentials_source_endpoint_url(const struct s3_credentials_source *s)
{
    return s->chain.endpoint_url;
}
