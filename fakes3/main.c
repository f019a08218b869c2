/* varve-fakes3: an S3 server with a fault script. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "fakes3/connection.h"
#include "fakes3/options.h"
#include "fakes3/persist.h"
#include "fakes3/text.h"

#define EXIT_USAGE 2

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "varve-fakes3: %s: %s\n", what, why);
    return false;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int size, void *arg)
{
    (void)listener;
    (void)address;
    (void)size;
    fakes3_connection_accept(arg, fd);
}

static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    static const struct timeval pause = {.tv_usec = 10000};

    (void)listener;
    (void)arg;
    /* Out of descriptors: the next connection that closes frees one. */
    fail("accept", strerror(EVUTIL_SOCKET_ERROR()));
    select(0, NULL, NULL, NULL, &(struct timeval){pause.tv_sec, pause.tv_usec});
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

static void on_stdin(evutil_socket_t fd, short what, void *arg)
{
    char block[512];

    (void)what;
    if (read(fd, block, sizeof(block)) <= 0)
        event_base_loopbreak(arg);
}

static struct evconnlistener *listen_on(struct fakes3_server *server, int port, int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                                  .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof(address);
    struct evconnlistener *listener =
        evconnlistener_new_bind(server->base, on_accept, server,
                                LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
                                1024, (struct sockaddr *)&address, sizeof(address));

    if (!listener) {
        fail("listen on 127.0.0.1", strerror(errno));
        return NULL;
    }
    evconnlistener_set_error_cb(listener, on_accept_error);
    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &size);
    *ret_port = ntohs(address.sin_port);
    return listener;
}

/* Renamed into its place: who waits for the file finds a whole number in it. */
static bool write_port(const char *path, int port)
{
    char *temporary = fakes3_text_format("%s.tmp", path);
    FILE *file = fopen(temporary, "w");
    bool good = file && fprintf(file, "%d\n", port) > 0;

    if (file && fclose(file) != 0)
        good = false;
    if (!good || rename(temporary, path) != 0)
        good = fail(path, strerror(errno));
    free(temporary);
    return good;
}

static bool start_tls(struct fakes3_server *server, const struct fakes3_settings *settings)
{
    if (!settings->tls_cert)
        return true;
    server->tls = SSL_CTX_new(TLS_server_method());
    if (server->tls && SSL_CTX_use_certificate_chain_file(server->tls, settings->tls_cert) == 1 &&
        SSL_CTX_use_PrivateKey_file(server->tls, settings->tls_key, SSL_FILETYPE_PEM) == 1 &&
        SSL_CTX_check_private_key(server->tls) == 1)
        return true;
    return fail("certificate and key", ERR_reason_error_string(ERR_get_error()));
}

static bool add_bucket(struct fakes3_server *server, const struct fakes3_pair *item)
{
    const char *account = FAKES3_ACCOUNT_DEFAULT, *region = server->options.region;
    char *rest = item->value, *word;

    if (!fakes3_store_name_is_valid(item->name))
        return fail(item->name, "not a name for a bucket");
    while ((word = strsep(&rest, ":"))) {
        if (strncmp(word, "account=", 8) == 0)
            account = word + 8;
        else if (strncmp(word, "region=", 7) == 0)
            region = word + 7;
        else if (*word)
            return fail(word, "not an attribute of a bucket: account= and region= are");
    }
    /* With --dir it may be there from last time. */
    if (!fakes3_store_find(&server->store, item->name))
        fakes3_persist_save_bucket(server, fakes3_store_add(&server->store, item->name, account,
                                                            region, fakes3_server_wall_ms(server)));
    return true;
}

static bool prepare(struct fakes3_server *server, const struct fakes3_settings *settings)
{
    char *error;
    bool good;

    if (server->keys.count == 0)
        fakes3_keys_add(&server->keys, FAKES3_KEY_DEFAULT);
    fakes3_random_init(&server->random, server->faults.seed, 0);
    if (server->store.blobs.dir && !fakes3_persist_open(server, &error)) {
        good = fail(server->store.blobs.dir, error);
        free(error);
        return good;
    }
    for (size_t i = 0; i < settings->buckets.count; i++)
        if (!add_bucket(server, &settings->buckets.items[i]))
            return false;
    return start_tls(server, settings);
}

/* A pipe at stdin closes with whoever holds its other end; a terminal or /dev/null says nothing. */
static struct event *watch_parent(struct fakes3_server *server)
{
    struct stat st;
    struct event *event;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (fstat(STDIN_FILENO, &st) != 0 || (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)))
        return NULL;
    event = event_new(server->base, STDIN_FILENO, EV_READ | EV_PERSIST, on_stdin, server->base);
    event_add(event, NULL);
    return event;
}

static int run(struct fakes3_server *server, const struct fakes3_settings *settings)
{
    struct event *term = evsignal_new(server->base, SIGTERM, on_end, server->base);
    struct event *interrupt = evsignal_new(server->base, SIGINT, on_end, server->base);
    struct event *parent = settings->exit_with_parent ? watch_parent(server) : NULL;
    int port;
    struct evconnlistener *listener = listen_on(server, settings->port, &port);
    bool good = listener && (!settings->port_file || write_port(settings->port_file, port));

    event_add(term, NULL);
    event_add(interrupt, NULL);
    if (good) {
        printf("listening on %s://127.0.0.1:%d\n", server->tls ? "https" : "http", port);
        fflush(stdout);
        event_base_dispatch(server->base);
    }
    fakes3_connection_end_all(server);
    if (listener)
        evconnlistener_free(listener);
    if (parent)
        event_free(parent);
    event_free(interrupt);
    event_free(term);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct fakes3_server server = {
        .options = {.region = "us-east-1",
                    .domain = "localhost",
                    .restore_ms = 1000,
                    .day_ms = 24 * 3600 * 1000,
                    .credentials_ms = 3600 * 1000,
                    .part_size_min = 5 * 1024 * 1024},
        .store = {.blobs = {.bytes_max = UINT64_C(4) * 1024 * 1024 * 1024}},
        .faults = {.seed = 1},
    };
    struct fakes3_settings settings = {0};
    int status = EXIT_USAGE;

    signal(SIGPIPE, SIG_IGN); /* a closed connection is an error of write */
    if (fakes3_options_parse(argc, argv, &server, &settings)) {
        status = EXIT_SUCCESS;
        if (!settings.quit) {
            server.base = event_base_new();
            status = prepare(&server, &settings) ? run(&server, &settings) : EXIT_FAILURE;
        }
    }
    server.store.blobs.keep = true;
    fakes3_store_deinit(&server.store);
    fakes3_faults_clear(&server.faults);
    fakes3_keys_deinit(&server.keys);
    fakes3_stats_deinit(&server.stats);
    fakes3_pairs_deinit(&settings.buckets);
    SSL_CTX_free(server.tls);
    if (server.base)
        event_base_free(server.base);
    return status;
}
