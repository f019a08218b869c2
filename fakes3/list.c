/* ListObjectsV2 and ListObjects: one walk over the sorted keys, two ways of saying where it goes
 * on. */
#include <stdlib.h>
#include <string.h>

#include "fakes3/call.h"
#include "fakes3/text.h"

#define KEYS_COUNT_MAX 1000

struct listing {
    struct fakes3_call *call;
    struct fakes3_object *const *objects; /* by key */
    size_t count;
    const char *prefix, *delimiter; /* "" when not given */
    const char *after;              /* keys and groups up to here were listed before */
    size_t keys_max;
    bool encode;
    size_t keys_count;
    bool truncated;
    char *last; /* the last key or group in the answer */
};

static void add_name(const struct listing *list, const char *element, const char *name)
{
    struct evbuffer *out = list->call->reply.body;

    evbuffer_add_printf(out, "<%s>", element);
    if (list->encode)
        fakes3_text_encode(out, name, true);
    else
        fakes3_text_xml(out, name);
    evbuffer_add_printf(out, "</%s>", element);
}

static void add_contents(const struct listing *list, const struct fakes3_object *object)
{
    struct evbuffer *out = list->call->reply.body;
    char date[FAKES3_DATE_SIZE];

    fakes3_text_iso_date(object->modified_ms, date);
    evbuffer_add_printf(out, "<Contents>");
    add_name(list, "Key", object->key);
    evbuffer_add_printf(out,
                        "<LastModified>%s</LastModified><ETag>&quot;%s&quot;</ETag>"
                        "<Size>%llu</Size><StorageClass>%s</StorageClass></Contents>",
                        date, object->etag, (unsigned long long)object->size,
                        object->storage_class);
}

/* The group that a key belongs to, in fresh memory; NULL: none. */
static char *group_of(const struct listing *list, const char *key)
{
    size_t prefix_size = strlen(list->prefix);
    const char *found = *list->delimiter ? strstr(key + prefix_size, list->delimiter) : NULL;

    return found ? fakes3_text_slice(key, (size_t)(found - key) + strlen(list->delimiter)) : NULL;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static size_t search(const struct listing *list, const char *key)
{
    size_t low = 0, high = list->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(list->objects[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_group(const struct listing *list, const char *group, struct evbuffer *groups)
{
    evbuffer_add_printf(groups, "<CommonPrefixes><Prefix>");
    if (list->encode)
        fakes3_text_encode(groups, group, true);
    else
        fakes3_text_xml(groups, group);
    evbuffer_add_printf(groups, "</Prefix></CommonPrefixes>");
}

/* False: the page is full. */
static bool count_in(struct listing *list, const char *name)
{
    if (list->keys_count == list->keys_max) {
        list->truncated = true;
        return false;
    }
    free(list->last);
    list->last = fakes3_text_copy(name);
    list->keys_count++;
    return true;
}

/* Contents go to the answer, groups to `groups`: S3 lists them behind. */
static void walk(struct listing *list, struct evbuffer *groups)
{
    size_t at = search(list, strcmp(list->after, list->prefix) > 0 ? list->after : list->prefix);
    bool room = true;

    while (room && at < list->count && has_prefix(list->objects[at]->key, list->prefix)) {
        const struct fakes3_object *object = list->objects[at++];
        char *group;

        if (strcmp(object->key, list->after) <= 0)
            continue;
        group = group_of(list, object->key);
        if (!group) {
            room = count_in(list, object->key);
            if (room)
                add_contents(list, object);
            continue;
        }
        while (at < list->count && has_prefix(list->objects[at]->key, group))
            at++;
        /* The page before may have ended with this very group. */
        if (strcmp(group, list->after) != 0) {
            room = count_in(list, group);
            if (room)
                add_group(list, group, groups);
        }
        free(group);
    }
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* "+/HEX=" of the last name: characters that a client must encode. */
static char *make_token(const char *last)
{
    size_t size = strlen(last);
    char *hex = fakes3_text_alloc(2 * size + 1);
    char *token;

    fakes3_text_hex(last, size, hex);
    token = fakes3_text_format("+/%s=", hex);
    free(hex);
    return token;
}

/* The name in fresh memory; NULL: not a token of ours. */
static char *read_token(const char *token)
{
    size_t size = strlen(token);
    struct evbuffer *escaped;
    char *text, *name;

    if (size < 3 || size % 2 == 0 || strncmp(token, "+/", 2) != 0 || token[size - 1] != '=')
        return NULL;
    escaped = evbuffer_new();
    for (size_t i = 2; i + 1 < size; i += 2)
        evbuffer_add_printf(escaped, "%%%.2s", token + i);
    text = fakes3_text_of_buffer(escaped);
    name = fakes3_text_decode(text, strlen(text), false);
    free(text);
    return name;
}

static bool prepare(struct listing *list)
{
    struct fakes3_call *call = list->call;
    const char *encoding = fakes3_call_param(call, "encoding-type");
    int64_t keys_max = fakes3_call_number(call, "max-keys", KEYS_COUNT_MAX, KEYS_COUNT_MAX);

    if (keys_max < 0)
        return false;
    if (encoding && strcmp(encoding, "url") != 0) {
        fakes3_reply_error(&call->reply, "InvalidArgument",
                           "Invalid Encoding Method specified in Request");
        return false;
    }
    list->keys_max = (size_t)keys_max;
    list->encode = encoding != NULL;
    list->prefix = or_empty(fakes3_call_param(call, "prefix"));
    list->delimiter = or_empty(fakes3_call_param(call, "delimiter"));
    return true;
}

static void list_common(struct listing *list)
{
    struct fakes3_call *call = list->call;
    const struct fakes3_stale *stale = &call->effects.stale;
    struct fakes3_instant then = fakes3_server_instant(call->server);
    struct fakes3_object **old = NULL;
    struct evbuffer *groups = evbuffer_new();

    list->objects = call->bucket->objects;
    list->count = call->bucket->objects_count;
    if (stale->ms || stale->requests) {
        then.mono_ms = stale->ms ? then.mono_ms - stale->ms : 0;
        /* Before the first request there was nothing: 1 would be the first request itself. */
        then.request = !stale->requests                 ? 0
                       : then.request > stale->requests ? then.request - stale->requests
                                                        : 1;
        list->objects = old = fakes3_bucket_at(call->bucket, then, &list->count);
    }
    fakes3_reply_xml(&call->reply, "ListBucketResult");
    fakes3_reply_element(&call->reply, "Name", call->bucket->name);
    add_name(list, "Prefix", list->prefix);
    if (*list->delimiter)
        add_name(list, "Delimiter", list->delimiter);
    evbuffer_add_printf(call->reply.body, "<MaxKeys>%zu</MaxKeys>", list->keys_max);
    if (list->encode)
        fakes3_reply_element(&call->reply, "EncodingType", "url");
    if (list->keys_max > 0)
        walk(list, groups);
    evbuffer_add_buffer(call->reply.body, groups);
    evbuffer_free(groups);
    fakes3_reply_element(&call->reply, "IsTruncated", list->truncated ? "true" : "false");
    free(old);
}

void fakes3_list_v2(struct fakes3_call *call)
{
    struct listing list = {.call = call};
    const char *token = fakes3_call_param(call, "continuation-token");
    const char *start_after = fakes3_call_param(call, "start-after");
    const char *type = fakes3_call_param(call, "list-type");
    char *from_token = token ? read_token(token) : NULL;
    char *next = NULL;

    if (strcmp(type, "2") != 0 || (token && !from_token)) {
        fakes3_reply_error(&call->reply, "InvalidArgument",
                           token ? "The continuation token provided is incorrect"
                                 : "Invalid List Type specified in Request");
    } else if (prepare(&list)) {
        list.after = from_token ? from_token : or_empty(start_after);
        list_common(&list);
        if (list.truncated)
            next = make_token(list.last);
        evbuffer_add_printf(call->reply.body, "<KeyCount>%zu</KeyCount>", list.keys_count);
        fakes3_reply_element(&call->reply, "ContinuationToken", token);
        fakes3_reply_element(&call->reply, "NextContinuationToken", next);
        if (start_after)
            add_name(&list, "StartAfter", start_after);
        evbuffer_add_printf(call->reply.body, "</ListBucketResult>");
    }
    free(next);
    free(from_token);
    free(list.last);
}

void fakes3_list_v1(struct fakes3_call *call)
{
    struct listing list = {.call = call};

    if (!prepare(&list))
        return;
    list.after = or_empty(fakes3_call_param(call, "marker"));
    list_common(&list);
    add_name(&list, "Marker", list.after);
    /* Without a delimiter the last key is the marker, and S3 does not say it. */
    if (list.truncated && *list.delimiter)
        add_name(&list, "NextMarker", list.last);
    evbuffer_add_printf(call->reply.body, "</ListBucketResult>");
    free(list.last);
}
