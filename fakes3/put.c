#include "fakes3/put.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakes3/conditions.h"
#include "fakes3/persist.h"
#include "fakes3/restore.h"
#include "fakes3/text.h"

#define METADATA_SIZE_MAX 2048

static bool is_kept(const char *name)
{
    static const char *const kept[] = {"content-type",  "content-encoding", "content-language",
                                       "cache-control", "expires",          "content-disposition"};

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (strcmp(name, kept[i]) == 0)
            return true;
    return strncmp(name, "x-amz-meta-", 11) == 0;
}

static bool storage_class_is_known(const char *name)
{
    static const char *const known[] = {"STANDARD",     "STANDARD_IA",       "ONEZONE_IA",
                                        "GLACIER",      "GLACIER_IR",        "INTELLIGENT_TIERING",
                                        "DEEP_ARCHIVE", "REDUCED_REDUNDANCY"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

struct fakes3_object *fakes3_put_describe(struct fakes3_call *call)
{
    const struct fakes3_pairs *headers = &call->request->headers;
    const char *class = fakes3_call_header(call, "x-amz-storage-class");
    struct fakes3_object *object;
    size_t metadata_size = 0;

    if (class && !storage_class_is_known(class)) {
        fakes3_reply_error(&call->reply, "InvalidArgument",
                           "The storage class you specified is not valid");
        return NULL;
    }
    object = fakes3_object_new(call->request->key);
    if (class)
        strcpy(object->storage_class, class);
    for (size_t i = 0; i < headers->count; i++) {
        const struct fakes3_pair *header = &headers->items[i];
        if (!is_kept(header->name))
            continue;
        if (header->name[0] == 'x')
            metadata_size += strlen(header->name) - 11 + strlen(header->value);
        fakes3_pairs_add(&object->headers, fakes3_text_copy(header->name),
                         fakes3_text_copy(header->value));
    }
    if (metadata_size > METADATA_SIZE_MAX) {
        fakes3_reply_error(&call->reply, "MetadataTooLarge",
                           "Your metadata headers exceed the maximum allowed metadata size");
        return fakes3_object_free(object);
    }
    return object;
}

void fakes3_put_commit(struct fakes3_call *call, struct fakes3_object *object)
{
    object->modified_ms = call->now_ms;
    fakes3_bucket_put(call->bucket, object, fakes3_server_instant(call->server));
    fakes3_persist_save(call->server, call->bucket, object);
}

void fakes3_put_opaque_etag(struct fakes3_server *server, char etag[FAKES3_ETAG_SIZE])
{
    snprintf(etag, FAKES3_ETAG_SIZE, "%016" PRIx64 "%016" PRIx64,
             fakes3_random_next(&server->random), ++server->last_etag);
}

void fakes3_put_object(struct fakes3_call *call)
{
    struct fakes3_request *request = call->request;
    struct fakes3_object *existing = fakes3_bucket_find(call->bucket, request->key);
    struct fakes3_object *object;

    if (!fakes3_conditions_check_write(call, existing))
        return;
    object = fakes3_put_describe(call);
    if (!object)
        return;
    if (request->body) {
        fakes3_object_add_piece(object, request->body);
        request->body = NULL;
    }
    if (call->server->options.opaque_etags)
        fakes3_put_opaque_etag(call->server, object->etag);
    else
        fakes3_text_hex(request->digest.md5, 16, object->etag);
    object->full_object = true;
    if (fakes3_call_header(call, "x-amz-checksum-crc32c")) {
        fakes3_text_base64(request->digest.crc32c, 4, object->crc32c);
        fakes3_reply_header(&call->reply, "x-amz-checksum-crc32c", "%s", object->crc32c);
        fakes3_reply_header(&call->reply, "x-amz-checksum-type", "FULL_OBJECT");
    }
    if (fakes3_call_header(call, "x-amz-checksum-sha256")) {
        fakes3_text_base64(request->digest.sha256, 32, object->sha256);
        fakes3_reply_header(&call->reply, "x-amz-checksum-sha256", "%s", object->sha256);
    }
    fakes3_reply_header(&call->reply, "ETag", "\"%s\"", object->etag);
    fakes3_put_commit(call, object);
}

/* "/bucket/key" or "bucket/key", percent-encoded. NULL with the error. */
static const struct fakes3_object *find_source(struct fakes3_call *call)
{
    const char *header = fakes3_call_header(call, "x-amz-copy-source");
    char *source =
        fakes3_text_decode(header + (*header == '/'), strlen(header + (*header == '/')), false);
    char *slash = source ? strchr(source, '/') : NULL;
    const struct fakes3_bucket *bucket = NULL;
    const struct fakes3_object *object = NULL;

    if (slash) {
        *slash = 0;
        bucket = fakes3_store_find(&call->server->store, source);
    }
    if (bucket && call->account && strcmp(bucket->account, call->account) != 0) {
        fakes3_reply_error(&call->reply, "AccessDenied", "Access Denied");
    } else {
        if (bucket)
            object = fakes3_bucket_find(bucket, slash + 1);
        if (!object)
            fakes3_reply_error(&call->reply,
                               !slash   ? "InvalidArgument"
                               : bucket ? "NoSuchKey"
                                        : "NoSuchBucket",
                               "The source of the copy does not exist");
    }
    free(source);
    return object;
}

void fakes3_put_copy(struct fakes3_call *call)
{
    const struct fakes3_object *source = find_source(call);
    const char *directive = fakes3_call_header(call, "x-amz-metadata-directive");
    struct fakes3_object *object;
    char date[FAKES3_DATE_SIZE];

    if (!source || !fakes3_restore_check_readable(call, source) ||
        !fakes3_conditions_check_write(call, fakes3_bucket_find(call->bucket, call->request->key)))
        return;
    object = fakes3_put_describe(call);
    if (!object)
        return;
    if (!directive || strcmp(directive, "REPLACE") != 0) {
        fakes3_pairs_deinit(&object->headers);
        for (size_t i = 0; i < source->headers.count; i++)
            fakes3_pairs_add(&object->headers, fakes3_text_copy(source->headers.items[i].name),
                             fakes3_text_copy(source->headers.items[i].value));
    }
    for (size_t i = 0; i < source->pieces_count; i++)
        fakes3_object_add_piece(object, fakes3_blob_ref(source->pieces[i]));
    memcpy(object->etag, source->etag, sizeof(object->etag));
    memcpy(object->crc32c, source->crc32c, sizeof(object->crc32c));
    memcpy(object->sha256, source->sha256, sizeof(object->sha256));
    object->full_object = source->full_object;
    fakes3_text_iso_date(call->now_ms, date);
    fakes3_reply_xml(&call->reply, "CopyObjectResult");
    evbuffer_add_printf(call->reply.body,
                        "<LastModified>%s</LastModified><ETag>&quot;%s&quot;</ETag>"
                        "</CopyObjectResult>",
                        date, object->etag);
    fakes3_put_commit(call, object);
}
