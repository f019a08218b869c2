#include <math.h>

#include "fakes3/random.h"

void fakes3_random_init(struct fakes3_random *random, uint64_t seed, uint64_t stream)
{
    random->state = seed ^ (stream * UINT64_C(0xd1342543de82ef95));
    fakes3_random_next(random);
}

uint64_t fakes3_random_next(struct fakes3_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double fakes3_random_unit(struct fakes3_random *random)
{
    return (double)(fakes3_random_next(random) >> 11) * 0x1p-53;
}

double fakes3_random_normal(struct fakes3_random *random)
{
    double u = 1 - fakes3_random_unit(random); /* (0, 1]: its logarithm exists */
    double v = fakes3_random_unit(random);

    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}

void fakes3_random_name(struct fakes3_random *random, char *ret, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

    for (size_t i = 0; i < size; i++)
        ret[i] = letters[fakes3_random_next(random) & 31];
    ret[size] = 0;
}
