/* From a request to the handler of its operation: who asks, may they, is the body what it says. */
#ifndef FAKES3_SERVICE_H
#define FAKES3_SERVICE_H

#include "fakes3/call.h"

/* Signature and permissions, from the head alone. False with the error in the reply. */
bool fakes3_service_check(struct fakes3_call *call);
/* Which checksums of the body will be asked for; before it is read. */
void fakes3_service_want_digests(struct fakes3_call *call);
/* Does what is asked, once check was true and the body is there. */
void fakes3_service_run(struct fakes3_call *call);

#endif
