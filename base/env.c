#include "base/env.h"

void base_env_init(struct base_env *env)
{
    *env = (struct base_env){
        .io = &base_io_posix,
        .clock = &base_clock_system,
        .random = &base_random_system,
    };
}
