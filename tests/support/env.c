#include "tests/support/env.h"

#include <stdio.h>
#include <stdlib.h>

#define SEED UINT64_C(20231114)

struct support_env *support_env_new(const char *name)
{
    struct support_env *e = calloc(1, sizeof(*e));

    if (!e)
        abort();
    e->dir = support_tmpdir_new(name);
    e->io = support_io_new(NULL);
    e->logger = support_logger_new();
    support_clock_init(&e->clock, SUPPORT_ENV_WALL_MS);
    support_random_init(&e->random, SEED);
    e->env.io = support_io_seam(e->io);
    e->env.clock = &e->clock.seam;
    e->env.random = &e->random.seam;
    e->env.logger = support_logger_seam(e->logger);
    return e;
}

struct support_env *support_env_free(struct support_env *e)
{
    if (!e)
        return NULL;
    support_io_free(e->io);
    support_logger_free(e->logger);
    support_tmpdir_free(e->dir);
    free(e);
    return NULL;
}

int support_env_setup(void **state)
{
    *state = support_env_new("test");
    return 0;
}

int support_env_teardown(void **state)
{
    struct support_env *e = *state;
    const char *unexpected = support_logger_unexpected(e->logger);
    size_t open = support_io_open_count(e->io);
    int rc = unexpected || open > 0 ? -1 : 0;

    if (unexpected)
        fprintf(stderr, "unexpected error in the log: %s\n", unexpected);
    if (open > 0)
        fprintf(stderr, "%zu descriptors are still open\n", open);
    support_env_free(e);
    return rc;
}
