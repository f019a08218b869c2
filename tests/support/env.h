/* All the seams at once, for a test that drives the engine: a temporary directory, the I/O wrapper,
 * a clock that stands still, seeded random bytes, a collecting logger. */
#ifndef SUPPORT_ENV_H
#define SUPPORT_ENV_H

#include "base/env.h"
#include "tests/support/clock.h"
#include "tests/support/io.h"
#include "tests/support/logger.h"
#include "tests/support/random.h"
#include "tests/support/tmpdir.h"

#define SUPPORT_ENV_WALL_MS                                                                        \
    INT64_C(1700000000000) /* 2023-11-14T22:13:20Z, where the clock begins */

struct support_env {
    struct base_env env; /* give &e->env to the engine */
    struct support_tmpdir *dir;
    struct support_io *io;
    struct support_clock clock;
    struct support_random random;
    struct support_logger *logger;
};

/* `name` shows in the directory's name; the seed is always the same. */
struct support_env *support_env_new(const char *name);
/* Removes the directory. Checks nothing. */
struct support_env *support_env_free(struct support_env *e);

/* As cmocka wants them. The teardown fails when an error was logged that nobody expected, or when a
 * descriptor is still open. */
int support_env_setup(void **state);
int support_env_teardown(void **state);

/* An entry of the table of tests, for files that include <cmocka.h>. */
#define support_env_test(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, support_env_setup, support_env_teardown)

#endif
