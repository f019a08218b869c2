/*
 * The only code that sees hot and cold together: uploads sealed segments, commits them in the root,
 * evicts, retains, collects.
 *
 * One struct tiering_log per log open for writing. Work is done in steps (tiering_log_step), driven
 * by a scheduler's threads, by `varve tier` through tiering_log_run, or by a test; steps of one log
 * never run at the same time (a mutex of the log).
 *
 * The life of a segment: sealed (hot) -> read, hashed, compressed, stored under a key with a fresh
 * attempt id -> confirmed -> named by a durable root (I2: only now n moves) -> evicted by local
 * retention (I3) -> cut off by retention (root first, I5) -> object deleted after the grace period
 * -> root forgets it.
 */
#ifndef TIERING_TIERING_H
#define TIERING_TIERING_H

#include "base/thread.h"
#include "cold/fetch.h"
#include "cold/manifest.h"
#include "hot/segment.h"
#include "hot/set.h"
#include "index/edit.h"

/* A log's policy; the log layer fills it from the configuration. -1 means: no limit. */
struct tiering_policy {
    int64_t retention_ms;          /* by a segment's own maximum timestamp */
    int64_t retention_bytes;       /* of batches, both tiers, counted once */
    int64_t local_retention_ms;    /* by wall clock of the append; -2: as retention_ms */
    int64_t local_retention_bytes; /* -2: as retention_bytes */
    int64_t delete_delay_ms;       /* grace between a cut and the deletion of its objects
                                      (file.delete.delay.ms) */
    bool retention_wins;           /* retention may delete what was never uploaded */
    int64_t block_bytes;           /* of a cold object's blocks */
    int compression_level;
    int64_t index_interval_bytes;
    int64_t upload_age_warn_ms; /* watchdog: a sealed segment older than this and not uploaded is
                                   reported */
};

enum tiering_event_kind {
    TIERING_SEALED,
    TIERING_UPLOADED,
    TIERING_EVICTED,
    TIERING_TRIMMED,
    TIERING_DELETED,
    TIERING_STALLED
};

struct tiering_event {
    enum tiering_event_kind kind;
    const char *log_name;
    int64_t base_offset;
    int64_t end_offset;
    uint64_t bytes; /* segment bytes; stored bytes for UPLOADED */
};

/* Paces uploads of a whole store: a token bucket filled at `bytes_per_second`, taken in steps of 64
 * KiB. 0: no limit. */
#define TIERING_RATE_MIN 65536 /* what a user may ask for */
struct tiering_rate;
int tiering_rate_new(const struct base_env *env, uint64_t bytes_per_second,
                     struct tiering_rate **ret, struct varve_error *err);
struct tiering_rate *tiering_rate_free(struct tiering_rate *rate);
/* Takes bytes and returns the moment (monotonic, ns) from which on they may be sent; who comes next
 * gets a later one. Any thread; does not wait. */
int64_t tiering_rate_reserve(struct tiering_rate *rate, uint64_t bytes);
void tiering_rate_take(struct tiering_rate *rate, uint64_t bytes); /* blocks; any thread */

struct tiering_log_options {
    const char *log_name;
    struct base_id store_id;         /* owner */
    struct index_manifest *manifest; /* none of these is owned */
    struct cold_store *segments;     /* segment objects */
    struct cold_store *meta;         /* roots and pages; may be the same store */
    struct cold_fetch *fetch;
    struct base_pool *pool;    /* compression */
    struct tiering_rate *rate; /* may be NULL */
    const char *journal_path;  /* file of unfinished uploads; NULL: none; used by opening only */
    const char *hot_dir;       /* of the segments; used by opening only */
    const char *divergent_dir; /* where those go that are not the log's; used by opening only */
    struct tiering_policy policy;
    bool set_aside;      /* see tiering_log_open */
    bool confirmed_only; /* lease mode: without the bucket's root it is not opened */
    void (*event)(void *ctx,
                  const struct tiering_event *event); /* may be NULL; called without locks held */
    void *event_ctx;
};

struct tiering_log;

/* Puts the first root of a new log into the bucket, then installs it locally, if no other is there
 * (which opening replaces). VARVE_E_EXISTS: a log of that name is there. */
int tiering_log_create(const struct base_env *env, struct cold_store *meta,
                       struct index_manifest *manifest, const char *log_name,
                       const struct base_id *log_id, const struct base_id *owner,
                       const char *config, size_t config_size, struct varve_error *err);

/*
 * Opens a log for tiering: reads the root from the bucket and compares it with the local copy (I6,
 * I13). The root is installed locally when the local one is missing or older; when that is of
 * another log of this name, which is no more, the files in hot_dir go to divergent_dir first. A
 * foreign owner is VARVE_E_FENCED unless `take_over`, which raises the epoch by a conditional
 * write. When the store cannot be reached and a local root is there, opening succeeds; the
 * comparison is then made before the first root write. VARVE_E_NOT_FOUND: no such log. The hot set
 * is given afterwards, since its start is n.
 *
 * With options->set_aside a foreign owner is accepted and nothing is taken over: the log is fenced
 * from the start. So that a store that is refused can attach its hot set once, which moves aside
 * what the owner's history does not hold.
 */
int tiering_log_open(const struct base_env *env, const struct tiering_log_options *options,
                     bool take_over, struct tiering_log **ret, struct varve_error *err);

/*
 * Hands over the hot set, opened for writing with start_offset n, and reconciles it (I13): local
 * end below n: the hot files are dropped and writing goes on at n. A foreign epoch since: the tail
 * beyond its start is moved to `divergent_dir`. Not owned; must outlive the tiering_log.
 */
int tiering_log_attach(struct tiering_log *t, struct hot_set *hot, const char *divergent_dir,
                       struct varve_error *err);
struct tiering_log *tiering_log_close(struct tiering_log *t);

/*
 * Uses another policy from now on; writes nothing. For the log layer, which knows the configuration
 * only once the root has been read by tiering_log_open.
 */
void tiering_log_set_policy(struct tiering_log *t, const struct tiering_policy *policy);

/*
 * Looks at the bucket's root, when something was appended since the last look that found it ours,
 * or when `hard`: one HEAD while nothing has changed there. VARVE_E_FENCED: it is another's now.
 * Other failures conclude nothing (I8). Any thread; takes no lock that waits for the store.
 */
int tiering_log_look(struct tiering_log *t, bool hard, struct varve_error *err);

/*
 * A thread that looks at the roots of its logs every `check_ms`: the bound on how long a writer
 * that uploads nothing goes on after it was replaced (I6).
 */
#define TIERING_OWNER_CHECK_MS_DEFAULT 60000
struct tiering_guard;
int tiering_guard_new(int64_t check_ms, struct tiering_guard **ret, struct varve_error *err);
struct tiering_guard *tiering_guard_free(struct tiering_guard *g);
int tiering_guard_add(struct tiering_guard *g, struct tiering_log *t, struct varve_error *err);
void tiering_guard_remove(struct tiering_guard *g,
                          struct tiering_log *t); /* waits for a look under way */

/* VARVE_E_FENCED with the reason, once fenced. */
int tiering_log_check(struct tiering_log *t, struct varve_error *err);

/* True once a foreign owner or a higher epoch was met. One atomic load: for the append path. */
bool tiering_log_fenced(const struct tiering_log *t);

/* The epoch to write with. */
uint32_t tiering_log_epoch(struct tiering_log *t);

/*
 * Does what is due: upload (all sealed segments that are there, committed in one root write),
 * evict, retain, delete after grace, collect orphans (seldom). *ret_next_ms: wall clock ms when to
 * come again. Failures are reported by the logger and kept in the status, and rescheduled with
 * backoff (I4); the return value is for callers that want to know: VARVE_E_FENCED is final.
 */
int tiering_log_step(struct tiering_log *t, int64_t *ret_next_ms, struct varve_error *err);

/*
 * Runs to the end now: [seals the active segment,] uploads all that is sealed, commits, evicts by
 * policy or, with `evict`, all that is committed; then retention and due deletions. Stops at the
 * first failure and returns it (nothing is lost; it can be run again). `progress` may be NULL;
 * bytes of segments. On a full disk that both tiers share it goes on while there is room for one
 * object and the root that names it.
 */
struct tiering_run {
    bool seal;
    bool evict;
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void *progress_ctx;
    /*
     * Asked, with `evict`, when there is no room on the disk and nothing that is committed can make
     * any: gives what the caller holds back for this but for `keep` bytes, true when it did. `keep`
     * is what a root needs, 0 when one is all that has no room. Called with the step lock held. May
     * be NULL; else `room_held` is how much there is.
     */
    bool (*give_room)(void *ctx, uint64_t keep);
    void *give_room_ctx;
    uint64_t room_held;
    /* results */
    unsigned uploaded_segments;
    uint64_t uploaded_bytes; /* of segments */
    uint64_t stored_bytes;
    unsigned evicted_segments;
    uint64_t evicted_bytes;
    unsigned deleted_objects;
};
int tiering_log_run(struct tiering_log *t, struct tiering_run *run, struct varve_error *err);

/*
 * Repairs the cold copy of the segment that begins at `base_offset` from its hot one: uploads it
 * again under a new attempt id and replaces its entry in the root (never overwrites an object); the
 * damaged object is then collected. VARVE_E_NOT_FOUND: no sealed hot segment has these offsets, or
 * no entry.
 */
int tiering_log_replace(struct tiering_log *t, int64_t base_offset, struct varve_error *err);

/* What has become of a root write whose outcome nobody knew, as the next step would find: one GET,
 * or nothing. */
int tiering_log_settle(struct tiering_log *t, struct varve_error *err);

/* Puts what the local root says in the place of the bucket's, which is damaged and has this ETag,
 * or is missing (NULL). VARVE_E_PRECONDITION: another was stored meanwhile. */
int tiering_log_restore_root(struct tiering_log *t, const struct cold_etag *etag,
                             struct varve_error *err);

/*
 * Moves the log start offset to `offset` (I5: a durable root first), then drops local segments
 * wholly below it. Beyond n: n moves along (I1). VARVE_E_OUT_OF_RANGE above the end. Below the
 * start it does nothing.
 */
int tiering_log_trim(struct tiering_log *t, int64_t offset, struct varve_error *err);

/* Writes a new configuration text into the root, and uses `policy` from now on. */
int tiering_log_configure(struct tiering_log *t, const char *config, size_t size,
                          const struct tiering_policy *policy, struct varve_error *err);

/* Deletes the log: tombstone root first, then (past the grace period given) all objects and pages.
 */
int tiering_log_delete(struct tiering_log *t, struct varve_error *err);
/* Ends a deletion that was interrupted behind its tombstone, of a log that is not open. Of the
 * options it takes name, stores, journal_path and the policy's grace period. *ret_any: whether
 * there was an object left. */
int tiering_log_delete_rest(const struct base_env *env, const struct tiering_log_options *options,
                            const struct base_id *log_id, bool *ret_any, struct varve_error *err);

struct tiering_status {
    int64_t committed_end;  /* n */
    uint64_t pending_bytes; /* sealed and not committed */
    unsigned pending_segments;
    int64_t oldest_pending_ms; /* age of the oldest record that is only local, from its append; 0:
                                  none (recovery point) */
    unsigned failures;         /* in a row */
    struct varve_error last_error;
    uint64_t uploaded_segments, uploaded_bytes, stored_bytes, evicted_segments, deleted_objects;
    uint64_t orphans_deleted;
    bool fenced;
};
void tiering_log_status(struct tiering_log *t, struct tiering_status *ret);

/*
 * Deletes what nothing refers to (I10): lists the log's objects and pages, reads the root again,
 * then deletes unreferenced ones of lower epochs, and of our own epoch those whose attempt is not
 * in the upload table; unfinished multipart uploads likewise. When more than `share_max` (0..1) of
 * the log's stored bytes would go it stops with VARVE_E_INVALID, saying so, unless `force`.
 * `dry_run` only counts.
 */
#define TIERING_COLLECT_SHARE_MAX 0.25 /* of a log's stored bytes, without being asked */

struct tiering_collect {
    bool dry_run;
    bool force;
    double share_max;
    void (*found)(void *ctx, const char *key, uint64_t size); /* may be NULL */
    void *found_ctx;
    unsigned orphans;
    uint64_t orphan_bytes;
    unsigned uploads; /* unfinished multipart uploads */
};
int tiering_log_collect(struct tiering_log *t, struct tiering_collect *c, struct varve_error *err);

/* Threads that step all registered logs when they are due. */
struct tiering_scheduler;
int tiering_scheduler_new(const struct base_env *env, unsigned threads,
                          struct tiering_scheduler **ret, struct varve_error *err);
struct tiering_scheduler *tiering_scheduler_free(struct tiering_scheduler *s);
int tiering_scheduler_add(struct tiering_scheduler *s, struct tiering_log *t,
                          struct varve_error *err);
void tiering_scheduler_remove(struct tiering_scheduler *s,
                              struct tiering_log *t); /* waits for a running step */
void tiering_scheduler_kick(struct tiering_scheduler *s,
                            struct tiering_log *t); /* something was sealed */

#endif
