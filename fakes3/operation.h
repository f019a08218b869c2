/* Operations by the names that AWS gives them, and how a request tells which one it asks for. */
#ifndef FAKES3_OPERATION_H
#define FAKES3_OPERATION_H

#include <stdbool.h>

enum fakes3_operation {
    FAKES3_OTHER, /* nothing that is known here: 501 */
    FAKES3_LIST_BUCKETS,
    FAKES3_CREATE_BUCKET,
    FAKES3_HEAD_BUCKET,
    FAKES3_DELETE_BUCKET,
    FAKES3_GET_BUCKET_LOCATION,
    FAKES3_GET_BUCKET_VERSIONING,
    FAKES3_GET_OBJECT_LOCK_CONFIGURATION,
    FAKES3_LIST_OBJECTS,
    FAKES3_LIST_OBJECTS_V2,
    FAKES3_LIST_MULTIPART_UPLOADS,
    FAKES3_DELETE_OBJECTS,
    FAKES3_GET_OBJECT,
    FAKES3_HEAD_OBJECT,
    FAKES3_PUT_OBJECT,
    FAKES3_COPY_OBJECT,
    FAKES3_DELETE_OBJECT,
    FAKES3_RESTORE_OBJECT,
    FAKES3_CREATE_MULTIPART_UPLOAD,
    FAKES3_UPLOAD_PART,
    FAKES3_LIST_PARTS,
    FAKES3_COMPLETE_MULTIPART_UPLOAD,
    FAKES3_ABORT_MULTIPART_UPLOAD,
    FAKES3_ASSUME_ROLE,
    FAKES3_ASSUME_ROLE_WITH_WEB_IDENTITY,
    FAKES3_CONTAINER_CREDENTIALS,
    FAKES3_METADATA_TOKEN,
    FAKES3_METADATA_ROLE,
    FAKES3_METADATA_CREDENTIALS,
    /* Not requests, but moments at which a rule may act. */
    FAKES3_CONNECT,    /* a connection was accepted */
    FAKES3_DELETE_KEY, /* one key of DeleteObjects */
    FAKES3_OPERATIONS_COUNT,
};

struct fakes3_request;

const char *fakes3_operation_name(enum fakes3_operation op);
/* Also true for the classes "read", "write" and "list"; globs match ("*Multipart*"). */
bool fakes3_operation_matches(enum fakes3_operation op, const char *pattern);
/* Whether it changes a bucket: a read-only key may not. */
bool fakes3_operation_writes(enum fakes3_operation op);
/* Whether it belongs to a provider of credentials, and is not S3's. */
bool fakes3_operation_is_provider(enum fakes3_operation op);
/* From method, path and parameters, which must be parsed. */
enum fakes3_operation fakes3_operation_of(const struct fakes3_request *request);

#endif
