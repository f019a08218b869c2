/* The checksums that a request gives for its body, against those of the body. */
#ifndef FAKES3_CHECKSUMS_H
#define FAKES3_CHECKSUMS_H

#include "fakes3/call.h"

/* False with the error in the reply. */
bool fakes3_checksums_verify(struct fakes3_call *call);

#endif
