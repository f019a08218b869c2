#include "fakes3/keys.h"

#include <stdlib.h>
#include <string.h>

#include "fakes3/text.h"

#define TEMPORARY_COUNT_MAX 1000

static void key_free(struct fakes3_key *key)
{
    free(key->access_key);
    free(key->secret);
    free(key->token);
    free(key->account);
    free(key);
}

static struct fakes3_key *key_append(struct fakes3_keys *keys)
{
    keys->items = fakes3_text_grow(keys->items, (keys->count + 1) * sizeof(*keys->items));
    return keys->items[keys->count++] = fakes3_text_alloc(sizeof(struct fakes3_key));
}

static bool set_attribute(struct fakes3_key *key, const char *word)
{
    if (strcmp(word, "ro") == 0) {
        key->read_only = true;
    } else if (strncmp(word, "account=", 8) == 0) {
        free(key->account);
        key->account = fakes3_text_copy(word + 8);
    } else if (strncmp(word, "token=", 6) == 0) {
        free(key->token);
        key->token = fakes3_text_copy(word + 6);
    } else {
        return false;
    }
    return true;
}

bool fakes3_keys_add(struct fakes3_keys *keys, const char *text)
{
    char *copy = fakes3_text_copy(text);
    char *rest = copy;
    char *access_key = strsep(&rest, ":");
    char *secret = strsep(&rest, ":");
    struct fakes3_key *key;
    bool good = true;

    if (!*access_key || !secret || !*secret) {
        free(copy);
        return false;
    }
    key = key_append(keys);
    key->access_key = fakes3_text_copy(access_key);
    key->secret = fakes3_text_copy(secret);
    key->account = fakes3_text_copy(FAKES3_ACCOUNT_DEFAULT);
    while (rest && good)
        good = set_attribute(key, strsep(&rest, ":"));
    free(copy);
    return good;
}

static void forget_oldest_temporary(struct fakes3_keys *keys)
{
    size_t count = 0, oldest = keys->count;

    for (size_t i = keys->count; i-- > 0;) {
        if (keys->items[i]->expires_ms == 0)
            continue;
        count++;
        oldest = i;
    }
    if (count < TEMPORARY_COUNT_MAX)
        return;
    key_free(keys->items[oldest]);
    memmove(keys->items + oldest, keys->items + oldest + 1,
            (--keys->count - oldest) * sizeof(*keys->items));
}

void fakes3_keys_add_temporary(struct fakes3_keys *keys, const struct fakes3_key *key)
{
    struct fakes3_key *copy;

    forget_oldest_temporary(keys);
    copy = key_append(keys);
    *copy = *key;
    copy->access_key = fakes3_text_copy(key->access_key);
    copy->secret = fakes3_text_copy(key->secret);
    copy->token = fakes3_text_copy(key->token);
    copy->account = fakes3_text_copy(key->account);
}

struct fakes3_key *fakes3_keys_find(const struct fakes3_keys *keys, const char *access_key)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->items[i]->access_key, access_key) == 0)
            return keys->items[i];
    return NULL;
}

void fakes3_keys_deinit(struct fakes3_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        key_free(keys->items[i]);
    free(keys->items);
    *keys = (struct fakes3_keys){0};
}
