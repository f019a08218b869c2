/*
 * Tails that were moved aside because another writer's history replaced them (I13): segment files
 * under "<log>/@/divergent/<from>-<epoch>/", and those of another log that had the name before
 * under "<0>-<epoch>-<its id>/". Nothing reads them but people; they are never served, uploaded or
 * deleted.
 */
#ifndef HOT_ASIDE_H
#define HOT_ASIDE_H

#include "base/env.h"

struct hot_aside {
    const char *path;
    int64_t first_offset; /* the first that is not part of the log: a file may begin before it */
    int64_t end_offset;   /* exclusive; of the last whole batch */
    uint32_t epoch;       /* in which its last batch was written */
    uint64_t size;
};

/*
 * Visits the files below `dir`, by tail and offset; a directory that is not there holds none. With
 * `brief` nothing is read: only path and size are filled in. A non-zero return ends the walk and is
 * returned. VARVE_E_IO, VARVE_E_NO_MEMORY.
 */
int hot_aside_each(const struct base_io *io, const char *dir, bool brief,
                   int (*visit)(void *arg, const struct hot_aside *file), void *arg,
                   struct varve_error *err);

#endif
