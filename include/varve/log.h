/* A log: create, append, read state, tier, trim. */
#ifndef VARVE_LOG_H
#define VARVE_LOG_H

#include <varve/record.h>
#include <varve/store.h>

#ifdef __cplusplus
extern "C" {
#endif

struct varve_log;

enum varve_durability {
    VARVE_DURABILITY_OS =
        0, /* acknowledged when in the page cache; synced on an interval (flush.ms) */
    VARVE_DURABILITY_FSYNC = 1, /* acknowledged when durable; one fdatasync covers all who wait */
};

struct varve_log_options {
    size_t size;
    enum varve_durability
        durability; /* of appends through this handle's log; the first open decides */
    bool take_over; /* become the owner where another store is it; as the store's option, for this
                       log alone */
};

/*
 * Makes a log. `name`: 1..249 bytes of UTF-8, parts separated by '/', no '@', no "..", no control
 * characters. The list of options is in docs/configuration.md.
 *
 * Conditions: VARVE_E_EXISTS. Failures: VARVE_E_INVALID (name or option, said which and why),
 * VARVE_E_READ_ONLY, VARVE_E_STORE (the cold tier must be reachable), VARVE_E_IO.
 */
VARVE_API int varve_log_create(struct varve_store *store, const char *name,
                               const struct varve_option *options, size_t option_count,
                               struct varve_error *err);

/*
 * Opens a log; for writing when the store is. A log may be opened several times in a process: the
 * handles share one log. Recovers after a crash: what is torn at the tail is cut off and reported
 * through the message callback.
 *
 * A log has one owner, a store. Another one that opens it for writing is refused; the message names
 * the owner, its epoch and when it last wrote. With `take_over` it becomes the owner by a
 * conditional write: of several that try at once one does, the others are refused. What a former
 * owner's local disk holds beyond the owner's history is moved aside (varve_log_each_divergent) and
 * reported as a warning, also when it is then refused. A take-over of a log whose owner is in lease
 * mode waits for that lease to run out, and is refused (VARVE_E_FENCED) while it is renewed.
 *
 * Conditions: VARVE_E_NOT_FOUND, VARVE_E_FENCED (owned by another store, or just taken over by
 * one). Failures: VARVE_E_CORRUPT, VARVE_E_IO, VARVE_E_STORE.
 */
VARVE_API int varve_log_open(struct varve_store *store, const char *name,
                             const struct varve_log_options *options, struct varve_log **ret,
                             struct varve_error *err);

/* Closes a handle. The last one syncs what was appended. NULL is accepted. Returns NULL. */
VARVE_API struct varve_log *varve_log_close(struct varve_log *log);

/*
 * Appends one record batch and assigns its offsets.
 *
 * `batch` stays the caller's. On success *ret_base_offset is the first offset assigned. In `os`
 * mode the batch is visible to readers when the call returns; in `fsync` mode it is durable first,
 * then visible. Never waits for an upload.
 *
 * In lease mode (the store's setting lease.ms) it waits, at most that long, for a confirmed lease:
 * VARVE_E_TIMEOUT, retriable, and nothing was appended. When the lease was confirmed before the
 * write but is not behind it, the message begins with "written, but not acknowledged": the batch is
 * in the log unless that is taken over, and the error is not retriable.
 *
 * VARVE_E_FENCED, for good: another store has taken the log over; what this one has appended since
 * is not part of it. Without lease mode this is noticed at the next contact with the log's root, at
 * the latest owner.check.ms after the append (the store's setting).
 *
 * Threads: any. Conditions: VARVE_E_FENCED, VARVE_E_FULL, VARVE_E_TIMEOUT. Failures:
 * VARVE_E_INVALID (an empty batch), VARVE_E_TOO_LARGE (above max.message.bytes), VARVE_E_NO_SPACE
 * (nothing was appended; it works again once there is room), VARVE_E_IO, VARVE_E_FAILED,
 * VARVE_E_READ_ONLY.
 */
VARVE_API int varve_log_append(struct varve_log *log, struct varve_batch *batch,
                               int64_t *ret_base_offset, struct varve_error *err);

/* Appends one record as a batch of its own, compressed as the log's compression.type says.
 * Otherwise as varve_log_append. */
VARVE_API int varve_log_append_record(struct varve_log *log, const struct varve_record *record,
                                      int64_t *ret_offset, struct varve_error *err);

/*
 * Appends one batch that is encoded already (Kafka record batch v2, any codec); every field, the
 * CRC32C and all records are checked first: VARVE_E_CORRUPT says what is wrong. Otherwise as
 * varve_log_append.
 */
VARVE_API int varve_log_append_encoded(struct varve_log *log, const void *data, size_t size,
                                       int64_t *ret_base_offset, struct varve_error *err);

/* Makes everything appended so far durable, whatever the mode. An acknowledgement, like an
 * append's: VARVE_E_FENCED, VARVE_E_TIMEOUT as there. */
VARVE_API int varve_log_sync(struct varve_log *log, struct varve_error *err);

/* Closes the active segment, so that it can be uploaded. */
VARVE_API int varve_log_seal(struct varve_log *log, struct varve_error *err);

/* What a log is at this moment. */
struct varve_log_info {
    size_t size;          /* set by the caller */
    int64_t start_offset; /* log start offset */
    int64_t end_offset;   /* of the next record: readers see all below it */
    int64_t cold_end;     /* n: the cold tier holds [start_offset, cold_end) */
    int64_t hot_start;    /* h: the local disk holds [hot_start, end_offset) */
    uint64_t hot_segments;
    uint64_t hot_bytes;
    uint64_t cold_segments;
    uint64_t cold_bytes;        /* of batches */
    uint64_t cold_stored_bytes; /* of objects */
    int64_t pending_age_ms; /* age of the oldest record that is only local: the recovery point; 0:
                               none */
    uint64_t pending_bytes; /* sealed and not uploaded */
    uint32_t epoch;
    uint32_t upload_failures; /* in a row */
    char id[40];              /* the log's id, hex */
    char owner[40];           /* id of the store that owns it, hex */
    bool owned;               /* that is this store, or what was opened is a cold tier by its URL */
    uint64_t divergent_segments; /* files set aside: varve_log_each_divergent */
    uint64_t divergent_bytes;
};
/*
 * Fills *info as of now; set info->size before. A read-only log looks first whether another process
 * has moved it on. Numbers are of one moment each, not all of the same.
 *
 * Threads: any. Failures: VARVE_E_NOT_FOUND (the log was deleted meanwhile), VARVE_E_STORE,
 * VARVE_E_IO, VARVE_E_CORRUPT.
 */
VARVE_API int varve_log_info(struct varve_log *log, struct varve_log_info *info,
                             struct varve_error *err);

/* One segment, for varve_log_each_segment. Present in one tier or in both. */
struct varve_segment_info {
    int64_t base_offset;
    int64_t end_offset; /* exclusive */
    int64_t first_timestamp;
    int64_t max_timestamp;
    uint64_t size;        /* bytes of batches */
    uint64_t stored_size; /* bytes of the object, 0: not in the cold tier */
    bool hot;
    bool cold;
    bool sealed;
    const char *object_key; /* of the object, NULL: none */
};
/* Visits segments in offset order, both tiers merged. A non-zero return ends the walk and is
 * returned. */
VARVE_API int varve_log_each_segment(struct varve_log *log,
                                     int (*visit)(void *ctx,
                                                  const struct varve_segment_info *segment),
                                     void *ctx, struct varve_error *err);

/*
 * A file of a tail that this store wrote and another owner's history replaced. It is in no tier:
 * never read, uploaded or deleted by varve.
 */
struct varve_divergent_info {
    const char *path;
    int64_t first_offset; /* the first that is not part of the log; the file may begin before it */
    int64_t end_offset;   /* exclusive */
    uint64_t size;
    uint32_t epoch; /* of the writer */
};
/* Visits them by tail and offset. A non-zero return ends the walk and is returned. Failures:
 * VARVE_E_IO, VARVE_E_NO_MEMORY. */
VARVE_API int varve_log_each_divergent(struct varve_log *log,
                                       int (*visit)(void *ctx,
                                                    const struct varve_divergent_info *file),
                                       void *ctx, struct varve_error *err);

/*
 * The first record whose timestamp is at or after `timestamp` (ms), as Kafka's ListOffsets defines
 * it; timestamps may be out of order. VARVE_E_NOT_FOUND: none. `ret_timestamp` may be NULL.
 */
VARVE_API int varve_log_find_time(struct varve_log *log, int64_t timestamp, int64_t *ret_offset,
                                  int64_t *ret_timestamp, struct varve_error *err);

/* What varve_log_tier is to do, and what it did. */
struct varve_tier_options {
    size_t size;
    bool seal;
    bool evict;
    /* called in this thread; must not call back into the library */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void *progress_ctx;
    /* results, written on return, also after a failure */
    uint64_t uploaded_segments;
    uint64_t uploaded_bytes;
    uint64_t stored_bytes;
    uint64_t evicted_segments;
    uint64_t evicted_bytes;
    uint64_t deleted_objects;
};
/*
 * Runs the tierer to its end now, in this thread: uploads all sealed segments (with `seal` the
 * active one too), commits them, evicts by local retention (with `evict` all that is committed),
 * applies retention.
 * Stops at the first failure; nothing is lost by it, and it can be run again. `options` may be
 * NULL.
 *
 * Threads: any, one tierer at a time per log. Conditions: VARVE_E_FENCED. Failures: VARVE_E_STORE,
 * VARVE_E_IO, VARVE_E_CORRUPT, VARVE_E_NO_MEMORY, VARVE_E_READ_ONLY.
 */
VARVE_API int varve_log_tier(struct varve_log *log, struct varve_tier_options *options,
                             struct varve_error *err);

/*
 * Moves the log start offset up to `offset`; records below are gone for readers at once, their
 * space follows after a grace period (file.delete.delay.ms). Durable on return.
 * VARVE_E_OUT_OF_RANGE: above the end. Below the start it does nothing.
 */
VARVE_API int varve_log_trim(struct varve_log *log, int64_t offset, struct varve_error *err);

/* Visits the log's options with their values in force, those at their default included. */
VARVE_API int varve_log_each_option(struct varve_log *log,
                                    int (*visit)(void *ctx, const char *name, const char *value,
                                                 bool is_default),
                                    void *ctx, struct varve_error *err);

/* Changes options; those not named stay. VARVE_E_INVALID says which and why. Durable on return. */
VARVE_API int varve_log_configure(struct varve_log *log, const struct varve_option *options,
                                  size_t option_count, struct varve_error *err);

/* Deletes a log with all its data in both tiers; no handle may be open. It is gone for readers at
 * once; the call returns when its objects are deleted too, after file.delete.delay.ms. Where that
 * was interrupted, calling it again goes on with it.
 * VARVE_E_NOT_FOUND, VARVE_E_BUSY, VARVE_E_STORE. */
VARVE_API int varve_log_delete(struct varve_store *store, const char *name,
                               struct varve_error *err);

/* What varve_log_verify finds. `kind`: "damage", "missing", "gap", "overlap", "mismatch", "orphan",
 * "divergent", "note". */
struct varve_finding {
    const char *kind;
    const char *where; /* file or object key */
    const char *text;
    int64_t offset; /* first offset concerned, -1: none */
    bool problem;   /* false for orphans, divergent tails and notes */
    bool repaired;
};
struct varve_verify_options {
    size_t size;
    bool deep;   /* read every byte of both tiers */
    bool repair; /* a log open for writing: repair what the other tier or the bucket still holds */
    bool all_orphans; /* with `repair`: delete what nothing refers to, however much of the log it is
                       */
    /* called in this thread; must not call back into the library */
    void (*found)(void *ctx, const struct varve_finding *finding);          /* may be NULL */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void *ctx;
    /* results */
    uint64_t hot_segments;
    uint64_t cold_segments;
    uint64_t bytes_read;
    uint32_t problems; /* not repaired */
    uint32_t repaired;
};
/* Checks both tiers against each other, checksums and the chain. Returns 0 when it ran to its end,
 * whatever it found. */
VARVE_API int varve_log_verify(struct varve_log *log, struct varve_verify_options *options,
                               struct varve_error *err);

#ifdef __cplusplus
}
#endif

#endif
