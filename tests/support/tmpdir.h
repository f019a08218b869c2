/* A fresh directory under $TMPDIR (or /tmp), removed with all that is in it. Test thread only. */
#ifndef SUPPORT_TMPDIR_H
#define SUPPORT_TMPDIR_H

#include <varve/export.h>

struct support_tmpdir;

/* `name` shows in the directory's name. Aborts when it cannot be made. */
struct support_tmpdir *support_tmpdir_new(const char *name);
struct support_tmpdir *support_tmpdir_free(struct support_tmpdir *t);

const char *support_tmpdir_root(const struct support_tmpdir *t);

/* "<root>/<formatted>". The string lives as long as the directory. */
const char *support_tmpdir_path(struct support_tmpdir *t, const char *format, ...)
    VARVE_PRINTF(2, 3);

#endif
