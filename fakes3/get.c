/* GetObject and HeadObject. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakes3/call.h"
#include "fakes3/conditions.h"
#include "fakes3/restore.h"
#include "fakes3/text.h"

struct range {
    bool given;
    uint64_t pos, size;
};

/* Digits only; false: none, or too many. */
static bool read_number(const char **text, uint64_t *ret)
{
    char *end;

    if (**text < '0' || **text > '9' || strspn(*text, "0123456789") > 18)
        return false;
    *ret = strtoull(*text, &end, 10);
    *text = end;
    return true;
}

/* "bytes=a-b", "bytes=a-", "bytes=-n". What is not of this form is no range, as HTTP wants it; so
 * are several, which S3 does not serve. False: none of these bytes exist. */
static bool read_range(const char *text, uint64_t object_size, struct range *ret)
{
    uint64_t first = 0, last = UINT64_MAX;

    *ret = (struct range){.size = object_size};
    if (!text || strncmp(text, "bytes=", 6) != 0)
        return true;
    text += 6;
    if (*text == '-') {
        text++;
        if (!read_number(&text, &last) || *text)
            return true;
        first = last < object_size ? object_size - last : 0;
        ret->given = true;
        ret->pos = first;
        ret->size = object_size - first;
        return last > 0 && object_size > 0;
    }
    if (!read_number(&text, &first) || *text++ != '-')
        return true;
    if (*text && (!read_number(&text, &last) || *text || last < first))
        return true;
    if (first >= object_size)
        return false;
    if (last >= object_size)
        last = object_size - 1;
    *ret = (struct range){.given = true, .pos = first, .size = last - first + 1};
    return true;
}

static void add_headers(struct fakes3_call *call, const struct fakes3_object *object)
{
    struct fakes3_reply *reply = &call->reply;
    const char *mode = fakes3_call_header(call, "x-amz-checksum-mode");
    char date[FAKES3_DATE_SIZE];

    fakes3_text_http_date(object->modified_ms, date);
    fakes3_reply_header(reply, "Last-Modified", "%s", date);
    fakes3_reply_header(reply, "ETag", "\"%s\"", object->etag);
    fakes3_reply_header(reply, "Accept-Ranges", "bytes");
    for (size_t i = 0; i < object->headers.count; i++)
        fakes3_reply_header(reply, object->headers.items[i].name, "%s",
                            object->headers.items[i].value);
    if (!fakes3_pairs_get(&object->headers, "content-type"))
        fakes3_reply_header(reply, "Content-Type", "binary/octet-stream");
    if (strcmp(object->storage_class, "STANDARD") != 0)
        fakes3_reply_header(reply, "x-amz-storage-class", "%s", object->storage_class);
    fakes3_restore_add_header(call, object);
    if (!mode || strcasecmp(mode, "ENABLED") != 0)
        return;
    if (*object->crc32c)
        fakes3_reply_header(reply, "x-amz-checksum-crc32c", "%s", object->crc32c);
    if (*object->sha256)
        fakes3_reply_header(reply, "x-amz-checksum-sha256", "%s", object->sha256);
    if (*object->crc32c || *object->sha256)
        fakes3_reply_header(reply, "x-amz-checksum-type", "%s",
                            object->full_object ? "FULL_OBJECT" : "COMPOSITE");
}

/* 206 with its Content-Range, as the rule's range= leaves them. */
static void answer_range(struct fakes3_call *call, const struct fakes3_object *object,
                         struct range *range)
{
    enum fakes3_range_fault fault = call->effects.range;
    uint64_t told;

    if (fault == FAKES3_RANGE_SHORT && range->size > 1)
        range->size /= 2;
    told = range->pos + (fault == FAKES3_RANGE_WRONG);
    call->reply.status = 206;
    if (fault != FAKES3_RANGE_MISSING)
        fakes3_reply_header(&call->reply, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                            told, told + range->size - 1, object->size);
}

static void answer(struct fakes3_call *call, const struct fakes3_object *object,
                   struct range *range)
{
    struct evbuffer *body = call->reply.body;
    uint64_t pos;

    add_headers(call, object);
    if (range->given)
        answer_range(call, object, range);
    call->reply.length = (int64_t)range->size;
    if (call->request->op == FAKES3_HEAD_OBJECT)
        return;
    pos = range->pos;
    if (range->given && call->effects.range == FAKES3_RANGE_SHIFT) {
        /* The bytes after those that were asked for; from the beginning where the object ends. */
        pos += pos + range->size < object->size;
        if (pos == range->pos)
            pos = pos > 0 ? pos - 1 : 0;
    }
    fakes3_object_append(object, pos, range->size, body);
}

void fakes3_get_object(struct fakes3_call *call)
{
    struct fakes3_object *object = fakes3_bucket_find(call->bucket, call->request->key);
    const char *range_text = fakes3_call_header(call, "range");
    struct range range;

    if (call->effects.range == FAKES3_RANGE_IGNORE)
        range_text = NULL;
    if (!object) {
        fakes3_reply_error(&call->reply, "NoSuchKey", "The specified key does not exist.");
        fakes3_reply_detail(&call->reply, "Key", "%s", call->request->key);
        return;
    }
    if (!fakes3_conditions_check_read(call, object))
        return;
    if (call->request->op == FAKES3_GET_OBJECT && !fakes3_restore_check_readable(call, object))
        return;
    if (!read_range(range_text, object->size, &range)) {
        fakes3_reply_error(&call->reply, "InvalidRange", "The requested range is not satisfiable");
        fakes3_reply_detail(&call->reply, "RangeRequested", "%s", range_text);
        fakes3_reply_detail(&call->reply, "ActualObjectSize", "%" PRIu64, object->size);
        fakes3_reply_header(&call->reply, "Content-Range", "bytes */%" PRIu64, object->size);
        return;
    }
    answer(call, object, &range);
}
