#include "fakes3/credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fakes3_credentials_issue(struct fakes3_call *call, const char *account, int64_t life_ms,
                              struct fakes3_credentials *ret)
{
    struct fakes3_random *random = &call->server->random;
    struct fakes3_key key = {.access_key = ret->access_key,
                             .secret = ret->secret,
                             .token = ret->token,
                             .read_only = call->read_only};

    memcpy(ret->access_key, "ASIA", 4);
    fakes3_random_name(random, ret->access_key + 4, 16);
    fakes3_random_name(random, ret->secret, 40);
    ret->secret[7] = '/'; /* as in true ones, too */
    ret->secret[23] = '+';
    fakes3_random_name(random, ret->token, 1100);
    ret->token[9] = '/';
    ret->token[99] = '+';
    strcpy(ret->token + 1098, "==");
    if (call->effects.expires_us)
        life_ms = call->effects.expires_us / 1000;
    key.expires_ms = call->now_ms + life_ms;
    if (key.expires_ms == 0)
        key.expires_ms = 1; /* 0 is never */
    fakes3_text_iso_date(key.expires_ms, ret->expiration);
    snprintf(ret->expiration + 19, 2, "Z");
    key.account = fakes3_text_copy(account ? account : FAKES3_ACCOUNT_DEFAULT);
    fakes3_keys_add_temporary(&call->server->keys, &key);
    free(key.account);
}
