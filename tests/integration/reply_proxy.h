/*
 * An HTTP server on loopback that hands requests on to another, and changes the replies of that by
 * chance (reply_mutation.h). One proxy is for one operation: what is changed depends on the seed
 * and on the number of the reply.
 *
 * A thread accepts, each connection has a thread of its own; stopping ends all of them, whatever
 * they wait for.
 */
#ifndef TESTS_INTEGRATION_REPLY_PROXY_H
#define TESTS_INTEGRATION_REPLY_PROXY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct reply_proxy_options {
    const char *server_port;
    uint64_t seed;
    unsigned spoilt;   /* how many replies are changed; later ones are left as they are */
    const char *loses; /* the first reply to such a request is lost: "PutObject"; NULL: none */
    atomic_uint *lies; /* what the changes may make one believe */
};

struct reply_proxy;
/* Aborts where that is not possible. */
struct reply_proxy *reply_proxy_start(const struct reply_proxy_options *options);
const char *reply_proxy_port(const struct reply_proxy *proxy);
/* What was done to the replies so far, in words. */
const char *reply_proxy_story(const struct reply_proxy *proxy);
/* Ends the connections and their threads; port and story remain until it is freed. */
void reply_proxy_stop(struct reply_proxy *proxy);
void reply_proxy_free(struct reply_proxy *proxy);

#endif
