/* Operations on buckets. */
#include <stdlib.h>
#include <string.h>

#include "fakes3/call.h"
#include "fakes3/persist.h"
#include "fakes3/text.h"
#include "fakes3/xml.h"

void fakes3_bucket_list_all(struct fakes3_call *call)
{
    const struct fakes3_store *store = &call->server->store;
    char date[FAKES3_DATE_SIZE];

    fakes3_reply_xml(&call->reply, "ListAllMyBucketsResult");
    evbuffer_add_printf(call->reply.body, "<Owner><ID>%s</ID></Owner><Buckets>",
                        call->account ? call->account : "anonymous");
    for (size_t i = 0; i < store->buckets_count; i++) {
        if (call->account && strcmp(store->buckets[i]->account, call->account) != 0)
            continue;
        fakes3_text_iso_date(store->buckets[i]->created_ms, date);
        evbuffer_add_printf(call->reply.body,
                            "<Bucket><Name>%s</Name><CreationDate>%s</CreationDate></Bucket>",
                            store->buckets[i]->name, date);
    }
    evbuffer_add_printf(call->reply.body, "</Buckets></ListAllMyBucketsResult>");
}

static void read_location(void *arg, const char *path, const char *text)
{
    char **ret = arg;

    if (strcmp(path, "CreateBucketConfiguration/LocationConstraint") != 0)
        return;
    free(*ret);
    *ret = fakes3_text_copy(text);
}

/* The region asked for, in fresh memory; NULL with the error. */
static char *asked_region(struct fakes3_call *call)
{
    char *text = fakes3_request_text(call->request);
    char *region = NULL;
    bool good = !*text || fakes3_xml_read(text, read_location, &region);

    free(text);
    if (!good) {
        free(region);
        fakes3_reply_error(&call->reply, "MalformedXML",
                           "The XML you provided was not well-formed.");
        return NULL;
    }
    if (region && *region)
        return region;
    free(region);
    return fakes3_text_copy(call->server->options.region);
}

void fakes3_bucket_create(struct fakes3_call *call)
{
    const char *name = call->request->bucket;
    const char *account = call->account ? call->account : FAKES3_ACCOUNT_DEFAULT;
    struct fakes3_bucket *bucket = fakes3_store_find(&call->server->store, name);
    char *region;

    if (!fakes3_store_name_is_valid(name)) {
        fakes3_reply_error(&call->reply, "InvalidBucketName", "The specified bucket is not valid.");
        return;
    }
    if (bucket) {
        if (strcmp(bucket->account, account) == 0)
            fakes3_reply_error(&call->reply, "BucketAlreadyOwnedByYou",
                               "Your previous request to create the named bucket succeeded and you "
                               "already own it.");
        else
            fakes3_reply_error(&call->reply, "BucketAlreadyExists",
                               "The requested bucket name is not available.");
        return;
    }
    region = asked_region(call);
    if (!region)
        return;
    bucket = fakes3_store_add(&call->server->store, name, account, region, call->now_ms);
    fakes3_persist_save_bucket(call->server, bucket);
    fakes3_reply_header(&call->reply, "Location", "/%s", name);
    free(region);
}

void fakes3_bucket_head(struct fakes3_call *call)
{
    fakes3_reply_header(&call->reply, "x-amz-bucket-region", "%s", call->bucket->region);
    fakes3_reply_header(&call->reply, "x-amz-access-point-alias", "false");
    fakes3_reply_header(&call->reply, "Content-Type", "application/xml");
}

void fakes3_bucket_remove(struct fakes3_call *call)
{
    if (call->bucket->objects_count || call->bucket->uploads_count) {
        fakes3_reply_error(&call->reply, "BucketNotEmpty",
                           "The bucket you tried to delete is not empty");
        return;
    }
    fakes3_persist_remove_bucket(call->server, call->bucket);
    fakes3_store_remove(&call->server->store, call->bucket);
    call->bucket = NULL;
    call->reply.status = 204;
}

void fakes3_bucket_location(struct fakes3_call *call)
{
    const char *region = call->bucket->region;

    /* The oldest region has no name here. */
    fakes3_reply_xml(&call->reply, "LocationConstraint");
    if (strcmp(region, "us-east-1") != 0)
        fakes3_text_xml(call->reply.body, region);
    evbuffer_add_printf(call->reply.body, "</LocationConstraint>");
}

void fakes3_bucket_versioning(struct fakes3_call *call)
{
    /* Never enabled, so without a Status. */
    fakes3_reply_xml(&call->reply, "VersioningConfiguration");
    evbuffer_add_printf(call->reply.body, "</VersioningConfiguration>");
}

void fakes3_bucket_object_lock(struct fakes3_call *call)
{
    fakes3_reply_error(&call->reply, "ObjectLockConfigurationNotFoundError",
                       "Object Lock configuration does not exist for this bucket");
    fakes3_reply_detail(&call->reply, "BucketName", "%s", call->bucket->name);
}
