/*
 * Lease mode (I6): nothing is acknowledged without a confirmed lease, and a take-over waits the old
 * lease out. One lease for each process that writes a store, whatever number of logs it has open.
 */
#ifndef TIERING_LEASE_H
#define TIERING_LEASE_H

#include "base/env.h"
#include "base/thread.h"
#include "cold/lease.h"

/*
 * How much earlier the holder stops to rely on its lease than the others stop to wait for it, of
 * the lease's duration: the clocks of two machines may run at rates that differ by as much.
 */
#define TIERING_LEASE_MARGIN_PERCENT 5
#define TIERING_LEASE_RENEWALS 3 /* in the lease's time, so that two may fail */

struct tiering_lease_options {
    struct cold_store *meta; /* not owned */
    struct base_id store_id;
    int64_t duration_ms;
    const char *place;   /* two processes of one place are never the writer at the same time */
    const char *process; /* for people */
    bool by_hand;        /* no thread: the caller renews; who waits sleeps on the clock's seam */
};

struct tiering_lease;

/* Asks the store nothing. `env` must outlive it. */
int tiering_lease_new(const struct base_env *env, const struct tiering_lease_options *options,
                      struct tiering_lease **ret, struct varve_error *err);
/* Releases it, when it is held, so that a take-over needs not wait; nothing may be acknowledged by
 * it any more. One attempt: a store that is away lets it run out instead. */
struct tiering_lease *tiering_lease_free(struct tiering_lease *l);

/*
 * Makes this process the holder; the first call asks the store, and from then on the lease is
 * renewed. Before a log's root is read: whoever takes the log over writes the root first and ends
 * the lease afterwards, so one of the two is seen (owner.c).
 *
 * A lease that an earlier process of this place has left is taken at once; one of another place (a
 * copy of the store, or a machine that was restarted) is waited out, and refused when it is renewed
 * meanwhile: VARVE_E_FENCED. VARVE_E_FENCED as well once it was lost. Any thread.
 */
int tiering_lease_claim(struct tiering_lease *l, struct varve_error *err);

/* One renewal. VARVE_E_FENCED: lost, for good. Other failures: it runs on as confirmed before. */
int tiering_lease_renew(struct tiering_lease *l, struct varve_error *err);

/* Is it confirmed at this moment? For before an append, and between it and its acknowledgement. Two
 * loads and a clock. */
bool tiering_lease_valid(const struct tiering_lease *l);

/*
 * Waits until it is confirmed. VARVE_E_TIMEOUT (retriable) after the lease's duration, with the
 * reason why it could not be renewed; VARVE_E_FENCED once it is lost. Blocks; any thread.
 */
int tiering_lease_wait(struct tiering_lease *l, struct varve_error *err);

/* ---- somebody else's, for take-overs ---- */

/* What was seen of it. */
struct tiering_lease_watch {
    struct base_id write; /* of the lease that has run out under our eyes; zero: there was none */
};

/*
 * Waits the lease of the store `owner` out: watches it unchanged for its whole duration on our own
 * clock; nothing is concluded from the times of another machine. Returns at once when there is none
 * or it was released. VARVE_E_FENCED: it was renewed, its holder lives. Blocks.
 */
int tiering_lease_watch(const struct base_env *env, struct cold_store *meta,
                        const struct base_id *owner, struct tiering_lease_watch *ret,
                        struct varve_error *err);

/*
 * Ends it: it can never be renewed afterwards, and has run out on return: at once when it is the
 * one that was watched. `by`: the store that takes over. Blocks.
 */
int tiering_lease_end(const struct base_env *env, struct cold_store *meta,
                      const struct base_id *owner, const struct base_id *by,
                      const struct tiering_lease_watch *watched, struct varve_error *err);

#endif
