/*
 * The engine that upload.c drives and send.c sends for; see upload.c. Nothing else includes this.
 */
#ifndef TIERING_ENGINE_H
#define TIERING_ENGINE_H

#include "cold/object.h"
#include "tiering/state.h"

#define UPLOAD_SLOTS_MAX 4     /* blocks between reading and sending */
#define UPLOAD_SENDERS_LOCAL 2 /* buffers, and so requests under way, to a local store */
#define UPLOAD_SENDERS_MAX 16  /* to others, within UPLOAD_REMOTE_BYTES */
#define UPLOAD_PUT_BUFFERS_MAX 4

struct engine;

/* A block on its way: filled by the step's thread, compressed by a worker, taken in order. */
struct slot {
    struct base_job job;
    struct engine *engine;
    struct cold_compressor *compressor;
    uint8_t *raw;
    size_t raw_capacity;
    struct base_buffer out;
    struct cold_block_info info;
    int rc;
    struct varve_error err;
    bool done; /* under the engine's lock */
};

/* A buffer that is filled, then sent as a whole object or as a part. */
struct sender {
    struct base_job job;
    struct engine *engine;
    uint8_t *buf;
    size_t size;
    uint32_t crc32c; /* of these bytes, put together from what is known of the blocks */
    bool busy;       /* under the engine's lock; the rest belongs to the job while it is set */
    struct tiering_upload *upload;
    unsigned part_number; /* 0: the whole object */
    uint64_t pos;
    bool kept;                                   /* the store has this part from an earlier life */
    struct sender *with[UPLOAD_PUT_BUFFERS_MAX]; /* the object's buffers after this one */
    unsigned with_count;
};

struct engine {
    struct tiering_log *t;
    struct tiering_journal *journal; /* NULL: uploads of this store cannot be gone on with */
    struct tiering_policy policy;
    size_t block_bytes;
    size_t part_bytes;
    bool if_absent;
    bool commits_between; /* a batch commits what is stored while it sends more */
    struct slot slots[UPLOAD_SLOTS_MAX];
    unsigned slot_count;
    unsigned slot_head; /* next to fill */
    unsigned slot_used; /* filled and not taken */
    struct sender senders[UPLOAD_SENDERS_MAX];
    unsigned sender_count;
    struct sender *current; /* being filled */
    /* Full ones of an object that may still go by one put. */
    struct sender *held[UPLOAD_PUT_BUFFERS_MAX];
    unsigned held_count;
    unsigned put_buffers;             /* of an object that goes by one put, at most */
    struct tiering_journal_what what; /* but for the segment's own */
    struct base_pool *send_pool;
    struct base_sha256 *sha;
    /* Slots' `done`, senders' `busy`, and of uploads what is said to be the engine's. */
    struct base_mutex lock;
    struct base_cond changed;
};

/* One segment on its way through the engine. */
struct passage {
    struct engine *e;
    struct hot_segment *segment;
    const struct hot_segment_info *info;
    struct tiering_upload *upload;
    struct cold_object_builder *builder;
    uint64_t raw_pos;    /* read up to here */
    int64_t offset;      /* of the next batch */
    uint64_t object_pos; /* blocks stored up to here */
    uint32_t object_crc; /* of the bytes up to here */
    int64_t epoch;       /* that batches below epoch_end must bear; -1: any */
    int64_t epoch_end;
    int64_t max_timestamp;
    int64_t first_timestamp;
};

static inline bool cancelled(const struct engine *e)
{
    return atomic_load_explicit(&e->t->cancel, memory_order_relaxed);
}

/* send.c */

/* Adds bytes, whose CRC32C is given, to the object. Full buffers are sent only when more follows
 * than one put takes: an object of just that size still goes by one. */
int tiering_send_add(struct passage *p, const void *data, size_t size, uint32_t crc32c,
                     struct varve_error *err);
/* Sends what is in buffers as parts, beginning the multipart upload with the first. `last`:
 * whichever sender ends last completes the object. */
int tiering_send_parts(struct passage *p, bool last, struct varve_error *err);
/* Sends what is in buffers as a whole object. */
void tiering_send_object(struct engine *e, struct tiering_upload *u);
/* Forgets what is in buffers and was not sent. */
void tiering_send_drop(struct engine *e);
/* A multipart upload ends without an object: it is left for later where `why` passes by itself and
 * the journal has it, else aborted. */
void tiering_send_abandon(struct engine *e, struct tiering_upload *u,
                          const struct varve_error *why);
/* Waits for the requests of one upload; its first error. */
int tiering_send_wait(struct engine *e, struct tiering_upload *u, struct varve_error *err);
/* The job of a sender. */
void tiering_send_run(struct base_job *job);

#endif
