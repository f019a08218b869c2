/* Temporary credentials, as STS, containers and instances hand them out: made, and known from then
 * on. */
#ifndef FAKES3_CREDENTIALS_H
#define FAKES3_CREDENTIALS_H

#include "fakes3/call.h"
#include "fakes3/text.h"

struct fakes3_credentials {
    char access_key[21];
    char secret[41];
    char token[1200]; /* longer than 1 KiB, as true ones are, and with characters to be encoded */
    char expiration[FAKES3_DATE_SIZE];
};

/* `life_ms` unless the rule's expires= says otherwise; `account` NULL: the default one. */
void fakes3_credentials_issue(struct fakes3_call *call, const char *account, int64_t life_ms,
                              struct fakes3_credentials *ret);

#endif
