/*
 * With --dir: buckets and objects outlive the server. Unfinished uploads do not, and nothing is
 * synced: this is a server for tests, made to be killed, not to survive the loss of power.
 */
#ifndef FAKES3_PERSIST_H
#define FAKES3_PERSIST_H

#include "fakes3/server.h"

/* Reads what an earlier server left in store.blobs.dir, which is made where it is not there. False
 * with a message of fresh memory. */
bool fakes3_persist_open(struct fakes3_server *server, char **ret_error);
/* All of these do nothing without a directory. A failure is told on standard error. */
void fakes3_persist_save_bucket(struct fakes3_server *server, const struct fakes3_bucket *bucket);
void fakes3_persist_remove_bucket(struct fakes3_server *server, const struct fakes3_bucket *bucket);
void fakes3_persist_save(struct fakes3_server *server, const struct fakes3_bucket *bucket,
                         const struct fakes3_object *object);
void fakes3_persist_remove(struct fakes3_server *server, const struct fakes3_bucket *bucket,
                           const char *key);

#endif
