/* DeleteObject, and DeleteObjects with its result for each key. */
#include <stdlib.h>
#include <string.h>

#include "fakes3/call.h"
#include "fakes3/conditions.h"
#include "fakes3/persist.h"
#include "fakes3/text.h"
#include "fakes3/xml.h"

#define KEYS_COUNT_MAX 1000

static void delete_key(struct fakes3_call *call, const char *key)
{
    fakes3_persist_remove(call->server, call->bucket, key);
    fakes3_bucket_delete(call->bucket, key, fakes3_server_instant(call->server));
}

void fakes3_delete_object(struct fakes3_call *call)
{
    const char *key = call->request->key;

    if (!fakes3_conditions_check_delete(call, fakes3_bucket_find(call->bucket, key)))
        return;
    delete_key(call, key);
    call->reply.status = 204; /* whether it was there or not */
}

/* The request: a list of keys, each with the ETag it must have where one is given. */
struct deletion {
    struct fakes3_pairs keys; /* name: the key, value: the ETag or "" */
    char *key, *etag;         /* of the <Object> being read */
    bool quiet;
    bool bad;
};

static void read_element(void *arg, const char *path, const char *text)
{
    struct deletion *d = arg;

    if (strcmp(path, "Delete/Quiet") == 0) {
        d->quiet = strcmp(text, "true") == 0;
    } else if (strcmp(path, "Delete/Object/Key") == 0) {
        free(d->key);
        d->key = fakes3_text_copy(text);
    } else if (strcmp(path, "Delete/Object/ETag") == 0) {
        free(d->etag);
        d->etag = fakes3_text_copy(text);
    } else if (strcmp(path, "Delete/Object") == 0) {
        if (d->key && *d->key)
            fakes3_pairs_add(&d->keys, d->key, d->etag ? d->etag : fakes3_text_copy(""));
        else
            d->bad = true, free(d->key), free(d->etag);
        d->key = d->etag = NULL;
    }
}

static bool read_deletion(struct fakes3_call *call, struct deletion *d)
{
    char *text = fakes3_request_text(call->request);
    bool good = fakes3_xml_read(text, read_element, d) && !d->bad && d->keys.count > 0 &&
                d->keys.count <= KEYS_COUNT_MAX;

    free(text);
    free(d->key);
    free(d->etag);
    if (!good)
        fakes3_reply_error(&call->reply, "MalformedXML",
                           "The XML you provided was not well-formed or did not validate against "
                           "our published schema");
    return good;
}

static bool etag_holds(const struct fakes3_object *object, const char *etag)
{
    size_t size = strlen(etag);

    if (!*etag)
        return true;
    if (size >= 2 && *etag == '"')
        etag++, size -= 2;
    return object && (strcmp(etag, "*") == 0 ||
                      (strlen(object->etag) == size && memcmp(object->etag, etag, size) == 0));
}

static void add_result(struct fakes3_call *call, const char *key, const char *code,
                       const char *message)
{
    evbuffer_add_printf(call->reply.body, code ? "<Error>" : "<Deleted>");
    fakes3_reply_element(&call->reply, "Key", key);
    fakes3_reply_element(&call->reply, "Code", code);
    fakes3_reply_element(&call->reply, "Message", message);
    evbuffer_add_printf(call->reply.body, code ? "</Error>" : "</Deleted>");
}

static void delete_one(struct fakes3_call *call, const struct fakes3_pair *item, bool quiet)
{
    struct fakes3_moment moment = {.op = FAKES3_DELETE_KEY,
                                   .bucket = call->bucket->name,
                                   .key = item->name,
                                   .request = call->request,
                                   .mono_ms = fakes3_server_mono_ms()};
    struct fakes3_effects effects = fakes3_faults_choose(&call->server->faults, &moment);
    const char *code = *effects.code    ? effects.code
                       : effects.status ? fakes3_reply_code_of_status((int)effects.status)
                                        : NULL;

    if (!code && !etag_holds(fakes3_bucket_find(call->bucket, item->name), item->value)) {
        add_result(call, item->name, "PreconditionFailed",
                   "At least one of the pre-conditions you specified did not hold");
        return;
    }
    if (!code || effects.late)
        delete_key(call, item->name);
    if (code)
        add_result(call, item->name, code, *effects.message ? effects.message : "Scripted");
    else if (!quiet)
        add_result(call, item->name, NULL, NULL);
}

void fakes3_delete_many(struct fakes3_call *call)
{
    struct deletion d = {0};

    if (!fakes3_call_header(call, "content-md5") &&
        !fakes3_call_header(call, "x-amz-checksum-crc32c") &&
        !fakes3_call_header(call, "x-amz-checksum-sha256")) {
        fakes3_reply_error(&call->reply, "InvalidRequest",
                           "Missing required header for this request: Content-MD5 OR "
                           "x-amz-checksum-*");
        return;
    }
    if (read_deletion(call, &d)) {
        fakes3_reply_xml(&call->reply, "DeleteResult");
        for (size_t i = 0; i < d.keys.count; i++)
            delete_one(call, &d.keys.items[i], d.quiet);
        evbuffer_add_printf(call->reply.body, "</DeleteResult>");
    }
    fakes3_pairs_deinit(&d.keys);
}
