/*
 * One request in libcurl's hands: how it is set up, where its bytes go, when it has taken too long,
 * and what came of it.
 *
 *   X1 A 2xx body goes straight from libcurl's buffer into the receiver's room; never a byte beyond
 *      it. The length received is compared with the length promised (I9).
 *   X2 libcurl sends a request again by itself when a kept connection turns out to be dead. For a
 *      request that changes something the second sending is refused: what the first one did is the
 *      client's to find out (I7).
 *   X3 A reply is one from the empty line behind its headers on: libcurl takes a connection that
 *      ends among them for the end of a reply without a body. What comes as a header behind that
 *      line (a trailer) is none.
 *   X4 Deadlines run on connecting (libcurl's), from the last byte sent to the first received, and
 *      from one byte moved to the next; never on the whole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <openssl/x509_vfy.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/s3/http_private.h"

#define RECEIVE_BUFFER_SIZE (256 * 1024L) /* measured: half the processor time of the default */
#define SEND_BUFFER_SIZE (512 * 1024L)
#define CONNECTION_IDLE_S 20L /* below what servers and their balancers keep idle connections */

static bool is_repeatable(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* ---- the request ---- */

static size_t send_piece(char *buf, size_t size, size_t count, void *arg)
{
    struct s3_transfer *t = arg;
    size_t room = size * count, done = 0;

    while (done < room && t->body_index < t->request->body_count) {
        const struct iovec *v = &t->request->body[t->body_index];
        size_t n = v->iov_len - t->body_pos;

        if (n > room - done)
            n = room - done;
        if (n > 0)
            memcpy(buf + done, (const char *)v->iov_base + t->body_pos, n);
        done += n;
        t->body_pos += n;
        if (t->body_pos == v->iov_len) {
            t->body_index++;
            t->body_pos = 0;
        }
    }
    return done;
}

/* libcurl only ever rewinds. */
static int send_rewind(void *arg, curl_off_t pos, int origin)
{
    struct s3_transfer *t = arg;

    if (pos != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    t->body_index = 0;
    t->body_pos = 0;
    return CURL_SEEKFUNC_OK;
}

static int before_send(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct s3_transfer *t = arg;

    (void)remote;
    (void)local;
    (void)remote_port;
    (void)local_port;
    if (++t->sends > 1 && !is_repeatable(t->request->method)) { /* X2 */
        t->stop = S3_STOP_RESENT;
        return CURL_PREREQFUNC_ABORT;
    }
    return CURL_PREREQFUNC_OK;
}

static bool header_append(struct s3_transfer *t, const char *line)
{
    struct curl_slist *list = curl_slist_append(t->headers, line);

    if (!list)
        return false;
    t->headers = list;
    return true;
}

/* The request's headers, and the silencing of those that libcurl would add by itself. */
static bool headers_prepare(struct s3_transfer *t)
{
    bool has_type = false;

    for (size_t i = 0; i < t->request->header_count; i++) {
        const struct s3_header *h = &t->request->headers[i];
        char *line = NULL;
        bool good =
            base_format(&line, NULL, h->value[0] ? "%s: %s" : "%s;%s", h->name, h->value) == 0 &&
            header_append(t, line);

        free(line);
        if (!good)
            return false;
        has_type = has_type || strcmp(h->name, "content-type") == 0;
    }
    return header_append(t, "Expect:") && header_append(t, "Accept:") &&
           (has_type || header_append(t, "Content-Type:"));
}

/* Several pieces of a small body become one. */
static bool body_gather(struct s3_transfer *t)
{
    size_t pos = 0;

    t->gathered = malloc(t->body_size);
    if (!t->gathered)
        return false;
    for (int i = 0; i < t->request->body_count; i++) {
        const struct iovec *v = &t->request->body[i];

        if (v->iov_len > 0)
            memcpy((char *)t->gathered + pos, v->iov_base, v->iov_len);
        pos += v->iov_len;
    }
    return true;
}

/* A body in one piece is sent from where it lies. */
static bool body_prepare(struct s3_transfer *t)
{
    const void *whole = "";
    int pieces = 0;

    for (int i = 0; i < t->request->body_count; i++) {
        t->body_size += t->request->body[i].iov_len;
        if (t->request->body[i].iov_len > 0) {
            whole = t->request->body[i].iov_base;
            pieces++;
        }
    }
    if (pieces > 1 && t->body_size <= S3_TRANSFER_GATHER_MAX) {
        if (!body_gather(t))
            return false;
        whole = t->gathered;
        pieces = 1;
    }
    if (pieces > 1) {
        curl_easy_setopt(t->easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, send_piece);
        curl_easy_setopt(t->easy, CURLOPT_READDATA, t);
        curl_easy_setopt(t->easy, CURLOPT_SEEKFUNCTION, send_rewind);
        curl_easy_setopt(t->easy, CURLOPT_SEEKDATA, t);
        curl_easy_setopt(t->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->body_size);
    } else {
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_size);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, whole);
    }
    return true;
}

static bool method_prepare(struct s3_transfer *t)
{
    const char *method = t->request->method;

    if (strcmp(method, "GET") == 0)
        return true;
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
        return true;
    }
    if ((strcmp(method, "DELETE") != 0 || t->request->body_count > 0) && !body_prepare(t))
        return false;
    return curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
}

/* ---- the reply ---- */

static void reply_reset(struct s3_transfer *t)
{
    for (size_t i = 0; i < S3_HTTP_WANT_MAX; i++) {
        free(t->reply.headers[i]);
        t->reply.headers[i] = NULL;
    }
    t->reply.content_length = -1;
}

/* "HTTP/1.1 206 Partial Content": what came before (a 100 Continue) is forgotten. */
static void status_line(struct s3_transfer *t, const char *line, size_t size)
{
    const char *space = memchr(line, ' ', size);
    char digits[4] = "";

    reply_reset(t);
    if (space && (size_t)(line + size - space) > 3)
        memcpy(digits, space + 1, 3);
    t->reply.status = atoi(digits);
}

static bool header_keep(struct s3_transfer *t, const char *name, size_t name_size,
                        const char *value, size_t value_size)
{
    const char *const *want = t->request->want_headers;

    if (name_size == 14 && strncasecmp(name, "content-length", 14) == 0 && value_size < 20) {
        char text[20];

        memcpy(text, value, value_size);
        text[value_size] = '\0';
        t->reply.content_length = strtoll(text, NULL, 10);
    }
    for (size_t i = 0; want && want[i] && i < S3_HTTP_WANT_MAX; i++) {
        if (strlen(want[i]) != name_size || strncasecmp(want[i], name, name_size) != 0)
            continue;
        free(t->reply.headers[i]);
        t->reply.headers[i] = strndup(value, value_size);
        return t->reply.headers[i] != NULL;
    }
    return true;
}

static size_t receive_header(char *line, size_t size, size_t count, void *arg)
{
    struct s3_transfer *t = arg;
    size_t n = size * count, end = n;
    const char *colon;

    t->header_bytes += n;
    if (t->header_bytes > S3_HTTP_HEADERS_MAX) {
        t->stop = S3_STOP_HEADERS;
        return 0;
    }
    if (t->head_ended && t->reply.status >= 200) /* X3 */
        return n;
    while (end > 0 && (line[end - 1] == '\r' || line[end - 1] == '\n' || line[end - 1] == ' '))
        end--;
    t->head_ended = end == 0;
    if (end > 5 && memcmp(line, "HTTP/", 5) == 0) {
        status_line(t, line, end);
        return n;
    }
    colon = memchr(line, ':', end);
    if (colon) {
        const char *value = colon + 1;

        while (value < line + end && (*value == ' ' || *value == '\t'))
            value++;
        if (!header_keep(t, line, (size_t)(colon - line), value, (size_t)(line + end - value))) {
            t->stop = S3_STOP_NO_MEMORY;
            return 0;
        }
    }
    return n;
}

/* What is kept of an error's body; more than that nobody reads. */
static bool receive_error(struct s3_transfer *t, const char *data, size_t size)
{
    size_t room = S3_HTTP_ERROR_BODY_MAX - t->reply.error_size;
    size_t keep = size < room ? size : room;
    char *grown = realloc(t->reply.error_body, t->reply.error_size + keep + 1);

    if (!grown) {
        t->stop = S3_STOP_NO_MEMORY;
        return false;
    }
    memcpy(grown + t->reply.error_size, data, keep);
    t->reply.error_body = grown;
    t->reply.error_size += keep;
    if (keep < size)
        t->stop = S3_STOP_ERROR_BODY;
    return keep == size;
}

static bool memory_grow(struct s3_transfer *t, size_t size)
{
    struct s3_http_request *r = t->request;
    size_t capacity = t->capacity ? t->capacity : 4096;
    void *grown;

    if (size <= t->capacity)
        return true;
    if (t->capacity == 0 && t->reply.content_length > 0)
        capacity = (size_t)t->reply.content_length; /* a promise; bounded by size_max below */
    while (capacity < size)
        capacity *= 2;
    if (capacity > r->size_max)
        capacity = r->size_max;
    grown = realloc(r->body_memory, capacity);
    if (!grown)
        return false;
    r->body_memory = grown;
    t->capacity = capacity;
    return true;
}

static size_t receive_body(char *data, size_t size, size_t count, void *arg)
{
    struct s3_transfer *t = arg;
    struct s3_http_request *r = t->request;
    size_t n = size * count, before = t->reply.size;

    t->reply.size += n;
    if (t->reply.status < 200 || t->reply.status > 299)
        return receive_error(t, data, n) ? n : 0;
    if (t->reply.size > (r->room ? r->room_size : r->size_max)) { /* X1 */
        t->stop = S3_STOP_BODY;
        return 0;
    }
    if (!r->room && !memory_grow(t, t->reply.size)) {
        t->stop = S3_STOP_NO_MEMORY;
        return 0;
    }
    memcpy((char *)(r->room ? r->room : r->body_memory) + before, data, n);
    return n;
}

/* ---- the whole ---- */

/* As libcurl's own, but no child of the user's program inherits it. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)arg;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void tls_prepare(CURL *easy, const struct s3_http_options *options)
{
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (options->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
}

bool s3_transfer_prepare(struct s3_transfer *t, const struct s3_http_options *options)
{
    CURL *easy = t->easy;
    int64_t connect_timeout_ms = t->request->connect_timeout_ms > 0 ? t->request->connect_timeout_ms
                                                                    : options->connect_timeout_ms;

    t->reply.content_length = -1;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* keys may hold ".." inside a part */
    curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, CONNECTION_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_SIZE);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER_SIZE);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_timeout_ms);
    if (t->request->direct) /* an empty name is none, whatever the environment says */
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "varve");
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, receive_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_send);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    tls_prepare(easy, options);
    if (curl_easy_setopt(easy, CURLOPT_URL, t->request->url) != CURLE_OK || !headers_prepare(t) ||
        !method_prepare(t))
        return false;
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    return true;
}

bool s3_transfer_check(struct s3_transfer *t, const struct s3_http_options *options, int64_t now_ns)
{
    curl_off_t up = 0, down = 0;
    uint64_t moved;
    int64_t first_byte_ms = t->request->first_byte_timeout_ms > 0
                                ? t->request->first_byte_timeout_ms
                                : options->first_byte_timeout_ms;

    if (t->sends == 0) /* connecting, or waiting for a connection: libcurl's deadline */
        return true;
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    moved = (uint64_t)up + (uint64_t)down + t->header_bytes + 1;
    if (moved != t->moved) {
        t->moved = moved;
        t->moved_ns = now_ns;
    }
    if (!t->sent && (uint64_t)up >= t->body_size) {
        t->sent = true;
        t->sent_ns = now_ns;
    }
    if (t->sent && t->header_bytes == 0) {
        if (now_ns - t->sent_ns > first_byte_ms * 1000000)
            t->stop = S3_STOP_FIRST_BYTE;
    } else if (now_ns - t->moved_ns > options->stall_timeout_ms * 1000000) {
        t->stop = S3_STOP_STALL;
    }
    return t->stop == S3_STOP_NONE;
}

static void fail(struct s3_transfer *t, enum s3_http_outcome outcome, bool retriable,
                 const char *message)
{
    t->reply.outcome = outcome;
    t->reply.retriable = retriable;
    snprintf(t->reply.message, sizeof(t->reply.message), "%s", message);
}

/* OpenSSL's verdict on the chain of certificates. libcurl leaves it at "unspecified" where the
 * chain was good and the host's name was not. */
static enum s3_http_trouble certificate_trouble(CURL *easy)
{
    long verdict = X509_V_OK;

    if (curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verdict) != CURLE_OK)
        return S3_HTTP_TROUBLE_UNTRUSTED;
    switch (verdict) {
    case X509_V_OK:
    case X509_V_ERR_UNSPECIFIED:
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return S3_HTTP_TROUBLE_ANOTHER_HOST;
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return S3_HTTP_TROUBLE_EXPIRED;
    default:
        return S3_HTTP_TROUBLE_UNTRUSTED;
    }
}

static enum s3_http_trouble failure_trouble(const struct s3_transfer *t, CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return S3_HTTP_TROUBLE_NAME;
    case CURLE_COULDNT_CONNECT:
        return S3_HTTP_TROUBLE_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
        return S3_HTTP_TROUBLE_TLS;
    case CURLE_SSL_CACERT_BADFILE:
        return S3_HTTP_TROUBLE_CA_FILE;
    case CURLE_OUT_OF_MEMORY:
        return S3_HTTP_TROUBLE_MEMORY;
    case CURLE_PEER_FAILED_VERIFICATION:
        return t->easy ? certificate_trouble(t->easy) : S3_HTTP_TROUBLE_UNTRUSTED;
    default:
        return S3_HTTP_TROUBLE_OTHER;
    }
}

/* What to look at, before libcurl's own words. */
static const char *const hints[] = {
    [S3_HTTP_TROUBLE_OTHER] = "",
    [S3_HTTP_TROUBLE_NAME] = "the endpoint's name cannot be resolved: ",
    [S3_HTTP_TROUBLE_CONNECT] = "",
    [S3_HTTP_TROUBLE_TLS] = "TLS refused (does the endpoint speak https?): ",
    [S3_HTTP_TROUBLE_CA_FILE] = "TLS refused, the CA file cannot be read: ",
    [S3_HTTP_TROUBLE_UNTRUSTED] =
        "TLS refused, the certificate is not trusted (give its CA as ca=FILE): ",
    [S3_HTTP_TROUBLE_EXPIRED] = "TLS refused, the certificate is not valid at this time: ",
    [S3_HTTP_TROUBLE_ANOTHER_HOST] = "TLS refused, the certificate is another host's: ",
    [S3_HTTP_TROUBLE_MEMORY] = "",
};

static bool may_pass(CURLcode code)
{
    return code != CURLE_PEER_FAILED_VERIFICATION && code != CURLE_SSL_CACERT_BADFILE &&
           code != CURLE_URL_MALFORMAT && code != CURLE_UNSUPPORTED_PROTOCOL;
}

static void conclude_stop(struct s3_transfer *t)
{
    enum s3_http_outcome lost = t->sends > 0 ? S3_HTTP_UNKNOWN : S3_HTTP_NOT_SENT;

    switch (t->stop) {
    case S3_STOP_CANCELLED:
        fail(t, S3_HTTP_CANCELLED, false, "cancelled");
        break;
    case S3_STOP_FIRST_BYTE:
        fail(t, lost, true, "no answer within the time for the first byte");
        break;
    case S3_STOP_STALL:
        fail(t, lost, true, "the connection stalled");
        break;
    case S3_STOP_BODY:
        fail(t, S3_HTTP_TRUNCATED, true, "the reply is longer than what was asked for");
        break;
    case S3_STOP_HEADERS:
        fail(t, lost, true, "the reply's headers are above their limit");
        break;
    case S3_STOP_RESENT:
        fail(t, lost, true, "the server closed the connection without an answer");
        break;
    case S3_STOP_NO_MEMORY:
        t->reply.trouble = S3_HTTP_TROUBLE_MEMORY;
        fail(t, lost, true, "out of memory");
        break;
    case S3_STOP_ERROR_BODY:
    case S3_STOP_NONE:
        t->reply.outcome = S3_HTTP_REPLY;
        break;
    }
}

static void conclude_failure(struct s3_transfer *t, CURLcode code)
{
    const char *hint;
    const char *detail = t->error[0] ? t->error : curl_easy_strerror(code);
    char text[sizeof(t->reply.message)];

    /* Its word for a header above its own limit, too. */
    if (code == CURLE_OUT_OF_MEMORY && t->reply.first_byte_ns > 0 && !t->head_ended) {
        t->stop = S3_STOP_HEADERS;
        conclude_stop(t);
        return;
    }
    t->reply.trouble = failure_trouble(t, code);
    hint = hints[t->reply.trouble];
    if (code == CURLE_PARTIAL_FILE) {
        fail(t, S3_HTTP_TRUNCATED, true, "the reply ended before its promised length");
        return;
    }
    if (code == CURLE_GOT_NOTHING)
        detail = "the server closed the connection without an answer";
    snprintf(text, sizeof(text), "%s%.*s", hint, (int)(sizeof(text) - 1 - strlen(hint)), detail);
    fail(t, t->sends > 0 ? S3_HTTP_UNKNOWN : S3_HTTP_NOT_SENT, may_pass(code), text);
}

void s3_transfer_conclude(struct s3_transfer *t, CURLcode code, int64_t now_ns)
{
    struct s3_http_reply *reply = &t->reply;
    bool bodiless =
        strcmp(t->request->method, "HEAD") == 0 || reply->status == 204 || reply->status == 304;
    curl_off_t first = 0;

    reply->total_ns = now_ns - t->started_ns;
    if (t->easy && curl_easy_getinfo(t->easy, CURLINFO_STARTTRANSFER_TIME_T, &first) == CURLE_OK)
        reply->first_byte_ns = (int64_t)first * 1000;
    if (t->stop != S3_STOP_NONE) {
        conclude_stop(t);
    } else if (code != CURLE_OK) {
        conclude_failure(t, code);
    } else if (!t->head_ended) { /* X3 */
        fail(t, S3_HTTP_UNKNOWN, true, "the reply ended among its headers");
    } else if (!bodiless && reply->content_length >= 0 &&
               (uint64_t)reply->content_length != reply->size) { /* X1 */
        fail(t, S3_HTTP_TRUNCATED, true, "the reply is not of its promised length");
    } else {
        reply->outcome = S3_HTTP_REPLY;
    }
    if (reply->outcome == S3_HTTP_REPLY && t->request->body_memory)
        t->request->body_memory_size = reply->size;
    if (reply->outcome != S3_HTTP_REPLY) {
        free(t->request->body_memory);
        t->request->body_memory = NULL;
    }
}

void s3_transfer_free(struct s3_transfer *t)
{
    if (!t)
        return;
    s3_http_reply_deinit(&t->reply);
    curl_slist_free_all(t->headers);
    free(t->gathered);
    free(t);
}
