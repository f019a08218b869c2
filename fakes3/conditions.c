#include "fakes3/conditions.h"

#include <string.h>

/* Quoted or not: AWS takes both. */
static bool etag_equal(const char *given, const char *etag)
{
    size_t size = strlen(given);

    if (size >= 2 && given[0] == '"' && given[size - 1] == '"') {
        given++;
        size -= 2;
    }
    return size == strlen(etag) && memcmp(given, etag, size) == 0;
}

static void fail(struct fakes3_call *call, const char *condition)
{
    fakes3_reply_error(&call->reply, "PreconditionFailed",
                       "At least one of the pre-conditions you specified did not hold");
    fakes3_reply_detail(&call->reply, "Condition", "%s", condition);
}

static bool check_match(struct fakes3_call *call, const char *given,
                        const struct fakes3_object *existing)
{
    if (!existing) {
        fakes3_reply_error(&call->reply, "NoSuchKey", "The specified key does not exist.");
        fakes3_reply_detail(&call->reply, "Key", "%s", call->request->key);
        return false;
    }
    if (strcmp(given, "*") == 0 || etag_equal(given, existing->etag))
        return true;
    fail(call, "If-Match");
    return false;
}

bool fakes3_conditions_check_write(struct fakes3_call *call, const struct fakes3_object *existing)
{
    const char *match = fakes3_call_header(call, "if-match");
    const char *none_match = fakes3_call_header(call, "if-none-match");

    if (call->effects.ignore & FAKES3_IGNORE_CONDITIONS)
        return true;
    if (none_match && strcmp(none_match, "*") != 0) {
        fakes3_reply_error(&call->reply, "NotImplemented",
                           "A header you provided implies functionality that is not implemented");
        fakes3_reply_detail(&call->reply, "Header", "If-None-Match");
        return false;
    }
    if (none_match && existing) {
        fail(call, "If-None-Match");
        return false;
    }
    return !match || check_match(call, match, existing);
}

bool fakes3_conditions_check_read(struct fakes3_call *call, const struct fakes3_object *object)
{
    const char *match = fakes3_call_header(call, "if-match");
    const char *none_match = fakes3_call_header(call, "if-none-match");

    if (call->effects.ignore & FAKES3_IGNORE_CONDITIONS)
        return true;
    if (match && strcmp(match, "*") != 0 && !etag_equal(match, object->etag)) {
        fail(call, "If-Match");
        return false;
    }
    if (!none_match || (strcmp(none_match, "*") != 0 && !etag_equal(none_match, object->etag)))
        return true;
    fakes3_reply_error(&call->reply, "NotModified", "Not Modified");
    fakes3_reply_header(&call->reply, "ETag", "\"%s\"", object->etag);
    return false;
}

bool fakes3_conditions_check_delete(struct fakes3_call *call, const struct fakes3_object *existing)
{
    const char *match = fakes3_call_header(call, "if-match");

    if (!match || call->effects.ignore & FAKES3_IGNORE_CONDITIONS)
        return true;
    return check_match(call, match, existing);
}
