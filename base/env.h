/* What every object of the engine is given: the seams and the logger. Lives longer than all of
 * them. */
#ifndef BASE_ENV_H
#define BASE_ENV_H

#include "base/clock.h"
#include "base/io.h"
#include "base/logger.h"
#include "base/random.h"

struct cold_opener;
struct index_fold;

struct base_env {
    const struct base_io *io;
    const struct base_clock *clock;
    const struct base_random *random;
    struct base_logger logger;
    /* For simulations. Opens the object stores, whatever their URLs (cold/store.h); NULL: as the
     * URLs say. Only cold/ looks inside. */
    const struct cold_opener *cold;
    /* Likewise: the engine starts no thread. Pools have none, the lease of lease mode is renewed by
     * a call, and who waits sleeps on the clock's seam. */
    bool no_threads;
    /* Likewise: how manifests fold into pages (index/fold.h); NULL: as the format's numbers say.
     * Only index/ looks inside. */
    const struct index_fold *fold;
    long pid; /* as files and messages say it; 0: the process's own */
};

/* The system's seams and a silent logger. */
void base_env_init(struct base_env *env);

#endif
