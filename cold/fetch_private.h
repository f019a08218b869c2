/*
 * What table.c, flight.c, buffers.c, reader.c and fetch.c share.
 *
 * Lock order: a fetcher has one lock; nothing else is taken while it is held. No I/O, no
 * decompression and no submission to the pool (which may run the job at once) under it.
 */
#ifndef COLD_FETCH_PRIVATE_H
#define COLD_FETCH_PRIVATE_H

#include "cold/fetch.h"

#define FETCH_SLOTS 1024 /* hash slots of blocks and of tables */
#define TABLES_COUNT_MAX 2048
#define TABLES_BYTES_MAX (8 * 1024 * 1024)  /* of decoded tables kept in memory */
#define TABLE_BYTES_MAX (64 * 1024 * 1024)  /* of one: more than a million blocks */
#define RECENT_MAX 4                        /* decoded blocks kept alive after a random read */
#define RECENT_RAW_MAX (2 * 1024 * 1024)    /* a larger block is not */
#define BUFFERS_MAX 64                      /* free buffers kept */
#define BUFFERS_BYTES_MIN (4 * 1024 * 1024) /* free ones kept whatever the budget */
#define DECOMPRESSORS_MAX 16
#define FLIGHT_BLOCKS_MAX 256
#define KEEPING_MAX 4                       /* blocks on their way to the cache file */
#define KEEPING_BYTES_MAX (2 * 1024 * 1024) /* a larger one does not wait: it would hold memory */
#define DECODERS_MAX 16
#define RAW_SHARE 4 /* of the budget for reading ahead, one in so many is for decoded bytes */
#define LOCAL_RANGE_BYTES_MAX (1024 * 1024)  /* one GET of a store that is as near as the cache: */
#define LOCAL_WINDOW_BYTES (4 * 1024 * 1024) /* larger ones only leave the processor's caches */

enum priority { PRIORITY_TABLE = 0, PRIORITY_READ_AHEAD = 10, PRIORITY_KEEP = 30 };

struct cold_buffer {
    uint8_t *data;
    size_t capacity;
};

enum load_state {
    LOAD_WAITING,  /* nothing there yet */
    LOAD_STORED,   /* blocks: stored bytes are there, anyone may decode them */
    LOAD_DECODING, /* blocks: someone does */
    LOAD_READY,
    LOAD_FAILED, /* no longer listed; `error` says why */
};

struct cold_table {
    struct cold_fetch *fetch;
    struct cold_table *next; /* in its slot */
    struct cold_table *newer, *older;
    struct base_job job; /* loading ahead of need */
    unsigned refs;
    bool listed; /* in the slots and in the list by use */
    enum load_state state;
    struct index_entry entry;
    char *key; /* of the object */
    void *data;
    struct cold_table_view view;
    struct varve_error error;
};

struct cold_flight;

/* One that decodes ahead: a job of the pool while it is busy. */
struct cold_decoder {
    struct base_job job;
    struct cold_fetch *fetch;
    bool busy;
};

/* Stored bytes on their way to the cache file, while their reader has gone on: a job of the pool.
 */
struct cold_keeping {
    struct base_job job;
    struct cold_fetch *fetch;
    bool busy;
    struct cold_cache_key key;
    struct cold_buffer stored;
    size_t size;
};

/* A block, on its way or decoded. */
struct cold_block {
    struct cold_block *next; /* in its slot */
    struct base_id attempt;
    uint32_t index;
    bool listed;
    unsigned refs; /* holders; a flight is none */
    enum load_state state;
    struct cold_flight *flight; /* until READY or FAILED */
    struct cold_block_info info;
    struct cold_buffer raw;
    struct varve_error error;
};

struct cold_fetch {
    const struct base_env *env;
    struct cold_store *store;
    struct cold_fetch_options options;
    size_t range_bytes_max;
    bool async;          /* the store's gets hold no thread */
    uint64_t stored_max; /* of the budget: bytes of flights */
    uint64_t raw_max;    /* of the budget: decoded bytes, what is demanded not counted */
    uint64_t window_max; /* of all readers together, stored bytes */

    struct base_mutex lock;   /* protects everything below */
    struct base_cond changed; /* a block or a table changed its state, or a job ended */
    unsigned jobs;            /* in the pool's hands */
    unsigned readers;
    struct cold_fetch_stats stats;

    struct cold_block *blocks[FETCH_SLOTS];
    struct cold_block *recent[RECENT_MAX];    /* newest first; each holds a reference */
    uint64_t stored_bytes;                    /* of flights that exist */
    uint64_t raw_bytes;                       /* of blocks decoded or being decoded */
    struct cold_flight *stored, *stored_last; /* STORED flights, the oldest first */
    struct cold_decoder decoders[DECODERS_MAX];
    unsigned decoder_count;
    struct cold_keeping keeping[KEEPING_MAX];

    struct cold_table *tables[FETCH_SLOTS];
    struct cold_table *newest, *oldest;
    size_t table_count;
    size_t table_bytes;

    struct cold_buffer buffers[BUFFERS_MAX]; /* free ones */
    size_t buffer_count;
    uint64_t buffer_bytes;
    struct cold_decompressor *decompressors[DECOMPRESSORS_MAX]; /* idle ones */
    size_t decompressor_count;
};

static inline size_t cold_fetch_slot(const struct base_id *attempt, uint32_t index)
{
    return (size_t)(base_get_le64(attempt->bytes) + index * 0x9e3779b1u) % FETCH_SLOTS;
}

/* A ranged GET of a part of an object that the manifest names: what is not there is damage (I8). */
int cold_fetch_range(struct cold_fetch *fetch, const char *key, uint64_t pos, size_t size,
                     void *buf, struct varve_error *err);
int cold_fetch_missing(const char *key, struct varve_error *err);

/* Buffers are recycled: fresh memory costs a page fault for every 4 KiB. False: out of memory. */
bool cold_buffer_take(struct cold_fetch *fetch, size_t size, struct cold_buffer *ret);
void cold_buffer_give(struct cold_fetch *fetch, struct cold_buffer *buffer);
void cold_buffer_give_locked(struct cold_fetch *fetch, struct cold_buffer *buffer);
struct cold_decompressor *cold_decompressor_take(struct cold_fetch *fetch); /* NULL: no memory */
void cold_decompressor_give(struct cold_fetch *fetch, struct cold_decompressor *d);

/* The table if it is in memory, with a reference; else NULL, and loading it has been asked for. */
struct cold_table *cold_table_ahead(struct cold_fetch *fetch, const struct cold_source *source,
                                    const struct index_entry *entry);
struct cold_table *cold_table_ref(struct cold_table *table);
void cold_table_unref_locked(struct cold_table *table);
void cold_table_forget_all(struct cold_fetch *fetch);

/*
 * A decoded block: alive, in flight already (then waited for), from the cache file, or by one GET.
 * `keep`: its stored bytes go to the cache file, and the block stays alive for a while.
 */
int cold_flight_get(struct cold_fetch *fetch, struct cold_table *table, size_t index, bool keep,
                    struct cold_block **ret, struct varve_error *err);
/*
 * Starts one flight for blocks from `index` on: adjacent ones, about `stored_bytes` of them, at
 * least one, none at or above stop_offset, as far as the budget goes. Returns how many were put
 * into `blocks`, a reference to each; 0: the budget or memory does not allow any.
 */
size_t cold_flight_start(struct cold_fetch *fetch, struct cold_table *table, size_t index,
                         uint64_t stored_bytes, int64_t stop_offset, bool keep,
                         struct cold_block *blocks[FLIGHT_BLOCKS_MAX]);
/* Waits until a started block is decoded, taking part in the work. */
int cold_flight_wait(struct cold_fetch *fetch, struct cold_block *block, struct varve_error *err);
struct cold_block *cold_flight_release(struct cold_fetch *fetch, struct cold_block *block);
void cold_flight_forget_recent(struct cold_fetch *fetch);
/* The jobs of a decoder, and of what goes to the cache file. */
void cold_flight_decode_run(struct base_job *job);
void cold_flight_keep_run(struct base_job *job);

#endif
