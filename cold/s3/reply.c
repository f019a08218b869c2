/*
 * The documents of S3 (and STS's one) taken apart.
 *
 * Each decoder is a struct with what has been gathered and a function that takes the text of one
 * element by its path. Listings are walked twice: first to see that the document is whole and what
 * it says of itself (MinIO says after the keys how they are encoded), then to visit.
 */
#include "cold/s3/reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/s3/endpoint.h"
#include "cold/s3/sign.h"
#include "cold/s3/xml.h"

#define REGION_SIZE_MAX 63

static bool is(const char *path, const char *expected)
{
    return strcmp(path, expected) == 0;
}

/* The whole of a small number; a sign, blanks and everything else is refused. */
static bool parse_u64(const char *text, uint64_t *ret)
{
    int64_t v;

    if (text[0] < '0' || text[0] > '9' || !base_parse_i64(text, &v))
        return false;
    *ret = (uint64_t)v;
    return true;
}

static int64_t parse_time(const char *text)
{
    int64_t ms;

    return base_parse_iso8601(text, strlen(text), &ms) ? ms : 0;
}

/* Decoders of any kind share this beginning. */
struct document {
    const char *root; /* the name it must have */
    struct varve_error *err;
};

static int no_memory(struct varve_error *err)
{
    return base_fail(err, VARVE_E_NO_MEMORY, "read a reply: out of memory");
}

/* Of `text`, in the place of what was there: of two elements the last counts. */
static int keep(const char *text, char **place, struct varve_error *err)
{
    char *copy = strdup(text);

    if (!copy)
        return no_memory(err);
    free(*place);
    *place = copy;
    return 0;
}

static int check_root(const char *path, const char *root, struct varve_error *err)
{
    if (strchr(path, '/') || is(path, root))
        return 0;
    if (is(path, "Error"))
        return base_fail(err, VARVE_E_STORE, "an <Error> in the place of a <%s>", root);
    return base_fail(err, VARVE_E_CORRUPT, "a <%.64s> in the place of a <%s>", path, root);
}

static int start(void *ctx, const char *path)
{
    const struct document *d = ctx;

    return check_root(path, d->root, d->err);
}

/* Walks one document; `decoder` begins with a struct document. */
static int walk(const void *body, size_t size, int (*end)(void *ctx, const char *, const char *),
                void *decoder)
{
    const struct document *d = decoder;
    const struct s3_xml_handler handler = {.start = start, .end = end, .ctx = decoder};

    return s3_xml_walk(body, size, &handler, d->err);
}

static int missing(const char *what, const char *root, struct varve_error *err)
{
    return base_fail(err, VARVE_E_CORRUPT, "a <%s> without a valid <%s>", root, what);
}

/* IsTruncated and EncodingType, which all listings have. */
struct listing {
    struct document document;
    bool has_truncated, truncated;
    bool url_encoded;
};

/* True when the element was one of these. */
static bool listing_take(struct listing *l, const char *name, const char *text)
{
    if (is(name, "IsTruncated")) {
        l->truncated = is(text, "true");
        l->has_truncated = l->truncated || is(text, "false");
        return true;
    }
    if (is(name, "EncodingType")) {
        l->url_encoded = is(text, "url");
        return true;
    }
    return false;
}

/* A key as the caller knows it; in place. */
static bool key_decode(const struct listing *l, char *key)
{
    return key[0] != '\0' && (!l->url_encoded || s3_uri_decode(key));
}

/* The name below the root, of a path two levels deep; NULL: it is not one of those. */
static const char *below(const char *path, const char *root)
{
    size_t size = strlen(root);

    return strncmp(path, root, size) == 0 && path[size] == '/' && !strchr(path + size + 1, '/')
               ? path + size + 1
               : NULL;
}

/* --- ListObjectsV2 --- */

#define LIST_ROOT "ListBucketResult"
#define LIST_ITEM LIST_ROOT "/Contents"

struct objects {
    struct listing listing;
    char *next_token;
    int (*visit)(void *arg, const struct s3_list_object *object); /* NULL in the first walk */
    void *arg;
    /* The object being read. */
    char *key, *etag, *storage_class;
    bool has_size;
    uint64_t size;
    int64_t modified_ms;
    size_t count;
};

static void object_clear(struct objects *o)
{
    free(o->key);
    free(o->etag);
    free(o->storage_class);
    o->key = o->etag = o->storage_class = NULL;
    o->has_size = false;
    o->modified_ms = 0;
}

static int object_end(struct objects *o)
{
    struct s3_list_object object = {.size = o->size,
                                    .modified_ms = o->modified_ms,
                                    .etag = o->etag ? o->etag : "",
                                    .storage_class = o->storage_class ? o->storage_class : ""};
    int rc;

    if (!o->key || !key_decode(&o->listing, o->key))
        return missing("Key", "Contents", o->listing.document.err);
    if (!o->has_size)
        return missing("Size", "Contents", o->listing.document.err);
    object.key = o->key;
    o->count++;
    rc = o->visit(o->arg, &object);
    object_clear(o);
    return rc;
}

static int object_take(struct objects *o, const char *name, const char *text)
{
    struct varve_error *err = o->listing.document.err;

    if (is(name, "Key"))
        return keep(text, &o->key, err);
    if (is(name, "ETag"))
        return keep(text, &o->etag, err);
    if (is(name, "StorageClass"))
        return keep(text, &o->storage_class, err);
    if (is(name, "LastModified"))
        o->modified_ms = parse_time(text);
    else if (is(name, "Size"))
        o->has_size = parse_u64(text, &o->size);
    return 0;
}

static int objects_take(void *ctx, const char *path, const char *text)
{
    struct objects *o = ctx;
    const char *name;

    if (o->visit) {
        if (is(path, LIST_ITEM))
            return object_end(o);
        name = below(path, LIST_ITEM);
        return name ? object_take(o, name, text) : 0;
    }
    name = below(path, LIST_ROOT);
    if (!name || listing_take(&o->listing, name, text))
        return 0;
    if (is(name, "NextContinuationToken") && text[0])
        return keep(text, &o->next_token, o->listing.document.err);
    return 0;
}

int s3_reply_list(const void *body, size_t size,
                  int (*visit)(void *arg, const struct s3_list_object *object), void *arg,
                  struct s3_list_result *ret, struct varve_error *err)
{
    struct objects o = {.listing.document = {.root = LIST_ROOT, .err = err}, .arg = arg};
    int rc = walk(body, size, objects_take, &o);

    if (rc == 0 && !o.listing.has_truncated)
        rc = missing("IsTruncated", LIST_ROOT, err);
    if (rc == 0 && o.listing.truncated && !o.next_token)
        rc = missing("NextContinuationToken", LIST_ROOT, err);
    if (rc == 0) {
        o.visit = visit;
        rc = walk(body, size, objects_take, &o);
        object_clear(&o);
    }
    if (rc != 0) {
        free(o.next_token);
        return rc;
    }
    *ret = (struct s3_list_result){
        .truncated = o.listing.truncated, .next_token = o.next_token, .count = o.count};
    return 0;
}

/* --- ListMultipartUploads --- */

#define UPLOADS_ROOT "ListMultipartUploadsResult"
#define UPLOADS_ITEM UPLOADS_ROOT "/Upload"

struct uploads {
    struct listing listing;
    char *next_key, *next_id;
    int (*visit)(void *arg, const struct s3_list_upload *upload); /* NULL in the first walk */
    void *arg;
    /* The upload being read. */
    char *key, *id;
    int64_t initiated_ms;
};

static void upload_clear(struct uploads *u)
{
    free(u->key);
    free(u->id);
    u->key = u->id = NULL;
    u->initiated_ms = 0;
}

static int upload_end(struct uploads *u)
{
    struct s3_list_upload upload;
    int rc;

    if (!u->key || !key_decode(&u->listing, u->key))
        return missing("Key", "Upload", u->listing.document.err);
    if (!u->id || !u->id[0])
        return missing("UploadId", "Upload", u->listing.document.err);
    upload =
        (struct s3_list_upload){.key = u->key, .upload_id = u->id, .initiated_ms = u->initiated_ms};
    rc = u->visit(u->arg, &upload);
    upload_clear(u);
    return rc;
}

static int upload_take(struct uploads *u, const char *name, const char *text)
{
    if (is(name, "Key"))
        return keep(text, &u->key, u->listing.document.err);
    if (is(name, "UploadId"))
        return keep(text, &u->id, u->listing.document.err);
    if (is(name, "Initiated"))
        u->initiated_ms = parse_time(text);
    return 0;
}

static int uploads_take(void *ctx, const char *path, const char *text)
{
    struct uploads *u = ctx;
    const char *name;

    if (u->visit) {
        if (is(path, UPLOADS_ITEM))
            return upload_end(u);
        name = below(path, UPLOADS_ITEM);
        return name ? upload_take(u, name, text) : 0;
    }
    name = below(path, UPLOADS_ROOT);
    if (!name || listing_take(&u->listing, name, text))
        return 0;
    if (is(name, "NextKeyMarker") && text[0])
        return keep(text, &u->next_key, u->listing.document.err);
    if (is(name, "NextUploadIdMarker") && text[0])
        return keep(text, &u->next_id, u->listing.document.err);
    return 0;
}

int s3_reply_uploads(const void *body, size_t size,
                     int (*visit)(void *arg, const struct s3_list_upload *upload), void *arg,
                     struct s3_uploads_result *ret, struct varve_error *err)
{
    struct uploads u = {.listing.document = {.root = UPLOADS_ROOT, .err = err}, .arg = arg};
    int rc = walk(body, size, uploads_take, &u);

    if (rc == 0 && !u.listing.has_truncated)
        rc = missing("IsTruncated", UPLOADS_ROOT, err);
    if (rc == 0 && u.listing.truncated && !u.next_key)
        rc = missing("NextKeyMarker", UPLOADS_ROOT, err);
    if (rc == 0 && u.next_key && !key_decode(&u.listing, u.next_key))
        rc = missing("NextKeyMarker", UPLOADS_ROOT, err);
    if (rc == 0) {
        u.visit = visit;
        rc = walk(body, size, uploads_take, &u);
        upload_clear(&u);
    }
    if (rc != 0) {
        free(u.next_key);
        free(u.next_id);
        return rc;
    }
    *ret = (struct s3_uploads_result){.truncated = u.listing.truncated,
                                      .next_key_marker = u.next_key,
                                      .next_upload_id_marker = u.next_id};
    return 0;
}

/* --- ListParts --- */

#define PARTS_ROOT "ListPartsResult"
#define PARTS_ITEM PARTS_ROOT "/Part"
#define PART_NUMBER_MAX 10000

struct parts {
    struct listing listing;
    uint64_t next;
    int (*visit)(void *arg, const struct s3_list_part *part); /* NULL in the first walk */
    void *arg;
    /* The part being read. */
    char *etag;
    uint64_t number, size;
    bool has_size;
};

static void part_clear(struct parts *p)
{
    free(p->etag);
    p->etag = NULL;
    p->number = 0;
    p->has_size = false;
}

static int part_end(struct parts *p)
{
    struct s3_list_part part;
    int rc;

    if (p->number < 1 || p->number > PART_NUMBER_MAX)
        return missing("PartNumber", "Part", p->listing.document.err);
    if (!p->has_size)
        return missing("Size", "Part", p->listing.document.err);
    if (!p->etag || !p->etag[0])
        return missing("ETag", "Part", p->listing.document.err);
    part = (struct s3_list_part){.number = (unsigned)p->number, .size = p->size, .etag = p->etag};
    rc = p->visit(p->arg, &part);
    part_clear(p);
    return rc;
}

static int part_take(struct parts *p, const char *name, const char *text)
{
    if (is(name, "ETag"))
        return keep(text, &p->etag, p->listing.document.err);
    if (is(name, "Size"))
        p->has_size = parse_u64(text, &p->size);
    else if (is(name, "PartNumber") && !parse_u64(text, &p->number))
        p->number = 0;
    return 0;
}

static int parts_take(void *ctx, const char *path, const char *text)
{
    struct parts *p = ctx;
    const char *name;

    if (p->visit) {
        if (is(path, PARTS_ITEM))
            return part_end(p);
        name = below(path, PARTS_ITEM);
        return name ? part_take(p, name, text) : 0;
    }
    name = below(path, PARTS_ROOT);
    if (!name || listing_take(&p->listing, name, text))
        return 0;
    if (is(name, "NextPartNumberMarker") && !parse_u64(text, &p->next))
        p->next = 0;
    return 0;
}

int s3_reply_parts(const void *body, size_t size,
                   int (*visit)(void *arg, const struct s3_list_part *part), void *arg,
                   struct s3_parts_result *ret, struct varve_error *err)
{
    struct parts p = {.listing.document = {.root = PARTS_ROOT, .err = err}, .arg = arg};
    int rc = walk(body, size, parts_take, &p);

    if (rc == 0 && !p.listing.has_truncated)
        rc = missing("IsTruncated", PARTS_ROOT, err);
    if (rc == 0 && p.listing.truncated && (p.next < 1 || p.next > PART_NUMBER_MAX))
        rc = missing("NextPartNumberMarker", PARTS_ROOT, err);
    if (rc == 0) {
        p.visit = visit;
        rc = walk(body, size, parts_take, &p);
        part_clear(&p);
    }
    if (rc != 0)
        return rc;
    *ret = (struct s3_parts_result){.truncated = p.listing.truncated,
                                    .next_part_number_marker =
                                        p.listing.truncated ? (unsigned)p.next : 0};
    return 0;
}

/* --- Documents of which one text is wanted --- */

struct one {
    struct document document;
    const char *name; /* below the root */
    char *text;       /* NULL: not there, or empty */
};

static int one_take(void *ctx, const char *path, const char *text)
{
    struct one *o = ctx;
    const char *name = below(path, o->document.root);

    return name && is(name, o->name) && text[0] ? keep(text, &o->text, o->document.err) : 0;
}

/* The text of root/name, in fresh memory. */
static int one_decode(const void *body, size_t size, const char *root, const char *name, char **ret,
                      struct varve_error *err)
{
    struct one o = {.document = {.root = root, .err = err}, .name = name};
    int rc = walk(body, size, one_take, &o);

    if (rc == 0 && !o.text)
        rc = missing(name, root, err);
    if (rc != 0) {
        free(o.text);
        return rc;
    }
    *ret = o.text;
    return 0;
}

int s3_reply_upload_id(const void *body, size_t size, char **ret, struct varve_error *err)
{
    return one_decode(body, size, "InitiateMultipartUploadResult", "UploadId", ret, err);
}

int s3_reply_complete(const void *body, size_t size, char **ret_etag, struct varve_error *err)
{
    return one_decode(body, size, "CompleteMultipartUploadResult", "ETag", ret_etag, err);
}

struct versioning {
    struct document document;
    bool on;
};

static int versioning_take(void *ctx, const char *path, const char *text)
{
    struct versioning *v = ctx;

    if (is(path, "VersioningConfiguration/Status"))
        v->on = is(text, "Enabled") || is(text, "Suspended");
    return 0;
}

int s3_reply_versioning(const void *body, size_t size, bool *ret, struct varve_error *err)
{
    struct versioning v = {.document = {.root = "VersioningConfiguration", .err = err}};
    int rc = walk(body, size, versioning_take, &v);

    if (rc != 0)
        return rc;
    *ret = v.on;
    return 0;
}

#define LOCATION_ROOT "LocationConstraint"

struct location {
    struct document document;
    char region[REGION_SIZE_MAX + 1];
};

/* The root's own text; some stores put a second element of that name into it. */
static int location_take(void *ctx, const char *path, const char *text)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789-_.";
    struct location *l = ctx;
    size_t size = strlen(text);

    if ((!is(path, LOCATION_ROOT) && !is(path, LOCATION_ROOT "/" LOCATION_ROOT)) || size == 0)
        return 0;
    if (size > REGION_SIZE_MAX || strspn(text, allowed) != size)
        return base_fail(l->document.err, VARVE_E_CORRUPT, "a <" LOCATION_ROOT "> of no region");
    memcpy(l->region, text, size + 1);
    return 0;
}

int s3_reply_location(const void *body, size_t size, char **ret, struct varve_error *err)
{
    struct location l = {.document = {.root = LOCATION_ROOT, .err = err}};
    const char *region = l.region;
    char *copy;
    int rc = walk(body, size, location_take, &l);

    if (rc != 0)
        return rc;
    if (is(region, ""))
        region = "us-east-1";
    else if (is(region, "EU")) /* what eu-west-1 was called */
        region = "eu-west-1";
    copy = strdup(region);
    if (!copy)
        return no_memory(err);
    *ret = copy;
    return 0;
}

/* --- DeleteObjects --- */

#define DELETE_ROOT "DeleteResult"

struct deleted {
    struct document document;
    void (*failed)(void *arg, const char *key, const char *code, const char *message);
    void *arg;
    char *key, *code, *message;
};

static void deleted_clear(struct deleted *d)
{
    free(d->key);
    free(d->code);
    free(d->message);
    d->key = d->code = d->message = NULL;
}

static int deleted_take(void *ctx, const char *path, const char *text)
{
    struct deleted *d = ctx;
    const char *name = below(path, DELETE_ROOT "/Error");

    if (name && is(name, "Key"))
        return keep(text, &d->key, d->document.err);
    if (name && is(name, "Code"))
        return keep(text, &d->code, d->document.err);
    if (name && is(name, "Message"))
        return keep(text, &d->message, d->document.err);
    if (!is(path, DELETE_ROOT "/Error"))
        return 0;
    if (!d->key)
        return missing("Key", "Error", d->document.err);
    if (d->failed)
        d->failed(d->arg, d->key, d->code ? d->code : "", d->message ? d->message : "");
    deleted_clear(d);
    return 0;
}

int s3_reply_delete(const void *body, size_t size,
                    void (*failed)(void *arg, const char *key, const char *code,
                                   const char *message),
                    void *arg, struct varve_error *err)
{
    struct deleted d = {.document = {.root = DELETE_ROOT, .err = err}};
    int rc = walk(body, size, deleted_take, &d);

    deleted_clear(&d);
    if (rc != 0)
        return rc;
    d.failed = failed;
    d.arg = arg;
    rc = walk(body, size, deleted_take, &d);
    deleted_clear(&d);
    return rc;
}

/* --- Credentials of STS --- */

struct grant {
    struct s3_credentials credentials;
    bool has_expiration;
    struct varve_error *err;
};

/* AssumeRoleResponse/AssumeRoleResult/Credentials/X, and the same of AssumeRoleWithWebIdentity. */
static const char *grant_name(const char *path)
{
    static const char container[] = "Result/Credentials/";
    const char *found = strstr(path, container);

    if (strncmp(path, "AssumeRole", strlen("AssumeRole")) != 0 || !found ||
        strchr(found + strlen(container), '/'))
        return NULL;
    return found + strlen(container);
}

static int grant_start(void *ctx, const char *path)
{
    const struct grant *g = ctx;

    if (strchr(path, '/') || is(path, "AssumeRoleResponse") ||
        is(path, "AssumeRoleWithWebIdentityResponse"))
        return 0;
    if (is(path, "ErrorResponse") || is(path, "Error"))
        return base_fail(g->err, VARVE_E_STORE, "an <%s> in the place of credentials", path);
    return base_fail(g->err, VARVE_E_CORRUPT, "a <%.64s> in the place of credentials", path);
}

static int grant_take(void *ctx, const char *path, const char *text)
{
    struct grant *g = ctx;
    struct s3_credentials *c = &g->credentials;
    const char *name = grant_name(path);

    if (!name || !text[0])
        return 0;
    if (is(name, "AccessKeyId"))
        return keep(text, &c->access_key, g->err);
    if (is(name, "SecretAccessKey"))
        return keep(text, &c->secret_key, g->err);
    if (is(name, "SessionToken"))
        return keep(text, &c->session_token, g->err);
    if (is(name, "Expiration"))
        g->has_expiration = base_parse_iso8601(text, strlen(text), &c->expires_ms);
    return 0;
}

int s3_reply_credentials(const void *body, size_t size, struct s3_credentials *ret,
                         struct varve_error *err)
{
    struct grant g = {.err = err};
    const struct s3_xml_handler handler = {.start = grant_start, .end = grant_take, .ctx = &g};
    int rc = s3_xml_walk(body, size, &handler, err);

    if (rc == 0 && !g.credentials.access_key)
        rc = missing("AccessKeyId", "Credentials", err);
    if (rc == 0 && !g.credentials.secret_key)
        rc = missing("SecretAccessKey", "Credentials", err);
    if (rc == 0 && !g.credentials.session_token)
        rc = missing("SessionToken", "Credentials", err);
    if (rc == 0 && !g.has_expiration)
        rc = missing("Expiration", "Credentials", err);
    if (rc != 0) {
        s3_credentials_clear(&g.credentials);
        return rc;
    }
    *ret = g.credentials;
    return 0;
}
