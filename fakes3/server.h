/* The server: what all connections share. One thread, one event loop. */
#ifndef FAKES3_SERVER_H
#define FAKES3_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "fakes3/faults.h"
#include "fakes3/keys.h"
#include "fakes3/random.h"
#include "fakes3/stats.h"
#include "fakes3/store.h"

struct event_base;

struct fakes3_options {
    const char *region;
    const char *domain;             /* what virtual-host names end in */
    const char *container_token;    /* NULL: any */
    const char *web_identity_token; /* NULL: any that is not empty */
    bool anonymous;                 /* unsigned requests are let in */
    bool opaque_etags;              /* ETags are not MD5, as with SSE-KMS */
    int64_t restore_ms;             /* how long a restore takes */
    int64_t day_ms;                 /* how long the days of a restored copy are */
    int64_t credentials_ms;         /* how long temporary credentials live */
    int64_t part_size_min;          /* of all parts but the last */
};

struct fakes3_server {
    struct event_base *base;
    struct ssl_ctx_st *tls; /* NULL: plain */
    struct fakes3_options options;
    struct fakes3_keys keys;
    struct fakes3_store store;
    struct fakes3_faults faults;
    struct fakes3_stats stats;
    struct fakes3_random random;
    int64_t skew_ms;       /* this server's clock less the system's */
    uint64_t last_request; /* numbers requests, from 1 */
    uint64_t last_etag;    /* numbers opaque ETags */
    struct fakes3_connection *connections;
};

int64_t fakes3_server_wall_ms(const struct fakes3_server *server); /* skewed */
int64_t fakes3_server_mono_ms(void);
struct fakes3_instant fakes3_server_instant(const struct fakes3_server *server);

#endif
