/* What the commands share: an open store and log, signals, statistics, a progress bar. */
#ifndef TOOLS_SESSION_H
#define TOOLS_SESSION_H

#include <signal.h>

#include "tools/cli.h"

struct tools_session {
    struct tools_args *args;
    struct varve_store *store;
    struct varve_log *log;
};

/* The library's messages go to stderr: warnings, and with --verbose what else it says. */
void tools_session_listen(const struct tools_args *args, struct varve_store_options *options);

/*
 * Opens the store named by the first operand. `options` holds what the command wants beside the
 * defaults; callbacks are set here. What goes wrong is reported; returns what to exit with.
 */
int tools_session_open(struct tools_session *s, struct tools_args *args,
                       const struct varve_store_options *options);
/* Opens a log of it. */
int tools_session_log(struct tools_session *s, const char *name, enum varve_durability durability);
/* Closes what is open; may be called twice. */
void tools_session_close(struct tools_session *s);

/* With --stats prints the counters to stderr, as JSON with --json. Call before closing. */
void tools_session_stats(const struct tools_session *s);

/* Calls `one` for the log named by the second operand, or for each log of the store; stops at the
 * first that does not return TOOLS_OK. The session's log is open during the call. */
int tools_session_each(struct tools_session *s,
                       int (*one)(struct tools_session *s, const char *name, void *ctx), void *ctx);

/* SIGINT and SIGTERM only set this from now on; a blocking read(2) ends with EINTR. */
extern volatile sig_atomic_t tools_signal;
void tools_signals_catch(void);
/* 128 + the signal's number, as a shell has it. */
int tools_signal_exit(void);

/* A bar on stderr; nothing where that is no terminal, or with --quiet. */
struct tools_progress {
    const char *what;
    bool shown;
    bool enabled;
    int64_t next_ns; /* not drawn again before */
};
void tools_progress_init(struct tools_progress *p, const struct tools_args *args, const char *what);
void tools_progress_set(void *progress, uint64_t done_bytes, uint64_t total_bytes);
/* Takes the bar away. */
void tools_progress_end(struct tools_progress *p);

#endif
