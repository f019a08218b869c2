/*
 * Each operation of cold/store.h over an s3 driver whose replies are spoilt, and what must hold of
 * what came of it:
 *
 *   B1 The call ends, within S3_TRIAL_SECONDS_MAX, in success or in one of the failures that
 *      cold/store.h allows: never in a condition that the reply made up (no such object, a lost
 *      condition), which the engine would act upon.
 *   B2 Success is the truth: what was read is what lies there, what was to be changed is changed.
 *   B3 A failed change is done or not done, never half.
 *   B4 Memory stays below S3_TRIAL_RSS_MAX_KIB(workers) however long a reply is.
 *
 * A reply may also be whole, plausible and untrue; nobody who has only that reply can tell. What it
 * lied about is said in `lies`, and only that is not judged.
 */
#ifndef TESTS_INTEGRATION_S3_TRIAL_H
#define TESTS_INTEGRATION_S3_TRIAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "cold/store.h"

/* The client's own deadlines, 20 to 30 seconds each, are a twentieth of that here. */
#define S3_TRIAL_CLOCK_SPEED 20
#define S3_TRIAL_SECONDS_MAX 15
#define S3_TRIAL_OBJECT_SIZE 5000

/* With so many trials at once. A reply's document is held whole, up to 8 MiB, while it grows twice.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define S3_TRIAL_RSS_MAX_KIB(workers)                                                              \
    ((400 + 60 * (unsigned)(workers)) * 1024) /* they keep what was freed */
#else
#define S3_TRIAL_RSS_MAX_KIB(workers) ((32 + 24 * (unsigned)(workers)) * 1024)
#endif

enum {
    /* A whole body of another object, or document: only who knows what is in it can tell. Roots,
     * pages, tables and blocks have checksums for that (I9). */
    S3_LIE_BODY = 1 << 0,
    S3_LIE_RANGE = 1 << 1, /* likewise of a range, as long as it should be */
    S3_LIE_ETAG = 1 << 2,
    S3_LIE_SIZE = 1 << 3,      /* of a HEAD */
    S3_LIE_DELETED = 1 << 4,   /* what S3 says of a deletion, and there was none */
    S3_LIE_NOT_FOUND = 1 << 5, /* as S3 says it */
    S3_LIE_CONDITION = 1 << 6, /* that it does not hold */
    S3_LIE_DENIED = 1 << 7,
    S3_LIE_FULL = 1 << 8,
    S3_LIE_OWNER = 1 << 9, /* whose the object is: its write id */
    S3_LIE_DONE = 1 << 10, /* success of what was not done, or not yet */
};

struct s3_trial {
    const char *name;   /* for messages */
    const char *bucket; /* of the store's URL; so the next */
    const char *prefix;
    const char *clean_port, *spoilt_port;
    atomic_uint *lies; /* S3_LIE_*; whoever spoils adds to them */
    struct cold_store *clean, *spoilt;
    struct cold_etag old_etag;
    struct cold_upload upload;
    struct cold_part part;
};

struct s3_operation {
    const char *name;
    const char *fakes3; /* the requests whose replies are spoilt */
    const char *loses;  /* of these the first reply is lost, which makes the client ask; or NULL */
    int (*run)(struct s3_trial *t, struct varve_error *err);
    /* VARVE_E_PRECONDITION and VARVE_E_NOT_FOUND are what the caller has to find out about. */
    bool may_lose;
};

extern const struct s3_operation s3_operations[];
extern const size_t s3_operation_count;

/* Of the whole process. */
void s3_trials_init(void);
unsigned s3_trials_failed(void);
void s3_trial_wrong(const struct s3_trial *t, const char *what, const char *detail);
/* The most this process has ever held, in KiB; 0: not known. */
unsigned long s3_trials_rss_peak(void);
/* Runs `worker` on so many threads until all have ended. */
void s3_trials_work(unsigned threads, void (*worker)(void *arg));

/* Opens both stores and puts there what the operations are about. Failing is the end. */
void s3_trial_open(struct s3_trial *t);
void s3_trial_close(struct s3_trial *t);
/* Runs the operation and judges it; `verdict` gets what it ended in, `seconds` how long it took. */
void s3_trial_run(struct s3_trial *t, const struct s3_operation *op, char *verdict, size_t size,
                  double *seconds);

#endif
