#include "fakes3/object.h"

#include <stdlib.h>
#include <string.h>

#include "fakes3/text.h"

struct fakes3_object *fakes3_object_new(const char *key)
{
    struct fakes3_object *object = fakes3_text_alloc(sizeof(*object));

    object->key = fakes3_text_copy(key);
    strcpy(object->storage_class, "STANDARD");
    return object;
}

void fakes3_object_add_piece(struct fakes3_object *object, struct fakes3_blob *piece)
{
    object->pieces =
        fakes3_text_grow(object->pieces, (object->pieces_count + 1) * sizeof(struct fakes3_blob *));
    object->pieces[object->pieces_count++] = piece;
    object->size += piece->size;
}

void fakes3_object_drop_pieces(struct fakes3_object *object)
{
    for (size_t i = 0; i < object->pieces_count; i++)
        fakes3_blob_unref(object->pieces[i]);
    free(object->pieces);
    object->pieces = NULL;
    object->pieces_count = 0;
}

struct fakes3_object *fakes3_object_free(struct fakes3_object *object)
{
    if (!object)
        return NULL;
    fakes3_object_drop_pieces(object);
    fakes3_pairs_deinit(&object->headers);
    free(object->key);
    free(object);
    return NULL;
}

void fakes3_object_append(const struct fakes3_object *object, uint64_t pos, uint64_t size,
                          struct evbuffer *out)
{
    for (size_t i = 0; i < object->pieces_count && size > 0; i++) {
        struct fakes3_blob *piece = object->pieces[i];
        uint64_t take;

        if (pos >= piece->size) {
            pos -= piece->size;
            continue;
        }
        take = piece->size - pos < size ? piece->size - pos : size;
        fakes3_blob_append(piece, (size_t)pos, (size_t)take, out);
        size -= take;
        pos = 0;
    }
}

bool fakes3_object_is_archived(const struct fakes3_object *object)
{
    return strcmp(object->storage_class, "GLACIER") == 0 ||
           strcmp(object->storage_class, "DEEP_ARCHIVE") == 0;
}

bool fakes3_object_is_restored(const struct fakes3_object *object, int64_t now_ms)
{
    return object->restored_ms && now_ms >= object->restored_ms &&
           now_ms < object->restore_expiry_ms;
}
