/*
 * What is to be known of a store beside what the prober tries (probe.h): where it is and who asks,
 * whether it answers and what is in the way when it does not, how it is set up, what lies in it,
 * how long it takes. `doctor` prints it; words for people are there, not here.
 *
 * A driver adds its own findings by the `inspect` call of store.h; the others are the same for all.
 */
#ifndef COLD_INSPECT_H
#define COLD_INSPECT_H

#include "cold/probe.h"

#define COLD_FINDINGS_MAX 24

struct cold_finding {
    const char *name; /* "clock", "versioning", ...; static */
    const char *what; /* one line on what was tried; static */
    const char *kind; /* which of the cases of this name it is, "behind"; static */
    enum cold_probe_verdict verdict;
    char value[COLD_PROBE_DETAIL_SIZE]; /* what was found; "": nothing to say */
};

struct cold_inspection {
    struct cold_finding findings[COLD_FINDINGS_MAX];
    size_t count;
};

/*
 * Asks without changing anything in the store. What was found is in *ret in any case. An error: the
 * store does not answer, or not to us, and the finding "reach" has the cause as its kind:
 *
 *   dead name tls ca-file untrusted expired-certificate another-host broken   no answer
 *   not-s3 failing                                                            no answer of S3
 *   no-credentials key secret token expired denied                            who asks
 *   bucket region clock other
 */
int cold_inspect_run(const struct base_env *env, struct cold_store *store,
                     struct cold_inspection *ret, struct varve_error *err);

/* The part of it that the store's driver finds out, and which driver that is. */
int cold_inspect_driver(struct cold_store *store, struct cold_inspection *ret,
                        struct varve_error *err);

/* Adds how long small puts and gets take, with objects of its own that it deletes. */
int cold_inspect_latency(const struct base_env *env, struct cold_store *store,
                         struct cold_inspection *ret, struct varve_error *err);

/* The first finding of that name; NULL: there is none. */
const struct cold_finding *cold_inspect_find(const struct cold_inspection *inspection,
                                             const char *name);

/* For drivers. Above COLD_FINDINGS_MAX nothing is added. */
void cold_inspect_add(struct cold_inspection *inspection, const char *name, const char *what,
                      const char *kind, enum cold_probe_verdict verdict, const char *format, ...)
    VARVE_PRINTF(6, 7);

#endif
