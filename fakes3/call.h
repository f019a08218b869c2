/* One request being served: what the handlers of operations get, and who they are. */
#ifndef FAKES3_CALL_H
#define FAKES3_CALL_H

#include "fakes3/faults.h"
#include "fakes3/reply.h"
#include "fakes3/request.h"
#include "fakes3/server.h"

struct fakes3_call {
    struct fakes3_server *server;
    struct fakes3_request *request;
    struct fakes3_effects effects;
    struct fakes3_reply reply;
    int64_t now_ms;   /* by the server's clock, and the rule's skew */
    char *access_key; /* who signed; NULL: anonymous, or not known yet */
    char *account;    /* NULL: any bucket is theirs (anonymous) */
    bool read_only;
    struct fakes3_bucket
        *bucket;     /* of operations on a bucket that must exist; set by the service */
    uint64_t number; /* of the request */
};

typedef void fakes3_call_handler(struct fakes3_call *call);

const char *fakes3_call_header(const struct fakes3_call *call, const char *name);
const char *fakes3_call_param(const struct fakes3_call *call, const char *name);
/* A number parameter in [0, max]; `fallback` without it; -1 with the error InvalidArgument. */
int64_t fakes3_call_number(struct fakes3_call *call, const char *name, int64_t fallback,
                           int64_t max);

/* bucket.c */
fakes3_call_handler fakes3_bucket_list_all, fakes3_bucket_create, fakes3_bucket_head,
    fakes3_bucket_remove, fakes3_bucket_location, fakes3_bucket_versioning,
    fakes3_bucket_object_lock;
/* list.c */
fakes3_call_handler fakes3_list_v1, fakes3_list_v2;
/* get.c */
fakes3_call_handler fakes3_get_object;
/* put.c */
fakes3_call_handler fakes3_put_object, fakes3_put_copy;
/* delete.c */
fakes3_call_handler fakes3_delete_object, fakes3_delete_many;
/* restore.c */
fakes3_call_handler fakes3_restore_object;
/* multipart.c, uploads.c */
fakes3_call_handler fakes3_multipart_create, fakes3_multipart_put_part, fakes3_multipart_complete,
    fakes3_multipart_abort, fakes3_uploads_list, fakes3_uploads_list_parts;
/* sts.c, metadata.c */
fakes3_call_handler fakes3_sts_assume_role, fakes3_metadata_container, fakes3_metadata_token,
    fakes3_metadata_role, fakes3_metadata_credentials;
/* control.c */
fakes3_call_handler fakes3_control_run;

#endif
