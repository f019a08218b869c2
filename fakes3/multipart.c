/* Multipart uploads, from their creation to their completion. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/text.h"
#include "fakes3/call.h"
#include "fakes3/conditions.h"
#include "fakes3/put.h"
#include "fakes3/text.h"
#include "fakes3/xml.h"

#define PARTS_COUNT_MAX 10000

static bool asks_for(struct fakes3_call *call, const char *algorithm)
{
    const char *given = fakes3_call_header(call, "x-amz-checksum-algorithm");

    return given && strcasecmp(given, algorithm) == 0;
}

void fakes3_multipart_create(struct fakes3_call *call)
{
    const char *type = fakes3_call_header(call, "x-amz-checksum-type");
    struct fakes3_object *object = fakes3_put_describe(call);
    struct fakes3_upload *upload;
    char random[25];

    if (!object)
        return;
    upload = fakes3_text_alloc(sizeof(*upload));
    fakes3_random_name(&call->server->random, random, 24);
    /* With characters that a client must encode in a query. */
    upload->id = fakes3_text_format("%s+/%06" PRIu64 "=", random, call->number);
    upload->object = object;
    upload->started_ms = call->now_ms;
    upload->want_crc32c = asks_for(call, "CRC32C");
    upload->want_sha256 = asks_for(call, "SHA256");
    object->full_object = type && strcmp(type, "FULL_OBJECT") == 0;
    fakes3_bucket_add_upload(call->bucket, upload);
    fakes3_reply_xml(&call->reply, "InitiateMultipartUploadResult");
    fakes3_reply_element(&call->reply, "Bucket", call->bucket->name);
    fakes3_reply_element(&call->reply, "Key", call->request->key);
    fakes3_reply_element(&call->reply, "UploadId", upload->id);
    evbuffer_add_printf(call->reply.body, "</InitiateMultipartUploadResult>");
}

static struct fakes3_upload *find_upload(struct fakes3_call *call)
{
    struct fakes3_upload *upload = fakes3_bucket_find_upload(call->bucket, call->request->key,
                                                             fakes3_call_param(call, "uploadId"));

    if (!upload)
        fakes3_reply_error(&call->reply, "NoSuchUpload",
                           "The specified upload does not exist. The upload ID may be invalid, or "
                           "the upload may have been aborted or completed.");
    return upload;
}

static void answer_part(struct fakes3_call *call, const struct fakes3_part *part)
{
    char text[FAKES3_CHECKSUM_SIZE];

    fakes3_reply_header(&call->reply, "ETag", "\"%s\"", part->etag);
    if (fakes3_call_header(call, "x-amz-checksum-crc32c")) {
        fakes3_text_base64(part->crc32c, 4, text);
        fakes3_reply_header(&call->reply, "x-amz-checksum-crc32c", "%s", text);
    }
    if (fakes3_call_header(call, "x-amz-checksum-sha256")) {
        fakes3_text_base64(part->sha256, 32, text);
        fakes3_reply_header(&call->reply, "x-amz-checksum-sha256", "%s", text);
    }
}

/* An upload that promised a checksum wants it with each part. */
static bool has_promised_checksum(struct fakes3_call *call, const struct fakes3_upload *upload)
{
    if ((!upload->want_crc32c || fakes3_call_header(call, "x-amz-checksum-crc32c")) &&
        (!upload->want_sha256 || fakes3_call_header(call, "x-amz-checksum-sha256")))
        return true;
    fakes3_reply_error(&call->reply, "InvalidRequest",
                       "Checksum Type mismatch occurred, expected checksum Type: %s, actual "
                       "checksum Type: null",
                       upload->want_crc32c ? "crc32c" : "sha256");
    return false;
}

void fakes3_multipart_put_part(struct fakes3_call *call)
{
    struct fakes3_request *request = call->request;
    const char *number = fakes3_call_param(call, "partNumber");
    struct fakes3_upload *upload;
    struct fakes3_part part = {.modified_ms = call->now_ms};
    int64_t value;

    if (!number || !base_parse_i64(number, &value) || value < 1 || value > PARTS_COUNT_MAX) {
        fakes3_reply_error(&call->reply, "InvalidArgument",
                           "Part number must be an integer between 1 and 10000, inclusive");
        return;
    }
    upload = find_upload(call);
    if (!upload || !has_promised_checksum(call, upload))
        return;
    part.number = (int)value;
    part.body = request->body ? request->body : fakes3_blob_new(&call->server->store.blobs, 0);
    request->body = NULL;
    memcpy(part.md5, request->digest.md5, sizeof(part.md5));
    memcpy(part.crc32c, request->digest.crc32c, sizeof(part.crc32c));
    memcpy(part.sha256, request->digest.sha256, sizeof(part.sha256));
    if (call->server->options.opaque_etags)
        fakes3_put_opaque_etag(call->server, part.etag);
    else
        fakes3_text_hex(part.md5, sizeof(part.md5), part.etag);
    answer_part(call, &part);
    fakes3_upload_put_part(upload, &part);
}

/* The list of parts in the body of CompleteMultipartUpload. */
struct listed_part {
    int64_t number;
    char etag[FAKES3_ETAG_SIZE + 2];
    char crc32c[16], sha256[FAKES3_CHECKSUM_SIZE];
};

struct completion {
    struct fakes3_call *call;
    struct fakes3_upload *upload;
    struct listed_part *parts;
    size_t count;
    struct listed_part current;
    bool bad;
};

static void keep(struct completion *c, char *place, size_t size, const char *text)
{
    if (strlen(text) < size)
        strcpy(place, text);
    else
        c->bad = true;
}

static void read_element(void *arg, const char *path, const char *text)
{
    static const char prefix[] = "CompleteMultipartUpload/Part";
    struct completion *c = arg;
    const char *name;

    if (strncmp(path, prefix, sizeof(prefix) - 1) != 0)
        return;
    name = path + sizeof(prefix) - 1;
    if (strcmp(name, "/PartNumber") == 0) {
        c->bad |= !base_parse_i64(text, &c->current.number);
    } else if (strcmp(name, "/ETag") == 0) {
        keep(c, c->current.etag, sizeof(c->current.etag), text);
    } else if (strcmp(name, "/ChecksumCRC32C") == 0) {
        keep(c, c->current.crc32c, sizeof(c->current.crc32c), text);
    } else if (strcmp(name, "/ChecksumSHA256") == 0) {
        keep(c, c->current.sha256, sizeof(c->current.sha256), text);
    } else if (*name == 0) {
        c->bad |= !c->current.number || !*c->current.etag || c->count >= PARTS_COUNT_MAX;
        c->parts = fakes3_text_grow(c->parts, (c->count + 1) * sizeof(*c->parts));
        c->parts[c->count++] = c->current;
        c->current = (struct listed_part){0};
        if (c->count > PARTS_COUNT_MAX)
            c->count = PARTS_COUNT_MAX;
    }
}

static bool read_completion(struct completion *c)
{
    char *text = fakes3_request_text(c->call->request);
    bool good = fakes3_xml_read(text, read_element, c) && !c->bad && c->count > 0;

    free(text);
    if (!good)
        fakes3_reply_error(&c->call->reply, "MalformedXML",
                           "The XML you provided was not well-formed or did not validate against "
                           "our published schema");
    return good;
}

static bool etag_equal(const char *listed, const char *etag)
{
    size_t size = strlen(listed);

    if (size >= 2 && *listed == '"')
        listed++, size -= 2;
    return size == strlen(etag) && memcmp(listed, etag, size) == 0;
}

static bool checksum_equal(const char *listed, const uint8_t *value, size_t size)
{
    char text[FAKES3_CHECKSUM_SIZE];

    fakes3_text_base64(value, size, text);
    return !*listed || strcmp(listed, text) == 0;
}

static bool check_order(const struct completion *c)
{
    for (size_t i = 1; i < c->count; i++) {
        if (c->parts[i].number > c->parts[i - 1].number)
            continue;
        fakes3_reply_error(&c->call->reply, "InvalidPartOrder",
                           "The list of parts was not in ascending order. Parts must be ordered "
                           "by part number.");
        return false;
    }
    return true;
}

static bool check_parts(const struct completion *c)
{
    struct fakes3_reply *reply = &c->call->reply;

    for (size_t i = 0; i < c->count; i++) {
        const struct listed_part *listed = &c->parts[i];
        const struct fakes3_part *part = fakes3_upload_find_part(c->upload, (int)listed->number);

        if (!part || !etag_equal(listed->etag, part->etag) ||
            !checksum_equal(listed->crc32c, part->crc32c, 4) ||
            !checksum_equal(listed->sha256, part->sha256, 32)) {
            fakes3_reply_error(reply, "InvalidPart",
                               "One or more of the specified parts could not be found. The part "
                               "may not have been uploaded, or the specified entity tag may not "
                               "match the part's entity tag.");
            fakes3_reply_detail(reply, "UploadId", "%s", c->upload->id);
            fakes3_reply_detail(reply, "PartNumber", "%" PRId64, listed->number);
            fakes3_reply_detail(reply, "ETag", "%s", listed->etag);
            return false;
        }
        if (i + 1 < c->count &&
            (int64_t)part->body->size < c->call->server->options.part_size_min) {
            fakes3_reply_error(reply, "EntityTooSmall",
                               "Your proposed upload is smaller than the minimum allowed size");
            fakes3_reply_detail(reply, "PartNumber", "%" PRId64, listed->number);
            fakes3_reply_detail(reply, "ProposedSize", "%zu", part->body->size);
            return false;
        }
    }
    return true;
}

/* ETag: MD5 of the parts' MD5s, and their count. Checksums likewise, unless that of the whole was
 * promised. */
static void sum_parts(const struct completion *c, struct fakes3_object *object)
{
    uint8_t *md5s = fakes3_text_alloc(c->count * 16), *crcs = fakes3_text_alloc(c->count * 4);
    uint8_t *sha256s = fakes3_text_alloc(c->count * 32), sum[32];
    uint32_t whole = 0;
    char text[FAKES3_CHECKSUM_SIZE];

    for (size_t i = 0; i < c->count; i++) {
        const struct fakes3_part *part =
            fakes3_upload_find_part(c->upload, (int)c->parts[i].number);
        memcpy(md5s + 16 * i, part->md5, 16);
        memcpy(crcs + 4 * i, part->crc32c, 4);
        memcpy(sha256s + 32 * i, part->sha256, 32);
        whole = base_crc32c_combine(whole, base_get_be32(part->crc32c), part->body->size);
    }
    fakes3_digest_md5(md5s, c->count * 16, sum);
    fakes3_text_hex(sum, 16, object->etag);
    if (c->call->server->options.opaque_etags)
        fakes3_put_opaque_etag(c->call->server, object->etag);
    snprintf(object->etag + 32, sizeof(object->etag) - 32, "-%zu", c->count);
    if (c->upload->want_crc32c) {
        base_put_be32(sum, object->full_object ? whole : base_crc32c(0, crcs, c->count * 4));
        fakes3_text_base64(sum, 4, text);
        snprintf(object->crc32c, sizeof(object->crc32c), object->full_object ? "%.8s" : "%.8s-%zu",
                 text, c->count);
    }
    if (c->upload->want_sha256) {
        fakes3_digest_sha256(sha256s, c->count * 32, sum);
        fakes3_text_base64(sum, 32, text);
        snprintf(object->sha256, sizeof(object->sha256), "%.44s-%zu", text, c->count);
    }
    free(md5s);
    free(crcs);
    free(sha256s);
}

static bool check_object_checksum(const struct completion *c, const struct fakes3_object *object)
{
    const char *given = fakes3_call_header(c->call, "x-amz-checksum-crc32c");

    if (!given || !*object->crc32c || strcmp(given, object->crc32c) == 0)
        return true;
    fakes3_reply_error(&c->call->reply, "BadDigest",
                       "The crc32c you specified did not match the calculated checksum.");
    return false;
}

static void answer_completion(struct fakes3_call *call, const struct fakes3_object *object)
{
    struct fakes3_reply *reply = &call->reply;
    char *location = fakes3_text_format("/%s/%s", call->bucket->name, object->key);
    char *etag = fakes3_text_format("\"%s\"", object->etag);

    fakes3_reply_xml(reply, "CompleteMultipartUploadResult");
    fakes3_reply_element(reply, "Location", location);
    fakes3_reply_element(reply, "Bucket", call->bucket->name);
    fakes3_reply_element(reply, "Key", object->key);
    fakes3_reply_element(reply, "ETag", etag);
    fakes3_reply_element(reply, "ChecksumCRC32C", *object->crc32c ? object->crc32c : NULL);
    fakes3_reply_element(reply, "ChecksumSHA256", *object->sha256 ? object->sha256 : NULL);
    evbuffer_add_printf(reply->body, "</CompleteMultipartUploadResult>");
    free(location);
    free(etag);
}

static void complete(struct completion *c)
{
    struct fakes3_object *object = c->upload->object;

    sum_parts(c, object);
    if (!check_object_checksum(c, object))
        return;
    for (size_t i = 0; i < c->count; i++)
        fakes3_object_add_piece(
            object,
            fakes3_blob_ref(fakes3_upload_find_part(c->upload, (int)c->parts[i].number)->body));
    c->upload->object = NULL;
    answer_completion(c->call, object);
    fakes3_put_commit(c->call, object);
}

void fakes3_multipart_complete(struct fakes3_call *call)
{
    struct completion c = {.call = call, .upload = find_upload(call)};
    const struct fakes3_object *existing = fakes3_bucket_find(call->bucket, call->request->key);

    if (!c.upload)
        return;
    if (read_completion(&c) && check_order(&c) && check_parts(&c) &&
        fakes3_conditions_check_write(call, existing)) {
        complete(&c);
        if (!c.upload->object)
            fakes3_bucket_remove_upload(call->bucket, c.upload);
    }
    free(c.parts);
}

void fakes3_multipart_abort(struct fakes3_call *call)
{
    struct fakes3_upload *upload = find_upload(call);

    if (!upload)
        return;
    fakes3_bucket_remove_upload(call->bucket, upload);
    call->reply.status = 204;
}
