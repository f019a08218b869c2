/* Objects in an archive class: to be restored before they can be read. */
#ifndef FAKES3_RESTORE_H
#define FAKES3_RESTORE_H

#include "fakes3/call.h"

/* False with InvalidObjectState in the reply. */
bool fakes3_restore_check_readable(struct fakes3_call *call, const struct fakes3_object *object);
/* x-amz-restore, where a restore was asked for. */
void fakes3_restore_add_header(struct fakes3_call *call, const struct fakes3_object *object);

#endif
