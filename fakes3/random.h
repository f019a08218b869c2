/*
 * Random numbers that are the same for the same seed: splitmix64. Each rule of the fault script has
 * a stream of its own, so that what one rule draws does not depend on the others.
 */
#ifndef FAKES3_RANDOM_H
#define FAKES3_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct fakes3_random {
    uint64_t state;
};

void fakes3_random_init(struct fakes3_random *random, uint64_t seed, uint64_t stream);
uint64_t fakes3_random_next(struct fakes3_random *random);
double fakes3_random_unit(struct fakes3_random *random);   /* [0, 1) */
double fakes3_random_normal(struct fakes3_random *random); /* mean 0, deviation 1 */
/* `size` characters of A-Z and 2-7, and NUL. */
void fakes3_random_name(struct fakes3_random *random, char *ret, size_t size);

#endif
