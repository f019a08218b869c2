/* What a reply means for its call: the table of S3's error classes and what each of them asks for.
 */
#ifndef COLD_S3_VERDICT_H
#define COLD_S3_VERDICT_H

#include "cold/s3/client.h"

enum s3_verdict {
    S3_VERDICT_DONE,    /* call->rc says how: 0, a condition, or a failure that stays */
    S3_VERDICT_AGAIN,   /* after a delay */
    S3_VERDICT_ODD,     /* after a delay, a few times: an answer that no store should give */
    S3_VERDICT_AT_ONCE, /* a kept connection was dead */
    S3_VERDICT_SLOWER,  /* after a delay, and with fewer requests in flight */
    S3_VERDICT_CLOCK,   /* with the clock of the reply's Date header; once */
    S3_VERDICT_KEYS,    /* with fresh credentials; once */
    S3_VERDICT_REGION,  /* in call->error.region; once */
    S3_VERDICT_DENIED,  /* a change; after a delay, a few times, where others were let through */
    S3_VERDICT_CANCELLED,
};

/*
 * Fills in what came of the call; where the verdict is not DONE, call->rc and err say what it is
 * worth when nothing is tried again. A body in the reply's fresh memory stays the request's.
 * `bucket` serves the message.
 */
enum s3_verdict s3_verdict_reach(struct s3_call *call, const struct s3_http_request *request,
                                 const struct s3_http_reply *reply, const char *bucket);

/* "Tue, 15 Nov 1994 08:12:31 GMT" in ms since 1970; -1: not such a date. */
int64_t s3_verdict_date(const char *text);

#endif
