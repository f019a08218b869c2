/*
 * The s3 driver: multipart uploads.
 *
 * The ids and ETags that go to the caller carry more than the store's:
 *
 *   cold_upload.id        "<write id>:<the store's id>"; from a listing: the store's id alone
 *   cold_part.etag.text   "<the store's ETag> <CRC32C in 8 hex digits>"
 *
 * So a complete, also one by a later process that has kept both, can tell an object of its own from
 * another's (the write id is in the upload's metadata since its creation: I7), and can prove that
 * the parts together are the bytes that were promised (I9) without asking the store. Each part was
 * verified by the store by its SHA-256 when it was sent. CRC32C headers are not sent here: S3 wants
 * them announced when the upload is created, and repeated for each part at its end.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "cold/s3.h"

#define REPLY_SIZE_MAX 65536
#define ID_DIGITS (S3_WRITE_ID_SIZE - 1)
#define CRC_TEXT_SIZE 9 /* " " and 8 digits */

/* The store's id inside ours; *ret_write_id is "" where there is none. */
static const char *id_split(const struct cold_upload *upload, char ret_write_id[S3_WRITE_ID_SIZE])
{
    struct base_id id;

    ret_write_id[0] = '\0';
    if (strlen(upload->id) <= ID_DIGITS || upload->id[ID_DIGITS] != ':' ||
        !base_id_parse(upload->id, ID_DIGITS, &id))
        return upload->id;
    memcpy(ret_write_id, upload->id, ID_DIGITS);
    ret_write_id[ID_DIGITS] = '\0';
    return upload->id + ID_DIGITS + 1;
}

int cold_s3_upload_part(void *self, const char *key, const struct cold_upload *upload,
                        unsigned number, uint64_t pos, const struct iovec *body, int count,
                        uint32_t crc32c, struct cold_part *ret, struct varve_error *err)
{
    static const char op[] = "upload part of";
    struct cold_s3 *s = self;
    char full[COLD_S3_KEY_SIZE], write_id[S3_WRITE_ID_SIZE], digits[16];
    const struct s3_query pairs[] = {{"partNumber", digits},
                                     {"uploadId", id_split(upload, write_id)}};
    struct s3_call call = {.method = "PUT",
                           .key = full,
                           .body = body,
                           .body_count = count,
                           .size_max = REPLY_SIZE_MAX,
                           .wants_etag = true};
    uint32_t crc;
    uint64_t size;
    int rc = cold_s3_key(s, op, key, full, err);

    (void)pos;
    snprintf(digits, sizeof(digits), "%u", number);
    if (rc == 0)
        rc = cold_s3_check_body(s, op, key, body, count, true, crc32c, &crc, &size, err);
    if (rc == 0)
        rc = s3_call_digest(&call, err);
    if (rc < 0)
        return rc;
    rc = cold_s3_call_query(s, op, key, &call, pairs, 2, err);
    free(call.body_memory);
    if (rc == 0 && strlen(call.etag) + CRC_TEXT_SIZE > COLD_ETAG_MAX) {
        base_fail(err, VARVE_E_UNSUPPORTED, "the part's ETag has %zu bytes", strlen(call.etag));
        rc = cold_s3_context(s, VARVE_E_UNSUPPORTED, op, key, err);
    }
    if (rc < 0)
        return rc;
    ret->number = number;
    ret->size = size;
    snprintf(ret->etag.text, sizeof(ret->etag.text), "%.118s %08" PRIx32, call.etag, crc);
    return 0;
}

/* ---- complete ---- */

/* The length of the store's ETag in a part's text; *ret_crc when there is one behind it. */
static size_t part_etag(const struct cold_part *part, bool *ret_has_crc, uint32_t *ret_crc)
{
    size_t size = strlen(part->etag.text);
    char *end;

    *ret_has_crc = false;
    if (size <= CRC_TEXT_SIZE || part->etag.text[size - CRC_TEXT_SIZE] != ' ')
        return size;
    *ret_crc = (uint32_t)strtoul(part->etag.text + size - CRC_TEXT_SIZE + 1, &end, 16);
    *ret_has_crc = *end == '\0';
    return *ret_has_crc ? size - CRC_TEXT_SIZE : size;
}

/* I9: the parts make the bytes that were promised. */
static int parts_check(const struct cold_s3 *s, const char *op, const char *key,
                       const struct cold_part *parts, unsigned count, const struct cold_put *how,
                       uint64_t *ret_size, struct varve_error *err)
{
    uint32_t whole = 0;
    bool all = true;

    *ret_size = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t crc = 0;
        bool has;

        part_etag(&parts[i], &has, &crc);
        all = all && has;
        whole = base_crc32c_combine(whole, crc, parts[i].size);
        *ret_size += parts[i].size;
    }
    if (!how->has_crc32c || !all || whole == how->crc32c)
        return 0;
    base_fail(err, VARVE_E_CORRUPT,
              "the parts' CRC32C is %08" PRIx32 ", %08" PRIx32 " was promised", whole, how->crc32c);
    return cold_s3_context(s, VARVE_E_CORRUPT, op, key, err);
}

static void text_put(struct base_buffer *b, const char *text, size_t size)
{
    base_buffer_add(b, text, size);
}

/* ETags are opaque, but quoted ones must be spelled so that XML takes them. */
static int parts_encode(const struct cold_part *parts, unsigned count, struct base_buffer *b,
                        struct varve_error *err)
{
    static const char head[] =
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
    static const char tail[] = "</CompleteMultipartUpload>";

    text_put(b, head, sizeof(head) - 1);
    for (unsigned i = 0; i < count; i++) {
        char text[64];
        uint32_t crc;
        bool has;
        size_t size = part_etag(&parts[i], &has, &crc);

        snprintf(text, sizeof(text), "<Part><PartNumber>%u</PartNumber><ETag>", parts[i].number);
        text_put(b, text, strlen(text));
        for (size_t k = 0; k < size; k++) {
            char c = parts[i].etag.text[k];
            const char *as = c == '"' ? "&quot;" : c == '&' ? "&amp;" : c == '<' ? "&lt;" : NULL;

            text_put(b, as ? as : &c, as ? strlen(as) : 1);
        }
        text_put(b, "</ETag></Part>", 14);
    }
    text_put(b, tail, sizeof(tail) - 1);
    return b->failed ? base_fail(err, VARVE_E_NO_MEMORY, "complete upload: out of memory") : 0;
}

/* I7: the upload is gone, or the condition is lost; perhaps to an earlier request of ours. Where
 * that cannot be found out just now nothing is known, and `rc` would be a guess. */
static int complete_find_out(struct cold_s3 *s, const char *op, const char *key, int rc,
                             const struct s3_call *call, const char *write_id, uint64_t size,
                             struct cold_etag *ret_etag, struct varve_error *err)
{
    struct varve_error back;
    struct cold_meta meta;
    int found;

    if (write_id[0]) {
        found = cold_s3_is_ours(s, op, key, write_id, size, ret_etag, &back);
    } else if (rc == VARVE_E_NOT_FOUND && call->uncertain) {
        /* An upload found in a listing: its write id is not known, but its key is nobody else's. */
        found = cold_s3_head(s, key, &meta, &back);
        if (found == 0 && meta.size != size)
            return rc;
        if (found == 0)
            *ret_etag = meta.etag;
    } else {
        return rc;
    }
    if (found == VARVE_E_NOT_FOUND || found == VARVE_E_PRECONDITION)
        return rc; /* *err says it */
    if (found < 0 && err)
        *err = back;
    return found;
}

/* RGW 16.2 leaves the ETag empty: the object itself says it. So it does whether there is any, which
 * a 200 with another document (a proxy's) leaves open. */
static int complete_ask(struct cold_s3 *s, const char *op, const char *key, const char *write_id,
                        uint64_t size, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_meta meta = {.size = size};
    int rc;

    if (write_id[0]) {
        rc = cold_s3_is_ours(s, op, key, write_id, size, ret_etag, err);
    } else {
        rc = cold_s3_head(s, key, &meta, err);
        if (rc == 0)
            *ret_etag = meta.etag;
    }
    if (rc == 0 && meta.size == size)
        return 0;
    if (rc < 0 && rc != VARVE_E_NOT_FOUND && rc != VARVE_E_PRECONDITION)
        return rc;
    base_fail(err, VARVE_E_STORE, "the store says that it is complete, and it is not there");
    return cold_s3_context(s, VARVE_E_STORE, op, key, err);
}

static int complete_send(struct cold_s3 *s, const char *op, const char *key, struct s3_call *call,
                         const char *write_id, uint64_t size, struct cold_etag *ret_etag,
                         struct varve_error *err)
{
    char *etag = NULL;
    int rc = s3_call_digest(call, err);

    if (rc == 0)
        rc = cold_s3_call(s, op, key, call, err);
    if (rc == 0 && s3_reply_complete(call->body_memory, call->body_memory_size, &etag, NULL) == 0 &&
        strlen(etag) <= COLD_ETAG_MAX)
        snprintf(ret_etag->text, sizeof(ret_etag->text), "%s", etag);
    else if (rc == 0)
        rc = complete_ask(s, op, key, write_id, size, ret_etag, err);
    free(etag);
    free(call->body_memory);
    return rc;
}

/* RGW 16.2 answers 500 to the end of an upload that is gone: its parts say whether it is. */
static bool upload_is_gone(struct cold_s3 *s, const char *full_key, const char *upload_id)
{
    const struct s3_query pairs[] = {{"max-parts", "1"}, {"uploadId", upload_id}};
    struct s3_call call = {.method = "GET", .key = full_key, .size_max = REPLY_SIZE_MAX};
    char *query;
    int rc;

    if (s3_query_encode(pairs, 2, &query, NULL) < 0)
        return false;
    call.query = query;
    rc = s3_client_call(s->client, &call, NULL);
    free(query);
    free(call.body_memory);
    return rc == VARVE_E_NOT_FOUND;
}

int cold_s3_upload_complete(void *self, const char *key, const struct cold_upload *upload,
                            const struct cold_part *parts, unsigned count,
                            const struct cold_put *how, struct cold_etag *ret_etag,
                            struct varve_error *err)
{
    static const char op[] = "complete upload of";
    struct cold_s3 *s = self;
    char full[COLD_S3_KEY_SIZE], write_id[S3_WRITE_ID_SIZE], if_match[COLD_S3_IF_MATCH_SIZE];
    char *query = NULL;
    const struct s3_query pairs[] = {{"uploadId", id_split(upload, write_id)}};
    struct s3_call call = {.method = "POST", .key = full, .size_max = REPLY_SIZE_MAX};
    struct base_buffer xml;
    struct iovec body;
    uint64_t size = 0;
    int rc = cold_s3_key(s, op, key, full, err);

    if (rc == 0)
        rc = parts_check(s, op, key, parts, count, how, &size, err);
    if (rc == 0 && !s->caps.conditional_complete)
        rc = cold_s3_check_condition(s, op, key, how, err);
    if (rc == 0)
        rc = s3_query_encode(pairs, 1, &query, err);
    if (rc < 0)
        return rc;
    base_buffer_init(&xml);
    rc = parts_encode(parts, count, &xml, err);
    body = (struct iovec){.iov_base = xml.data, .iov_len = xml.size};
    call.query = query;
    call.body = &body;
    call.body_count = 1;
    s3_call_header(&call, "content-type", "application/xml");
    if (s->caps.conditional_complete && how->condition == COLD_IF_ABSENT)
        s3_call_header(&call, "if-none-match", "*");
    if (s->caps.conditional_complete && how->condition == COLD_IF_MATCH) {
        cold_s3_if_match(s, how->etag, if_match);
        s3_call_header(&call, "if-match", if_match);
    }
    if (rc == 0)
        rc = complete_send(s, op, key, &call, write_id, size, ret_etag, err);
    if (rc == VARVE_E_STORE && call.error.class == S3_RETRY &&
        upload_is_gone(s, full, pairs[0].value))
        rc = cold_s3_context(s, base_fail(err, VARVE_E_NOT_FOUND, "no such upload"), op, key, err);
    if (rc == VARVE_E_NOT_FOUND || (rc == VARVE_E_PRECONDITION && call.uncertain))
        rc = complete_find_out(s, op, key, rc, &call, write_id, size, ret_etag, err);
    base_buffer_deinit(&xml);
    free(query);
    return rc;
}

/* ---- check ---- */

struct parts_held {
    const struct cold_part *parts;
    unsigned count;
    unsigned next; /* most ask in the order in which the store tells */
    bool *held;
};

/* Stores differ in whether they quote here as they do in the header. */
static bool etag_same(const char *a, size_t a_size, const char *b, size_t b_size)
{
    if (a_size >= 2 && a[0] == '"' && a[a_size - 1] == '"') {
        a++;
        a_size -= 2;
    }
    if (b_size >= 2 && b[0] == '"' && b[b_size - 1] == '"') {
        b++;
        b_size -= 2;
    }
    return a_size == b_size && memcmp(a, b, a_size) == 0;
}

static int parts_visit(void *arg, const struct s3_list_part *found)
{
    struct parts_held *l = arg;

    for (unsigned i = 0; i < l->count; i++) {
        unsigned at = (l->next + i) % l->count;
        const struct cold_part *part = &l->parts[at];
        uint32_t crc;
        bool has;

        if (part->number != found->number)
            continue;
        l->held[at] =
            part->size == found->size && etag_same(part->etag.text, part_etag(part, &has, &crc),
                                                   found->etag, strlen(found->etag));
        l->next = at + 1;
        break;
    }
    return 0;
}

static int parts_page(struct cold_s3 *s, const char *key, const char *full, const char *id,
                      struct parts_held *l, struct s3_parts_result *page, struct varve_error *err)
{
    static const char op[] = "check upload of";
    char marker[16];
    const struct s3_query pairs[] = {{"part-number-marker", marker}, {"uploadId", id}};
    struct s3_call call = {.method = "GET", .key = full, .size_max = S3_REPLY_XML_MAX};
    int rc;

    snprintf(marker, sizeof(marker), "%u", page->next_part_number_marker);
    rc = cold_s3_call_query(s, op, key, &call, pairs, 2, err);
    if (rc == 0) {
        rc = s3_reply_parts(call.body_memory, call.body_memory_size, parts_visit, l, page, err);
        if (rc < 0)
            cold_s3_context(s, rc, op, key, err);
    }
    free(call.body_memory);
    return rc;
}

int cold_s3_upload_check(void *self, const char *key, const struct cold_upload *upload,
                         const struct cold_part *parts, unsigned count, bool *ret_held,
                         struct varve_error *err)
{
    struct cold_s3 *s = self;
    struct parts_held l = {.parts = parts, .count = count, .held = ret_held};
    struct s3_parts_result page = {0};
    char full[COLD_S3_KEY_SIZE], write_id[S3_WRITE_ID_SIZE];
    const char *id = id_split(upload, write_id);
    unsigned before;
    int rc = cold_s3_key(s, "check upload of", key, full, err);

    if (count > 0)
        memset(ret_held, 0, count * sizeof(*ret_held));
    do {
        before = page.next_part_number_marker;
        if (rc == 0)
            rc = parts_page(s, key, full, id, &l, &page, err);
        /* A marker that stands still would never end. */
    } while (rc == 0 && page.truncated && page.next_part_number_marker > before);
    return rc;
}

/* ---- abort and list ---- */

int cold_s3_upload_abort(void *self, const char *key, const struct cold_upload *upload,
                         struct varve_error *err)
{
    static const char op[] = "abort upload of";
    struct cold_s3 *s = self;
    char full[COLD_S3_KEY_SIZE], write_id[S3_WRITE_ID_SIZE];
    const struct s3_query pairs[] = {{"uploadId", id_split(upload, write_id)}};
    struct s3_call call = {.method = "DELETE", .key = full, .size_max = REPLY_SIZE_MAX};
    int rc = cold_s3_key(s, op, key, full, err);

    if (rc < 0)
        return rc;
    rc = cold_s3_call_query(s, op, key, &call, pairs, 1, err);
    free(call.body_memory);
    return rc == VARVE_E_NOT_FOUND && call.uncertain ? 0 : rc; /* the first request did it */
}

struct uploads {
    struct cold_s3 *s;
    int (*visit)(void *arg, const char *key, const struct cold_upload *upload, int64_t started);
    void *arg;
    int stopped;
};

static int uploads_visit(void *arg, const struct s3_list_upload *u)
{
    struct uploads *l = arg;
    struct cold_upload upload;
    size_t prefix = strlen(l->s->prefix);

    if (strncmp(u->key, l->s->prefix, prefix) != 0 || !u->key[prefix] ||
        strlen(u->upload_id) > COLD_UPLOAD_ID_MAX)
        return 0;
    snprintf(upload.id, sizeof(upload.id), "%s", u->upload_id);
    l->stopped = l->visit(l->arg, u->key + prefix, &upload, u->initiated_ms);
    return l->stopped;
}

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void page_clear(struct s3_uploads_result *page)
{
    free(page->next_key_marker);
    free(page->next_upload_id_marker);
    memset(page, 0, sizeof(*page));
}

/* One page, behind the markers of *page, which become those of the next. */
static int uploads_page(struct uploads *l, const char *prefix, const char *full_prefix,
                        struct s3_uploads_result *page, struct varve_error *err)
{
    static const char op[] = "list uploads of";
    struct s3_uploads_result next = {0};
    /* Not encoded: RGW 16.2 encodes the keys when it is asked to, and does not say so. Those of
     * varve have no characters that XML lacks. */
    const struct s3_query pairs[] = {
        {"key-marker", page->next_key_marker},
        {"prefix", full_prefix},
        {"upload-id-marker", page->next_upload_id_marker},
        {"uploads", ""},
    };
    struct s3_call call = {.method = "GET", .key = "", .size_max = S3_REPLY_XML_MAX};
    int rc =
        cold_s3_call_query(l->s, op, prefix, &call, pairs, sizeof(pairs) / sizeof(pairs[0]), err);

    if (rc == 0) {
        rc =
            s3_reply_uploads(call.body_memory, call.body_memory_size, uploads_visit, l, &next, err);
        /* Markers that stand still would never end. */
        if (rc == 0 && next.truncated && is_same(next.next_key_marker, page->next_key_marker) &&
            is_same(next.next_upload_id_marker, page->next_upload_id_marker))
            rc = base_fail(err, VARVE_E_STORE, "the listing does not go on behind '%.64s'",
                           next.next_key_marker);
        if (rc < 0 && !l->stopped)
            rc = cold_s3_context(l->s, rc, op, prefix, err);
    }
    free(call.body_memory);
    page_clear(page);
    *page = next;
    return rc;
}

int cold_s3_upload_list(void *self, const char *prefix,
                        int (*visit)(void *arg, const char *key, const struct cold_upload *upload,
                                     int64_t started),
                        void *arg, struct varve_error *err)
{
    struct cold_s3 *s = self;
    struct uploads l = {.s = s, .visit = visit, .arg = arg};
    struct s3_uploads_result page = {0};
    char full[COLD_S3_KEY_SIZE];
    int rc = cold_s3_key(s, "list uploads of", prefix, full, err);

    do {
        if (rc == 0)
            rc = uploads_page(&l, prefix, full, &page, err);
    } while (rc == 0 && page.truncated && page.next_key_marker);
    page_clear(&page);
    return l.stopped ? l.stopped : rc;
}

/* ---- begin ---- */

struct others {
    struct cold_s3 *s;
    const char *key;
    const char *id;
};

static int other_abort(void *arg, const char *key, const struct cold_upload *upload,
                       int64_t started)
{
    const struct others *o = arg;

    (void)started;
    if (strcmp(key, o->key) == 0 && strcmp(upload->id, o->id) != 0)
        (void)cold_s3_upload_abort(o->s, key, upload, NULL);
    return 0;
}

/* The reply of an earlier request was lost, and with it the id of an upload that it may have begun.
 * What cannot be ended now is left to whoever lists, or to the bucket's lifecycle rule. */
static void others_abort(struct cold_s3 *s, const char *key, const char *id)
{
    struct others o = {.s = s, .key = key, .id = id};

    (void)cold_s3_upload_list(s, key, other_abort, &o, NULL);
}

int cold_s3_upload_begin(void *self, const char *key, struct cold_upload *ret,
                         struct varve_error *err)
{
    static const char op[] = "begin upload of";
    struct cold_s3 *s = self;
    char full[COLD_S3_KEY_SIZE], write_id[S3_WRITE_ID_SIZE], *id = NULL;
    struct s3_call call = {
        .method = "POST", .key = full, .query = "uploads=", .size_max = REPLY_SIZE_MAX};
    int rc = cold_s3_key(s, op, key, full, err);

    if (rc < 0)
        return rc;
    cold_s3_write_id(s, write_id);
    s3_call_header(&call, S3_WRITE_ID_HEADER, write_id);
    rc = cold_s3_call(s, op, key, &call, err);
    if (rc == 0) {
        rc = s3_reply_upload_id(call.body_memory, call.body_memory_size, &id, err);
        if (rc == 0 && strlen(id) + S3_WRITE_ID_SIZE > COLD_UPLOAD_ID_MAX)
            rc = base_fail(err, VARVE_E_UNSUPPORTED, "the store's upload id has %zu bytes",
                           strlen(id));
        if (rc < 0)
            cold_s3_context(s, rc, op, key, err);
    }
    if (rc == 0)
        snprintf(ret->id, sizeof(ret->id), "%s:%s", write_id, id);
    if (rc == 0 && call.uncertain)
        others_abort(s, key, id);
    free(id);
    free(call.body_memory);
    return rc;
}
