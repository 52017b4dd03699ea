// Sampling: every option against values worked out by hand and against a plain reimplementation,
// their order, extremes, what is no number, and that draws follow the distribution.
#include "support/files.h"
#include "text/sampler.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

static SamplerOptions options_at(double temperature)
{
    SamplerOptions options = sampler_greedy();
    options.temperature = temperature;
    return options;
}

// p (vocab) of a sampler that is made for it.
static void distribution(double *p, const float *logits, uint32_t vocab, SamplerOptions options,
                         const uint32_t *history, size_t count)
{
    Sampler sampler;
    Error err;
    if (!sampler_make(&sampler, &options, vocab, &err)) fail_msg("%s", err.text);
    memset(p, 0xff, vocab * sizeof *p); // NaN: all of it must be written
    sampler_distribution(&sampler, p, logits, history, count);
    sampler_free(&sampler);
}

static void check_p(const double *got, const double *want, uint32_t vocab, const char *what)
{
    for (uint32_t i = 0; i < vocab; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-6) || (got[i] > 0) != (want[i] > 0))
            fail_msg("%s: token %u has %.9g, expected %.9g", what, i, got[i], want[i]);
}

// ---- by hand -----------------------------------------------------------------------------------

// Tokens of probability .1, .4, .2, .3.
static const double TENTHS[4] = {.1, .4, .2, .3};

static void tenths(float *logits)
{
    for (int i = 0; i < 4; i++) logits[i] = (float)log(TENTHS[i]) + 3;
}

static void by_hand(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        double temperature;
        uint32_t top_k;
        double top_p, min_p, want[4];
    } cases[] = {
        {"plain", 1, 0, 1, 0, {.1, .4, .2, .3}},
        {"temperature 1/2 squares", .5, 0, 1, 0, {.01 / .3, .16 / .3, .04 / .3, .09 / .3}},
        {"top_k 1", 1, 1, 1, 0, {0, 1, 0, 0}},
        {"top_k 2", 1, 2, 1, 0, {0, 4 / 7., 0, 3 / 7.}},
        {"top_k 3", 1, 3, 1, 0, {0, 4 / 9., 2 / 9., 3 / 9.}},
        {"top_k of the vocabulary", 1, 4, 1, 0, {.1, .4, .2, .3}},
        {"top_k beyond it", 1, 4000000000u, 1, 0, {.1, .4, .2, .3}},
        {"a tiny top_p", 1, 0, 1e-9, 0, {0, 1, 0, 0}},
        {"top_p within the first", 1, 0, .39, 0, {0, 1, 0, 0}},
        {"top_p behind the first", 1, 0, .41, 0, {0, 4 / 7., 0, 3 / 7.}},
        {"top_p .71", 1, 0, .71, 0, {0, 4 / 9., 2 / 9., 3 / 9.}},
        {"top_p .91", 1, 0, .91, 0, {.1, .4, .2, .3}},
        {"min_p 1", 1, 0, 1, 1, {0, 1, 0, 0}},
        {"min_p .74", 1, 0, 1, .74, {0, 4 / 7., 0, 3 / 7.}},
        {"min_p .76", 1, 0, 1, .76, {0, 1, 0, 0}},
        {"min_p .24", 1, 0, 1, .24, {.1, .4, .2, .3}},
        // Order: of the two that top_k leaves, one alone has 4/7 of what is left ...
        {"top_k, then top_p", 1, 2, .5, 0, {0, 1, 0, 0}},
        {"top_k, then top_p .58", 1, 2, .58, 0, {0, 4 / 7., 0, 3 / 7.}},
        // ... at half the temperature the first has .53 instead of .4 ...
        {"temperature, then top_p", .5, 0, .5, 0, {0, 1, 0, 0}},
        {"temperature, then min_p", .5, 0, 1, .6, {0, 1, 0, 0}},
        // ... and each takes what the one before it left.
        {"all of them", .5, 3, .9, .3, {0, .16 / .25, 0, .09 / .25}},
    };
    float logits[4];
    double p[4];
    tenths(logits);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SamplerOptions options = options_at(cases[i].temperature);
        options.top_k = cases[i].top_k;
        options.top_p = cases[i].top_p;
        options.min_p = cases[i].min_p;
        distribution(p, logits, 4, options, NULL, 0);
        check_p(p, cases[i].want, 4, cases[i].what);
    }
}

static void ties_go_to_the_smaller_id(void **state)
{
    (void)state;
    const float logits[6] = {1, 2, 2, 1, 2, 1};
    double p[6];
    SamplerOptions options = options_at(1);
    options.top_k = 2;
    distribution(p, logits, 6, options, NULL, 0);
    check_p(p, (const double[]){0, .5, .5, 0, 0, 0}, 6, "top_k among equals");
    options.top_k = 4;
    distribution(p, logits, 6, options, NULL, 0);
    assert_true(p[0] > 0 && p[3] == 0 && p[5] == 0);
    options.top_k = 0;
    options.top_p = .26; // of p = 2.718 / 11.15 = .244 for each of the three
    distribution(p, logits, 6, options, NULL, 0);
    check_p(p, (const double[]){0, .5, .5, 0, 0, 0}, 6, "top_p among equals");
    options.top_p = 1;
    options.min_p = 1; // "at least": equals stay
    distribution(p, logits, 6, options, NULL, 0);
    check_p(p, (const double[]){0, 1 / 3., 1 / 3., 0, 1 / 3., 0}, 6, "min_p among equals");
}

// Above 0 divided, below multiplied, 0 stays; once, however often and wherever it occurred.
static void penalty_by_hand(void **state)
{
    (void)state;
    const float logits[5] = {2, -1, 0, 1, -2};
    const uint32_t history[] = {1, 0, 0, 2, 1, 0, 77, UINT32_MAX}; // some are no tokens of it
    const double after[5] = {2 / 4., -1 * 4., 0, 1, -2};
    double p[5], want[5], sum = 0;
    SamplerOptions options = options_at(1);
    options.repetition_penalty = 4;
    for (int i = 0; i < 5; i++) sum += want[i] = exp(after[i]);
    for (int i = 0; i < 5; i++) want[i] /= sum;
    distribution(p, logits, 5, options, history, 8);
    check_p(p, want, 5, "penalty 4");
    // Before temperature and top_k: token 0 has lost its first place.
    options.top_k = 1;
    distribution(p, logits, 5, options, history, 8);
    check_p(p, (const double[]){0, 0, 0, 1, 0}, 5, "penalty, then top_k");
    // Below 1 it favours what occurred.
    options.repetition_penalty = .25;
    distribution(p, logits, 5, options, history, 1);
    check_p(p, (const double[]){1, 0, 0, 0, 0}, 5, "penalty 1/4 for another");
    options.top_k = 0;
    distribution(p, logits, 5, options, history, 1);
    assert_true(fabs(p[1] / p[2] - exp(-.25)) < 1e-9);
}

static void greedy(void **state)
{
    (void)state;
    const float logits[6] = {1, 5, 4, 5, -3, -2};
    const uint32_t history[] = {1, 1, 3};
    Sampler sampler;
    Error err;
    SamplerOptions options = sampler_greedy();
    assert_true(options.temperature == 0 && options.repetition_penalty == 1);
    assert_true(sampler_make(&sampler, &options, 6, &err));
    assert_int_equal(sampler_best(&sampler, logits, history, 3), 1); // the first of equals
    sampler_free(&sampler);
    options.repetition_penalty = 1.3;
    assert_true(sampler_make(&sampler, &options, 6, &err));
    assert_int_equal(sampler_best(&sampler, logits, history, 0), 1);
    assert_int_equal(sampler_best(&sampler, logits, history, 2), 3);
    assert_int_equal(sampler_best(&sampler, logits, history, 3), 2);
    assert_true(logits[1] == 5); // what is given stays
    sampler_free(&sampler);
}

// ---- against a plain reimplementation ----------------------------------------------------------

// Largest first, of equals the smaller id.
static void order(uint32_t *ids, const double *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = i;
        for (; at && p[ids[at - 1]] < p[i]; at--) ids[at] = ids[at - 1];
        ids[at] = i;
    }
}

// Keeps the first `keep` and makes them sum up to 1.
static void cut(double *p, const uint32_t *ids, uint32_t n, uint32_t keep)
{
    double sum = 0;
    for (uint32_t i = keep; i < n; i++) p[ids[i]] = 0;
    for (uint32_t i = 0; i < n; i++) sum += p[i];
    for (uint32_t i = 0; i < n; i++) p[i] /= sum;
}

// One step after the other, as sampler.h lists them, each on what the one before left. The penalty
// is computed in f32.
static void plain(double *p, const float *logits, uint32_t n, const SamplerOptions *o,
                  const uint32_t *history, size_t count)
{
    uint32_t ids[MOST], keep = 0;
    double z[MOST], most = -INFINITY, reached = 0, penalty = (float)o->repetition_penalty;
    for (uint32_t i = 0; i < n; i++) {
        bool occurred = false;
        for (size_t h = 0; h < count; h++) occurred = occurred || history[h] == i;
        z[i] = logits[i];
        if (occurred) z[i] = (float)(z[i] > 0 ? z[i] / penalty : z[i] * penalty);
        if (z[i] > most) most = z[i];
    }
    for (uint32_t i = 0; i < n; i++) p[i] = exp((z[i] - most) / o->temperature);
    order(ids, p, n);
    cut(p, ids, n, n);
    if (o->top_k) cut(p, ids, n, o->top_k < n ? o->top_k : n);
    while (keep < n && (keep == 0 || (o->top_p < 1 && reached < o->top_p) || o->top_p == 1))
        reached += p[ids[keep++]];
    cut(p, ids, n, keep);
    for (keep = 1; keep < n && p[ids[keep]] >= o->min_p * p[ids[0]]; keep++) continue;
    cut(p, ids, n, keep);
}

static SamplerOptions random_options(Random *r)
{
    SamplerOptions o = options_at(exp(random_normal(r)));
    if (random_below(r, 2)) o.top_k = (uint32_t)random_below(r, 20);
    if (random_below(r, 2)) o.top_p = 1 - random_uniform(r) * random_uniform(r);
    if (random_below(r, 2)) o.min_p = random_uniform(r) * random_uniform(r);
    if (random_below(r, 2)) o.repetition_penalty = exp(.3 * random_normal(r));
    return o;
}

static void random_cases(void **state)
{
    (void)state;
    Random r = random_seed(11);
    uint32_t kept = 0, tokens = 0;
    for (int round = 0; round < 20000; round++) {
        float logits[MOST];
        double got[MOST], want[MOST];
        uint32_t history[8], n = 1 + (uint32_t)random_below(&r, MOST);
        size_t count = random_below(&r, 9);
        bool coarse = random_below(&r, 2); // full of equals
        for (uint32_t i = 0; i < n; i++)
            logits[i] = coarse ? (float)random_below(&r, 4) : (float)(3 * random_normal(&r));
        for (size_t i = 0; i < count; i++) history[i] = (uint32_t)random_below(&r, n);
        SamplerOptions options = random_options(&r);
        distribution(got, logits, n, options, history, count);
        plain(want, logits, n, &options, history, count);
        check_p(got, want, n, "a random case");
        double sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            sum += got[i];
            kept += got[i] > 0;
        }
        assert_true(fabs(sum - 1) < 1e-12);
        tokens += n;
    }
    assert_true(kept > tokens / 10 && kept < tokens * 9 / 10); // or one side was not tested
}

// ---- extremes ----------------------------------------------------------------------------------

static void extreme_temperatures(void **state)
{
    (void)state;
    const float logits[5] = {-1, 1.5f, 1.499f, 1.5f, -40};
    double p[5];
    distribution(p, logits, 5, options_at(1e-6), NULL, 0);
    check_p(p, (const double[]){0, .5, 0, .5, 0}, 5, "1e-6");
    distribution(p, logits, 5, options_at(5e-324), NULL, 0);
    check_p(p, (const double[]){0, .5, 0, .5, 0}, 5, "the least of all");
    distribution(p, logits, 5, options_at(1e5), NULL, 0);
    for (int i = 0; i < 5; i++) assert_true(fabs(p[i] - .2) < 1e-4);
    assert_true(p[1] > p[2] && p[2] > p[0] && p[0] > p[4] && p[1] == p[3]);
}

static void extreme_logits(void **state)
{
    (void)state;
    const float least = -INFINITY, huge = 3.4e38f;
    double p[4];
    SamplerOptions options = options_at(1);
    for (int i = 0; i < 2; i++) {
        distribution(p, (const float[]){least, 1, least, 1}, 4, options, NULL, 0);
        check_p(p, (const double[]){0, .5, 0, .5}, 4, "two of minus infinity");
        distribution(p, (const float[]){huge, -huge, 0, huge}, 4, options, NULL, 0);
        check_p(p, (const double[]){.5, 0, 0, .5}, 4, "huge");
        distribution(p, (const float[]){-huge, -huge, -huge, -huge}, 4, options, NULL, 0);
        check_p(p, (const double[]){.25, .25, .25, .25}, 4, "equal");
        options.min_p = .1; // the same by the way over sorted candidates
        options.top_p = .99;
    }
    distribution(p, (const float[]){7}, 1, options, NULL, 0);
    check_p(p, (const double[]){1}, 1, "a vocabulary of one");
}

// Broken weights give logits that are no numbers. Nothing may break over them, whatever is drawn.
static void logits_that_are_no_numbers(void **state)
{
    (void)state;
    const float nan = NAN, most = INFINITY, least = -INFINITY;
    static const uint32_t history[] = {0, 1, 2, 3};
    const float cases[][4] = {{nan, nan, nan, nan},     {nan, 1, nan, 1},
                              {most, 1, most, nan},     {most, 1, 2, 3},
                              {least, least, nan, nan}, {least, least, least, least}};
    const double want[][4] = {{1, 0, 0, 0}, {0, .5, 0, .5}, {.5, 0, .5, 0},
                              {1, 0, 0, 0}, {.5, .5, 0, 0}, {.25, .25, .25, .25}};
    const uint32_t best[] = {0, 1, 0, 0, 0, 0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int way = 0; way < 4; way++) {
            SamplerOptions options = options_at(.7);
            double p[4];
            if (way & 1) options.top_p = .9999;
            if (way & 2) options.repetition_penalty = 1.5;
            distribution(p, cases[i], 4, options, history, way & 2 ? 4 : 0);
            check_p(p, want[i], 4, "no number");
            if (!way) assert_int_equal(argmax(cases[i], 4), best[i]);
        }
}

// ---- draws -------------------------------------------------------------------------------------

static Sampler open_seed(uint64_t seed, uint32_t vocab)
{
    Sampler sampler;
    Error err;
    SamplerOptions options = options_at(1);
    options.seed = seed;
    if (!sampler_make(&sampler, &options, vocab, &err)) fail_msg("%s", err.text);
    return sampler;
}

// Chi-square with 4 degrees of freedom is above 23.5 once in 10,000 times; seeds are fixed, so this
// passes always or never. What cannot be never is; the sum need not be 1.
static void draws_follow_the_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 50000, V = 7 };
    const double weights[V] = {0, 1, .002, 5, 0, 2, 1.998};
    for (uint64_t seed = 0; seed < 5; seed++) {
        uint32_t counts[V] = {0};
        double chi = 0, sum = 10;
        Sampler sampler = open_seed(seed, V);
        for (int i = 0; i < DRAWS; i++) counts[sampler_draw(&sampler, weights)]++;
        assert_int_equal(counts[0] + counts[4], 0);
        for (int i = 0; i < V; i++) {
            double expected = DRAWS * weights[i] / sum;
            if (expected > 0) chi += (counts[i] - expected) * (counts[i] - expected) / expected;
        }
        if (!(chi < 23.5)) fail_msg("seed %d: chi-square %g", (int)seed, chi);
        sampler_free(&sampler);
    }
}

static void a_seed_gives_its_draws(void **state)
{
    (void)state;
    enum { DRAWS = 200 };
    const double p[4] = {.25, .25, .25, .25}, wide[4] = {8, 8, 8, 8};
    uint32_t drawn[4][DRAWS];
    const uint64_t seeds[4] = {3, 3, 4, UINT64_C(3) + (UINT64_C(1) << 40)};
    for (int s = 0; s < 4; s++) {
        Sampler sampler = open_seed(seeds[s], 4);
        for (int i = 0; i < DRAWS; i++) drawn[s][i] = sampler_draw(&sampler, s == 1 ? wide : p);
        sampler_free(&sampler);
    }
    assert_memory_equal(drawn[0], drawn[1], sizeof drawn[0]);
    assert_memory_not_equal(drawn[0], drawn[2], sizeof drawn[0]);
    assert_memory_not_equal(drawn[0], drawn[3], sizeof drawn[0]);
}

// ---- what is refused ---------------------------------------------------------------------------

static void check_refused(SamplerOptions options, const char *message)
{
    Error err = {""};
    Sampler sampler;
    assert_false(sampler_check(&options, &err));
    assert_error(err, message);
    assert_false(sampler_make(&sampler, &options, 4, &err));
    sampler_free(&sampler);
}

static void refuses_values(void **state)
{
    (void)state;
    const double nan = NAN;
    const struct {
        double temperature, top_p, min_p, penalty;
        const char *message;
    } bad[] = {
        {-1, 1, 0, 1, "temperature: -1, expected 0 and more"},
        {nan, 1, 0, 1, "temperature: nan, expected 0 and more"},
        {INFINITY, 1, 0, 1, "temperature: inf, expected 0 and more"},
        {1, 0, 0, 1, "top_p: 0, expected above 0, at most 1"},
        {1, -.5, 0, 1, "top_p: -0.5, expected above 0, at most 1"},
        {1, 1.01, 0, 1, "top_p: 1.01, expected above 0, at most 1"},
        {1, nan, 0, 1, "top_p: nan, expected above 0, at most 1"},
        {1, 1, -.1, 1, "min_p: -0.1, expected 0 to 1"},
        {1, 1, 1.1, 1, "min_p: 1.1, expected 0 to 1"},
        {1, 1, nan, 1, "min_p: nan, expected 0 to 1"},
        {1, 1, 0, 0, "repetition_penalty: 0, expected above 0"},
        {1, 1, 0, -2, "repetition_penalty: -2, expected above 0"},
        {1, 1, 0, nan, "repetition_penalty: nan, expected above 0"},
    };
    Error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        SamplerOptions options = {.temperature = bad[i].temperature,
                                  .top_p = bad[i].top_p,
                                  .min_p = bad[i].min_p,
                                  .repetition_penalty = bad[i].penalty};
        check_refused(options, bad[i].message);
    }
    SamplerOptions good = {.temperature = 1e5, .top_p = 1e-9, .min_p = 1, .repetition_penalty = 9};
    assert_true(sampler_check(&good, &err));
    good = sampler_greedy();
    assert_true(sampler_check(&good, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(ties_go_to_the_smaller_id),
        cmocka_unit_test(penalty_by_hand),
        cmocka_unit_test(greedy),
        cmocka_unit_test(random_cases),
        cmocka_unit_test(extreme_temperatures),
        cmocka_unit_test(extreme_logits),
        cmocka_unit_test(logits_that_are_no_numbers),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(a_seed_gives_its_draws),
        cmocka_unit_test(refuses_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
