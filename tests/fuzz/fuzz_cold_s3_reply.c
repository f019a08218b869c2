/* Every decoder of cold/s3/reply.h over the same bytes: what one takes obeys its contract. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cold/s3/bucket.h"
#include "cold/s3/reply.h"
#include "cold/s3/sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static int see_object(void *arg, const struct s3_list_object *o)
{
    must(o->key[0] && o->etag && o->storage_class);
    ++*(size_t *)arg;
    return 0;
}

static int see_upload(void *arg, const struct s3_list_upload *u)
{
    (void)arg;
    must(u->key[0] && u->upload_id[0]);
    return 0;
}

static int see_part(void *arg, const struct s3_list_part *p)
{
    (void)arg;
    must(p->number >= 1 && p->number <= 10000 && p->etag[0]);
    return 0;
}

static void see_failed(void *arg, const char *key, const char *code, const char *message)
{
    (void)arg;
    must(key && code && message);
}

static int see_rule(void *arg, const struct s3_lifecycle_rule *r)
{
    (void)arg;
    must(strlen(r->prefix) < sizeof(r->prefix));
    must(strlen(r->transition_class) < sizeof(r->transition_class));
    return 0;
}

/* What every call may return. */
static bool took(int rc, const struct varve_error *err)
{
    must(rc == 0 || rc == VARVE_E_CORRUPT || rc == VARVE_E_STORE || rc == VARVE_E_NO_MEMORY);
    must(rc == 0 || (err->code == rc && err->msg[0]));
    return rc == 0;
}

static void decode_listings(const uint8_t *data, size_t size)
{
    struct s3_list_result list;
    struct s3_uploads_result uploads;
    struct s3_parts_result parts;
    struct varve_error err = {0};
    size_t count = 0;

    if (took(s3_reply_list(data, size, see_object, &count, &list, &err), &err)) {
        must(list.count == count && (!list.truncated || list.next_token));
        free(list.next_token);
    }
    if (took(s3_reply_uploads(data, size, see_upload, NULL, &uploads, &err), &err)) {
        must(!uploads.truncated || uploads.next_key_marker[0]);
        free(uploads.next_key_marker);
        free(uploads.next_upload_id_marker);
    }
    if (took(s3_reply_parts(data, size, see_part, NULL, &parts, &err), &err))
        must(!parts.truncated || parts.next_part_number_marker > 0);
}

static void decode_others(const uint8_t *data, size_t size)
{
    struct s3_credentials credentials;
    struct s3_object_lock lock;
    struct varve_error err = {0};
    char *text;
    bool on;

    if (took(s3_reply_upload_id(data, size, &text, &err), &err)) {
        must(text[0]);
        free(text);
    }
    if (took(s3_reply_complete(data, size, &text, &err), &err)) {
        must(text[0]);
        free(text);
    }
    if (took(s3_reply_location(data, size, &text, &err), &err)) {
        must(text[0] && !strchr(text, '/'));
        free(text);
    }
    (void)took(s3_reply_delete(data, size, see_failed, NULL, &err), &err);
    (void)took(s3_reply_versioning(data, size, &on, &err), &err);
    (void)took(s3_bucket_lifecycle(data, size, see_rule, NULL, &err), &err);
    if (took(s3_bucket_lock(data, size, &lock, &err), &err))
        must(strlen(lock.mode) < sizeof(lock.mode));
    if (took(s3_reply_credentials(data, size, &credentials, &err), &err)) {
        must(credentials.access_key && credentials.secret_key && credentials.session_token);
        s3_credentials_clear(&credentials);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct s3_error error;

    decode_listings(data, size);
    decode_others(data, size);
    s3_error_decode(200, NULL, data, size, &error);
    must(error.class != S3_OK || !s3_error_is_document(data, size));
    s3_error_decode(404, "eu-west-1", data, size, &error);
    must(strlen(error.code) < sizeof(error.code) && strlen(error.region) < sizeof(error.region));
    must(error.class != S3_OK);
    return 0;
}
