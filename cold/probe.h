/*
 * What a store really does, found out by doing it: conditions one after the other and raced,
 * ranges, multipart, checksums, listings. `init` runs this once and keeps what it found; `doctor`
 * prints it.
 */
#ifndef COLD_PROBE_H
#define COLD_PROBE_H

#include "cold/store.h"

#define COLD_PROBE_CHECKS_MAX 16
#define COLD_PROBE_DETAIL_SIZE 240
#define COLD_PROBE_PREFIX                                                                          \
    "varve-probe" /* its objects lie below, under a fresh id, and are deleted */

enum cold_probe_verdict {
    COLD_PROBE_YES,
    COLD_PROBE_NO,      /* detail says what happened instead */
    COLD_PROBE_UNKNOWN, /* could not be tried; detail says why */
};

struct cold_probe_check {
    const char *name; /* "if-absent", "race", ... static */
    const char *what; /* one line on what was tried; static */
    enum cold_probe_verdict verdict;
    char detail[COLD_PROBE_DETAIL_SIZE];
};

struct cold_probe {
    struct cold_probe_check checks[COLD_PROBE_CHECKS_MAX];
    size_t count;
    struct cold_caps caps; /* the driver's, corrected by what was found */
};

/*
 * Tries everything, some hundred small requests. The store is set to the caps found. A store that
 * cannot be written and read at all is an error (VARVE_E_STORE, VARVE_E_DENIED, ...); whatever else
 * it does is a verdict. Threads: the store must not be shared yet.
 */
int cold_probe_run(const struct base_env *env, struct cold_store *store, struct cold_probe *ret,
                   struct varve_error *err);

/* The check of that name; NULL: it was not reached. */
const struct cold_probe_check *cold_probe_find(const struct cold_probe *probe, const char *name);

/* What was probed, as text for a settings file; and the reverse, over the driver's own caps: words
 * not known, or of a later version, are passed over. */
#define COLD_CAPS_TEXT_SIZE 160
void cold_caps_encode(const struct cold_caps *caps, char ret[COLD_CAPS_TEXT_SIZE]);
void cold_caps_decode(const char *text, struct cold_caps *caps);

#endif
