/*
 * The libs3 driver: for stores that speak only what libs3 speaks, SigV2 gateways of old archives
 * above all. It is a module (cold/plugin.h), so that the GPL of libs3 and the GnuTLS it brings stay
 * out of the library.
 *
 *     libs3://bucket/prefix?endpoint=http://host:port&path_style=1&fencing=none
 *
 * libs3 has neither conditional writes nor checksums beyond MD5 nor ListV2; its multipart is not
 * used (upload.c). Its calls block, on any thread.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/libs3/driver.h"
#include "cold/plugin.h"

/* S3_initialize may be called by one thread only, and once is enough for the process. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static S3Status initialized;

static void initialize(void)
{
    initialized = S3_initialize("varve", LIBS3_INIT_FLAGS, NULL);
}

static void driver_close(void *self)
{
    struct libs3 *s = self;

    libs3_uploads_free(s);
    base_mutex_deinit(&s->lock);
    if (s->secret_key)
        explicit_bzero(s->secret_key, strlen(s->secret_key));
    free(s->secret_key);
    free(s->access_key);
    free(s->token);
    free(s->region);
    free(s->url);
    free(s->prefix);
    free(s->bucket);
    free(s->host);
    free(s);
}

static void driver_caps(void *self, struct cold_caps *ret)
{
    (void)self;
    *ret = (struct cold_caps){
        .ordered_list = true,
        .private_uploads = true,
        .put_size_max = UINT64_C(5) << 30,
        .part_size_min = 1,
        .part_size = UINT64_C(8) << 20,
        .parts_max = 10000,
        .parallel = 16,
    };
}

static const struct cold_store_ops libs3_ops = {
    .name = "libs3",
    .close = driver_close,
    .caps = driver_caps,
    .put = libs3_put,
    .get = libs3_get,
    .read = libs3_read,
    .head = libs3_head,
    .list = libs3_list,
    .remove = libs3_remove,
    .upload_begin = libs3_upload_begin,
    .upload_part = libs3_upload_part,
    .upload_complete = libs3_upload_complete,
    .upload_abort = libs3_upload_abort,
    .upload_list = libs3_upload_list,
};

static int set(char **ret, const char *text, struct varve_error *err)
{
    return text ? base_format(ret, err, "%s", text) : 0;
}

/* "http://host:port" */
static int open_endpoint(struct libs3 *s, const struct cold_url *url, struct varve_error *err)
{
    const char *endpoint = cold_url_query(url, "endpoint");
    const char *style = cold_url_query(url, "path_style");
    bool tls;
    const char *host;

    if (!endpoint)
        return base_fail(err, VARVE_E_INVALID,
                         "store URL: a libs3 store needs endpoint=http://host:port");
    tls = strncmp(endpoint, "https://", 8) == 0;
    if (!tls && strncmp(endpoint, "http://", 7) != 0)
        return base_fail(err, VARVE_E_INVALID, "store URL: endpoint=%s is no http URL", endpoint);
    host = endpoint + (tls ? 8 : 7);
    if (!host[0] || strcspn(host, "/?#@") != strlen(host))
        return base_fail(err, VARVE_E_INVALID,
                         "store URL: endpoint=%s is more than a host and a port", endpoint);
    if (tls && !LIBS3_CHECKS_CERTIFICATES)
        return base_fail(err, VARVE_E_UNSUPPORTED,
                         "store URL: this libs3 takes any certificate for the right one, so https "
                         "would promise what it does not keep; use http in a network you trust");
    if (style && strcmp(style, "0") != 0 && strcmp(style, "1") != 0)
        return base_fail(err, VARVE_E_INVALID, "store URL: path_style=%s is neither 0 nor 1",
                         style);
    s->context.protocol = tls ? S3ProtocolHTTPS : S3ProtocolHTTP;
    s->context.uriStyle = style && style[0] == '0' ? S3UriStyleVirtualHost : S3UriStylePath;
    return set(&s->host, host, err);
}

/* The bucket, and what all keys begin with. */
static int open_place(struct libs3 *s, const struct cold_url *url, struct varve_error *err)
{
    const char *path = url->path + strspn(url->path, "/");
    size_t size = strlen(path);
    int rc;

    if (!url->host[0])
        return base_fail(err, VARVE_E_INVALID, "store URL: it names no bucket");
    if (strchr(path, ' '))
        return base_fail(err, VARVE_E_INVALID,
                         "store URL: libs3 cannot name keys with a space in them");
    while (size > 0 && path[size - 1] == '/')
        size--;
    rc = base_format(&s->prefix, err, "%.*s%s", (int)size, path, size > 0 ? "/" : "");
    if (rc == 0)
        rc = set(&s->bucket, url->host, err);
    if (rc == 0 && S3_validate_bucket_name(s->bucket, s->context.uriStyle) != S3StatusOK)
        rc = base_fail(err, VARVE_E_INVALID, "store URL: '%s' is no name of a bucket", s->bucket);
    return rc;
}

static int open_credentials(struct libs3 *s, struct varve_error *err)
{
    const char *access_key = getenv("AWS_ACCESS_KEY_ID");
    const char *secret_key = getenv("AWS_SECRET_ACCESS_KEY");
    const char *token = getenv("AWS_SESSION_TOKEN");
    int rc;

    if (!access_key || !secret_key)
        return base_fail(err, VARVE_E_DENIED,
                         "no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set");
    if (token && token[0] && !LIBS3_HAS_TOKEN)
        return base_fail(err, VARVE_E_UNSUPPORTED,
                         "AWS_SESSION_TOKEN is set, and this libs3 knows no session tokens");
    rc = set(&s->access_key, access_key, err);
    if (rc == 0)
        rc = set(&s->secret_key, secret_key, err);
    if (rc == 0 && token && token[0])
        rc = set(&s->token, token, err);
    return rc;
}

static int driver_open(const struct base_env *env, const struct cold_url *url, const char *text,
                       const struct cold_store_options *options,
                       const struct cold_store_ops **ret_ops, void **ret_self,
                       struct varve_error *err)
{
    static const char *const names[] = {"endpoint", "path_style", "region", "fencing", NULL};
    struct libs3 *s;
    int rc = cold_url_check_query(url, names, err);

    (void)options; /* buckets are made by those who own them */
    if (rc < 0)
        return rc;
    pthread_once(&once, initialize);
    if (initialized != S3StatusOK)
        return base_fail(err, VARVE_E_FAILED, "open store %s: libs3: %s", text,
                         S3_get_status_name(initialized));
    s = calloc(1, sizeof(*s));
    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "open store %s: out of memory", text);
    s->env = env;
    base_mutex_init(&s->lock);
    rc = set(&s->url, text, err);
    if (rc == 0)
        rc = open_endpoint(s, url, err);
    if (rc == 0)
        rc = open_place(s, url, err);
    if (rc == 0)
        rc = set(&s->region, cold_url_query(url, "region"), err);
    if (rc == 0)
        rc = open_credentials(s, err);
    if (rc < 0) {
        driver_close(s);
        return base_error_context(err, rc, "open store %s", text);
    }
    s->context.hostName = s->host;
    s->context.bucketName = s->bucket;
    s->context.accessKeyId = s->access_key;
    s->context.secretAccessKey = s->secret_key;
    libs3_context_extend(&s->context, s->token, s->region);
    *ret_ops = &libs3_ops;
    *ret_self = s;
    return 0;
}

COLD_PLUGIN_DEFINE(driver_open);
