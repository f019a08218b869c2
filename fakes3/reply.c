#include "fakes3/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fakes3/request.h"
#include "fakes3/text.h"

static const struct {
    const char *code;
    int status;
} codes[] = {
    /* The first of each status is what a rule with a status alone answers. */
    {"InvalidRequest", 400},
    {"AccessDenied", 403},
    {"NoSuchKey", 404},
    {"MethodNotAllowed", 405},
    {"ConditionalRequestConflict", 409},
    {"MissingContentLength", 411},
    {"PreconditionFailed", 412},
    {"EntityTooLarge", 413},
    {"InvalidRange", 416},
    {"TooManyRequests", 429},
    {"RequestHeaderSectionTooLarge", 431},
    {"InternalError", 500},
    {"NotImplemented", 501},
    {"BadGateway", 502},
    {"SlowDown", 503},
    {"GatewayTimeout", 504},
    {"HttpVersionNotSupported", 505},
    {"StorageFull", 507},
    {"PermanentRedirect", 301},
    {"TemporaryRedirect", 307},
    {"AuthorizationHeaderMalformed", 400},
    {"BadDigest", 400},
    {"BucketAlreadyExists", 409},
    {"BucketAlreadyOwnedByYou", 409},
    {"BucketNotEmpty", 409},
    {"EntityTooSmall", 400},
    {"ExpiredToken", 400},
    {"ExpiredTokenException", 400},
    {"IncompleteBody", 400},
    {"InvalidAccessKeyId", 403},
    {"InvalidArgument", 400},
    {"InvalidBucketName", 400},
    {"InvalidClientTokenId", 403},
    {"InvalidDigest", 400},
    {"InvalidIdentityToken", 400},
    {"InvalidObjectState", 403},
    {"InvalidPart", 400},
    {"InvalidPartOrder", 400},
    {"InvalidToken", 400},
    {"KeyTooLongError", 400},
    {"MalformedXML", 400},
    {"MetadataTooLarge", 400},
    {"NoSuchBucket", 404},
    {"NoSuchUpload", 404},
    {"NotModified", 304},
    {"ObjectLockConfigurationNotFoundError", 404},
    {"OperationAborted", 409},
    {"RequestTimeTooSkewed", 403},
    {"RequestTimeout", 400},
    {"RestoreAlreadyInProgress", 409},
    {"ServiceUnavailable", 503},
    {"SignatureDoesNotMatch", 403},
    {"Unauthorized", 401},
    {"XAmzContentSHA256Mismatch", 400},
};

int fakes3_reply_status_of_code(const char *code)
{
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(codes[i].code, code) == 0)
            return codes[i].status;
    return 0;
}

const char *fakes3_reply_code_of_status(int status)
{
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].status == status)
            return codes[i].code;
    if (status == 408) /* as the code, S3 answers it with 400 */
        return "RequestTimeout";
    return status >= 500 ? "InternalError" : "InvalidRequest";
}

const char *fakes3_reply_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {416, "Range Not Satisfiable"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Slow Down"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

void fakes3_reply_init(struct fakes3_reply *reply)
{
    *reply = (struct fakes3_reply){.status = 200, .length = -1, .cut = -1};
    reply->body = evbuffer_new();
}

void fakes3_reply_deinit(struct fakes3_reply *reply)
{
    fakes3_pairs_deinit(&reply->headers);
    fakes3_pairs_deinit(&reply->error);
    if (reply->body)
        evbuffer_free(reply->body);
    reply->body = NULL;
}

void fakes3_reply_clear(struct fakes3_reply *reply)
{
    fakes3_reply_deinit(reply);
    fakes3_reply_init(reply);
}

static void add_formatted(struct fakes3_pairs *pairs, const char *name, const char *format,
                          va_list args)
{
    char *value;

    if (vasprintf(&value, format, args) < 0)
        value = fakes3_text_copy("");
    fakes3_pairs_add(pairs, fakes3_text_copy(name), value);
}

void fakes3_reply_header(struct fakes3_reply *reply, const char *name, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_formatted(&reply->headers, name, format, args);
    va_end(args);
}

void fakes3_reply_header_set(struct fakes3_reply *reply, const char *name, const char *value)
{
    struct fakes3_pairs *headers = &reply->headers;

    for (size_t i = 0; i < headers->count; i++) {
        if (strcasecmp(headers->items[i].name, name) != 0)
            continue;
        free(headers->items[i].value);
        if (value) {
            headers->items[i].value = fakes3_text_copy(value);
            return;
        }
        free(headers->items[i].name);
        headers->items[i] = headers->items[--headers->count];
        return;
    }
    if (value)
        fakes3_pairs_add(headers, fakes3_text_copy(name), fakes3_text_copy(value));
}

void fakes3_reply_error(struct fakes3_reply *reply, const char *code, const char *format, ...)
{
    int status = fakes3_reply_status_of_code(code);
    va_list args;

    fakes3_reply_clear(reply);
    reply->status = status ? status : 400;
    fakes3_pairs_add(&reply->error, fakes3_text_copy("Code"), fakes3_text_copy(code));
    va_start(args, format);
    add_formatted(&reply->error, "Message", format, args);
    va_end(args);
}

void fakes3_reply_detail(struct fakes3_reply *reply, const char *name, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_formatted(&reply->error, name, format, args);
    va_end(args);
}

const char *fakes3_reply_code(const struct fakes3_reply *reply)
{
    const char *code = fakes3_pairs_get(&reply->error, "Code");

    return code ? code : "";
}

static void declare_xml(struct fakes3_reply *reply)
{
    fakes3_reply_header_set(reply, "Content-Type", "application/xml");
    evbuffer_add_printf(reply->body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
}

void fakes3_reply_xml(struct fakes3_reply *reply, const char *root)
{
    declare_xml(reply);
    evbuffer_add_printf(reply->body, "<%s xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
                        root);
}

void fakes3_reply_element(struct fakes3_reply *reply, const char *name, const char *text)
{
    if (!text)
        return;
    evbuffer_add_printf(reply->body, "<%s>", name);
    fakes3_text_xml(reply->body, text);
    evbuffer_add_printf(reply->body, "</%s>", name);
}

void fakes3_reply_finish(struct fakes3_reply *reply, const struct fakes3_request *request,
                         const char *request_id)
{
    bool sts = request && fakes3_operation_is_provider(request->op);

    if (reply->error.count == 0 || reply->status == 304)
        return;
    declare_xml(reply);
    if (sts)
        evbuffer_add_printf(
            reply->body,
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>"
            "<Type>%s</Type>",
            reply->status < 500 ? "Sender" : "Receiver");
    else
        evbuffer_add_printf(reply->body, "<Error>");
    for (size_t i = 0; i < reply->error.count; i++)
        fakes3_reply_element(reply, reply->error.items[i].name, reply->error.items[i].value);
    if (sts)
        evbuffer_add_printf(reply->body, "</Error>");
    else if (request)
        fakes3_reply_element(reply, "Resource", request->path);
    fakes3_reply_element(reply, "RequestId", request_id);
    evbuffer_add_printf(reply->body, sts ? "</ErrorResponse>" : "</Error>");
}
