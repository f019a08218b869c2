/*
 * Shared by the files of hot/; no other folder includes it.
 *
 * LOCKS, in the order in which they may be taken (docs/locking.md):
 *   set->evict       one eviction, discard or reset at a time
 *   set->append      the write position: appends, rolls and seals, one at a time
 *   set->checkpoint  the checkpoint file
 *   segment->lock    a segment's descriptor while it is opened, and its sparse index
 *   set->lock        the segment list, the visible and the synced end, references, group commit
 * Nothing is read, written, synced or closed for good under set->lock: appends take it.
 */
#ifndef HOT_INTERNAL_H
#define HOT_INTERNAL_H

#include <stdatomic.h>

#include "base/thread.h"
#include "hot/segment.h"
#include "hot/set.h"
#include "index/sparse.h"

#define HOT_NAME_DIGITS 20
#define HOT_PREALLOCATE_BYTES (16 * 1024 * 1024) /* space asked for ahead of the writer */
#define HOT_INDEX_FILE_MAX ((size_t)1 << 30)
#define HOT_INDEX_CHUNK_BYTES 4096   /* entries gathered before they are written */
#define HOT_IDLE_SEGMENTS_MAX 64     /* sealed segments kept open though nobody uses them */
#define HOT_CHECKPOINT_MS 5000       /* at most one checkpoint in this time, seal and close apart */
#define HOT_TICK_MS_MAX 60000        /* tick asks to be called again after this at the latest */
#define HOT_WAIT_POLL_NS_MIN 1000000 /* polling of `published` by hot_set_wait */
#define HOT_WAIT_POLL_NS_MAX 20000000
#define HOT_LOCK_TRIES 40 /* a reader asking for liveness holds the lock for a moment */
#define HOT_LOCK_RETRY_NS 1000000

/* A place in the log: the segment by its base, bytes into it, and the offset there. */
struct hot_point {
    int64_t base_offset;
    uint64_t size;
    int64_t end_offset;
};

/* How far a segment goes, for the writer or for readers. */
struct hot_extent {
    uint64_t size;
    int64_t end_offset;
    int64_t first_timestamp; /* -1 when empty */
    int64_t max_timestamp;   /* -1 when empty */
    int64_t append_time;
};

struct hot_segment {
    struct hot_set *set;
    int64_t base_offset;
    char *path;
    char *index_path;

    /* Protected by set->lock. */
    struct hot_segment *next_dead;
    unsigned refs; /* users, and one for the list */
    unsigned pins;
    bool listed;
    bool sealed;
    bool synced;               /* all of it is known to be durable; only of sealed ones */
    bool stamps_known;         /* visible.first_timestamp and visible.max_timestamp are right */
    bool incomplete;           /* opening has left it damaged: it does not hold all up to its end */
    struct hot_extent visible; /* what readers may see */
    struct hot_extent written; /* what lies in the file; changed under set->append as well */

    /* Protected by set->append; only of the active segment of a writing set. */
    int64_t first_append_ms;
    uint64_t preallocated; /* bytes of the file that have space */
    bool preallocate;      /* false once the file system has refused */
    struct index_sparse_builder builder;

    /* Protected by `lock`. The descriptor stays once set, as long as there are users. */
    struct base_mutex lock;
    int fd;
    bool index_live;          /* `index` is the truth, the file its copy */
    struct base_buffer index; /* header and entries, when built here */
    size_t index_flushed;     /* bytes of `index` in the file */
    int index_fd;             /* open for writing while live; -1 also when writing failed */
    void *map;                /* the index file mapped, when not in memory */
    size_t map_size;
};

/* What `published` says. */
enum hot_writer_state {
    HOT_WRITER_NONE = 0,
    HOT_WRITER_RECOVERING = 1,
    HOT_WRITER_LIVE = 2,
    HOT_WRITER_CLOSED = 3,
    HOT_WRITER_FAILED = 4, /* an fsync failed: the visible end proves nothing about the disk */
};

struct hot_publication {
    uint64_t state;
    uint64_t instance; /* changes with each writer and each reset */
    int64_t floor;
    struct hot_point visible; /* of the active segment */
    struct hot_point synced;
    uint8_t boot[16]; /* which run of the machine; zero: unknown */
};

struct hot_published {
    _Atomic int fd;    /* set once */
    void *_Atomic map; /* NULL: no usable file; set once */
    bool writable;
    uint64_t sequence; /* read-only: of the publication taken last; writer: the last written */
};

struct hot_checkpoint {
    struct hot_point point;
    int64_t first_append_ms; /* of the point's segment, -1: unknown */
    bool clean;
};
#define HOT_CHECKPOINT_SIZE 64

struct hot_set {
    const struct base_env *env;
    const struct base_io *io;
    char *dir;
    struct index_epoch *epochs; /* options.epochs */
    char *published_path;
    char *checkpoint_path;
    struct hot_set_options options;
    _Atomic int64_t segment_bytes; /* of the options, these three can change while it is open */
    _Atomic int64_t segment_ms;
    _Atomic int64_t flush_ms;
    uint8_t boot[16];
    atomic_uint indexes_rebuilt; /* a mere count: relaxed */
    _Atomic uint64_t rolls;      /* the same */

    struct base_mutex evict;

    /* One append, roll or seal at a time. Protects the write position and the scratch memory. */
    struct base_mutex append;
    bool cut_due; /* bytes of a failed write lie behind the written end */
    uint8_t *headers;
    struct iovec *iov;
    size_t scratch_count;

    /* Protects the checkpoint file and these. */
    struct base_mutex checkpoint;
    struct hot_point checkpointed; /* base -1: there is none */
    int64_t checkpoint_ms;

    /* Protects all below, and the mapped `published` of a writing set. */
    struct base_mutex lock;
    struct hot_segment **segments; /* by base offset; the last is the active one */
    size_t count;
    size_t capacity;
    struct hot_segment *active; /* writing: the last one; changed under set->append as well */
    struct hot_segment *dead;   /* nobody refers to them; freed by the next hot_set_unlock */
    uint64_t sealed_bytes;
    unsigned open_count;
    struct hot_point synced;
    bool dir_dirty;      /* names were made that no fsync of the directory covers yet */
    int64_t dirty_ms;    /* wall clock of the first append not synced; -1: none */
    bool syncing;        /* a leader is at work */
    uint64_t generation; /* commits: the one being gathered */
    uint64_t generation_synced;
    struct base_cond commit[2]; /* those waiting for a generation, by its parity */
    bool failed;                /* a sync has failed: nothing is appended or shown any more */
    struct varve_error failure;
    struct base_cond visible; /* hot_set_wait */
    unsigned visible_waiters;
    bool interrupted;
    uint64_t instance;
    uint64_t lives;         /* read-only: see hot_follow_lives */
    bool recovery_unsynced; /* a sync failed while opening: what the files hold is not known */
    struct hot_published published;
};

/* A walk over the batches of one file, each checked (I9). Plain data; one thread. */
struct hot_scan {
    const struct base_io *io;
    int fd;
    const char *path;
    uint8_t *buf;
    size_t capacity;
    uint64_t buf_pos;
    size_t buf_size;
    size_t batch_size; /* of the last batch; 0: none yet */
    uint64_t pos;      /* of the next batch */
    uint64_t limit;    /* where the file's bytes end for us */
    int64_t offset;    /* the next batch's base offset */
};

int hot_scan_init(struct hot_scan *scan, const struct base_io *io, struct varve_error *err);
void hot_scan_deinit(struct hot_scan *scan);
void hot_scan_start(struct hot_scan *scan, int fd, const char *path, uint64_t pos, int64_t offset,
                    uint64_t limit);
/* The next batch, its CRC and base offset checked; valid until the next call. VARVE_E_END: `pos` is
 * `limit`. VARVE_E_CORRUPT: torn or damaged, `pos` stays where it is. */
int hot_scan_next(struct hot_scan *scan, const void **ret_data, struct record_batch *ret,
                  struct varve_error *err);
/* Instead of the next: the first whole batch of an offset not below the scan's, wherever from `pos`
 * on it begins. VARVE_E_NOT_FOUND: there is none. The scan is used up. */
int hot_scan_search(struct hot_scan *scan, struct record_batch *ret, struct varve_error *err);

/* segment.c */
int hot_segment_new(struct hot_set *set, int64_t base_offset, struct hot_segment **ret,
                    struct varve_error *err);
/* hot_scan_search over an open segment's `size` bytes from `pos` on. */
int hot_segment_search(struct hot_segment *segment, uint64_t pos, uint64_t size, int64_t offset,
                       struct record_batch *ret, struct varve_error *err);
/* With set->lock held, to be let go of by hot_set_unlock: closing the last descriptor of an
 * unlinked file frees its blocks, which can take long. */
void hot_segment_unref_locked(struct hot_segment *segment);
void hot_set_unlock(struct hot_set *set);
/* Opens the file if it is not; NOT_FOUND when it has vanished. The caller holds a reference. */
int hot_segment_open(struct hot_segment *segment, struct varve_error *err);
struct hot_segment *hot_segment_lookup_locked(struct hot_set *set, int64_t offset);

/* sparse.c: the index of a segment. The `_locked` ones want segment->lock. */
int hot_sparse_create_locked(struct hot_segment *segment, struct varve_error *err);
int hot_sparse_parse(const struct hot_segment *segment, const void *data, size_t size,
                     struct index_sparse *ret, struct varve_error *err);
int hot_sparse_adopt_locked(struct hot_segment *segment, uint64_t good_size, uint64_t *ret_pos,
                            int64_t *ret_offset, struct varve_error *err);
int hot_sparse_add_locked(struct hot_segment *segment, const struct index_sparse_entry *entry,
                          struct varve_error *err);
void hot_sparse_flush_locked(struct hot_segment *segment, bool all);
int hot_sparse_rewrite_locked(struct hot_segment *segment, bool durable, struct varve_error *err);
void hot_sparse_seal_locked(struct hot_segment *segment);
void hot_sparse_release_locked(struct hot_segment *segment);
int hot_sparse_rebuild(struct hot_segment *segment, struct varve_error *err);
int hot_sparse_end(struct hot_segment *segment, uint64_t *ret_pos, int64_t *ret_offset,
                   struct varve_error *err);
int hot_sparse_find_time(struct hot_segment *segment, size_t from, int64_t timestamp,
                         int64_t min_offset, size_t *ret_i, struct index_sparse_entry *ret,
                         struct varve_error *err);
int hot_sparse_get(struct hot_segment *segment, size_t i, struct index_sparse_entry *ret,
                   struct varve_error *err);
int hot_sparse_max_timestamp(struct hot_segment *segment, int64_t *ret, struct varve_error *err);

/* append.c */
int hot_append_create_segment(struct hot_set *set, int64_t base_offset, struct hot_segment **ret,
                              struct varve_error *err);
void hot_append_activate(struct hot_segment *segment, int64_t first_append_ms);

/* commit.c */
int hot_commit_wait_locked(struct hot_set *set, uint64_t generation, struct varve_error *err);
int hot_commit_all_locked(struct hot_set *set, struct varve_error *err);
int hot_commit_failure_locked(struct hot_set *set, struct varve_error *err);
void hot_commit_show_locked(struct hot_set *set, struct hot_segment *segment,
                            const struct hot_extent *extent);

/* checkpoint.c */
void hot_checkpoint_encode(const struct hot_checkpoint *checkpoint,
                           uint8_t buf[HOT_CHECKPOINT_SIZE]);
int hot_checkpoint_decode(const void *data, size_t size, struct hot_checkpoint *ret,
                          struct varve_error *err);
/* VARVE_E_NOT_FOUND, VARVE_E_CORRUPT, VARVE_E_VERSION. */
int hot_checkpoint_read(struct hot_set *set, struct hot_checkpoint *ret, struct varve_error *err);
/* Records the synced point. Nothing is written when it has not moved, unless `clean` or `force`. */
int hot_checkpoint_write(struct hot_set *set, bool clean, bool force, struct varve_error *err);

/* publish.c */
#define HOT_PUBLISHED_SIZE 4096
int hot_publish_decode(const void *data, size_t size, struct hot_publication *ret,
                       struct varve_error *err);
/* Takes the writer's lock; VARVE_E_BUSY. *ret_old and *ret_known: what the last writer left. */
int hot_publish_create(struct hot_set *set, struct hot_publication *ret_old, bool *ret_known,
                       struct varve_error *err);
/* For reading. A file that is missing or not made yet leaves `map` NULL and is no error. */
int hot_publish_open(struct hot_set *set, struct varve_error *err);
void hot_publish_close(struct hot_set *set);
void hot_publish_repair_locked(struct hot_set *set);
void hot_publish_locked(struct hot_set *set, enum hot_writer_state state);
void hot_publish_write_locked(struct hot_set *set, const struct hot_publication *publication);
/* What is published holds after a loss of power, too; the file's name is the directory's to sync.
 */
int hot_publish_sync(struct hot_set *set, struct varve_error *err);
/* False: nothing valid is there. */
bool hot_publish_read(struct hot_set *set, struct hot_publication *ret, uint64_t *ret_sequence);
void hot_publish_boot(struct hot_set *set);
/* Was it written in this run of the machine? False: not, or nobody knows. */
bool hot_publish_same_run(const struct hot_set *set, const struct hot_publication *publication);

/* displace.c */
/* Replaces a file by its first `size` bytes and opens the new one; other names keep all. */
int hot_segment_shorten(struct hot_set *set, struct hot_segment *segment, uint64_t size,
                        struct varve_error *err);

/* recovery.c */
struct hot_names {
    int64_t *bases;
    size_t count;
    size_t capacity;
    int64_t *index_bases;
    size_t index_count;
    size_t index_capacity;
    bool no_memory;
};
int hot_recovery_list(struct hot_set *set, struct hot_names *ret, struct varve_error *err);
void hot_recovery_names_deinit(struct hot_names *names);
int hot_recovery_run(struct hot_set *set, const struct hot_publication *old,
                     struct hot_recovery *ret, struct varve_error *err);
/* follow.c: read-only sets. */
int hot_follow_open(struct hot_set *set, struct varve_error *err);
/* How often the files were taken up anew, since another writer, or a reset, had begun. */
uint64_t hot_follow_lives(struct hot_set *set);
/* Damage was found in what was taken up `lives` ago. 0: it has been taken up anew since, or just
 * now; VARVE_E_OUT_OF_RANGE: a writer is recovering; VARVE_E_CORRUPT: it is damage, `err` stays. */
int hot_follow_doubt(struct hot_set *set, uint64_t lives, struct varve_error *err);

/* set.c */
/* Knows nothing of the files yet; ended by hot_set_abandon. */
int hot_set_new(const struct base_env *env, const char *dir, const struct hot_set_options *options,
                struct hot_set **ret, struct varve_error *err);
int hot_set_list_locked(struct hot_set *set, struct hot_segment *segment, struct varve_error *err);
/* Forgets the segments, whose files stay. */
void hot_set_drop_segments(struct hot_set *set);
void hot_set_recount_locked(struct hot_set *set);
struct hot_segment *hot_set_active_locked(struct hot_set *set);

#endif
