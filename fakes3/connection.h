/* One connection of a client: requests one after another, each read, served and answered. */
#ifndef FAKES3_CONNECTION_H
#define FAKES3_CONNECTION_H

#include "fakes3/server.h"

/* Takes the accepted descriptor over. */
void fakes3_connection_accept(struct fakes3_server *server, int fd);
/* Ends all of them. */
void fakes3_connection_end_all(struct fakes3_server *server);

#endif
