/* If-Match and If-None-Match: on writes, on reads, on deletions. */
#ifndef FAKES3_CONDITIONS_H
#define FAKES3_CONDITIONS_H

#include "fakes3/call.h"

/* `existing` is the object of that key, or NULL. False with 412, 404, 304 or 501 in the reply. */
bool fakes3_conditions_check_write(struct fakes3_call *call, const struct fakes3_object *existing);
bool fakes3_conditions_check_read(struct fakes3_call *call, const struct fakes3_object *object);
bool fakes3_conditions_check_delete(struct fakes3_call *call, const struct fakes3_object *existing);

#endif
