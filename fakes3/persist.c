/*
 * FORMAT of DIR:
 *
 *   blobs/ID                      bytes; ID is 16 hex digits
 *   buckets/NAME/bucket           lines: account, region, created
 *   buckets/NAME/HEX              an object; HEX is the SHA-256 of its key. Lines "name value",
 * values percent-encoded: key, etag, modified, class, crc32c, sha256, full, restored, expiry,
 * header NAME VALUE, piece ID SIZE
 *
 * An object's file is renamed into its place, so an object is there whole or not at all; a blob
 * that no object names is removed at the next start.
 */
#include "fakes3/persist.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fakes3/text.h"

static char *bucket_path(const struct fakes3_server *server, const char *bucket, const char *name)
{
    return fakes3_text_format("%s/buckets/%s%s%s", server->store.blobs.dir, bucket,
                              *name ? "/" : "", name);
}

static char *object_path(const struct fakes3_server *server, const char *bucket, const char *key)
{
    uint8_t hash[32];
    char hex[65];

    fakes3_digest_sha256(key, strlen(key), hash);
    fakes3_text_hex(hash, sizeof(hash), hex);
    return bucket_path(server, bucket, hex);
}

static void write_file(const char *path, struct evbuffer *text)
{
    char *temporary = fakes3_text_format("%s.tmp", path);
    FILE *file = fopen(temporary, "w");
    size_t size = evbuffer_get_length(text);
    bool good = file && fwrite(evbuffer_pullup(text, -1), 1, size, file) == size;

    if (file && fclose(file) != 0)
        good = false;
    if (!good || rename(temporary, path) != 0)
        fprintf(stderr, "varve-fakes3: write %s: %s\n", path, strerror(errno));
    free(temporary);
}

static void add_line(struct evbuffer *out, const char *name, const char *value)
{
    evbuffer_add_printf(out, "%s ", name);
    fakes3_text_encode(out, value, true);
    evbuffer_add(out, "\n", 1);
}

void fakes3_persist_save_bucket(struct fakes3_server *server, const struct fakes3_bucket *bucket)
{
    struct evbuffer *out;
    char *path;

    if (!server->store.blobs.dir)
        return;
    path = bucket_path(server, bucket->name, "");
    mkdir(path, 0700);
    free(path);
    out = evbuffer_new();
    path = bucket_path(server, bucket->name, "bucket");
    add_line(out, "account", bucket->account);
    add_line(out, "region", bucket->region);
    evbuffer_add_printf(out, "created %" PRId64 "\n", bucket->created_ms);
    write_file(path, out);
    free(path);
    evbuffer_free(out);
}

void fakes3_persist_remove_bucket(struct fakes3_server *server, const struct fakes3_bucket *bucket)
{
    char *path;

    if (!server->store.blobs.dir)
        return;
    path = bucket_path(server, bucket->name, "bucket");
    unlink(path);
    free(path);
    path = bucket_path(server, bucket->name, "");
    rmdir(path);
    free(path);
}

void fakes3_persist_save(struct fakes3_server *server, const struct fakes3_bucket *bucket,
                         const struct fakes3_object *object)
{
    struct evbuffer *out;
    char *path;

    if (!server->store.blobs.dir)
        return;
    out = evbuffer_new();
    path = object_path(server, bucket->name, object->key);
    add_line(out, "key", object->key);
    add_line(out, "etag", object->etag);
    add_line(out, "class", object->storage_class);
    add_line(out, "crc32c", object->crc32c);
    add_line(out, "sha256", object->sha256);
    evbuffer_add_printf(
        out, "full %d\nmodified %" PRId64 "\nrestored %" PRId64 "\nexpiry %" PRId64 "\n",
        object->full_object, object->modified_ms, object->restored_ms, object->restore_expiry_ms);
    for (size_t i = 0; i < object->headers.count; i++) {
        evbuffer_add_printf(out, "header %s ", object->headers.items[i].name);
        fakes3_text_encode(out, object->headers.items[i].value, true);
        evbuffer_add(out, "\n", 1);
    }
    for (size_t i = 0; i < object->pieces_count; i++)
        if (object->pieces[i]->size)
            evbuffer_add_printf(out, "piece %" PRIx64 " %zu\n", object->pieces[i]->id,
                                object->pieces[i]->size);
    write_file(path, out);
    free(path);
    evbuffer_free(out);
}

void fakes3_persist_remove(struct fakes3_server *server, const struct fakes3_bucket *bucket,
                           const char *key)
{
    char *path;

    if (!server->store.blobs.dir)
        return;
    path = object_path(server, bucket->name, key);
    unlink(path);
    free(path);
}

/* A whole small file; NULL when it cannot be read. */
static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    struct evbuffer *text;
    char block[4096];
    size_t size;

    if (!file)
        return NULL;
    text = evbuffer_new();
    while ((size = fread(block, 1, sizeof(block), file)) > 0)
        evbuffer_add(text, block, size);
    fclose(file);
    return fakes3_text_of_buffer(text);
}

static void set_text(char *place, size_t size, const char *value)
{
    snprintf(place, size, "%s", value);
}

/* One line of an object's file. False: not one. */
static bool read_object_line(struct fakes3_server *server, struct fakes3_object *object,
                             const char *name, char *value)
{
    struct fakes3_blob *piece;
    uint64_t id;
    size_t size;
    char *space;

    if (strcmp(name, "etag") == 0) {
        set_text(object->etag, sizeof(object->etag), value);
    } else if (strcmp(name, "class") == 0) {
        set_text(object->storage_class, sizeof(object->storage_class), value);
    } else if (strcmp(name, "crc32c") == 0) {
        set_text(object->crc32c, sizeof(object->crc32c), value);
    } else if (strcmp(name, "sha256") == 0) {
        set_text(object->sha256, sizeof(object->sha256), value);
    } else if (strcmp(name, "full") == 0) {
        object->full_object = *value == '1';
    } else if (strcmp(name, "modified") == 0) {
        object->modified_ms = strtoll(value, NULL, 10);
    } else if (strcmp(name, "restored") == 0) {
        object->restored_ms = strtoll(value, NULL, 10);
    } else if (strcmp(name, "expiry") == 0) {
        object->restore_expiry_ms = strtoll(value, NULL, 10);
    } else if (strcmp(name, "header") == 0 && (space = strchr(value, ' '))) {
        *space = 0;
        fakes3_pairs_add(&object->headers, fakes3_text_copy(value), fakes3_text_copy(space + 1));
    } else if (strcmp(name, "piece") == 0 && sscanf(value, "%" SCNx64 " %zu", &id, &size) == 2) {
        piece = fakes3_blob_open(&server->store.blobs, id, size);
        if (piece)
            fakes3_object_add_piece(object, piece);
        return piece != NULL;
    } else {
        return strcmp(name, "key") == 0;
    }
    return true;
}

/* Calls for each line "name value", the value decoded. False as soon as one call says so. */
static bool each_line(const char *path, bool (*line)(void *arg, const char *name, char *value),
                      void *arg)
{
    char *text = read_file(path);
    char *rest = text, *word;
    bool good = text != NULL;

    while (good && (word = strsep(&rest, "\n"))) {
        char *space = strchr(word, ' ');
        char *value;
        if (!space)
            continue;
        *space = 0;
        value = fakes3_text_decode(space + 1, strlen(space + 1), false);
        good = value && line(arg, word, value);
        free(value);
    }
    free(text);
    return good;
}

struct loading {
    struct fakes3_server *server;
    struct fakes3_object *object;
    struct fakes3_bucket *bucket;
};

static bool load_object_line(void *arg, const char *name, char *value)
{
    struct loading *l = arg;

    if (!l->object) {
        if (strcmp(name, "key") != 0)
            return false;
        l->object = fakes3_object_new(value);
    }
    return read_object_line(l->server, l->object, name, value);
}

static bool load_bucket_line(void *arg, const char *name, char *value)
{
    struct loading *l = arg;

    if (strcmp(name, "account") == 0) {
        free(l->bucket->account);
        l->bucket->account = fakes3_text_copy(value);
    } else if (strcmp(name, "region") == 0) {
        free(l->bucket->region);
        l->bucket->region = fakes3_text_copy(value);
    } else if (strcmp(name, "created") == 0) {
        l->bucket->created_ms = strtoll(value, NULL, 10);
    }
    return true;
}

static bool load_object(struct fakes3_server *server, struct fakes3_bucket *bucket,
                        const char *name, char **ret_error)
{
    struct loading l = {.server = server};
    char *path = bucket_path(server, bucket->name, name);
    bool good = each_line(path, load_object_line, &l);

    if (good && l.object)
        fakes3_bucket_put(bucket, l.object, fakes3_server_instant(server));
    else
        *ret_error = fakes3_text_format("%s is damaged, or its blob is", path);
    if (!good)
        fakes3_object_free(l.object);
    free(path);
    return good;
}

static bool load_bucket(struct fakes3_server *server, const char *name, char **ret_error)
{
    struct loading l = {.server = server};
    char *path = bucket_path(server, name, "bucket");
    char *dir_path = bucket_path(server, name, "");
    DIR *dir = opendir(dir_path);
    struct dirent *entry;

    l.bucket =
        fakes3_store_add(&server->store, name, FAKES3_ACCOUNT_DEFAULT, server->options.region, 0);
    each_line(path, load_bucket_line, &l);
    while (dir && !*ret_error && (entry = readdir(dir)))
        if (strlen(entry->d_name) == 64)
            load_object(server, l.bucket, entry->d_name, ret_error);
    if (dir)
        closedir(dir);
    free(dir_path);
    free(path);
    return !*ret_error;
}

/* Removes the blobs that no object named: those of uploads that an earlier server did not finish.
 */
static void remove_unused(struct fakes3_server *server)
{
    char *path = fakes3_text_format("%s/blobs", server->store.blobs.dir);
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        uint64_t id = strtoull(entry->d_name, NULL, 16);
        bool used = false;
        char *file;

        for (size_t b = 0; b < server->store.buckets_count && !used; b++)
            for (size_t o = 0; o < server->store.buckets[b]->objects_count && !used; o++)
                for (size_t p = 0; p < server->store.buckets[b]->objects[o]->pieces_count; p++)
                    used |= server->store.buckets[b]->objects[o]->pieces[p]->id == id;
        if (used || entry->d_name[0] == '.')
            continue;
        file = fakes3_text_format("%s/%s", path, entry->d_name);
        unlink(file);
        free(file);
    }
    if (dir)
        closedir(dir);
    free(path);
}

bool fakes3_persist_open(struct fakes3_server *server, char **ret_error)
{
    static const char *const folders[] = {"", "/blobs", "/buckets"};
    char *path = NULL;
    struct dirent *entry;
    DIR *dir;

    *ret_error = NULL;
    for (size_t i = 0; i < 3; i++) {
        free(path);
        path = fakes3_text_format("%s%s", server->store.blobs.dir, folders[i]);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            *ret_error = fakes3_text_format("mkdir %s: %s", path, strerror(errno));
    }
    dir = *ret_error ? NULL : opendir(path);
    while (dir && !*ret_error && (entry = readdir(dir)))
        if (fakes3_store_name_is_valid(entry->d_name))
            load_bucket(server, entry->d_name, ret_error);
    if (dir)
        closedir(dir);
    free(path);
    if (!*ret_error)
        remove_unused(server);
    return !*ret_error;
}
