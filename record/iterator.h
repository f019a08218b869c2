/* Walks the records of one batch, decompressing as needed. */
#ifndef RECORD_ITERATOR_H
#define RECORD_ITERATOR_H

#include "record/batch.h"

struct record_iterator;

int record_iterator_new(struct record_iterator **ret, struct varve_error *err);
struct record_iterator *record_iterator_free(struct record_iterator *it);

/*
 * Starts on a batch that passed record_batch_check. `data` must stay until the iterator moves to
 * another; the records of an uncompressed batch point into it, those of a compressed one into the
 * iterator's buffer, which is kept and bounded by `decompressed_max`. VARVE_E_CORRUPT,
 * VARVE_E_TOO_LARGE, VARVE_E_NO_MEMORY.
 */
int record_iterator_start(struct record_iterator *it, const void *data,
                          const struct record_batch *batch, size_t decompressed_max,
                          struct varve_error *err);

/* The next record; its pointers are valid until the next call. VARVE_E_END after the last.
 * VARVE_E_CORRUPT. */
int record_iterator_next(struct record_iterator *it, struct varve_record *ret,
                         struct varve_error *err);

#endif
