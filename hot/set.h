/*
 * The hot tier of one log: its segments on the local disk, from the floor h to the end.
 *
 * A directory holds `<20-digit base offset>.log` (batches back to back, nothing else),
 * `<base>.index` beside each (sparse index, rebuilt when missing or wrong), `published` (a small
 * shared file: the writer's visible end; the writer holds an exclusive flock on it while it lives)
 * and `checkpoint` (up to where the files are known to be good and synced).
 *
 * One set is open for writing per log and machine (the log layer sees to it); any number of sets,
 * in this or in other processes, are open read-only beside it. Files already published are never
 * truncated or rewritten below their published end; eviction is unlink (I3).
 *
 * Threads: any, on all calls, unless a call says otherwise.
 */
#ifndef HOT_SET_H
#define HOT_SET_H

#include "base/env.h"
#include "index/root.h"
#include "record/batch.h"

enum hot_durability {
    HOT_DURABILITY_OS,    /* acknowledged when in the page cache; synced every flush_ms */
    HOT_DURABILITY_FSYNC, /* acknowledged when synced; one fdatasync covers all who wait (group
                             commit) */
};

#define HOT_SEGMENT_BYTES_MIN 4096
#define HOT_SEGMENT_BYTES_MAX 0x7fffffff

struct hot_set_options {
    bool read_only;
    enum hot_durability durability;
    int64_t segment_bytes; /* a segment is rolled before it would exceed this */
    int64_t segment_ms; /* and when its first append is older than this (wall clock), -1: never */
    int64_t flush_ms;   /* `os` mode: interval of syncing; -1: left to the kernel */
    int64_t index_interval_bytes;
    /* Base of the first segment when the directory holds none. What lies wholly below is held
     * elsewhere too: damage there does not keep the set from opening. */
    int64_t start_offset;
    /* The log's history, copied, by which a tail that is no part of it is told from what is held
     * elsewhere. None: all below start_offset is. */
    const struct index_epoch *epochs;
    size_t epoch_count;
};

/* What opening for writing found and did; all zero after a clean close. */
struct hot_recovery {
    bool unclean;            /* the last writer did not close */
    int64_t scanned_bytes;   /* read because they were not known to be good */
    int64_t truncated_bytes; /* torn tail removed */
    int64_t truncated_at;    /* offset the log ends at because of it, -1 when nothing was torn */
    unsigned indexes_rebuilt;
};

struct hot_set;

/*
 * Opens the segments in `dir` (made if missing when writing). For writing: takes the lock on
 * `published` (VARVE_E_BUSY when it is held), scans what the checkpoint does not vouch for (batch
 * CRC, dense offsets; after fadvise DONTNEED, so that the disk is read and not the page cache),
 * truncates a torn tail of the last segment and reports it. A hole or damage in front of the tail
 * is VARVE_E_CORRUPT naming file and position, or below start_offset a warning, the segment left
 * where it is: nothing is dropped silently. Read-only: nothing is
 * changed; with a live writer the end is what it publishes, without one the first torn batch.
 */
int hot_set_open(const struct base_env *env, const char *dir, const struct hot_set_options *options,
                 struct hot_set **ret, struct hot_recovery *ret_recovery, struct varve_error *err);

/* Syncs and writes the checkpoint when writing; frees. Readers and segment references must be gone.
 * NULL is accepted. */
struct hot_set *hot_set_close(struct hot_set *set);

/* As close, without syncing or checkpoint, as a crash would leave it: for tests. */
struct hot_set *hot_set_abandon(struct hot_set *set);

/*
 * Appends validated batches in one gathered write: each gets the next offsets and `leader_epoch`.
 * The caller's bytes are not changed. *ret_base_offset is the first offset. `os`: visible on
 * return. `fsync`: durable first, then visible, then returned. Either all batches are appended or
 * none is visible.
 *
 * VARVE_E_NO_SPACE (retriable; nothing appended), VARVE_E_FAILED (an earlier failed fsync),
 * VARVE_E_TOO_LARGE (the batches together above segment_bytes), VARVE_E_READ_ONLY, VARVE_E_IO.
 */
struct hot_append {
    const void *data; /* an encoded batch that passed record_batch_validate */
    size_t size;
    int32_t record_count;
    int64_t max_timestamp;
    int64_t first_timestamp;
};
int hot_set_append(struct hot_set *set, const struct hot_append *batches, size_t count,
                   int32_t leader_epoch, int64_t *ret_base_offset, struct varve_error *err);

/*
 * Takes segment_bytes, segment_ms and flush_ms from `options`; they count from the next append on.
 * What else they hold applies when the set is opened again.
 */
void hot_set_configure(struct hot_set *set, const struct hot_set_options *options);

/* Makes everything appended so far durable. VARVE_E_FAILED once an fsync has failed. */
int hot_set_sync(struct hot_set *set, struct varve_error *err);

/* How often a segment was sealed since opening: who uploads them compares. Costs nothing. */
uint64_t hot_set_rolls(const struct hot_set *set);

/* Closes the active segment if it holds anything and starts the next. */
int hot_set_seal(struct hot_set *set, struct varve_error *err);

/*
 * Work that is due by the clock: interval flush, roll on age, checkpoint. *ret_next_ms is the wall
 * clock ms when the next is due (at most a minute ahead). Called by the background thread, or by a
 * test.
 */
int hot_set_tick(struct hot_set *set, int64_t *ret_next_ms, struct varve_error *err);

/* The offsets [floor, end): floor is the base of the first segment. `synced` is the end known to be
 * durable. */
struct hot_range {
    int64_t floor;
    int64_t end; /* visible end: what readers may see (high watermark) */
    int64_t synced;
    uint64_t bytes; /* of all segments */
    size_t segments;
};
void hot_set_range(struct hot_set *set, struct hot_range *ret);

/* Read-only: looks at the directory and at the published end again. Cheap when nothing changed. */
int hot_set_refresh(struct hot_set *set, struct varve_error *err);
/* Read-only: has a writer begun that has not said yet what there is? Until it does, what this set
 * knows of the directory may have gone. */
bool hot_set_recovering(struct hot_set *set);

/*
 * Waits until the visible end is above `offset`, the set is interrupted, or `timeout_ns` have
 * passed. Writing sets wake at once; read-only sets of another process poll `published` (every 1 ms
 * growing to 20 ms). VARVE_E_TIMEOUT, VARVE_E_CANCELLED.
 */
int hot_set_wait(struct hot_set *set, int64_t offset, int64_t timeout_ns, struct varve_error *err);
void hot_set_interrupt(struct hot_set *set); /* wakes all waiters for good */

/*
 * Hints that other processes read from `published`: bumped by the writer whenever the local root
 * changes. A read-only log compares the generation before it trusts its mapped manifest.
 */
void hot_set_publish_root(struct hot_set *set, uint64_t root_generation);
uint64_t hot_set_published_root(struct hot_set *set);

/*
 * Checks `published` and `checkpoint` as they lie on disk, and reports a damaged one by its path; a
 * set open for writing has written it anew then (`repaired`). Both are only hints: what they are
 * missing for is found by reading more.
 */
int hot_set_check_files(struct hot_set *set,
                        void (*report)(void *arg, const char *path, const struct varve_error *what,
                                       bool repaired),
                        void *arg, struct varve_error *err);

/* True when a live process has the set open for writing (this one included). */
bool hot_set_has_writer(struct hot_set *set);

/*
 * Unlinks sealed segments whose end is <= `offset`, oldest first, stopping at the first one that a
 * reader of this process pins (I3: the caller has made sure that offset <= n in the durable root).
 * *ret_bytes and *ret_count: what went.
 */
int hot_set_evict(struct hot_set *set, int64_t offset, uint64_t *ret_bytes, unsigned *ret_count,
                  struct varve_error *err);

/*
 * Drops every local segment and goes on at `offset` (I13: the local end lies below n), or, with
 * `aside` not NULL, moves the files holding offsets >= `from` into that directory first (a
 * divergent tail). Only right after opening.
 */
int hot_set_reset(struct hot_set *set, int64_t offset, struct varve_error *err);
int hot_set_move_tail(struct hot_set *set, int64_t from, const char *aside,
                      struct varve_error *err);

/*
 * What lies in `dir`, which nobody has open, belongs to another log, that is no more: whatever
 * state it is in, nothing of it is read. All segment files that hold anything get a second name in
 * the directory `aside`, durably (NULL: they are not wanted); then what vouches for them and their
 * own names go, durably. Whatever cuts this short, the same call goes on. *ret_count: the files
 * that were there and are aside now. VARVE_E_BUSY: a process writes there.
 */
int hot_set_clear(const struct base_env *env, const char *dir, const char *aside,
                  unsigned *ret_count, struct varve_error *err);

#endif
