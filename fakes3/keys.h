/* Who may do what: access keys, their secrets, tokens, accounts and end. */
#ifndef FAKES3_KEYS_H
#define FAKES3_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The key that is there when none is given. */
#define FAKES3_KEY_DEFAULT "varve:varve-secret"
#define FAKES3_ACCOUNT_DEFAULT "main"

struct fakes3_key {
    char *access_key;
    char *secret;
    char *token;   /* NULL: a lasting key, which comes without a session token */
    char *account; /* whose buckets it may use */
    bool read_only;
    int64_t expires_ms; /* 0: never */
};

struct fakes3_keys {
    struct fakes3_key **items;
    size_t count;
};

/* "AK:SK[:ro][:account=NAME][:token=TOKEN]". False: not of that form. */
bool fakes3_keys_add(struct fakes3_keys *keys, const char *text);
/* A temporary key, copied. The oldest temporary keys go when there are many. */
void fakes3_keys_add_temporary(struct fakes3_keys *keys, const struct fakes3_key *key);
struct fakes3_key *fakes3_keys_find(const struct fakes3_keys *keys, const char *access_key);
void fakes3_keys_deinit(struct fakes3_keys *keys);

#endif
