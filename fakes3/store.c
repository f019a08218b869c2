#include "fakes3/store.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "fakes3/text.h"

/* Moves the items of an array apart at `at`, or together over it. */
static void array_open(void *items, size_t count, size_t at, size_t size)
{
    memmove((char *)items + (at + 1) * size, (char *)items + at * size, (count - at) * size);
}

static void array_close(void *items, size_t count, size_t at, size_t size)
{
    memmove((char *)items + at * size, (char *)items + (at + 1) * size, (count - at - 1) * size);
}

static void upload_free(struct fakes3_upload *upload)
{
    for (size_t i = 0; i < upload->parts_count; i++)
        fakes3_blob_unref(upload->parts[i].body);
    free(upload->parts);
    fakes3_object_free(upload->object);
    free(upload->id);
    free(upload);
}

static void bucket_free(struct fakes3_bucket *bucket)
{
    for (size_t i = 0; i < bucket->objects_count; i++)
        fakes3_object_free(bucket->objects[i]);
    for (size_t i = 0; i < FAKES3_GHOSTS_COUNT_MAX; i++)
        fakes3_object_free(bucket->ghosts[i]);
    for (size_t i = 0; i < bucket->uploads_count; i++)
        upload_free(bucket->uploads[i]);
    free(bucket->objects);
    free(bucket->uploads);
    free(bucket->name);
    free(bucket->account);
    free(bucket->region);
    free(bucket);
}

void fakes3_store_deinit(struct fakes3_store *store)
{
    for (size_t i = 0; i < store->buckets_count; i++)
        bucket_free(store->buckets[i]);
    free(store->buckets);
    store->buckets = NULL;
    store->buckets_count = 0;
}

struct fakes3_bucket *fakes3_store_find(const struct fakes3_store *store, const char *name)
{
    for (size_t i = 0; i < store->buckets_count; i++)
        if (strcmp(store->buckets[i]->name, name) == 0)
            return store->buckets[i];
    return NULL;
}

struct fakes3_bucket *fakes3_store_add(struct fakes3_store *store, const char *name,
                                       const char *account, const char *region, int64_t now_ms)
{
    struct fakes3_bucket *bucket = fakes3_text_alloc(sizeof(*bucket));
    size_t at = 0;

    bucket->name = fakes3_text_copy(name);
    bucket->account = fakes3_text_copy(account);
    bucket->region = fakes3_text_copy(region);
    bucket->created_ms = now_ms;
    store->buckets =
        fakes3_text_grow(store->buckets, (store->buckets_count + 1) * sizeof(*store->buckets));
    while (at < store->buckets_count && strcmp(store->buckets[at]->name, name) < 0)
        at++;
    array_open(store->buckets, store->buckets_count++, at, sizeof(*store->buckets));
    return store->buckets[at] = bucket;
}

void fakes3_store_remove(struct fakes3_store *store, struct fakes3_bucket *bucket)
{
    size_t at = 0;

    while (store->buckets[at] != bucket)
        at++;
    array_close(store->buckets, store->buckets_count--, at, sizeof(*store->buckets));
    bucket_free(bucket);
}

bool fakes3_store_name_is_valid(const char *name)
{
    size_t size = strlen(name);

    if (size < 3 || size > 63 || strstr(name, ".."))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) &&
            (i == 0 || i + 1 == size || (name[i] != '-' && name[i] != '.')))
            return false;
    return true;
}

size_t fakes3_bucket_search(const struct fakes3_bucket *bucket, const char *key, bool after)
{
    size_t low = 0, high = bucket->objects_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(bucket->objects[middle]->key, key);
        if (order < 0 || (order == 0 && after))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct fakes3_object *fakes3_bucket_find(const struct fakes3_bucket *bucket, const char *key)
{
    size_t at = fakes3_bucket_search(bucket, key, false);

    if (at < bucket->objects_count && strcmp(bucket->objects[at]->key, key) == 0)
        return bucket->objects[at];
    return NULL;
}

static void make_ghost(struct fakes3_bucket *bucket, struct fakes3_object *object,
                       struct fakes3_instant now)
{
    fakes3_object_drop_pieces(object);
    object->gone = now;
    fakes3_object_free(bucket->ghosts[bucket->ghosts_next]);
    bucket->ghosts[bucket->ghosts_next] = object;
    bucket->ghosts_next = (bucket->ghosts_next + 1) % FAKES3_GHOSTS_COUNT_MAX;
}

void fakes3_bucket_put(struct fakes3_bucket *bucket, struct fakes3_object *object,
                       struct fakes3_instant now)
{
    size_t at = fakes3_bucket_search(bucket, object->key, false);

    object->born = now;
    if (at < bucket->objects_count && strcmp(bucket->objects[at]->key, object->key) == 0) {
        make_ghost(bucket, bucket->objects[at], now);
        bucket->objects[at] = object;
        return;
    }
    if (bucket->objects_count == bucket->objects_capacity) {
        bucket->objects_capacity = bucket->objects_capacity * 2 + 64;
        bucket->objects =
            fakes3_text_grow(bucket->objects, bucket->objects_capacity * sizeof(*bucket->objects));
    }
    array_open(bucket->objects, bucket->objects_count++, at, sizeof(*bucket->objects));
    bucket->objects[at] = object;
}

bool fakes3_bucket_delete(struct fakes3_bucket *bucket, const char *key, struct fakes3_instant now)
{
    size_t at = fakes3_bucket_search(bucket, key, false);

    if (at == bucket->objects_count || strcmp(bucket->objects[at]->key, key) != 0)
        return false;
    make_ghost(bucket, bucket->objects[at], now);
    array_close(bucket->objects, bucket->objects_count--, at, sizeof(*bucket->objects));
    return true;
}

static bool was_there(const struct fakes3_object *object, struct fakes3_instant then, bool ghost)
{
    if (then.mono_ms &&
        (object->born.mono_ms > then.mono_ms || (ghost && object->gone.mono_ms <= then.mono_ms)))
        return false;
    if (then.request &&
        (object->born.request > then.request || (ghost && object->gone.request <= then.request)))
        return false;
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    const struct fakes3_object *const *left = a, *const *right = b;

    return strcmp((*left)->key, (*right)->key);
}

struct fakes3_object **fakes3_bucket_at(const struct fakes3_bucket *bucket,
                                        struct fakes3_instant then, size_t *ret_count)
{
    struct fakes3_object **found =
        fakes3_text_alloc((bucket->objects_count + FAKES3_GHOSTS_COUNT_MAX) * sizeof(*found));
    size_t count = 0;

    for (size_t i = 0; i < bucket->objects_count; i++)
        if (was_there(bucket->objects[i], then, false))
            found[count++] = bucket->objects[i];
    for (size_t i = 0; i < FAKES3_GHOSTS_COUNT_MAX; i++)
        if (bucket->ghosts[i] && was_there(bucket->ghosts[i], then, true))
            found[count++] = bucket->ghosts[i];
    qsort(found, count, sizeof(*found), compare_keys);
    *ret_count = count;
    return found;
}

struct fakes3_upload *fakes3_bucket_find_upload(const struct fakes3_bucket *bucket, const char *key,
                                                const char *id)
{
    for (size_t i = 0; i < bucket->uploads_count; i++)
        if (strcmp(bucket->uploads[i]->id, id) == 0 &&
            strcmp(bucket->uploads[i]->object->key, key) == 0)
            return bucket->uploads[i];
    return NULL;
}

void fakes3_bucket_add_upload(struct fakes3_bucket *bucket, struct fakes3_upload *upload)
{
    size_t at = 0;

    bucket->uploads =
        fakes3_text_grow(bucket->uploads, (bucket->uploads_count + 1) * sizeof(*bucket->uploads));
    for (; at < bucket->uploads_count; at++) {
        int order = strcmp(bucket->uploads[at]->object->key, upload->object->key);
        if (order > 0 || (order == 0 && strcmp(bucket->uploads[at]->id, upload->id) > 0))
            break;
    }
    array_open(bucket->uploads, bucket->uploads_count++, at, sizeof(*bucket->uploads));
    bucket->uploads[at] = upload;
}

void fakes3_bucket_remove_upload(struct fakes3_bucket *bucket, struct fakes3_upload *upload)
{
    size_t at = 0;

    while (bucket->uploads[at] != upload)
        at++;
    array_close(bucket->uploads, bucket->uploads_count--, at, sizeof(*bucket->uploads));
    upload_free(upload);
}

static size_t part_search(const struct fakes3_upload *upload, int number)
{
    size_t at = 0;

    while (at < upload->parts_count && upload->parts[at].number < number)
        at++;
    return at;
}

struct fakes3_part *fakes3_upload_find_part(const struct fakes3_upload *upload, int number)
{
    size_t at = part_search(upload, number);

    return at < upload->parts_count && upload->parts[at].number == number ? &upload->parts[at]
                                                                          : NULL;
}

void fakes3_upload_put_part(struct fakes3_upload *upload, const struct fakes3_part *part)
{
    size_t at = part_search(upload, part->number);

    if (at < upload->parts_count && upload->parts[at].number == part->number) {
        fakes3_blob_unref(upload->parts[at].body);
    } else {
        upload->parts =
            fakes3_text_grow(upload->parts, (upload->parts_count + 1) * sizeof(*upload->parts));
        array_open(upload->parts, upload->parts_count++, at, sizeof(*upload->parts));
    }
    upload->parts[at] = *part;
}
