/*
 * The journal of a log's unfinished multipart uploads: a small local file, so that a process that
 * was killed is followed by one that goes on with them, or aborts them by exact key and id. Some
 * stores (MinIO) do not list what was left behind, but to who knows its key: so the key is noted
 * before the store is asked for an upload, whose answer may be lost.
 *
 * Nothing depends on it. What the journal has lost dangles in the store until a collection finds
 * it by listing, or the bucket's lifecycle rule does; what it says too much the store denies. So it
 * is never synced, and when it cannot be written uploads go on without it.
 *
 * Threads: any; one lock, a leaf. An entry is `live` while an upload of this process uses it, else
 * it is left over.
 */
#ifndef TIERING_JOURNAL_H
#define TIERING_JOURNAL_H

#include "base/env.h"
#include "cold/store.h"

#define TIERING_JOURNAL_PARTS_MAX 10000
#define TIERING_JOURNAL_BYTES_MAX (16 * 1024 * 1024) /* no upload is begun in it beyond */

/* What an upload is of. With all of this equal the same bytes come out again, part for part. */
struct tiering_journal_what {
    int64_t base_offset;
    int64_t end_offset;
    uint64_t segment_size;
    uint32_t epoch;
    uint32_t part_bytes;
    uint32_t block_bytes;
    uint32_t index_interval_bytes;
    int32_t compression_level;
    uint32_t compressor_version; /* of the zstd library */
};

struct tiering_journal_part {
    struct cold_part part; /* number 0: none */
    uint32_t crc32c;
};

struct tiering_journal_entry {
    struct tiering_journal_entry *next;
    uint32_t sequence; /* in the file */
    bool live;
    struct base_id attempt;
    struct tiering_journal_what what;
    char *key;
    struct cold_upload upload; /* "": asked for, and there may be any number under the key */
    struct tiering_journal_part *parts; /* [number - 1] */
    unsigned part_count;                /* the highest number */
};

struct tiering_journal;

/* Reads the file at `path`, if there is one: all in it is left over. What is damaged is reported
 * and forgotten. VARVE_E_NO_MEMORY. */
int tiering_journal_open(const struct base_env *env, const char *path, struct tiering_journal **ret,
                         struct varve_error *err);
struct tiering_journal *tiering_journal_close(struct tiering_journal *j);

/* The store is about to be asked for a multipart upload. NULL: it could not be noted, which is
 * reported once; the upload goes on. */
struct tiering_journal_entry *tiering_journal_ask(struct tiering_journal *j,
                                                  const struct tiering_journal_what *what,
                                                  const struct base_id *attempt, const char *key);
/* It was begun and no part of it is sent yet. Returns the entry of it, in the place of the one that
 * asked; the same where it could not be noted. NULL for NULL. */
struct tiering_journal_entry *tiering_journal_begin(struct tiering_journal *j,
                                                    struct tiering_journal_entry *asked,
                                                    const struct cold_upload *upload);
/* A part is stored. A number again replaces what was said of it. */
void tiering_journal_part(struct tiering_journal *j, struct tiering_journal_entry *entry,
                          const struct cold_part *part, uint32_t crc32c);
/* The upload is over, completed or aborted: `entry` is gone. */
void tiering_journal_end(struct tiering_journal *j, struct tiering_journal_entry *entry);
/* Left for later. */
void tiering_journal_leave(struct tiering_journal *j, struct tiering_journal_entry *entry);

bool tiering_journal_same(const struct tiering_journal_what *a,
                          const struct tiering_journal_what *b);

/* One that was left over of just this, and was begun, live now; NULL: none. `prefix`: of the log's
 * keys, since another log may have had the name before. */
struct tiering_journal_entry *tiering_journal_take(struct tiering_journal *j,
                                                   const struct tiering_journal_what *what,
                                                   const char *prefix);
/* One that was left over and `unwanted` says so, live now; NULL: none. */
struct tiering_journal_entry *
tiering_journal_take_if(struct tiering_journal *j,
                        bool (*unwanted)(void *ctx, const struct tiering_journal_entry *entry),
                        void *ctx);
/* Whether an upload of this attempt is unfinished, as far as the journal knows. */
bool tiering_journal_names(struct tiering_journal *j, const struct base_id *attempt);
unsigned tiering_journal_left(struct tiering_journal *j);

/* The format, for the loader, `varve dump` and tests. */

enum tiering_journal_kind {
    TIERING_JOURNAL_BEGIN = 1,
    TIERING_JOURNAL_PART = 2,
    TIERING_JOURNAL_END = 3,
};

/* One line of the file; views into it. */
struct tiering_journal_line {
    enum tiering_journal_kind kind;
    uint32_t sequence;
    /* BEGIN */
    struct base_id attempt;
    struct tiering_journal_what what;
    const char *key; /* not terminated */
    size_t key_size;
    struct cold_upload upload;
    /* PART */
    struct cold_part part;
    uint32_t crc32c;
};

/* Calls visit for each line up to the first that is not valid; a non-zero return of it ends the
 * walk and is returned. *ret_size: bytes that were valid, also on failure. VARVE_E_CORRUPT,
 * VARVE_E_VERSION. */
int tiering_journal_decode(const void *data, size_t size,
                           int (*visit)(void *arg, const struct tiering_journal_line *line),
                           void *arg, size_t *ret_size, struct varve_error *err);

#endif
