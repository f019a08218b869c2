/*
 * Stores and logs for tests of the public API: opened with the environment's seams, filled with
 * numbered records, read back and held against what was appended. The functions fail the running
 * cmocka test when something goes wrong that the test did not ask about; those that other threads
 * may call say so.
 *
 * Record n of a log has the timestamp SUPPORT_LOG_TIME + n, no key when n is a multiple of 3, else
 * the key "key <n>", and a value of about 100 bytes that begins with "record <n> ".
 */
#ifndef SUPPORT_LOG_H
#define SUPPORT_LOG_H

#include <varve/varve.h>

#include "log/log.h"
#include "tests/support/env.h"

#define SUPPORT_LOG_TIME INT64_C(1600000000000)
#define SUPPORT_LOG_VALUE_SIZE_MAX 160

/* Messages go to the environment's logger; one worker, no background, a block cache of 1 MiB,
 * a reserve of 256 KiB. */
struct varve_store_options support_store_options(struct support_env *e);

/* "<root>/store", or a part of it by its name there: "cold", "logs/a/@". */
const char *support_store_path(struct support_env *e, const char *part);

/* Makes the store if it is not there and opens it; `options` NULL: support_store_options. */
struct varve_store *support_store_open(struct support_env *e,
                                       const struct varve_store_options *options);

/* The same with these faults on its cold tier (cold/faulty.h). */
struct varve_store *support_store_open_faulty(struct support_env *e, const char *faults);

/* For a test that itself says what is tiered when, or counts. */
#define SUPPORT_LOG_UNTIERED "segment.bytes=65536 local.retention.bytes=-1 flush.ms=-1"

/* Makes the log with options as in "segment.bytes=65536 flush.ms=-1" (NULL: only those two) if it
 * is not there, and opens it. In the tiny run (tests/support/tiny.h) options not named have tiny
 * values, and what is evicted at once, which is the default there, is tiered by each
 * support_log_append. */
struct varve_log *support_log_open(struct varve_store *store, const char *name, const char *config);

/* Fills `value` and `key` and points *ret at them. Threads: any. */
struct support_log_record {
    char key[32];
    char value[SUPPORT_LOG_VALUE_SIZE_MAX];
};
void support_log_record(int64_t number, struct support_log_record *buf, struct varve_record *ret);
/* Is this record `number` at the offset `number`? Threads: any. */
bool support_log_record_is(const struct varve_record *record, int64_t number);

/* Appends records from the log's end on: `batches` of `count` each. Returns the end. */
int64_t support_log_append(struct varve_log *log, int batches, int count);
/* Seals, uploads and, with `evict`, evicts everything. */
void support_log_tier(struct varve_log *log, bool seal, bool evict);

/* Reads from `from` to the end, each record being the one it should be. Returns the offset behind
 * the last. */
int64_t support_log_read(struct varve_log *log, int64_t from);

struct varve_log_info support_log_info(struct varve_log *log);
struct varve_store_stats support_store_stats(struct varve_store *store);

/* A call that must fail: the code, and a part of the message (NULL: any). Use
 * support_fails(varve_log_open(..., &err), &err, VARVE_E_NOT_FOUND, "no log a"). */
void support_fails(int rc, const struct varve_error *err, int code, const char *part);
/* A call that must succeed. */
void support_succeeds(int rc, const struct varve_error *err);

#endif
