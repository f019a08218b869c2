#include "fakes3/server.h"

#include "base/clock.h"

int64_t fakes3_server_wall_ms(const struct fakes3_server *server)
{
    return base_clock_system.wall_ms(base_clock_system.ctx) + server->skew_ms;
}

int64_t fakes3_server_mono_ms(void)
{
    return base_clock_system.mono_ns(base_clock_system.ctx) / 1000000;
}

struct fakes3_instant fakes3_server_instant(const struct fakes3_server *server)
{
    return (struct fakes3_instant){.mono_ms = fakes3_server_mono_ms(),
                                   .request = server->last_request};
}
