#include "fakes3/operation.h"

#include <string.h>

#include "fakes3/request.h"
#include "fakes3/text.h"

static const struct {
    const char *name;
    const char *class;
} operations[FAKES3_OPERATIONS_COUNT] = {
    [FAKES3_OTHER] = {"Other", ""},
    [FAKES3_LIST_BUCKETS] = {"ListBuckets", "list"},
    [FAKES3_CREATE_BUCKET] = {"CreateBucket", "write"},
    [FAKES3_HEAD_BUCKET] = {"HeadBucket", "read"},
    [FAKES3_DELETE_BUCKET] = {"DeleteBucket", "write"},
    [FAKES3_GET_BUCKET_LOCATION] = {"GetBucketLocation", "read"},
    [FAKES3_GET_BUCKET_VERSIONING] = {"GetBucketVersioning", "read"},
    [FAKES3_GET_OBJECT_LOCK_CONFIGURATION] = {"GetObjectLockConfiguration", "read"},
    [FAKES3_LIST_OBJECTS] = {"ListObjects", "list"},
    [FAKES3_LIST_OBJECTS_V2] = {"ListObjectsV2", "list"},
    [FAKES3_LIST_MULTIPART_UPLOADS] = {"ListMultipartUploads", "list"},
    [FAKES3_DELETE_OBJECTS] = {"DeleteObjects", "write"},
    [FAKES3_GET_OBJECT] = {"GetObject", "read"},
    [FAKES3_HEAD_OBJECT] = {"HeadObject", "read"},
    [FAKES3_PUT_OBJECT] = {"PutObject", "write"},
    [FAKES3_COPY_OBJECT] = {"CopyObject", "write"},
    [FAKES3_DELETE_OBJECT] = {"DeleteObject", "write"},
    [FAKES3_RESTORE_OBJECT] = {"RestoreObject", "write"},
    [FAKES3_CREATE_MULTIPART_UPLOAD] = {"CreateMultipartUpload", "write"},
    [FAKES3_UPLOAD_PART] = {"UploadPart", "write"},
    [FAKES3_LIST_PARTS] = {"ListParts", "list"},
    [FAKES3_COMPLETE_MULTIPART_UPLOAD] = {"CompleteMultipartUpload", "write"},
    [FAKES3_ABORT_MULTIPART_UPLOAD] = {"AbortMultipartUpload", "write"},
    [FAKES3_ASSUME_ROLE] = {"AssumeRole", "provider"},
    [FAKES3_ASSUME_ROLE_WITH_WEB_IDENTITY] = {"AssumeRoleWithWebIdentity", "provider"},
    [FAKES3_CONTAINER_CREDENTIALS] = {"ContainerCredentials", "provider"},
    [FAKES3_METADATA_TOKEN] = {"MetadataToken", "provider"},
    [FAKES3_METADATA_ROLE] = {"MetadataRole", "provider"},
    [FAKES3_METADATA_CREDENTIALS] = {"MetadataCredentials", "provider"},
    [FAKES3_CONNECT] = {"Connect", "moment"},
    [FAKES3_DELETE_KEY] = {"DeleteKey", "moment"},
};

const char *fakes3_operation_name(enum fakes3_operation op)
{
    return operations[op].name;
}

bool fakes3_operation_matches(enum fakes3_operation op, const char *pattern)
{
    /* Moments are no requests: they are meant only where they are named. */
    if (strcmp(operations[op].class, "moment") == 0)
        return strcmp(pattern, operations[op].name) == 0;
    return strcmp(pattern, operations[op].class) == 0 ||
           fakes3_text_glob(pattern, operations[op].name);
}

bool fakes3_operation_writes(enum fakes3_operation op)
{
    return strcmp(operations[op].class, "write") == 0;
}

bool fakes3_operation_is_provider(enum fakes3_operation op)
{
    return strcmp(operations[op].class, "provider") == 0;
}

/* One line of the tables below: the first that fits is the operation. */
struct choice {
    const char *method;
    const char *param;  /* must be there; NULL: no parameter that is a sub-resource may be */
    const char *header; /* must be there, when not NULL */
    enum fakes3_operation op;
};

static const struct choice for_object[] = {
    {"GET", "uploadId", NULL, FAKES3_LIST_PARTS},
    {"GET", NULL, NULL, FAKES3_GET_OBJECT},
    {"HEAD", NULL, NULL, FAKES3_HEAD_OBJECT},
    {"PUT", "uploadId", "x-amz-copy-source", FAKES3_OTHER}, /* UploadPartCopy */
    {"PUT", "uploadId", NULL, FAKES3_UPLOAD_PART},
    {"PUT", NULL, "x-amz-copy-source", FAKES3_COPY_OBJECT},
    {"PUT", NULL, NULL, FAKES3_PUT_OBJECT},
    {"POST", "uploads", NULL, FAKES3_CREATE_MULTIPART_UPLOAD},
    {"POST", "uploadId", NULL, FAKES3_COMPLETE_MULTIPART_UPLOAD},
    {"POST", "restore", NULL, FAKES3_RESTORE_OBJECT},
    {"DELETE", "uploadId", NULL, FAKES3_ABORT_MULTIPART_UPLOAD},
    {"DELETE", NULL, NULL, FAKES3_DELETE_OBJECT},
    {0},
};

static const struct choice for_bucket[] = {
    {"GET", "location", NULL, FAKES3_GET_BUCKET_LOCATION},
    {"GET", "versioning", NULL, FAKES3_GET_BUCKET_VERSIONING},
    {"GET", "object-lock", NULL, FAKES3_GET_OBJECT_LOCK_CONFIGURATION},
    {"GET", "uploads", NULL, FAKES3_LIST_MULTIPART_UPLOADS},
    {"GET", "list-type", NULL, FAKES3_LIST_OBJECTS_V2},
    {"GET", NULL, NULL, FAKES3_LIST_OBJECTS},
    {"HEAD", NULL, NULL, FAKES3_HEAD_BUCKET},
    {"PUT", NULL, NULL, FAKES3_CREATE_BUCKET},
    {"POST", "delete", NULL, FAKES3_DELETE_OBJECTS},
    {"DELETE", NULL, NULL, FAKES3_DELETE_BUCKET},
    {0},
};

/* Without a bucket in the path. STS tells its actions apart in the body, which has not come yet;
 * but only AssumeRole is signed. */
static const struct choice for_service[] = {
    {"POST", NULL, "authorization", FAKES3_ASSUME_ROLE},
    {"POST", NULL, NULL, FAKES3_ASSUME_ROLE_WITH_WEB_IDENTITY},
    {"GET", "RoleSessionName", "authorization", FAKES3_ASSUME_ROLE},
    {"GET", "RoleSessionName", NULL, FAKES3_ASSUME_ROLE_WITH_WEB_IDENTITY},
    {"GET", NULL, NULL, FAKES3_LIST_BUCKETS},
    {0},
};

/* Sub-resources that make a request another one than the plain; those that are not in the tables
 * are not known here. */
static const char *const subresources[] = {
    "acl",         "accelerate",     "analytics",    "attributes",
    "cors",        "delete",         "encryption",   "inventory",
    "legal-hold",  "lifecycle",      "location",     "logging",
    "metrics",     "notification",   "object-lock",  "ownershipControls",
    "partNumber",  "policy",         "policyStatus", "publicAccessBlock",
    "replication", "requestPayment", "restore",      "retention",
    "select",      "tagging",        "torrent",      "uploadId",
    "uploads",     "versionId",      "versioning",   "versions",
    "website",     "list-type",
};

static bool has_subresource(const struct fakes3_request *request)
{
    for (size_t i = 0; i < sizeof(subresources) / sizeof(subresources[0]); i++)
        if (fakes3_pairs_get(&request->params, subresources[i]))
            return true;
    return false;
}

static enum fakes3_operation choose(const struct choice *choice,
                                    const struct fakes3_request *request)
{
    bool sub = has_subresource(request);

    for (; choice->method; choice++) {
        if (strcmp(choice->method, request->method) != 0)
            continue;
        if (choice->param ? !fakes3_pairs_get(&request->params, choice->param) : sub)
            continue;
        if (choice->header && !fakes3_pairs_get(&request->headers, choice->header))
            continue;
        return choice->op;
    }
    return FAKES3_OTHER;
}

static enum fakes3_operation of_provider(const struct fakes3_request *request)
{
    static const char metadata[] = "/latest/meta-data/iam/security-credentials/";

    if (strncmp(request->path, "/v2/credentials/", 16) == 0)
        return FAKES3_CONTAINER_CREDENTIALS;
    if (strcmp(request->path, "/latest/api/token") == 0)
        return FAKES3_METADATA_TOKEN;
    if (strncmp(request->path, metadata, sizeof(metadata) - 1) == 0)
        return request->path[sizeof(metadata) - 1] ? FAKES3_METADATA_CREDENTIALS
                                                   : FAKES3_METADATA_ROLE;
    return FAKES3_OTHER;
}

enum fakes3_operation fakes3_operation_of(const struct fakes3_request *request)
{
    enum fakes3_operation op = of_provider(request);

    if (op != FAKES3_OTHER)
        return op;
    if (request->key)
        return choose(for_object, request);
    if (request->bucket)
        return choose(for_bucket, request);
    return choose(for_service, request);
}
