/* What every object of the engine is given: the seams and the logger. Lives longer than all of
 * them. */
#ifndef BASE_ENV_H
#define BASE_ENV_H

#include "base/clock.h"
#include "base/io.h"
#include "base/logger.h"
#include "base/random.h"

struct base_env {
    const struct base_io *io;
    const struct base_clock *clock;
    const struct base_random *random;
    struct base_logger logger;
};

/* The system's seams and a silent logger. */
void base_env_init(struct base_env *env);

#endif
