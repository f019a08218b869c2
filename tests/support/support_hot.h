/* Hot sets for tests: batches with known records, appended, read back and held against each other.
 * Record n of a log has the value "record <n>" padded, and the timestamp SUPPORT_HOT_TIME + n. */
#ifndef SUPPORT_HOT_H
#define SUPPORT_HOT_H

#include "hot/reader.h"
#include "hot/segment.h"
#include "hot/set.h"
#include "tests/support/env.h"

#define SUPPORT_HOT_TIME INT64_C(1600000000000)

/* `os`, segments of 64 KiB (4 KiB in the tiny run), nothing by the clock, an index entry every 512
 * bytes. */
struct hot_set_options support_hot_options(void);

/* One encoded batch of `count` records, the first of which is number `first`; values of at least
 * `value_size` bytes. Free with free(). */
void *support_hot_batch(int64_t first, int count, size_t value_size, struct hot_append *ret);

/* Opens "<root>/log"; fails the test when it cannot. */
struct hot_set *support_hot_open(struct support_env *e, const struct hot_set_options *options,
                                 struct hot_recovery *ret_recovery);

/* Appends one batch of `count` records at the end as the set knows it. Returns the code. */
int support_hot_append(struct hot_set *set, int count, size_t value_size, struct varve_error *err);

/* Reads all batches from `from` on and checks that every record is the one it should be. Returns
 * the offset behind the last; fails the test at anything else than VARVE_E_END. */
int64_t support_hot_read(struct hot_set *set, int64_t from);

/* Paths of "<root>/log". */
const char *support_hot_path(struct support_env *e, int64_t base, const char *ext);

#endif
