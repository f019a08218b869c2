/* What PutObject, CopyObject and multipart uploads have in common. */
#ifndef FAKES3_PUT_H
#define FAKES3_PUT_H

#include "fakes3/call.h"

/*
 * The object that a request with x-amz-meta-*, x-amz-storage-class and so on describes, still
 * without a body. NULL with the error.
 */
struct fakes3_object *fakes3_put_describe(struct fakes3_call *call);
/* Into the bucket, on which it takes the object over. */
void fakes3_put_commit(struct fakes3_call *call, struct fakes3_object *object);
/* An ETag that is no MD5. */
void fakes3_put_opaque_etag(struct fakes3_server *server, char etag[FAKES3_ETAG_SIZE]);

#endif
