/* Files of tests/data/, where golden files lie. */
#ifndef SUPPORT_DATA_H
#define SUPPORT_DATA_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Reads tests/data/<name> ("record/batch-java-none.bin") into fresh memory (the caller frees it
 * with free()). A file that cannot be read ends the program with a message.
 */
void *support_data_read(const char *name, size_t *ret_size);

/*
 * True when tests/data/<name> holds exactly these bytes. With VARVE_GOLDEN_WRITE=1 in the
 * environment the file is written first: do that once, look at it, check it in.
 */
bool support_data_equal(const char *name, const void *data, size_t size);

#endif
