/* An answer that was good, made bad as the rules say. */
#ifndef FAKES3_SPOIL_H
#define FAKES3_SPOIL_H

#include "fakes3/call.h"

/* Before the reply is finished: errors and redirects in the place of an answer, or after the
 * effect. True when the operation must not run. */
bool fakes3_spoil_instead(struct fakes3_call *call);
/* After the operation ran: late errors, bodies of 200 that are errors. */
void fakes3_spoil_result(struct fakes3_call *call);
/* When the reply is finished: bytes, lengths, ETags, framing, how it ends. */
void fakes3_spoil_wire(struct fakes3_call *call);

#endif
