/*
 * The two fixed-size things a manifest is made of: an entry describes one committed segment object,
 * a reference one page of entries (or of references). Encodings and byte tables are in entry.c.
 */
#ifndef INDEX_ENTRY_H
#define INDEX_ENTRY_H

#include <varve/error.h>

#include "base/hash.h"
#include "base/random.h"

#define INDEX_ENTRY_SIZE 192
#define INDEX_REF_SIZE 96
#define INDEX_LOG_NAME_MAX 249 /* bytes; Kafka's limit for a topic name */

enum index_entry_flags {
    INDEX_ENTRY_ABORTED = 1u << 0,   /* the object lists aborted-transaction ranges */
    INDEX_ENTRY_ENCRYPTED = 1u << 1, /* stored as .zst.enc */
};

struct index_entry {
    int64_t base_offset;
    int64_t end_offset;      /* exclusive */
    int64_t first_timestamp; /* of the first record; for people (ls) */
    int64_t max_timestamp;   /* the segment's own */
    int64_t append_time;     /* wall clock ms of the last append; retention of the local copy counts
                                from it */
    uint64_t segment_size;   /* bytes of batches */
    uint64_t object_size;    /* bytes stored */
    uint64_t index_pos;      /* where the index frame begins in the object */
    uint32_t table_size;     /* bytes from index_pos that hold the block table (one GET) */
    uint32_t index_size;     /* bytes of the whole index frame */
    uint32_t object_crc32c;  /* of the whole object */
    uint32_t epoch;          /* key part: writer epoch */
    uint32_t flags;
    struct base_id attempt; /* key part: upload attempt id */
    uint8_t segment_sha256[BASE_SHA256_SIZE];
    uint8_t chain_hash[BASE_SHA256_SIZE]; /* SHA-256(previous chain hash || segment_sha256 || base
                                             || end, le64) */
};

struct index_ref {
    int64_t base_offset;
    int64_t end_offset;
    int64_t max_timestamp; /* maximum over the page */
    uint64_t segment_bytes;
    uint64_t object_bytes;
    uint64_t segment_count;
    uint32_t level; /* 0: the page holds entries; n: references of level n-1 */
    uint32_t count; /* entries or references in the page */
    uint32_t page_size;
    uint32_t page_crc32c;
    uint32_t epoch;         /* key part */
    struct base_id attempt; /* key part */
};

void index_entry_encode(const struct index_entry *e, uint8_t buf[INDEX_ENTRY_SIZE]);
void index_entry_decode(const uint8_t buf[INDEX_ENTRY_SIZE], struct index_entry *ret);
void index_ref_encode(const struct index_ref *r, uint8_t buf[INDEX_REF_SIZE]);
void index_ref_decode(const uint8_t buf[INDEX_REF_SIZE], struct index_ref *ret);

/* chain = SHA-256(previous || segment_sha256 || le64 base || le64 end). The first segment's
 * previous is 32 zeros. */
int index_chain_hash(const uint8_t previous[BASE_SHA256_SIZE],
                     const uint8_t segment_sha256[BASE_SHA256_SIZE], int64_t base_offset,
                     int64_t end_offset, uint8_t ret[BASE_SHA256_SIZE]);

/*
 * Keys, relative to the store's prefix; *ret is fresh memory. The log name is used as it is
 * (validated by index_log_name_check): "logs/<name>/@/<log id>/<base>-<end>-<epoch>-<attempt>.zst"
 * (or .zst.enc), "logs/<name>/@/<log id>/page-<level>-<base>-<end>-<epoch>-<attempt>",
 * "logs/<name>/@/root".
 */
int index_key_object(const char *log_name, const struct base_id *log_id,
                     const struct index_entry *e, char **ret, struct varve_error *err);
int index_key_page(const char *log_name, const struct base_id *log_id, const struct index_ref *r,
                   char **ret, struct varve_error *err);
int index_key_root(const char *log_name, char **ret, struct varve_error *err);
/* "logs/<name>/@/<log id>/" */
int index_key_prefix(const char *log_name, const struct base_id *log_id, char **ret,
                     struct varve_error *err);

/* Takes the last path component of an object or page key apart; false when it is neither. Encrypted
 * is a flag. */
struct index_key_parts {
    bool page;
    bool encrypted;
    uint32_t level;
    int64_t base_offset;
    int64_t end_offset;
    uint32_t epoch;
    struct base_id attempt;
};
bool index_key_parse(const char *key, struct index_key_parts *ret);

/*
 * A log name: 1..INDEX_LOG_NAME_MAX bytes of UTF-8, parts separated by single '/', no part empty,
 * ".", no ".." anywhere, no part that begins with '@', no control characters, no '\\', no '@'
 * anywhere. VARVE_E_INVALID, saying what is wrong with the name; VARVE_E_TOO_LARGE. `size` is the
 * byte count, so that an embedded NUL is seen.
 */
int index_log_name_check(const char *name, size_t size, struct varve_error *err);

#endif
