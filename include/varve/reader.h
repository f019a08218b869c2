/* Reading: one object that walks a log across segments and tiers, and can follow its end. */
#ifndef VARVE_READER_H
#define VARVE_READER_H

#include <varve/log.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where to begin. */
enum varve_from {
    VARVE_FROM_START = 0, /* the log start offset */
    VARVE_FROM_END = 1,   /* only what comes from now on */
    VARVE_FROM_OFFSET = 2,
    VARVE_FROM_TIME = 3, /* the first record at or after this time; the end when there is none */
};

struct varve_reader_options {
    size_t size;
    enum varve_from from;
    int64_t offset;    /* for VARVE_FROM_OFFSET */
    int64_t timestamp; /* for VARVE_FROM_TIME: ms */
    bool control; /* also return control batches (transaction markers), which are left out otherwise
                   */
};

struct varve_reader;

/*
 * Opens a reader on a log. It belongs to one thread at a time and must be closed before the log.
 * Records that retention or a trim removes while it reads are skipped: it goes on at the new log
 * start.
 *
 * Conditions: VARVE_E_OUT_OF_RANGE (an offset below the start or above the end). Failures:
 * VARVE_E_STORE (retriable while the cold tier cannot be reached), VARVE_E_CORRUPT, VARVE_E_IO,
 * VARVE_E_NO_MEMORY.
 */
VARVE_API int varve_reader_open(struct varve_log *log, const struct varve_reader_options *options,
                                struct varve_reader **ret, struct varve_error *err);

/* Closes a reader. NULL is accepted. Returns NULL. */
VARVE_API struct varve_reader *varve_reader_close(struct varve_reader *reader);

/* Goes on at another offset. As opening with VARVE_FROM_OFFSET. */
VARVE_API int varve_reader_seek(struct varve_reader *reader, int64_t offset,
                                struct varve_error *err);

/* Offset of the next record. */
VARVE_API int64_t varve_reader_offset(const struct varve_reader *reader);

/*
 * The next record at or after the reader's offset; a view, valid until the next call on this
 * reader. At the end of the log waits up to `timeout_ms` for more (0: not at all, -1: for ever).
 *
 * Conditions: VARVE_E_END (nothing more within the timeout; more may come later), VARVE_E_CANCELLED
 * (varve_reader_interrupt), VARVE_E_OUT_OF_RANGE (the log ends below the reader's offset: it was
 * taken over by another store, and the tail that was read is set aside). Failures: VARVE_E_STORE
 * (retriable), VARVE_E_CORRUPT naming the file or object, VARVE_E_IO. After a failure the reader
 * stands where it stood: the same call may be made again.
 */
VARVE_API int varve_reader_next(struct varve_reader *reader, int64_t timeout_ms,
                                struct varve_record *ret, struct varve_error *err);

/*
 * The next whole batch, as it lies in the log, without copying: the first may begin below the
 * reader's offset. Do not mix with varve_reader_next without a seek between. Otherwise as
 * varve_reader_next.
 */
VARVE_API int varve_reader_next_batch(struct varve_reader *reader, int64_t timeout_ms,
                                      struct varve_batch_view *ret, struct varve_error *err);

/* Makes a waiting call of another thread, and every later one, return VARVE_E_CANCELLED. */
VARVE_API void varve_reader_interrupt(struct varve_reader *reader);

#ifdef __cplusplus
}
#endif

#endif
