/*
 * The two libs3 that exist: 2.0 (Debian: SigV2) and 4.x (SigV4, a token, a region, a timeout
 * argument on every call). Only 4.x defines S3_DEFAULT_REGION.
 */
#ifndef COLD_LIBS3_COMPAT_H
#define COLD_LIBS3_COMPAT_H

#include <libs3.h>
#include <stdbool.h>
#include <stddef.h>

/* The request context argument: NULL makes a call block in curl_easy_perform, so that no select()
 * and no limit on descriptors is involved. A timeout of 0 is none: libs3 gives up on a transfer
 * that stalls, and a total for bodies of any size would be wrong. */
#ifdef S3_DEFAULT_REGION

#define LIBS3_BLOCKING NULL, 0
#define LIBS3_INIT_FLAGS (S3_INIT_ALL | S3_INIT_VERIFY_PEER)
#define LIBS3_CHECKS_CERTIFICATES true
#define LIBS3_HAS_TOKEN true

static inline void libs3_context_extend(S3BucketContext *context, const char *token,
                                        const char *region)
{
    context->securityToken = token;
    context->authRegion = region;
}

#else

#define LIBS3_BLOCKING NULL
#define LIBS3_INIT_FLAGS S3_INIT_ALL
#define LIBS3_CHECKS_CERTIFICATES false
#define LIBS3_HAS_TOKEN false

/* SigV2 knows neither. */
static inline void libs3_context_extend(S3BucketContext *context, const char *token,
                                        const char *region)
{
    (void)context;
    (void)token;
    (void)region;
}

#endif

#endif
