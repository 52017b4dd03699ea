// f16 and bf16: every pattern widened, every pattern back, and rounding: at each tie, on both sides
// of it, and over a spread of all f32, against a rule in double that shares nothing with the code.
#include "base/half.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { PATTERNS = 1 << 16 };

typedef struct {
    const char *name;
    int exponent_bits, mantissa_bits;
    uint32_t (*widen)(uint16_t);
    uint16_t (*narrow)(uint32_t);
} Format;

static const Format FORMATS[] = {{"f16", 5, 10, f16_widen, f16_narrow},
                                 {"bf16", 8, 7, bf16_widen, bf16_narrow}};

static float as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t as_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint32_t infinity(const Format *f)
{
    return ((1u << f->exponent_bits) - 1) << f->mantissa_bits;
}

static bool is_nan(const Format *f, uint32_t pattern)
{
    return (pattern & 0x7FFF) > infinity(f);
}

static double value_of(const Format *f, uint32_t pattern)
{
    int bias = (1 << (f->exponent_bits - 1)) - 1;
    int exponent = (int)((pattern & 0x7FFF) >> f->mantissa_bits);
    double mantissa = ldexp((double)(pattern & ((1u << f->mantissa_bits) - 1)), -f->mantissa_bits);
    double size = exponent ? ldexp(1 + mantissa, exponent - bias) : ldexp(mantissa, 1 - bias);
    if ((pattern & 0x7FFF) == infinity(f)) size = INFINITY;
    return pattern >> 15 ? -size : size;
}

// The nearest value of the format, ties to even: nearbyint's own way.
static double rounded(const Format *f, double x)
{
    int bias = (1 << (f->exponent_bits - 1)) - 1;
    int exponent = x == 0 || ilogb(x) < 1 - bias ? 1 - bias : ilogb(x);
    double nearest =
        ldexp(nearbyint(ldexp(x, f->mantissa_bits - exponent)), exponent - f->mantissa_bits);
    return fabs(nearest) >= ldexp(1, bias + 1) ? copysign(INFINITY, x) : nearest;
}

static void check_narrow(const Format *f, float value)
{
    uint16_t got = f->narrow(as_bits(value));
    double expected = rounded(f, (double)value);
    if (is_nan(f, got) || value_of(f, got) != expected || got >> 15 != as_bits(value) >> 31)
        fail_msg("%s of %a became %04x, expected %a", f->name, (double)value, got, expected);
}

static void widens_and_gives_back_every_pattern(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; i < PATTERNS; i++) {
            const Format *f = &FORMATS[k];
            uint32_t wide = f->widen((uint16_t)i);
            float value = as_float(wide);
            bool same = is_nan(f, i) ? isnan(value) : (double)value == value_of(f, i);
            if (!same || wide >> 31 != i >> 15) fail_msg("%s %04x became %08x", f->name, i, wide);
            if (f->narrow(wide) != i)
                fail_msg("%s %04x came back as %04x", f->name, i, f->narrow(wide));
        }
}

// The middle of each value and the next larger one is exact in f32.
static void rounds_at_every_tie(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; i < infinity(&FORMATS[k]); i++) {
            const Format *f = &FORMATS[k];
            double low = value_of(f, i), next = value_of(f, i + 1);
            if (isinf(next)) next = 2 * low - value_of(f, i - 1); // where it would be
            float middle = (float)((low + next) / 2);
            assert_true((double)middle == (low + next) / 2);
            assert_int_equal(f->narrow(as_bits(middle)), i + (i & 1));
            for (int sign = -1; sign <= 1; sign += 2) {
                check_narrow(f, (float)sign * middle);
                check_narrow(f, (float)sign * nextafterf(middle, 0));
                check_narrow(f, (float)sign * nextafterf(middle, INFINITY));
            }
        }
}

static void rounds_a_spread_of_all_floats(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++)
        for (uint64_t i = 0; i < 1ull << 32; i += 2503)
            if (!isnan(as_float((uint32_t)i))) check_narrow(&FORMATS[k], as_float((uint32_t)i));
}

static void knows_the_edges(void **state)
{
    (void)state;
    assert_int_equal(f16_narrow(as_bits(65504)), 0x7BFF);
    assert_int_equal(f16_narrow(as_bits(65519.996f)), 0x7BFF);
    assert_int_equal(f16_narrow(as_bits(65520)), 0x7C00);
    assert_int_equal(f16_narrow(as_bits(-1e10f)), 0xFC00);
    assert_int_equal(f16_narrow(as_bits(0x1p-24f)), 0x0001);
    assert_int_equal(f16_narrow(as_bits(0x1p-25f)), 0x0000);
    assert_int_equal(f16_narrow(as_bits(0x1.000002p-25f)), 0x0001);
    assert_int_equal(f16_narrow(0x80000001), 0x8000);
    assert_int_equal(bf16_narrow(0x7F7FFFFF), 0x7F80);
    assert_int_equal(bf16_narrow(0x7F7F7FFF), 0x7F7F);
    assert_int_equal(bf16_narrow(0x00018000), 0x0002); // subnormal, a tie
    // A NaN whose high bits are zero, an infinity, and what keeps its payload.
    assert_int_equal(f16_narrow(0x7F800001), 0x7E00);
    assert_int_equal(f16_narrow(0xFF800000), 0xFC00);
    assert_int_equal(f16_narrow(0xFFFFFFFF), 0xFFFF);
    assert_int_equal(bf16_narrow(0x7F800001), 0x7FC0);
    assert_int_equal(bf16_narrow(0xFF800000), 0xFF80);
    assert_int_equal(bf16_narrow(0x7FFFFFFF), 0x7FFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widens_and_gives_back_every_pattern),
        cmocka_unit_test(rounds_at_every_tie),
        cmocka_unit_test(rounds_a_spread_of_all_floats),
        cmocka_unit_test(knows_the_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
