/* Files by hand, past every seam: to look at what was written and to damage it. Each aborts the
 * test run when the file cannot be had. */
#ifndef SUPPORT_FILE_H
#define SUPPORT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void support_file_write(const char *path, const void *data, size_t size);
/* Fresh memory, with a NUL behind the last byte. */
void *support_file_read(const char *path, size_t *ret_size);
int64_t support_file_size(const char *path); /* -1: not there */
bool support_file_exists(const char *path);
void support_file_truncate(const char *path, int64_t size);
/* Flips the bits of `mask` in the byte at `pos`. */
void support_file_flip(const char *path, int64_t pos, uint8_t mask);
/* Files below a directory, at any depth. */
unsigned support_file_count(const char *dir);
/* True when both have the same bytes. */
bool support_file_equal(const char *a, const char *b);

#endif
