/*
 * The s3 driver: opening, capabilities, and what its other files share.
 *
 *   W1 Every put carries an id of its own in the object's metadata. Where a condition is lost after
 *      an earlier request of the same call may have taken effect, the object is asked whose it is
 *      (I7).
 *   W2 Every body is checked against the CRC32C that it was promised with, and is sent with its
 *      true SHA-256, which the store verifies or refuses: that is the confirmation of I2. CRC32C
 *      goes along where the store was seen to verify it.
 *   W3 A range is exactly what was asked for (cold/s3/verdict.c), or an error (I9).
 *   W4 What the store can do is probed once, at init (cold/probe.c), and handed in at each open.
 */
#include "cold/s3.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "cold/probe.h"

#define PUT_SIZE_MAX (UINT64_C(5) << 30) /* of S3 */
#define PART_SIZE_MIN (UINT64_C(5) << 20)
#define PART_SIZE (UINT64_C(16) << 20)
#define PARTS_MAX 10000
#define PARALLEL 32
#define KEY_SHOWN_MAX 100 /* of a key in a message, so that the cause is not cut off */

void cold_s3_close(void *self)
{
    struct cold_s3 *s = self;

    if (!s)
        return;
    s3_client_free(s->client); /* before what it stands on */
    s3_credentials_source_free(s->source);
    s3_http_free(s->http);
    free(s->name);
    free(s->prefix);
    free(s->region);
    free(s);
}

static void s3_caps(void *self, struct cold_caps *ret)
{
    const struct cold_s3 *s = self;

    *ret = s->caps;
}

static void s3_set_caps(void *self, const struct cold_caps *caps)
{
    struct cold_s3 *s = self;

    s->caps = *caps;
}

static void s3_stats(void *self, struct cold_stats *ret)
{
    struct cold_s3 *s = self;
    struct s3_client_stats stats;

    s3_client_stats(s->client, &stats);
    ret->retries = stats.retries;
    ret->hedges = stats.hedges;
}

const struct cold_store_ops cold_s3_ops = {
    .name = "s3",
    .close = cold_s3_close,
    .caps = s3_caps,
    .put = cold_s3_put,
    .get = cold_s3_get,
    .read = cold_s3_read,
    .head = cold_s3_head,
    .list = cold_s3_list,
    .remove = cold_s3_remove,
    .upload_begin = cold_s3_upload_begin,
    .upload_part = cold_s3_upload_part,
    .upload_complete = cold_s3_upload_complete,
    .upload_abort = cold_s3_upload_abort,
    .upload_list = cold_s3_upload_list,
    .upload_check = cold_s3_upload_check,
    .get_start = cold_s3_get_start,
    .get_cancel = cold_s3_get_cancel,
    .set_caps = s3_set_caps,
    .stats = s3_stats,
    .trial = cold_s3_trial,
    .inspect = cold_s3_inspect,
};

/* ---- opening ---- */

static int style_parse(const char *text, enum s3_style *ret, struct varve_error *err)
{
    if (!text)
        *ret = S3_STYLE_AUTO;
    else if (strcmp(text, "1") == 0)
        *ret = S3_STYLE_PATH;
    else if (strcmp(text, "0") == 0)
        *ret = S3_STYLE_VIRTUAL;
    else
        return base_fail(err, VARVE_E_INVALID, "store URL: path_style is 0 or 1, not '%s'", text);
    return 0;
}

static int names_make(struct cold_s3 *s, const struct cold_url *url, struct varve_error *err)
{
    const char *endpoint = cold_url_query(url, "endpoint");
    const char *path = url->path;
    size_t size;
    int rc;

    while (*path == '/')
        path++;
    size = strlen(path);
    while (size > 0 && path[size - 1] == '/')
        size--;
    rc = base_format(&s->prefix, err, "%.*s%s", (int)size, path, size > 0 ? "/" : "");
    if (rc == 0)
        rc = base_format(&s->name, err, "s3://%s%s%.*s%s%s", url->host, size > 0 ? "/" : "",
                         (int)size, path, endpoint ? " at " : "", endpoint ? endpoint : "");
    return rc;
}

/* Region and endpoint are the URL's, else the environment's or the profile's, else S3's first
 * region and its own endpoint. */
static int client_make(struct cold_s3 *s, const struct cold_url *url, struct varve_error *err)
{
    const char *region = cold_url_query(url, "region");
    const struct s3_credentials_options credentials = {
        .http = s->http, .profile = cold_url_query(url, "profile"), .region = region};
    struct s3_client_options options = {
        .endpoint = {.endpoint = cold_url_query(url, "endpoint"), .bucket = url->host},
    };
    int rc = style_parse(cold_url_query(url, "path_style"), &options.endpoint.style, err);

    if (rc == 0)
        rc = s3_credentials_source_new(s->env, &credentials, &s->source, err);
    if (rc < 0)
        return rc;
    if (!region)
        region = s3_credentials_source_region(s->source);
    if (!options.endpoint.endpoint)
        options.endpoint.endpoint = s3_credentials_source_endpoint_url(s->source);
    s->at_aws = !options.endpoint.endpoint;
    if (region)
        rc = base_format(&s->region, err, "%s", region);
    options.endpoint.region = s->region;
    options.transport = s3_transport_http(s->http);
    options.keys = s3_keys_source(s->source);
    return rc < 0 ? rc : s3_client_new(s->env, &options, &s->client, err);
}

/* Until init's probe says otherwise: what S3 promises, and nothing that some stores lack. */
static void caps_init(struct cold_s3 *s, const char *probed)
{
    s->caps = (struct cold_caps){
        .conditional_put = true,
        .probed = true,
        .ordered_list = true,
        .lists_uploads = true,
        .put_size_max = PUT_SIZE_MAX,
        .part_size_min = PART_SIZE_MIN,
        .part_size = PART_SIZE,
        .parts_max = PARTS_MAX,
        .parallel = PARALLEL,
        .async = true,
    };
    if (probed)
        cold_caps_decode(probed, &s->caps);
}

static int open_into(struct cold_s3 *s, const struct cold_url *url, struct varve_error *err)
{
    const struct s3_http_options http = {.ca_file = cold_url_query(url, "ca")};
    int rc = names_make(s, url, err);

    if (rc == 0)
        rc = s3_http_new(s->env, &http, &s->http, err);
    return rc < 0 ? rc : client_make(s, url, err);
}

static int bucket_create(struct cold_s3 *s, struct varve_error *err);

int cold_s3_open(const struct base_env *env, const struct cold_url *url,
                 const struct cold_store_options *options, struct cold_s3 **ret,
                 struct varve_error *err)
{
    static const char *const names[] = {"endpoint", "region",  "path_style", "ca",
                                        "profile",  "fencing", NULL};
    struct cold_s3 *s;
    int rc = cold_url_check_query(url, names, err);

    if (rc < 0)
        return rc;
    if (!url->host[0])
        return base_fail(err, VARVE_E_INVALID,
                         "store URL: names no bucket; it is s3://bucket/prefix");
    s = calloc(1, sizeof(*s));
    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "open s3://%s: out of memory", url->host);
    s->env = env;
    rc = open_into(s, url, err);
    if (rc == 0)
        caps_init(s, options->caps);
    if (rc == 0 && options->create_bucket)
        rc = bucket_create(s, err);
    if (rc < 0) {
        cold_s3_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

/* ---- the bucket ---- */

static int bucket_exists(struct cold_s3 *s, bool *ret, struct varve_error *err)
{
    struct s3_call call = {.method = "HEAD", .key = ""};
    int rc = s3_client_call(s->client, &call, err);

    /* A HEAD has no body to tell a bucket from a key with. */
    if (rc < 0 && (call.error.class == S3_NOT_FOUND || call.error.class == S3_NO_BUCKET)) {
        *ret = false;
        return 0;
    }
    *ret = true;
    return rc < 0 ? cold_s3_context(s, rc, "look for bucket", "", err) : 0;
}

static int bucket_create(struct cold_s3 *s, struct varve_error *err)
{
    struct s3_call call = {.method = "PUT", .key = "", .size_max = 65536};
    struct iovec body;
    char xml[256];
    bool exists;
    int rc = bucket_exists(s, &exists, err);

    if (rc < 0 || exists)
        return rc;
    if (s->at_aws && s->region && strcmp(s->region, "us-east-1") != 0) {
        snprintf(xml, sizeof(xml),
                 "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                 "<LocationConstraint>%.64s</LocationConstraint></CreateBucketConfiguration>",
                 s->region);
        body = (struct iovec){.iov_base = xml, .iov_len = strlen(xml)};
        call.body = &body;
        call.body_count = 1;
        rc = s3_call_digest(&call, err);
    }
    if (rc == 0)
        rc = s3_client_call(s->client, &call, err);
    free(call.body_memory);
    if (rc < 0 && strcmp(call.error.code, "BucketAlreadyOwnedByYou") == 0)
        return 0; /* made by the request whose reply was lost */
    return rc < 0 ? cold_s3_context(s, rc, "create bucket", "", err) : 0;
}

/* ---- shared ---- */

int cold_s3_key(const struct cold_s3 *s, const char *op, const char *key,
                char ret[COLD_S3_KEY_SIZE], struct varve_error *err)
{
    int n = snprintf(ret, COLD_S3_KEY_SIZE, "%s%s", s->prefix, key);

    if (n < 0 || n > COLD_KEY_MAX)
        return base_fail(err, VARVE_E_INVALID,
                         "%s %.100s in %s: with the prefix %d bytes, the "
                         "limit is %d",
                         op, key, s->name, n, COLD_KEY_MAX);
    return 0;
}

int cold_s3_context(const struct cold_s3 *s, int rc, const char *op, const char *key,
                    struct varve_error *err)
{
    size_t size = strlen(key);
    const char *shown = size > KEY_SHOWN_MAX ? key + size - KEY_SHOWN_MAX : key;

    return base_error_context(err, rc, "%s%s%s%s in %s", op, key[0] ? " " : "",
                              shown == key ? "" : "...", shown, s->name);
}

int cold_s3_call(struct cold_s3 *s, const char *op, const char *key, struct s3_call *call,
                 struct varve_error *err)
{
    int rc = s3_client_call(s->client, call, err);

    return rc < 0 ? cold_s3_context(s, rc, op, key, err) : 0;
}

int cold_s3_call_query(struct cold_s3 *s, const char *op, const char *key, struct s3_call *call,
                       const struct s3_query *pairs, size_t count, struct varve_error *err)
{
    char *query;
    int rc = s3_query_encode(pairs, count, &query, err);

    if (rc < 0)
        return rc;
    call->query = query;
    rc = cold_s3_call(s, op, key, call, err);
    call->query = NULL;
    free(query);
    return rc;
}

void cold_s3_write_id(const struct cold_s3 *s, char ret[S3_WRITE_ID_SIZE])
{
    struct base_id id = base_id_new(s->env->random);

    static_assert(S3_WRITE_ID_SIZE == BASE_ID_TEXT_SIZE, "a write id is an id of base");
    base_id_format(&id, ret);
}

void cold_s3_crc32c_text(uint32_t crc, char ret[COLD_S3_CRC32C_SIZE])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint64_t bits = (uint64_t)crc << 4; /* 32 bits in six digits of 6, and two '=' */

    for (int i = 0; i < 6; i++)
        ret[i] = digits[(bits >> (30 - 6 * i)) & 63];
    memcpy(ret + 6, "==", 3);
}

void cold_s3_if_match(const struct cold_s3 *s, const struct cold_etag *etag,
                      char ret[COLD_S3_IF_MATCH_SIZE])
{
    size_t size = strlen(etag->text);

    if (s->caps.etag_unquoted && size >= 2 && etag->text[0] == '"' && etag->text[size - 1] == '"')
        snprintf(ret, COLD_S3_IF_MATCH_SIZE, "%.*s", (int)size - 2, etag->text + 1);
    else
        snprintf(ret, COLD_S3_IF_MATCH_SIZE, "%s", etag->text);
}

int cold_s3_is_ours(struct cold_s3 *s, const char *op, const char *key, const char *write_id,
                    uint64_t size, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct s3_call call = {.method = "HEAD", .wants_etag = true};
    char full[COLD_S3_KEY_SIZE];
    int rc = cold_s3_key(s, op, key, full, err);

    call.key = full;
    if (rc == 0)
        rc = cold_s3_call(s, op, key, &call, err);
    if (rc < 0)
        return rc;
    if (strcmp(call.write_id, write_id) != 0 || call.object_size != size) {
        base_fail(err, VARVE_E_PRECONDITION, "another's object is there");
        return cold_s3_context(s, VARVE_E_PRECONDITION, op, key, err);
    }
    snprintf(ret_etag->text, sizeof(ret_etag->text), "%s", call.etag);
    return 0;
}

int cold_s3_check_condition(struct cold_s3 *s, const char *op, const char *key,
                            const struct cold_put *how, struct varve_error *err)
{
    struct cold_meta meta;
    int rc;

    if (how->condition == COLD_ALWAYS)
        return 0;
    rc = cold_s3_head(s, key, &meta, err);
    if (rc < 0 && rc != VARVE_E_NOT_FOUND)
        return rc;
    if (how->condition == COLD_IF_ABSENT ? rc == VARVE_E_NOT_FOUND
                                         : rc == 0 && strcmp(meta.etag.text, how->etag->text) == 0)
        return 0;
    base_fail(err, VARVE_E_PRECONDITION, "the condition does not hold");
    return cold_s3_context(s, VARVE_E_PRECONDITION, op, key, err);
}

int cold_s3_check_body(const struct cold_s3 *s, const char *op, const char *key,
                       const struct iovec *body, int count, bool has_crc32c, uint32_t promised,
                       uint32_t *ret_crc, uint64_t *ret_size, struct varve_error *err)
{
    uint32_t crc = 0;
    uint64_t size = 0;

    for (int i = 0; i < count; i++) {
        crc = base_crc32c(crc, body[i].iov_base, body[i].iov_len);
        size += body[i].iov_len;
    }
    if (has_crc32c && crc != promised) {
        base_fail(err, VARVE_E_CORRUPT, "the body's CRC32C is %08x, %08x was promised", crc,
                  promised);
        return cold_s3_context(s, VARVE_E_CORRUPT, op, key, err);
    }
    *ret_crc = crc;
    *ret_size = size;
    return 0;
}
