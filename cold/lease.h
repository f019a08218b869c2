/*
 * The lease of one store's writing process, an object beside the logs (docs/format-manifest.md):
 * its format, and the conditional writes that change it. What a lease means, and for how long, is
 * tiering/lease.c's to know.
 */
#ifndef COLD_LEASE_H
#define COLD_LEASE_H

#include "base/random.h"
#include "cold/store.h"

#define COLD_LEASE_SIZE_MAX 4096
#define COLD_LEASE_TEXT_SIZE 128
#define COLD_LEASE_MS_MAX                                                                          \
    (60 * 60 * 1000) /* of one that is read: what a take-over waits at most                        \
                      */

enum cold_lease_state {
    COLD_LEASE_HELD,
    COLD_LEASE_BROKEN,   /* may not be renewed any more, but may still be running */
    COLD_LEASE_RELEASED, /* over */
};

struct cold_lease {
    struct base_id store;  /* whose */
    struct base_id holder; /* the process, by a random id */
    struct base_id write;  /* of the write that made these bytes (I7) */
    uint64_t term;         /* +1 with each process that claims it */
    int64_t duration_ms;
    enum cold_lease_state state;
    struct base_id broken_by;           /* the store that took a log over; zero: nobody */
    char place[COLD_LEASE_TEXT_SIZE];   /* where only one process can be the writer at a time */
    char process[COLD_LEASE_TEXT_SIZE]; /* for people: "process 123 (varve) on host" */
};

/* VARVE_E_NOT_FOUND: there is none. VARVE_E_CORRUPT, VARVE_E_VERSION. */
int cold_lease_read(struct cold_store *meta, const struct base_id *store, struct cold_lease *ret,
                    struct cold_etag *ret_etag, struct varve_error *err);

/*
 * Writes it: if-match `etag`, or if-absent with NULL. After a lost reply or a 412 the object is
 * read back and its write id compared (I7): the caller gives each write a fresh one.
 * VARVE_E_PRECONDITION: something else is there. Any other failure: the write may still arrive.
 */
int cold_lease_write(struct cold_store *meta, const struct cold_lease *lease,
                     const struct cold_etag *etag, struct cold_etag *ret_etag,
                     struct varve_error *err);

/* For the fuzzer and the tests; `ret` is written only on success. */
int cold_lease_decode(const void *data, size_t size, struct cold_lease *ret,
                      struct varve_error *err);
/* *ret is fresh memory. */
int cold_lease_encode(const struct cold_lease *lease, char **ret, size_t *ret_size,
                      struct varve_error *err);

#endif
