/* A varve-fakes3 of the test's own, on a free port. Test thread only; aborts when it cannot be
 * had. It ends with the test's process, however that ends. */
#ifndef SUPPORT_FAKES3_H
#define SUPPORT_FAKES3_H

struct support_fakes3;

/* `program` is its path; `args` are more arguments, NULL-terminated. It listens already. */
struct support_fakes3 *support_fakes3_start(const char *program, const char *const *args);
struct support_fakes3 *support_fakes3_stop(struct support_fakes3 *server);

unsigned support_fakes3_port(const struct support_fakes3 *server);
/* Its fault script from now on, one rule a line; counts begin anew. "": none. */
void support_fakes3_rules(struct support_fakes3 *server, const char *rules);

#endif
