// A small seedable generator: see random.h.
#include "base/random.h"

#include <math.h>

Random random_seed(uint64_t seed)
{
    return (Random){seed};
}

uint64_t random_next(Random *random)
{
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t random_below(Random *random, uint64_t bound)
{
    uint64_t reject = -bound % bound, value; // 2^64 mod bound values would be favoured
    do value = random_next(random);
    while (value < reject);
    return value % bound;
}

double random_uniform(Random *random)
{
    return (double)(random_next(random) >> 11) * 0x1p-53;
}

double random_normal(Random *random)
{
    double u = 1.0 - random_uniform(random), v = random_uniform(random); // Box-Muller, u > 0
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
