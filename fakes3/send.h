/* A reply as bytes: its head, and its body in the framing that was chosen. */
#ifndef FAKES3_SEND_H
#define FAKES3_SEND_H

#include "fakes3/call.h"

/* Moves the reply to `out`; returns how many bytes of body that are. */
uint64_t fakes3_send_reply(struct fakes3_call *call, struct evbuffer *out);
/* More of what never ends; false when the reply is none of that kind. */
bool fakes3_send_more(const struct fakes3_reply *reply, struct evbuffer *out);
/* Whether the connection may serve another request after this reply. */
bool fakes3_send_keeps_alive(const struct fakes3_call *call);

#endif
