/* The command line. */
#ifndef FAKES3_OPTIONS_H
#define FAKES3_OPTIONS_H

#include "fakes3/server.h"

/* What main needs besides the server's options. */
struct fakes3_settings {
    int port;
    const char *port_file;
    const char *tls_cert, *tls_key;
    bool exit_with_parent;
    bool quit;                   /* --help or --version was answered */
    struct fakes3_pairs buckets; /* name: of the bucket; value: its attributes */
};

/* Fills both. False after a message on standard error: wrong use. */
bool fakes3_options_parse(int argc, char **argv, struct fakes3_server *server,
                          struct fakes3_settings *settings);

#endif
