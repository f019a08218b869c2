/*
 * The bytes of one connection, plain or in TLS, with a pace for each direction.
 *
 * A body is read straight to where it stays; what is sent goes out by reference. The callbacks may
 * free the wire: nothing touches it after one was called.
 */
#ifndef FAKES3_WIRE_H
#define FAKES3_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/buffer.h>
#include <event2/event.h>

struct ssl_ctx_st;
struct fakes3_wire;

struct fakes3_wire_callbacks {
    void (*readable)(void *arg); /* read until FAKES3_WIRE_AGAIN, or say that nothing is wanted */
    void (*drained)(void *arg);  /* all that was to be sent is with the kernel */
    void (*broken)(void *arg);   /* the peer is gone */
    void *arg;
};

struct fakes3_wire_counts {
    uint64_t *in, *out;
};

#define FAKES3_WIRE_AGAIN (-1)
#define FAKES3_WIRE_ERROR (-2)

/* Takes the descriptor over. `tls` NULL: plain. */
struct fakes3_wire *fakes3_wire_new(struct event_base *base, int fd, struct ssl_ctx_st *tls,
                                    const struct fakes3_wire_callbacks *callbacks,
                                    struct fakes3_wire_counts counts);
/* Closes: as a peer that has crashed when `reset`. NULL. */
struct fakes3_wire *fakes3_wire_free(struct fakes3_wire *wire, bool reset);
/* > 0, 0 at the end, FAKES3_WIRE_AGAIN, FAKES3_WIRE_ERROR. */
ssize_t fakes3_wire_read(struct fakes3_wire *wire, void *data, size_t size);
void fakes3_wire_want_read(struct fakes3_wire *wire, bool want);
/* Calls readable soon: bytes that were read before may wait to be looked at. */
void fakes3_wire_read_soon(struct fakes3_wire *wire);
/* What is to be sent; call flush when something was added. */
struct evbuffer *fakes3_wire_out(struct fakes3_wire *wire);
void fakes3_wire_flush(struct fakes3_wire *wire);
/* Bytes a second; 0: as fast as can be. */
void fakes3_wire_set_rates(struct fakes3_wire *wire, int64_t read_rate, int64_t write_rate);
/* Sends a FIN; reading goes on. */
void fakes3_wire_shutdown(struct fakes3_wire *wire);
/* Bytes that the peer has not acknowledged. */
size_t fakes3_wire_unacknowledged(const struct fakes3_wire *wire);

#endif
