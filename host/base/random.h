// A small seedable generator of pseudo-random numbers, the same on every machine. Not for secrets.
// Source: SplitMix64 (Steele, Lea and Flood, 2014).
#ifndef STRATA_BASE_RANDOM_H
#define STRATA_BASE_RANDOM_H

#include <stdint.h>

typedef struct {
    uint64_t state;
} Random;

Random random_seed(uint64_t seed);
uint64_t random_next(Random *random);
// Uniform in [0, bound), bound > 0, without bias.
uint64_t random_below(Random *random, uint64_t bound);
double random_uniform(Random *random); // in [0, 1)
double random_normal(Random *random);  // mean 0, variance 1

#endif
