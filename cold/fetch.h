/*
 * Reading from the cold tier: block tables, decoded blocks, and a reader with read-ahead.
 *
 * One fetcher per open store. A block is fetched by at most one flight at a time however many
 * readers want it; demand goes before prefetch (job priorities of the pool). With the block table
 * at hand a random read is one ranged GET of one block. Decoded blocks are reference-counted, and
 * the bytes alive for read-ahead are bounded by readahead_bytes_max.
 */
#ifndef COLD_FETCH_H
#define COLD_FETCH_H

#include "base/thread.h"
#include "cold/cache.h"
#include "cold/object.h"
#include "cold/store.h"
#include "index/manifest.h"

#define COLD_RANGE_BYTES_MAX                                                                       \
    (12 * 1024 * 1024) /* one read-ahead GET covers at most this many stored bytes */

struct cold_fetch_options {
    struct base_pool *pool;    /* workers: GET + check + decompress; not owned; 0 threads: inline */
    struct cold_cache *blocks; /* not owned; stored blocks */
    struct cold_cache *tables; /* not owned; block tables */
    /* Memory for reading ahead, over all readers: three quarters for bytes on their way or arrived,
     * one for decoded ones. 0: no read-ahead. */
    uint64_t readahead_bytes_max;
};

struct cold_fetch;
int cold_fetch_new(const struct base_env *env, struct cold_store *store,
                   const struct cold_fetch_options *options, struct cold_fetch **ret,
                   struct varve_error *err);
struct cold_fetch *cold_fetch_free(struct cold_fetch *fetch);

/* Which log's objects: names the keys. Borrowed strings must outlive the readers. */
struct cold_source {
    const char *log_name;
    struct base_id log_id;
};

/* A decoded block table, reference-counted. From memory, from the tables cache, else by one GET of
 * table_size bytes. */
struct cold_table;
int cold_fetch_table(struct cold_fetch *fetch, const struct cold_source *source,
                     const struct index_entry *entry, struct cold_table **ret,
                     struct varve_error *err);
struct cold_table *cold_table_unref(struct cold_table *table);
const struct cold_table_view *cold_table_view(const struct cold_table *table);
/* The uploader keeps the table of what it has just uploaded, so that its machine never fetches it.
 */
void cold_fetch_keep_table(struct cold_fetch *fetch, const struct base_id *attempt,
                           const void *table, size_t size);

/*
 * A reader over the cold tier of one log. VARVE_E_OUT_OF_RANGE from seek: outside [log start, n). A
 * missing object is VARVE_E_CORRUPT naming it when the store answers that it is not there (I8),
 * VARVE_E_STORE retriable when the store cannot be asked. One thread.
 */
struct cold_reader;
int cold_reader_new(struct cold_fetch *fetch, struct index_manifest *manifest,
                    const struct cold_source *source, struct cold_reader **ret,
                    struct varve_error *err);
struct cold_reader *cold_reader_free(struct cold_reader *reader);
int cold_reader_seek(struct cold_reader *reader, int64_t offset, struct varve_error *err);
/*
 * The next batch: bytes valid until the next call, decoded header. VARVE_E_END: at n (go hot).
 * `stop_offset` bounds read-ahead: nothing at or above it is prefetched (the hot floor, or the
 * reader's own end).
 */
int cold_reader_next(struct cold_reader *reader, int64_t stop_offset, const void **ret_data,
                     struct record_batch *ret, struct varve_error *err);
int64_t cold_reader_offset(const struct cold_reader *reader);

/* As hot_reader_find_time, in the cold tier below `max_offset`. VARVE_E_NOT_FOUND: none. */
int cold_reader_find_time(struct cold_fetch *fetch, struct index_manifest *manifest,
                          const struct cold_source *source, int64_t timestamp, int64_t min_offset,
                          int64_t max_offset, size_t decompressed_max, int64_t *ret_offset,
                          int64_t *ret_timestamp, struct varve_error *err);

struct cold_fetch_stats {
    uint64_t block_hits;    /* from the cache file or from a decoded block still alive */
    uint64_t block_fetches; /* blocks that came from the store */
    uint64_t table_hits;
    uint64_t table_fetches;
    uint64_t ranges; /* GETs made for blocks */
    uint64_t range_bytes;
    uint64_t repaired; /* damaged cache entries fetched again */
};
void cold_fetch_stats(struct cold_fetch *fetch, struct cold_fetch_stats *ret);

#endif
