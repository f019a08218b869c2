/* Builds one record batch; behind the public struct varve_batch. One thread at a time. */
#ifndef RECORD_BUILDER_H
#define RECORD_BUILDER_H

#include "record/batch.h"

/* struct varve_batch is defined in builder.c; varve_batch_new .. clear of varve/record.h are
 * implemented there. */

/*
 * Encodes what was added: base offset 0, leader epoch -1, no producer; CRC set. *ret_data is the
 * batch's own memory, valid until the next add, clear or free. An empty batch is VARVE_E_INVALID.
 * Encoding twice without a change between returns the same bytes without doing the work again. When
 * compression does not make it smaller the batch is stored uncompressed.
 */
int record_builder_encode(struct varve_batch *batch, const void **ret_data, size_t *ret_size,
                          struct varve_error *err);

/*
 * Makes the batch carry an already encoded foreign batch (record_batch_validate is run on it, sizes
 * bounded by the batch's size_max, decompressed too); it then counts as filled until it is cleared.
 * The bytes are copied; encode returns them with base offset 0 and leader epoch -1, everything else
 * as it came. Conditions: VARVE_E_FULL when the batch is not empty. Failures: VARVE_E_CORRUPT (also
 * when bytes follow the batch), VARVE_E_TOO_LARGE, VARVE_E_UNSUPPORTED, VARVE_E_NO_MEMORY. For the
 * daemon and `varve append
 * --format raw`.
 */
int record_builder_wrap(struct varve_batch *batch, const void *data, size_t size,
                        struct varve_error *err);

#endif
