/* ListMultipartUploads and ListParts. */
#include <stdlib.h>
#include <string.h>

#include "fakes3/call.h"
#include "fakes3/text.h"

#define PAGE_COUNT_MAX 1000

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static void add_name(struct fakes3_call *call, bool encode, const char *element, const char *name)
{
    struct evbuffer *out = call->reply.body;

    evbuffer_add_printf(out, "<%s>", element);
    if (encode)
        fakes3_text_encode(out, name, true);
    else
        fakes3_text_xml(out, name);
    evbuffer_add_printf(out, "</%s>", element);
}

static bool comes_after(const struct fakes3_upload *upload, const char *key, const char *id)
{
    int order = strcmp(upload->object->key, key);

    /* Without an upload-id-marker the uploads of the marker's key are done with. */
    return order > 0 || (order == 0 && *id && strcmp(upload->id, id) > 0);
}

static void add_upload(struct fakes3_call *call, bool encode, const struct fakes3_upload *upload)
{
    char date[FAKES3_DATE_SIZE];

    fakes3_text_iso_date(upload->started_ms, date);
    evbuffer_add_printf(call->reply.body, "<Upload>");
    add_name(call, encode, "Key", upload->object->key);
    fakes3_reply_element(&call->reply, "UploadId", upload->id);
    fakes3_reply_element(&call->reply, "StorageClass", upload->object->storage_class);
    fakes3_reply_element(&call->reply, "Initiated", date);
    evbuffer_add_printf(call->reply.body, "</Upload>");
}

void fakes3_uploads_list(struct fakes3_call *call)
{
    const char *prefix = or_empty(fakes3_call_param(call, "prefix"));
    const char *key = or_empty(fakes3_call_param(call, "key-marker"));
    const char *id = or_empty(fakes3_call_param(call, "upload-id-marker"));
    bool encode = fakes3_call_param(call, "encoding-type");
    int64_t max = fakes3_call_number(call, "max-uploads", PAGE_COUNT_MAX, PAGE_COUNT_MAX);
    const struct fakes3_upload *last = NULL;
    bool truncated = false;
    int64_t count = 0;

    if (max < 0)
        return;
    if (fakes3_call_param(call, "delimiter")) {
        fakes3_reply_error(&call->reply, "NotImplemented",
                           "ListMultipartUploads has no delimiter here.");
        return;
    }
    fakes3_reply_xml(&call->reply, "ListMultipartUploadsResult");
    fakes3_reply_element(&call->reply, "Bucket", call->bucket->name);
    add_name(call, encode, "KeyMarker", key);
    fakes3_reply_element(&call->reply, "UploadIdMarker", id);
    add_name(call, encode, "Prefix", prefix);
    if (encode)
        fakes3_reply_element(&call->reply, "EncodingType", "url");
    evbuffer_add_printf(call->reply.body, "<MaxUploads>%lld</MaxUploads>", (long long)max);
    for (size_t i = 0; i < call->bucket->uploads_count; i++) {
        const struct fakes3_upload *upload = call->bucket->uploads[i];
        if (strncmp(upload->object->key, prefix, strlen(prefix)) != 0 ||
            (*key && !comes_after(upload, key, id)))
            continue;
        if (count++ == max) {
            truncated = true;
            break;
        }
        add_upload(call, encode, upload);
        last = upload;
    }
    fakes3_reply_element(&call->reply, "IsTruncated", truncated ? "true" : "false");
    if (truncated && last) {
        add_name(call, encode, "NextKeyMarker", last->object->key);
        fakes3_reply_element(&call->reply, "NextUploadIdMarker", last->id);
    }
    evbuffer_add_printf(call->reply.body, "</ListMultipartUploadsResult>");
}

static void add_part(struct fakes3_call *call, const struct fakes3_upload *upload,
                     const struct fakes3_part *part)
{
    char date[FAKES3_DATE_SIZE], checksum[FAKES3_CHECKSUM_SIZE];

    fakes3_text_iso_date(part->modified_ms, date);
    evbuffer_add_printf(call->reply.body,
                        "<Part><PartNumber>%d</PartNumber><LastModified>%s</LastModified>"
                        "<ETag>&quot;%s&quot;</ETag><Size>%zu</Size>",
                        part->number, date, part->etag, part->body->size);
    if (upload->want_crc32c) {
        fakes3_text_base64(part->crc32c, 4, checksum);
        fakes3_reply_element(&call->reply, "ChecksumCRC32C", checksum);
    }
    if (upload->want_sha256) {
        fakes3_text_base64(part->sha256, 32, checksum);
        fakes3_reply_element(&call->reply, "ChecksumSHA256", checksum);
    }
    evbuffer_add_printf(call->reply.body, "</Part>");
}

void fakes3_uploads_list_parts(struct fakes3_call *call)
{
    const char *id = fakes3_call_param(call, "uploadId");
    const struct fakes3_upload *upload =
        fakes3_bucket_find_upload(call->bucket, call->request->key, id);
    int64_t max = fakes3_call_number(call, "max-parts", PAGE_COUNT_MAX, PAGE_COUNT_MAX);
    int64_t marker = max < 0 ? -1 : fakes3_call_number(call, "part-number-marker", 0, 10000);
    int64_t count = 0;
    int last = 0;
    size_t i = 0;

    if (max < 0 || marker < 0)
        return;
    if (!upload) {
        fakes3_reply_error(&call->reply, "NoSuchUpload", "The specified upload does not exist.");
        return;
    }
    fakes3_reply_xml(&call->reply, "ListPartsResult");
    fakes3_reply_element(&call->reply, "Bucket", call->bucket->name);
    fakes3_reply_element(&call->reply, "Key", call->request->key);
    fakes3_reply_element(&call->reply, "UploadId", id);
    fakes3_reply_element(&call->reply, "StorageClass", upload->object->storage_class);
    evbuffer_add_printf(call->reply.body,
                        "<PartNumberMarker>%lld</PartNumberMarker><MaxParts>%lld</MaxParts>",
                        (long long)marker, (long long)max);
    while (i < upload->parts_count && upload->parts[i].number <= marker)
        i++;
    for (; i < upload->parts_count && count < max; i++, count++) {
        add_part(call, upload, &upload->parts[i]);
        last = upload->parts[i].number;
    }
    fakes3_reply_element(&call->reply, "IsTruncated", i < upload->parts_count ? "true" : "false");
    if (i < upload->parts_count)
        evbuffer_add_printf(call->reply.body, "<NextPartNumberMarker>%d</NextPartNumberMarker>",
                            last);
    evbuffer_add_printf(call->reply.body, "</ListPartsResult>");
}
