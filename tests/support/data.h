/* Files of tests/data/, where golden files lie. */
#ifndef SUPPORT_DATA_H
#define SUPPORT_DATA_H

#include <stddef.h>

/*
 * Reads tests/data/<name> ("record/batch-java-none.bin") into fresh memory (the caller frees it
 * with free()). A file that cannot be read ends the program with a message.
 */
void *support_data_read(const char *name, size_t *ret_size);

#endif
