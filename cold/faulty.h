/*
 * The faulty driver: any other store, made to fail by a script. For tests, here and of people who
 * build on varve. Its URL is the other store's with "faulty+" in front and two more names:
 *
 *     faulty+file:///var/lib/archive?faults=put(*.zst):lost@1/10,get:delay=5ms-20ms&seed=7
 *
 *     faults = rule *("," rule)
 *     rule   = op *("+" op) ["(" pattern ")"] ":" fault ["=" value] ["@" when]
 *     op     = put get head list delete begin part complete abort uploads, or all
 *     when   = N (the Nth call) | N- (from the Nth on) | N-M | 1/K (one in K, by the seed)
 *
 *     delay=T, delay=T-U   the call takes that much longer; every rule that matches adds its own
 *     error[=CODE]         the request does not reach the store. CODE: store (retriable; the
 *                          default), broken, denied, corrupt, no_space, no_memory, unsupported,
 *                          not_found
 *     conflict             the same, as a store answers 409 (put, complete: conditional ones only)
 *     lost                 the store does it, and the reply is lost: retriable
 *     twice                the store does it, and does it again because the first reply was lost: a
 *                          condition is VARVE_E_PRECONDITION, lost to oneself (put, complete)
 *     late=T               the caller is told of a timeout, and the store does it T later, in front
 *                          of whatever call comes then, or when the store is closed (put, delete)
 *     cut                  half of the bytes arrive: retriable (get)
 *     short                the object is shorter in the store than it was (get)
 *     flip                 one bit is not what it was: of the bytes read, and nobody is told (get);
 *                          of the bytes stored, and the store says that all is well (put, part)
 *     stale=T              a listing does not know what this handle changed in the last T (list)
 *
 * The pattern is that of fnmatch(3), on the key (of list and uploads: on the prefix, of delete: on
 * each call's first key). The first rule that matches and is no delay is the one that happens.
 *
 * What happens follows from the seed and the calls alone, not from time or threads: calls are
 * counted apart for each op, key and place in it (a range's position, a part's number), so the Nth
 * try of one thing is always the Nth, whatever else is going on. Counts begin with the handle: with
 * a seed given, a command that is run again meets the same faults; without one each handle takes a
 * random seed, which the messages name. Keys hold random ids; who wants
 * the same run again gives the engine the same random numbers too. Time is the environment's clock.
 */
#ifndef COLD_FAULTY_H
#define COLD_FAULTY_H

#include "cold/store.h"

/* Faults by a function, for tests: called in front of each request and (`after`) behind each that
 * was carried out; a negative code fails it, retriable unless it is VARVE_E_NO_MEMORY. After: the
 * reply is lost. */
struct cold_faulty_hook {
    int (*fault)(void *ctx, enum cold_op op, const char *key, bool after);
    void *ctx;
};

/*
 * Wraps a store. `script` may be NULL or ""; `hook` may be NULL and is not owned. On success the
 * new store owns `under` and closes it. VARVE_E_INVALID names the rule that is none.
 */
int cold_faulty_new(const struct base_env *env, const char *url, struct cold_store *under,
                    const char *script, uint64_t seed, const struct cold_faulty_hook *hook,
                    bool read_only, struct cold_store **ret, struct varve_error *err);

/* Is the URL one of a faulty store? */
bool cold_faulty_is_url(const char *url);

/* Such a URL, taken apart for cold_faulty_new. */
struct cold_faulty_url {
    char *under;   /* the URL of the store under it */
    char *script;  /* not parsed yet */
    uint64_t seed; /* a random one where the URL names none */
};

int cold_faulty_url_parse(const struct base_env *env, const char *url, struct cold_faulty_url *ret,
                          struct varve_error *err);
void cold_faulty_url_free(struct cold_faulty_url *url);

#endif
