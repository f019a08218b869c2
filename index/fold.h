/* The numbers by which an edit folds; tests make them small to grow deep trees from few entries, by
 * index_edit_set_fold or in their environment. Internal to index/ and its tests. */
#ifndef INDEX_FOLD_H
#define INDEX_FOLD_H

#include "index/edit.h"

struct index_fold {
    size_t root_entries; /* INDEX_ROOT_ENTRIES_MAX */
    size_t page_entries; /* INDEX_PAGE_ENTRIES; at most root_entries + 1 */
    size_t page_refs;    /* INDEX_PAGE_REFS; at least 2 */
};

/* Each at most what the constants say. Before anything is added. */
void index_edit_set_fold(struct index_edit *edit, const struct index_fold *fold);

#endif
