/*
 * What tiering's own files share: the state of one log, and the steps it is made of. Nothing
 * outside tiering/ includes this.
 */
#ifndef TIERING_STATE_H
#define TIERING_STATE_H

#include <stdatomic.h>

#include "tiering/journal.h"
#include "tiering/tiering.h"

#define TIERING_COMMIT_SEGMENTS_MAX 64            /* committed in one root write at most */
#define TIERING_COMMIT_NS INT64_C(2000000000)     /* of uploading between two root writes */
#define TIERING_BATCH_NS INT64_C(16000000000)     /* a batch takes no new segment after this */
#define TIERING_DELETE_KEYS_MAX 1000              /* in one delete request */
#define TIERING_RATE_STEP_BYTES (64 * 1024)       /* pacing takes bytes in such steps */
#define TIERING_BACKOFF_MIN_MS 100                /* decorrelated jitter between these (I4) */
#define TIERING_BACKOFF_MAX_MS 15000              /* */
#define TIERING_IDLE_MS 60000                     /* a step comes again at least this often */
#define TIERING_COLLECT_FIRST_MS (60 * 60 * 1000) /* after opening */
#define TIERING_COLLECT_EVERY_MS (24 * 60 * 60 * 1000)

/*
 * One attempt at uploading one segment (I10): in the log's table from before its first request
 * until a durable root names it, or it has failed or been discarded.
 */
struct tiering_upload {
    struct tiering_upload *next; /* ascending base offsets */
    struct base_id attempt;
    char *key;
    struct index_entry entry; /* whole once its body is complete */
    /* The sending; under the engine's lock while it runs. */
    bool stored;      /* the store has confirmed it (I2) */
    bool failed;      /* given up; leaves the table */
    bool parted;      /* a multipart upload was begun */
    bool dispatched;  /* engine: no request follows; the last part to finish completes the object */
    unsigned sending; /* requests under way */
    atomic_bool
        over; /* release: the engine is done with it, so that a commit may look at the above */
    struct tiering_journal_entry *journal; /* of a multipart upload; NULL: it is in none */
    struct tiering_journal_part *kept;     /* parts that the store holds of an earlier life */
    unsigned kept_count;
    struct cold_upload multipart;
    struct cold_part *parts;
    unsigned part_count;
    unsigned part_capacity;
    struct varve_error err; /* of the first request that failed */
};

struct tiering_log {
    const struct base_env *env;
    struct tiering_log_options o; /* log_name is a copy; policy is under `lock` */
    char *log_name;
    struct base_id log_id;
    struct hot_set *hot; /* from attach on */

    /* One step, or run, at a time. Order: step_lock, root_lock, lock. */
    struct base_mutex step_lock;
    int64_t retry_ms;     /* no upload before (wall clock); 0: none pending */
    int64_t backoff_ms;   /* the last wait */
    int64_t collect_ms;   /* next collection of orphans */
    int64_t sealed_seen;  /* SEALED was told up to here */
    int64_t active_base;  /* the active segment when last looked at, and since when it holds */
    int64_t active_since; /* something (recovery point) */
    int64_t oldest_base;  /* likewise for the segment at n */
    int64_t oldest_since;
    bool stall_told; /* the watchdog has spoken */
    bool one_by_one; /* there was no room: each segment is committed, and may go, before the next */
    uint64_t run_done; /* progress of a run, bytes of segments */
    uint64_t run_total;
    struct tiering_run *run;

    /* Every change of the root, in the bucket and here. */
    struct base_mutex root_lock;
    struct cold_etag etag; /* of the bucket's root, while `confirmed` */
    bool confirmed;        /* the bucket's root is the local one, as far as we know */
    bool root_written;     /* this life has written a root: no write of an earlier one can land */
    uint32_t epoch;        /* constant after opening */
    bool taking_over;      /* opening ends a take-over, or fails */
    bool ends_other;       /* opening replaces another log of this name, or fails */
    /* The cuts of this life, newest last, and when the bucket held their root: that can be long
     * after they were decided, which is the time that the root has (I5). */
    struct index_cut cuts[INDEX_ROOT_CUTS_MAX];
    size_t cut_next;

    struct tiering_journal *journal; /* of unfinished multipart uploads; NULL: none is kept */

    struct base_mutex lock; /* what follows; leaf */
    struct tiering_policy policy;
    struct tiering_status status; /* counters and failures; the rest is made when asked */
    struct cold_etag look_etag;   /* copy of `etag` while `confirmed`, for looks */
    bool look_known;
    int64_t looked_end; /* the log's end when the bucket's root was last found to be ours */
    struct tiering_upload
        *uploads;         /* changed under step_lock and lock, so either suffices to read */
    struct base_id *held; /* attempts of pages, and of repairs, until a root write has succeeded */
    size_t held_count;
    struct tiering_event *events; /* not yet told */
    size_t event_count;
    size_t event_capacity;

    atomic_bool fenced; /* relaxed: a flag that is looked at again and again */
    atomic_bool cancel; /* likewise: leave the running step soon */
};

/* Keeps an event until no lock is held; lost when there is no memory for it. */
void tiering_event_add(struct tiering_log *t, enum tiering_event_kind kind, int64_t base_offset,
                       int64_t end_offset, uint64_t bytes);
/* Tells them. Without locks. */
void tiering_event_tell(struct tiering_log *t);

struct tiering_policy tiering_policy_now(struct tiering_log *t);
int64_t tiering_now_ms(const struct tiering_log *t);
/* Marks the log as fenced for good and raises VARVE_E_FENCED. */
int tiering_fence(struct tiering_log *t, struct varve_error *err, const char *format, ...)
    VARVE_PRINTF(3, 4);
int tiering_check_fenced(struct tiering_log *t, struct varve_error *err);

/* root.c: the root in the bucket and here. With root_lock held unless said otherwise. */

/* Compares the bucket's root with the local one unless that is known; installs it when it is a
 * newer one of our own. VARVE_E_FENCED; VARVE_E_CORRUPT (the bucket lost its root); VARVE_E_STORE.
 */
int tiering_root_confirm(struct tiering_log *t, struct varve_error *err);
/* At opening: as above, with what only opening may do. */
int tiering_root_open(struct tiering_log *t, bool take_over, struct varve_error *err);
/* Finishes the edit, stores pages and root, installs both. The root must be confirmed before the
 * edit is made. */
int tiering_root_write(struct tiering_log *t, struct index_edit *edit, struct varve_error *err);
/* One change by itself, with root_lock taken here: `change` on an edit of the confirmed root, and
 * its write. */
int tiering_root_change(struct tiering_log *t,
                        int (*change)(struct index_edit *edit, const void *arg,
                                      struct varve_error *err),
                        const void *arg, struct varve_error *err);
/* Reads and decodes the bucket's; *ret_data is fresh memory that *ret borrows. Needs no lock. */
int tiering_root_read(struct tiering_log *t, int64_t patience_ms, void **ret_data,
                      struct index_root *ret, struct cold_etag *ret_etag, struct varve_error *err);
/* The bucket has this root now: keeps it here too, durably. */
int tiering_root_keep(struct tiering_log *t, const void *data, size_t size,
                      const struct index_edit_page *pages, size_t count,
                      const struct cold_etag *etag, struct varve_error *err);
/* The next change begins by reading the bucket's root. */
void tiering_root_doubt(struct tiering_log *t);
/* Keeps an attempt from being collected until a root write has succeeded (I10). */
int tiering_attempt_hold(struct tiering_log *t, const struct base_id *attempt,
                         struct varve_error *err);
/* A copy of the local root's plain fields; the views are not valid. */
int tiering_root_get(struct tiering_log *t, struct index_root *ret, struct varve_error *err);

/* owner.c */

/* VARVE_E_FENCED for the root of another owner, unless `allow`; names it, and says what to do. */
int tiering_owner_check(struct tiering_log *t, const struct index_root *root, bool allow,
                        struct varve_error *err);
/* The bucket's root was read while the log is open: fences it when it is not ours any more. */
int tiering_owner_judge(struct tiering_log *t, const struct index_root *bucket,
                        struct varve_error *err);
/* Makes this store the owner of what the local root describes, which is another's. */
int tiering_owner_take_over(struct tiering_log *t, struct varve_error *err);
/* A take-over that this store had begun: the bucket's root is ours, the local one still names the
 * old owner. Ends that one's lease. */
int tiering_owner_finish(struct tiering_log *t, const struct base_id *old_owner,
                         struct varve_error *err);

/* upload.c */

/*
 * Uploads sealed segments from n on, oldest first, until there are none,
 * TIERING_COMMIT_SEGMENTS_MAX wait for a commit, or TIERING_COMMIT_NS are over; just one while
 * t->one_by_one. What was stored is in t->uploads, also after a failure. With step_lock held.
 */
int tiering_upload_batch(struct tiering_log *t, struct varve_error *err);
/* One sealed segment, stored and confirmed under a new attempt, which is held until the next root
 * write. *ret_entry is what to commit. For repairs; with step_lock held. */
int tiering_upload_one(struct tiering_log *t, struct hot_segment *segment,
                       const uint8_t previous_chain_hash[BASE_SHA256_SIZE],
                       struct index_entry *ret_entry, struct varve_error *err);
void tiering_upload_free(struct tiering_upload *u);
/*
 * Aborts the unfinished uploads that the journal has left over and `unwanted` names; NULL: all. An
 * upload that is gone is fine. One whose abort fails stays left over; the first error is returned.
 * *ret_count (may be NULL): those aborted. Takes no lock that waits for the store.
 */
int tiering_upload_abort_left(struct tiering_log *t,
                              bool (*unwanted)(void *ctx,
                                               const struct tiering_journal_entry *entry),
                              void *ctx, unsigned *ret_count, struct varve_error *err);
/* The same, of the journal of a log that is not open; all. */
int tiering_upload_abort_journal(const struct base_env *env, const char *path,
                                 struct cold_store *segments, struct varve_error *err);

/* Whether an upload continues the history at `n` with this chain hash there. It does not when a
 * trim has cut away segments in front of it since. (commit.c) */
bool tiering_upload_follows(const struct tiering_upload *u, int64_t n,
                            const uint8_t chain[BASE_SHA256_SIZE]);

/* commit.c: one root write that names what is stored. *ret_count: segments. With step_lock held,
 * takes root_lock. */
int tiering_commit_uploads(struct tiering_log *t, unsigned *ret_count, struct varve_error *err);
/*
 * Deletes what is stored behind a segment that is not: the room it takes may be what that one
 * lacks. No root can name such an object, since a root names uploads without a hole from n on (I4).
 * With step_lock held.
 */
void tiering_commit_drop_stranded(struct tiering_log *t);

/* evict.c. With step_lock held; `all`: whatever is committed. */
int tiering_evict(struct tiering_log *t, bool all, int64_t *ret_next_ms, struct varve_error *err);

/* retain.c. They take root_lock. *ret_next_ms: when to look again. */
int tiering_retain(struct tiering_log *t, int64_t *ret_next_ms, struct varve_error *err);
int tiering_delete_due(struct tiering_log *t, int64_t *ret_next_ms, unsigned *ret_deleted,
                       struct varve_error *err);
/* Deletes objects and pages under a log id's prefix, in both stores. */
int tiering_delete_prefix(struct cold_store *segments, struct cold_store *meta,
                          const char *log_name, const struct base_id *log_id, uint64_t *ret_deleted,
                          struct varve_error *err);

/* A list of keys that deletes itself in requests of TIERING_DELETE_KEYS_MAX. */
struct tiering_doomed {
    struct cold_store *store;
    char *keys[TIERING_DELETE_KEYS_MAX];
    size_t count;
    uint64_t deleted;
};
int tiering_doomed_add(struct tiering_doomed *d, char *key,
                       struct varve_error *err); /* takes key */
int tiering_doomed_flush(struct tiering_doomed *d, struct varve_error *err);
void tiering_doomed_deinit(struct tiering_doomed *d);

#endif
