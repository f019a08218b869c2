#include "fakes3/service.h"

#include <stdlib.h>
#include <string.h>

#include "fakes3/auth.h"
#include "fakes3/checksums.h"
#include "fakes3/text.h"

static fakes3_call_handler *const handlers[FAKES3_OPERATIONS_COUNT] = {
    [FAKES3_LIST_BUCKETS] = fakes3_bucket_list_all,
    [FAKES3_CREATE_BUCKET] = fakes3_bucket_create,
    [FAKES3_HEAD_BUCKET] = fakes3_bucket_head,
    [FAKES3_DELETE_BUCKET] = fakes3_bucket_remove,
    [FAKES3_GET_BUCKET_LOCATION] = fakes3_bucket_location,
    [FAKES3_GET_BUCKET_VERSIONING] = fakes3_bucket_versioning,
    [FAKES3_GET_OBJECT_LOCK_CONFIGURATION] = fakes3_bucket_object_lock,
    [FAKES3_LIST_OBJECTS] = fakes3_list_v1,
    [FAKES3_LIST_OBJECTS_V2] = fakes3_list_v2,
    [FAKES3_LIST_MULTIPART_UPLOADS] = fakes3_uploads_list,
    [FAKES3_DELETE_OBJECTS] = fakes3_delete_many,
    [FAKES3_GET_OBJECT] = fakes3_get_object,
    [FAKES3_HEAD_OBJECT] = fakes3_get_object,
    [FAKES3_PUT_OBJECT] = fakes3_put_object,
    [FAKES3_COPY_OBJECT] = fakes3_put_copy,
    [FAKES3_DELETE_OBJECT] = fakes3_delete_object,
    [FAKES3_RESTORE_OBJECT] = fakes3_restore_object,
    [FAKES3_CREATE_MULTIPART_UPLOAD] = fakes3_multipart_create,
    [FAKES3_UPLOAD_PART] = fakes3_multipart_put_part,
    [FAKES3_LIST_PARTS] = fakes3_uploads_list_parts,
    [FAKES3_COMPLETE_MULTIPART_UPLOAD] = fakes3_multipart_complete,
    [FAKES3_ABORT_MULTIPART_UPLOAD] = fakes3_multipart_abort,
    [FAKES3_ASSUME_ROLE] = fakes3_sts_assume_role,
    [FAKES3_ASSUME_ROLE_WITH_WEB_IDENTITY] = fakes3_sts_assume_role,
    [FAKES3_CONTAINER_CREDENTIALS] = fakes3_metadata_container,
    [FAKES3_METADATA_TOKEN] = fakes3_metadata_token,
    [FAKES3_METADATA_ROLE] = fakes3_metadata_role,
    [FAKES3_METADATA_CREDENTIALS] = fakes3_metadata_credentials,
};

static bool check_signature(struct fakes3_call *call)
{
    const struct fakes3_request *request = call->request;
    const struct fakes3_bucket *bucket =
        request->bucket ? fakes3_store_find(&call->server->store, request->bucket) : NULL;
    struct fakes3_auth auth = {.keys = &call->server->keys,
                               .region = call->server->options.region,
                               .service = "s3",
                               .now_ms = call->now_ms};
    const struct fakes3_key *key;

    if (call->effects.ignore & FAKES3_IGNORE_SIGNATURE ||
        (call->server->options.anonymous && !fakes3_call_header(call, "authorization")))
        return true;
    if (bucket)
        auth.region = bucket->region;
    if (*call->effects.region)
        auth.region = call->effects.region;
    if (!fakes3_auth_check(&auth, request, &key, &call->reply))
        return false;
    call->access_key = fakes3_text_copy(key->access_key);
    call->account = fakes3_text_copy(key->account);
    call->read_only = key->read_only;
    return true;
}

static bool check_permission(struct fakes3_call *call)
{
    const struct fakes3_request *request = call->request;
    const struct fakes3_bucket *bucket =
        request->bucket ? fakes3_store_find(&call->server->store, request->bucket) : NULL;

    /* Whether the name of a new bucket is taken is CreateBucket's to say. */
    if (!(call->read_only && fakes3_operation_writes(request->op)) &&
        !(bucket && call->account && strcmp(bucket->account, call->account) != 0 &&
          request->op != FAKES3_CREATE_BUCKET))
        return true;
    fakes3_reply_error(&call->reply, "AccessDenied", "Access Denied");
    return false;
}

bool fakes3_service_check(struct fakes3_call *call)
{
    /* Those who hand out credentials have other ways to know their callers. */
    if (call->request->control || fakes3_operation_is_provider(call->request->op))
        return true;
    return check_signature(call) && check_permission(call);
}

void fakes3_service_want_digests(struct fakes3_call *call)
{
    const char *hash = fakes3_call_header(call, "x-amz-content-sha256");
    enum fakes3_operation op = call->request->op;
    struct fakes3_digest *digest = &call->request->digest;

    digest->want_md5 = fakes3_call_header(call, "content-md5") ||
                       ((op == FAKES3_PUT_OBJECT || op == FAKES3_UPLOAD_PART) &&
                        !call->server->options.opaque_etags);
    digest->want_sha256 = (hash && strlen(hash) == 64) || op == FAKES3_ASSUME_ROLE ||
                          fakes3_call_header(call, "x-amz-checksum-sha256");
    digest->want_crc32c = fakes3_call_header(call, "x-amz-checksum-crc32c");
    fakes3_digest_init(digest);
}

/* Sets call->bucket for all operations but those that do without. */
static bool find_bucket(struct fakes3_call *call)
{
    enum fakes3_operation op = call->request->op;

    if (op == FAKES3_LIST_BUCKETS || op == FAKES3_CREATE_BUCKET || fakes3_operation_is_provider(op))
        return true;
    call->bucket = fakes3_store_find(&call->server->store, call->request->bucket);
    if (call->bucket)
        return true;
    fakes3_reply_error(&call->reply, "NoSuchBucket", "The specified bucket does not exist");
    fakes3_reply_detail(&call->reply, "BucketName", "%s", call->request->bucket);
    return false;
}

static bool check_key_size(struct fakes3_call *call)
{
    if (!call->request->key || strlen(call->request->key) <= 1024)
        return true;
    fakes3_reply_error(&call->reply, "KeyTooLongError", "Your key is too long");
    return false;
}

/* Locks, encryption and tags are not kept here: to take them in silence would be a lie. */
static bool refuse_unkept(struct fakes3_call *call)
{
    static const char *const prefixes[] = {"x-amz-object-lock-", "x-amz-bucket-object-lock-",
                                           "x-amz-server-side-encryption", "x-amz-tagging"};
    const struct fakes3_pairs *headers = &call->request->headers;

    for (size_t i = 0; i < headers->count; i++)
        for (size_t j = 0; j < sizeof(prefixes) / sizeof(prefixes[0]); j++) {
            if (strncmp(headers->items[i].name, prefixes[j], strlen(prefixes[j])) != 0)
                continue;
            fakes3_reply_error(&call->reply, "NotImplemented",
                               "A header you provided implies functionality that is not "
                               "implemented.");
            fakes3_reply_detail(&call->reply, "Header", "%s", headers->items[i].name);
            return false;
        }
    return true;
}

void fakes3_service_run(struct fakes3_call *call)
{
    fakes3_call_handler *handler = handlers[call->request->op];

    if (call->request->control) {
        fakes3_control_run(call);
    } else if (!handler) {
        fakes3_reply_error(&call->reply, "NotImplemented",
                           "A header or query you provided implies functionality that is not "
                           "implemented.");
    } else if (refuse_unkept(call) && fakes3_checksums_verify(call) && check_key_size(call) &&
               find_bucket(call)) {
        handler(call);
    }
}
