/*
 * The limit of a store across a wire: as many connections as asked for, each with libcurl's easy
 * interface, one signed request after the other; no retries, no conditions, no checksums but those
 * inside the zstd frames.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/error.h"
#include "base/text.h"
#include "bench/bench.h"
#include "cold/fetch.h"
#include "cold/s3/credentials.h"
#include "cold/s3/endpoint.h"
#include "cold/s3/http.h"
#include "cold/s3/sign.h"
#include "cold/url.h"

#define FRAME_RAW_MAX (4 * 1024 * 1024)
#define CURL_BUFFER_BYTES (512L * 1024)

struct wire {
    struct bench_bare *bare;
    CURL *curl;
    ZSTD_DCtx *zstd;
    uint8_t *room; /* a range's bytes come here */
    size_t have;
    uint8_t *raw;
    const uint8_t *body; /* of a PUT */
    size_t left;
    struct varve_error error; /* the first */
    pthread_t thread;
};

struct bench_bare {
    struct base_env env;
    struct cold_url *url;
    char *prefix; /* "" or with '/' at its end */
    struct s3_http *http;
    struct s3_credentials_source *source;
    struct s3_credentials credentials;
    struct s3_signer *signer;
    struct s3_endpoint endpoint;
    unsigned count;
    struct wire wires[BENCH_PARALLEL_MAX];

    /* work that the wires share */
    bool (*work)(struct wire *w, size_t i);
    size_t work_count;
    _Atomic size_t next;
    _Atomic uint64_t bytes;
    char *const *keys;
    const struct bench_range *ranges;
    const char *put_prefix;
    const struct bench_files *files;
};

/* ---- making ---- */

static int endpoint_make(struct bench_bare *b, struct varve_error *err)
{
    const char *style = cold_url_query(b->url, "path_style");
    const struct s3_credentials_options credentials = {.http = b->http,
                                                       .profile = cold_url_query(b->url, "profile"),
                                                       .region = cold_url_query(b->url, "region")};
    struct s3_endpoint_options options = {
        .endpoint = cold_url_query(b->url, "endpoint"),
        .region = cold_url_query(b->url, "region"),
        .bucket = b->url->host,
        .style = !style            ? S3_STYLE_AUTO
                 : style[0] == '1' ? S3_STYLE_PATH
                                   : S3_STYLE_VIRTUAL,
    };
    int r = s3_credentials_source_new(&b->env, &credentials, &b->source, err);

    if (r == 0)
        r = s3_credentials_source_get(b->source, &b->credentials, err);
    if (r < 0)
        return r;
    if (!options.region)
        options.region = s3_credentials_source_region(b->source);
    if (!options.endpoint)
        options.endpoint = s3_credentials_source_endpoint_url(b->source);
    return s3_endpoint_init(&options, &b->endpoint, err);
}

/* Not from malloc: what a limit has used must not stay in the figures of the engine's memory. */
static void *pages_map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static int wire_init(struct wire *w, struct bench_bare *b, struct varve_error *err)
{
    const char *ca = cold_url_query(b->url, "ca");

    w->bare = b;
    w->curl = curl_easy_init();
    w->zstd = ZSTD_createDCtx();
    w->room = pages_map(COLD_RANGE_BYTES_MAX);
    w->raw = pages_map(FRAME_RAW_MAX);
    if (!w->curl || !w->zstd || !w->room || !w->raw)
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(w->curl, CURLOPT_BUFFERSIZE, CURL_BUFFER_BYTES);
    curl_easy_setopt(w->curl, CURLOPT_UPLOAD_BUFFERSIZE, CURL_BUFFER_BYTES);
    curl_easy_setopt(w->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (ca)
        curl_easy_setopt(w->curl, CURLOPT_CAINFO, ca);
    return 0;
}

int bench_bare_new(const char *url, unsigned threads, struct bench_bare **ret,
                   struct varve_error *err)
{
    struct bench_bare *b = calloc(1, sizeof(*b));
    const struct s3_http_options http = {.threads = 1};
    int r;

    if (!b)
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    base_env_init(&b->env);
    r = cold_url_parse(url, &b->url, err);
    if (r == 0 && strcmp(b->url->scheme, "s3") != 0)
        r = base_fail(err, VARVE_E_INVALID, "%s is no s3:// URL", url);
    if (r == 0) {
        const char *path = b->url->path + strspn(b->url->path, "/");
        r = base_format(&b->prefix, err, "%s%s", path, *path ? "/" : "");
    }
    if (r == 0)
        r = s3_http_new(&b->env, &http, &b->http, err);
    if (r == 0)
        r = endpoint_make(b, err);
    if (r == 0)
        r = s3_signer_new(&b->signer, err);
    for (; r == 0 && b->count < threads && b->count < BENCH_PARALLEL_MAX; b->count++)
        r = wire_init(&b->wires[b->count], b, err);
    if (r < 0) {
        bench_bare_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

struct bench_bare *bench_bare_free(struct bench_bare *bare)
{
    if (!bare)
        return NULL;
    for (unsigned i = 0; i < BENCH_PARALLEL_MAX; i++) {
        struct wire *w = &bare->wires[i];

        curl_easy_cleanup(w->curl);
        ZSTD_freeDCtx(w->zstd);
        if (w->room)
            munmap(w->room, COLD_RANGE_BYTES_MAX);
        if (w->raw)
            munmap(w->raw, FRAME_RAW_MAX);
    }
    s3_signer_free(bare->signer);
    s3_endpoint_deinit(&bare->endpoint);
    s3_credentials_clear(&bare->credentials);
    s3_credentials_source_free(bare->source);
    s3_http_free(bare->http);
    free(bare->prefix);
    cold_url_free(bare->url);
    free(bare);
    return NULL;
}

/* ---- one request ---- */

static size_t receive(char *data, size_t size, size_t count, void *arg)
{
    struct wire *w = arg;

    (void)size; /* 1 */
    if (count > COLD_RANGE_BYTES_MAX - w->have)
        return 0;
    memcpy(w->room + w->have, data, count);
    w->have += count;
    return count;
}

static size_t send_body(char *data, size_t size, size_t count, void *arg)
{
    struct wire *w = arg;
    size_t n = size * count < w->left ? size * count : w->left;

    memcpy(data, w->body, n);
    w->body += n;
    w->left -= n;
    return n;
}

static struct curl_slist *header_add(struct curl_slist *list, const char *name, const char *value)
{
    char *line = NULL;
    struct curl_slist *more = NULL;

    if (base_format(&line, NULL, "%s: %s", name, value) == 0)
        more = curl_slist_append(list, line);
    free(line);
    return more ? more : list;
}

static int sign(struct bench_bare *b, const char *method, const char *path, struct curl_slist **ret,
                struct varve_error *err)
{
    char date[S3_SIGN_DATE_SIZE];
    char *authorization = NULL;
    struct s3_header headers[4] = {
        {"host", b->endpoint.host},
        {"x-amz-content-sha256", "UNSIGNED-PAYLOAD"},
        {"x-amz-date", date},
        {"x-amz-security-token", b->credentials.session_token},
    };
    const struct s3_sign_request request = {
        .method = method,
        .path = path,
        .query = "",
        .headers = headers,
        .header_count = b->credentials.session_token ? 4 : 3,
        .payload_sha256 = "UNSIGNED-PAYLOAD",
        .region = b->endpoint.region,
        .service = "s3",
        .date = date,
    };
    struct curl_slist *list = NULL;
    int r;

    s3_sign_date(b->env.clock->wall_ms(b->env.clock->ctx), date);
    r = s3_signer_authorize(b->signer, &b->credentials, &request, &authorization, err);
    if (r < 0)
        return r;
    list = header_add(list, "Authorization", authorization);
    for (size_t i = 1; i < request.header_count; i++)
        list = header_add(list, headers[i].name, headers[i].value);
    *ret = header_add(list, "Expect", "");
    free(authorization);
    return 0;
}

/* `status`: what the store must answer. */
static int perform(struct wire *w, const char *method, const char *key, long status,
                   struct varve_error *err)
{
    struct bench_bare *b = w->bare;
    char *whole = NULL, *path = NULL, *url = NULL;
    struct curl_slist *headers = NULL;
    CURLcode code = CURLE_OK;
    long got = 0;
    int r = base_format(&whole, err, "%s%s", b->prefix, key);

    if (r == 0)
        r = s3_endpoint_path(&b->endpoint, whole, &path, err);
    if (r == 0)
        r = base_format(&url, err, "%s%s", b->endpoint.base, path);
    if (r == 0)
        r = sign(b, method, path, &headers, err);
    if (r == 0) {
        w->have = 0;
        curl_easy_setopt(w->curl, CURLOPT_URL, url);
        curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(w->curl, CURLOPT_WRITEFUNCTION, receive);
        curl_easy_setopt(w->curl, CURLOPT_WRITEDATA, w);
        code = curl_easy_perform(w->curl);
        curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &got);
        if (code != CURLE_OK)
            r = base_fail(err, VARVE_E_STORE, "%s %s: %s", method, key, curl_easy_strerror(code));
        else if (got != status)
            r = base_fail(err, VARVE_E_STORE, "%s %s: the store answers %ld", method, key, got);
        curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, NULL);
    }
    curl_slist_free_all(headers);
    free(url);
    free(path);
    free(whole);
    return r;
}

static int get_range(struct wire *w, const char *key, uint64_t pos, size_t size,
                     struct varve_error *err)
{
    char range[64];
    int r;

    snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)pos,
             (unsigned long long)(pos + size - 1));
    curl_easy_setopt(w->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(w->curl, CURLOPT_RANGE, range);
    r = perform(w, "GET", key, 206, err);
    curl_easy_setopt(w->curl, CURLOPT_RANGE, NULL);
    if (r == 0 && w->have != size)
        r = base_fail(err, VARVE_E_STORE, "GET %s: %zu bytes, not %zu", key, w->have, size);
    return r;
}

static int put_bytes(struct wire *w, const char *key, const void *data, size_t size,
                     struct varve_error *err)
{
    w->body = data;
    w->left = size;
    curl_easy_setopt(w->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(w->curl, CURLOPT_READFUNCTION, send_body);
    curl_easy_setopt(w->curl, CURLOPT_READDATA, w);
    curl_easy_setopt(w->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
    return perform(w, "PUT", key, 200, err);
}

/* ---- many ---- */

static void *wire_run(void *arg)
{
    struct wire *w = arg;
    struct bench_bare *b = w->bare;

    pthread_setname_np(pthread_self(), "bare");
    for (size_t i; !w->error.code && (i = atomic_fetch_add(&b->next, 1)) < b->work_count;)
        if (!b->work(w, i) && !w->error.code)
            w->error.code = VARVE_E_FAILED;
    return NULL;
}

static int run(struct bench_bare *b, bool (*work)(struct wire *w, size_t i), size_t count,
               struct bench_time *ret_time, uint64_t *ret_bytes, struct varve_error *err)
{
    struct bench_time start = bench_time_now();
    unsigned started = 0;
    int r = 0;

    b->work = work;
    b->work_count = count;
    atomic_store(&b->next, 0);
    atomic_store(&b->bytes, 0);
    for (; started < b->count; started++) {
        b->wires[started].error = (struct varve_error){0};
        if (pthread_create(&b->wires[started].thread, NULL, wire_run, &b->wires[started]) != 0)
            break;
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(b->wires[i].thread, NULL);
        if (b->wires[i].error.code && r == 0) {
            *err = b->wires[i].error;
            r = err->code;
        }
    }
    *ret_time = bench_time_since(start);
    *ret_bytes = atomic_load(&b->bytes);
    return started > 0 ? r : base_fail(err, VARVE_E_NO_MEMORY, "no thread could be started");
}

/* A file, in pieces, each an object. */
static bool put_file(struct wire *w, const char *prefix, const char *path, size_t i)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *data = MAP_FAILED;
    int r = 0;

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0) { /* of a segment just begun */
        close(fd);
        return true;
    }
    if (fd >= 0)
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (data == MAP_FAILED) {
        base_fail_errno(&w->error, errno, "map %s", path);
        return false;
    }
    for (size_t pos = 0; r == 0 && pos < (size_t)st.st_size; pos += BENCH_BARE_PUT_BYTES) {
        size_t left = (size_t)st.st_size - pos;
        char key[128];

        snprintf(key, sizeof(key), "%s/%zu-%zu", prefix, i, pos);
        r = put_bytes(w, key, (const uint8_t *)data + pos,
                      left < BENCH_BARE_PUT_BYTES ? left : BENCH_BARE_PUT_BYTES, &w->error);
    }
    munmap(data, (size_t)st.st_size);
    atomic_fetch_add(&w->bare->bytes, (uint64_t)st.st_size);
    return r == 0;
}

static bool put_one(struct wire *w, size_t i)
{
    return put_file(w, w->bare->put_prefix, w->bare->files->paths[i], i);
}

int bench_bare_put(struct bench_bare *bare, const char *prefix, const struct bench_files *files,
                   struct bench_time *ret_time, uint64_t *ret_bytes, struct varve_error *err)
{
    bare->put_prefix = prefix;
    bare->files = files;
    return run(bare, put_one, files->count, ret_time, ret_bytes, err);
}

bool bench_bare_sink(void *ctx, unsigned thread, const char *path, size_t i)
{
    struct bench_bare *b = ctx;
    struct wire *w = &b->wires[thread % b->count];

    if (put_file(w, "limit-compressed", path, i))
        return true;
    fprintf(stderr, "varve: bench: %s\n", w->error.msg);
    errno = EIO;
    return false;
}

static bool read_one(struct wire *w, size_t i)
{
    struct bench_bare *b = w->bare;
    const struct bench_range *range = &b->ranges[i];

    if (get_range(w, b->keys[range->object], range->pos, range->size, &w->error) < 0)
        return false;
    for (size_t pos = 0; pos < w->have;) {
        size_t size = ZSTD_findFrameCompressedSize(w->room + pos, w->have - pos), raw;

        raw = ZSTD_isError(size)
                  ? size
                  : ZSTD_decompressDCtx(w->zstd, w->raw, FRAME_RAW_MAX, w->room + pos, size);
        if (ZSTD_isError(raw)) {
            base_fail(&w->error, VARVE_E_CORRUPT, "decompress: %s", ZSTD_getErrorName(raw));
            return false;
        }
        atomic_fetch_add(&b->bytes, raw);
        pos += size;
    }
    return true;
}

int bench_bare_read(struct bench_bare *bare, char *const *keys, const struct bench_range *ranges,
                    size_t count, struct bench_time *ret_time, uint64_t *ret_bytes,
                    struct varve_error *err)
{
    bare->keys = keys;
    bare->ranges = ranges;
    return run(bare, read_one, count, ret_time, ret_bytes, err);
}

int bench_bare_get(struct bench_bare *bare, const char *key, uint64_t pos, size_t size,
                   double *ret_seconds, struct varve_error *err)
{
    struct bench_time start = bench_time_now();
    int r = get_range(&bare->wires[0], key, pos, size, err);

    *ret_seconds = bench_time_since(start).wall;
    return r;
}
