/* The s3 driver: listings, and deleting many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "cold/s3.h"

#define PAGE_MAX 1000        /* keys S3 gives at once, and takes for deletion at once */
#define BARREN_PAGES_MAX 100 /* one after the other without a key of ours */
#define DELETE_ROUNDS_MAX 4  /* of keys that the store says it could not delete just now */
#define REPLY_SIZE_MAX S3_REPLY_XML_MAX

/* ---- list ---- */

struct listing {
    struct cold_s3 *s;
    const char *op;
    int (*visit)(void *arg, const char *key, const struct cold_meta *meta);
    void *arg;
    unsigned left; /* keys that may still be visited */
    bool surplus;  /* the store has told of more than it was asked for */
    int stopped;   /* what visit returned */
};

static int list_visit(void *arg, const struct s3_list_object *object)
{
    struct listing *l = arg;
    size_t prefix = strlen(l->s->prefix);
    struct cold_meta meta = {.size = object->size, .modified = object->modified_ms};

    /* What consoles call folders are objects of no bytes that end in '/': no keys of ours. */
    if (strncmp(object->key, l->s->prefix, prefix) != 0 || !object->key[prefix] ||
        object->key[strlen(object->key) - 1] == '/')
        return 0;
    if (l->left == 0) {
        l->surplus = true;
        return 0;
    }
    l->left--;
    snprintf(meta.etag.text, sizeof(meta.etag.text), "%s", object->etag);
    l->stopped = l->visit(l->arg, object->key + prefix, &meta);
    return l->stopped;
}

/* One request. `token` is the last page's, or NULL; it is freed and replaced. */
static int list_page(struct listing *l, const char *prefix, const char *full_prefix,
                     const char *start_after, char **token, bool *ret_more, struct varve_error *err)
{
    char count[16];
    const struct s3_query pairs[] = {
        {"continuation-token", *token},
        {"encoding-type", "url"},
        {"list-type", "2"},
        {"max-keys", count},
        {"prefix", full_prefix},
        {"start-after", *token ? NULL : start_after},
    };
    struct s3_call call = {.method = "GET", .key = "", .size_max = REPLY_SIZE_MAX};
    struct s3_list_result result = {0};
    int rc;

    snprintf(count, sizeof(count), "%u", l->left < PAGE_MAX ? l->left : PAGE_MAX);
    rc = cold_s3_call_query(l->s, l->op, prefix, &call, pairs, sizeof(pairs) / sizeof(pairs[0]),
                            err);
    if (rc == 0) {
        rc = s3_reply_list(call.body_memory, call.body_memory_size, list_visit, l, &result, err);
        if (rc < 0 && !l->stopped)
            rc = cold_s3_context(l->s, rc, l->op, prefix, err);
    }
    free(call.body_memory);
    free(*token);
    *token = rc == 0 ? result.next_token : NULL;
    *ret_more = result.truncated;
    return rc;
}

int cold_s3_list(void *self, const char *prefix, const char *start_after, unsigned max,
                 int (*visit)(void *arg, const char *key, const struct cold_meta *meta), void *arg,
                 bool *ret_more, struct varve_error *err)
{
    struct cold_s3 *s = self;
    struct listing l = {.s = s, .op = "list", .visit = visit, .arg = arg, .left = max};
    char full_prefix[COLD_S3_KEY_SIZE], full_after[COLD_S3_KEY_SIZE], *token = NULL;
    unsigned barren = 0;
    bool more = true;
    int rc = cold_s3_key(s, "list", prefix, full_prefix, err);

    if (rc == 0 && start_after)
        rc = cold_s3_key(s, "list", start_after, full_after, err);
    while (rc == 0 && more && l.left > 0) {
        unsigned left = l.left;

        rc =
            list_page(&l, prefix, full_prefix, start_after ? full_after : NULL, &token, &more, err);
        barren = l.left == left ? barren + 1 : 0;
        if (rc == 0 && more && barren > BARREN_PAGES_MAX) {
            base_fail(err, VARVE_E_STORE, "%u pages of a listing hold no key", barren);
            rc = cold_s3_context(s, VARVE_E_STORE, "list", prefix, err);
        }
    }
    free(token);
    if (l.stopped)
        return l.stopped;
    if (rc == 0)
        *ret_more = more || l.surplus;
    return rc;
}

/* ---- delete ---- */

static int delete_one(struct cold_s3 *s, const char *key, struct varve_error *err)
{
    char full[COLD_S3_KEY_SIZE];
    struct s3_call call = {.method = "DELETE", .key = full, .size_max = 65536};
    int rc = cold_s3_key(s, "delete", key, full, err);

    if (rc == 0)
        rc = cold_s3_call(s, "delete", key, &call, err);
    free(call.body_memory);
    return rc == VARVE_E_NOT_FOUND ? 0 : rc;
}

static void xml_put(struct base_buffer *b, const char *text)
{
    base_buffer_add(b, text, strlen(text));
}

/* Control characters are allowed in keys; XML takes them as numbers, or (those but tab and line
 * ends) not at all, and then the store says so. */
static void xml_put_key(struct base_buffer *b, const char *key)
{
    for (; *key; key++) {
        char number[8];

        if (*key == '&') {
            xml_put(b, "&amp;");
        } else if (*key == '<') {
            xml_put(b, "&lt;");
        } else if (*key == '>') {
            xml_put(b, "&gt;");
        } else if ((unsigned char)*key < 0x20) {
            snprintf(number, sizeof(number), "&#%d;", *key);
            xml_put(b, number);
        } else {
            base_buffer_add(b, key, 1);
        }
    }
}

/* Base64 of the MD5, which S3 wants with this one request. */
static bool md5_text(const void *data, size_t size, char ret[32])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t digest_size = 0;

    if (!EVP_Q_digest(NULL, "MD5", NULL, data, size, digest, &digest_size) || digest_size != 16)
        return false;
    EVP_EncodeBlock((unsigned char *)ret, digest, 16);
    return true;
}

/* The keys of one request, of which those the store could not delete come back. */
struct deletion {
    struct cold_s3 *s;
    const char **keys;
    size_t count;
    const char **again; /* room for count */
    size_t again_count;
    char code[S3_REPLY_CODE_SIZE]; /* of the last failure */
    char message[S3_REPLY_MESSAGE_SIZE];
    const char *failed; /* a key that cannot be deleted; NULL: none */
    bool unknown;       /* a failure is told of a key that was not named */
};

static bool is_passing(const char *code)
{
    return strcmp(code, "InternalError") == 0 || strcmp(code, "SlowDown") == 0 ||
           strcmp(code, "ServiceUnavailable") == 0 || strcmp(code, "OperationAborted") == 0;
}

static void delete_failed(void *arg, const char *key, const char *code, const char *message)
{
    struct deletion *d = arg;
    size_t prefix = strlen(d->s->prefix);

    if (strcmp(code, "NoSuchKey") == 0)
        return;
    for (size_t i = 0; i < d->count; i++) {
        if (strncmp(key, d->s->prefix, prefix) != 0 || strcmp(d->keys[i], key + prefix) != 0)
            continue;
        snprintf(d->code, sizeof(d->code), "%s", code);
        snprintf(d->message, sizeof(d->message), "%s", message);
        if (is_passing(code) && d->again_count < d->count)
            d->again[d->again_count++] = d->keys[i];
        else
            d->failed = d->keys[i];
        return;
    }
    d->unknown = true;
}

static int delete_request(struct deletion *d, struct base_buffer *xml, struct varve_error *err)
{
    struct iovec body = {.iov_base = xml->data, .iov_len = xml->size};
    struct s3_call call = {.method = "POST",
                           .key = "",
                           .query = "delete=",
                           .body = &body,
                           .body_count = 1,
                           .size_max = REPLY_SIZE_MAX};
    char md5[32];
    int rc = md5_text(xml->data, xml->size, md5)
                 ? s3_call_digest(&call, err)
                 : base_fail(err, VARVE_E_UNSUPPORTED,
                             "delete: MD5, which S3 wants here, is not to be had");

    if (rc < 0)
        return rc;
    s3_call_header(&call, "content-md5", md5);
    s3_call_header(&call, "content-type", "application/xml");
    rc = cold_s3_call(d->s, "delete", d->keys[0], &call, err);
    if (rc == 0)
        rc = s3_reply_delete(call.body_memory, call.body_memory_size, delete_failed, d, err);
    if (rc < 0 && call.rc == 0)
        cold_s3_context(d->s, rc, "delete", d->keys[0], err);
    free(call.body_memory);
    return rc;
}

static int delete_round(struct deletion *d, struct varve_error *err)
{
    struct base_buffer xml;
    char full[COLD_S3_KEY_SIZE];
    int rc = 0;

    base_buffer_init(&xml);
    xml_put(&xml, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                  "<Quiet>true</Quiet>");
    for (size_t i = 0; i < d->count && rc == 0; i++) {
        rc = cold_s3_key(d->s, "delete", d->keys[i], full, err);
        xml_put(&xml, "<Object><Key>");
        xml_put_key(&xml, rc == 0 ? full : "");
        xml_put(&xml, "</Key></Object>");
    }
    xml_put(&xml, "</Delete>");
    if (rc == 0 && xml.failed)
        rc = base_fail(err, VARVE_E_NO_MEMORY, "delete: out of memory");
    if (rc == 0)
        rc = delete_request(d, &xml, err);
    base_buffer_deinit(&xml);
    return rc;
}

/* At most PAGE_MAX keys; those that fail for a passing reason again, a few times. */
static int delete_some(struct deletion *d, struct varve_error *err)
{
    for (unsigned round = 0; round < DELETE_ROUNDS_MAX && d->count > 0; round++) {
        int rc;

        d->again_count = 0;
        rc = delete_round(d, err);
        if (rc < 0)
            return rc;
        if (d->unknown) /* of which of ours is not to be known: each for itself */
            return VARVE_E_UNSUPPORTED;
        if (d->failed)
            break;
        memcpy(d->keys, d->again, d->again_count * sizeof(d->keys[0]));
        d->count = d->again_count;
    }
    if (d->failed || d->count > 0) {
        int rc = d->failed && strcmp(d->code, "AccessDenied") == 0 ? VARVE_E_DENIED : VARVE_E_STORE;

        base_fail(err, rc, "%s: %.80s", d->code, d->message);
        if (err)
            err->retriable = !d->failed;
        return cold_s3_context(d->s, rc, "delete", d->failed ? d->failed : d->keys[0], err);
    }
    return 0;
}

/* For a store that deletes one by one. */
static int delete_each(struct cold_s3 *s, const char *const *keys, size_t count,
                       struct varve_error *err)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = delete_one(s, keys[i], err);
    return rc;
}

int cold_s3_remove(void *self, const char *const *keys, size_t count, struct varve_error *err)
{
    struct cold_s3 *s = self;
    const char **room;
    int rc = 0;

    if (count == 1)
        return delete_one(s, keys[0], err);
    room = calloc(2 * PAGE_MAX, sizeof(*room));
    if (!room)
        return base_fail(err, VARVE_E_NO_MEMORY, "delete: out of memory");
    for (size_t i = 0; i < count && rc == 0; i += PAGE_MAX) {
        size_t some = count - i < PAGE_MAX ? count - i : PAGE_MAX;
        struct deletion d = {.s = s, .keys = room, .count = some, .again = room + PAGE_MAX};

        memcpy(room, keys + i, some * sizeof(*room));
        rc = delete_some(&d, err);
        if (rc == VARVE_E_UNSUPPORTED)
            rc = delete_each(s, keys + i, some, err);
    }
    free(room);
    return rc;
}
