#include "fakes3/restore.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fakes3/persist.h"
#include "fakes3/text.h"
#include "fakes3/xml.h"

bool fakes3_restore_check_readable(struct fakes3_call *call, const struct fakes3_object *object)
{
    if (!call->effects.archived &&
        (!fakes3_object_is_archived(object) || fakes3_object_is_restored(object, call->now_ms)))
        return true;
    fakes3_reply_error(&call->reply, "InvalidObjectState",
                       "The operation is not valid for the object's storage class");
    fakes3_reply_detail(&call->reply, "StorageClass", "%s",
                        call->effects.archived ? "GLACIER" : object->storage_class);
    return false;
}

void fakes3_restore_add_header(struct fakes3_call *call, const struct fakes3_object *object)
{
    char date[FAKES3_DATE_SIZE];

    if (!object->restored_ms || call->now_ms >= object->restore_expiry_ms)
        return;
    if (call->now_ms < object->restored_ms) {
        fakes3_reply_header(&call->reply, "x-amz-restore", "ongoing-request=\"true\"");
        return;
    }
    fakes3_text_http_date(object->restore_expiry_ms, date);
    fakes3_reply_header(&call->reply, "x-amz-restore",
                        "ongoing-request=\"false\", expiry-date=\"%s\"", date);
}

static void read_days(void *arg, const char *path, const char *text)
{
    int64_t *days = arg;

    if (strcmp(path, "RestoreRequest/Days") == 0 && !base_parse_i64(text, days))
        *days = -1;
}

/* The time a restored copy lives; -1 with the error. */
static int64_t asked_life_ms(struct fakes3_call *call)
{
    char *text = fakes3_request_text(call->request);
    int64_t days = -1;
    bool good = fakes3_xml_read(text, read_days, &days) && days >= 1 && days <= 100000;

    free(text);
    if (good)
        return days * call->server->options.day_ms;
    fakes3_reply_error(&call->reply, "MalformedXML",
                       "The XML you provided was not well-formed or did not validate against our "
                       "published schema");
    return -1;
}

void fakes3_restore_object(struct fakes3_call *call)
{
    struct fakes3_object *object = fakes3_bucket_find(call->bucket, call->request->key);
    int64_t delay_ms = call->server->options.restore_ms;
    int64_t life_ms;

    if (!object) {
        fakes3_reply_error(&call->reply, "NoSuchKey", "The specified key does not exist.");
        return;
    }
    if (!fakes3_object_is_archived(object)) {
        fakes3_reply_error(&call->reply, "InvalidObjectState",
                           "Restore is not allowed for the object's current storage class");
        fakes3_reply_detail(&call->reply, "StorageClass", "%s", object->storage_class);
        return;
    }
    life_ms = asked_life_ms(call);
    if (life_ms < 0)
        return;
    if (fakes3_object_is_restored(object, call->now_ms)) {
        /* A copy that is there only gets a new end; 200 tells that. */
        object->restore_expiry_ms = call->now_ms + life_ms;
    } else if (object->restored_ms && call->now_ms < object->restored_ms) {
        fakes3_reply_error(&call->reply, "RestoreAlreadyInProgress",
                           "Object restore is already in progress");
        return;
    } else {
        if (call->effects.restore_us)
            delay_ms = call->effects.restore_us / 1000;
        object->restored_ms = call->now_ms + delay_ms;
        object->restore_expiry_ms = object->restored_ms + life_ms;
        call->reply.status = 202;
    }
    fakes3_persist_save(call->server, call->bucket, object);
}
