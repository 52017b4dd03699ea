// Blocks of quantised values: decoding against a rule in double that finds each value by its index
// and shares nothing with the code; encoding against blocks made by hand and against error bounds.
// How the GPU reads them is in test_op_blocks.c.
#include "base/half.h"
#include "base/quant.h"
#include "reference/blocks.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

enum { GROUP = 32, MANY = 64, MOST = 256 * MANY };

// ---- types -------------------------------------------------------------------------------------

static void sizes_are_those_of_the_files(void **state)
{
    (void)state;
    static const struct {
        Dtype dtype;
        uint32_t block, bytes;
    } want[] = {{DTYPE_Q8_0, 32, 34},   {DTYPE_Q4_0, 32, 18}, {DTYPE_Q4_K, 256, 144},
                {DTYPE_Q6_K, 256, 210}, {DTYPE_F32, 1, 4},    {DTYPE_BF16, 1, 2}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(dtype_block(want[i].dtype), want[i].block);
        assert_int_equal(dtype_bytes(want[i].dtype, want[i].block), want[i].bytes);
        assert_int_equal(dtype_bytes(want[i].dtype, 3 * want[i].block), 3 * want[i].bytes);
        assert_int_equal(dtype_bytes(want[i].dtype, 0), 0);
        assert_true(dtype_blocked(want[i].dtype) == (want[i].block > 1));
    }
    assert_int_equal(dtype_bytes(DTYPE_Q8_0, 33), 68); // whole blocks
    assert_true(dtype_bytes(DTYPE_F32, UINT64_MAX / 4) == UINT64_MAX - 3);
    assert_true(dtype_bytes(DTYPE_F32, UINT64_MAX / 4 + 1) == UINT64_MAX);
    assert_true(dtype_bytes(DTYPE_Q8_0, UINT64_MAX) == UINT64_MAX);
    assert_true(dtype_bytes(DTYPE_Q4_0, UINT64_MAX) == (UINT64_MAX / 32 + 1) * 18);
}

// ---- decoding ----------------------------------------------------------------------------------

static void check_decode(Dtype dtype, const uint8_t *blocks, uint64_t count)
{
    static float got[MOST];
    quant_decode(dtype, blocks, count, got);
    for (uint64_t i = 0; i < count; i++) {
        double want = blocks_value(dtype, blocks, i);
        if (!(fabs(got[i] - want) <= ldexp(fabs(want), -24)) ||
            (dtype != DTYPE_Q4_K && (double)got[i] != want))
            fail_msg("%s value %llu: %.9g, expected %.9g", dtype_name(dtype), (unsigned long long)i,
                     (double)got[i], want);
    }
}

static void decodes_random_blocks(void **state)
{
    (void)state;
    static uint8_t blocks[210 * MANY];
    for (int t = 0; t < BLOCK_TYPES; t++)
        for (uint64_t seed = 1; seed <= 40; seed++) {
            uint64_t count = (uint64_t)MANY * dtype_block(BLOCKS[t]);
            blocks_random(BLOCKS[t], blocks, count, seed);
            check_decode(BLOCKS[t], blocks, count);
        }
}

// Whatever the other codes are, each place takes each code.
static void decodes_every_byte_in_every_place(void **state)
{
    (void)state;
    for (int t = 0; t < BLOCK_TYPES; t++) {
        uint32_t values = dtype_block(BLOCKS[t]);
        uint32_t bytes = (uint32_t)dtype_bytes(BLOCKS[t], values);
        for (uint32_t place = 0; place < bytes; place++)
            for (uint32_t byte = 0; byte < 256; byte++) {
                uint8_t block[210];
                blocks_random(BLOCKS[t], block, values, place);
                block[place] = (uint8_t)byte;
                if (blocks_finite(BLOCKS[t], block)) check_decode(BLOCKS[t], block, values);
            }
    }
}

// Made by hand from the definition.
static void decodes_known_blocks(void **state)
{
    (void)state;
    float got[256];
    uint8_t q8[34] = {0x00, 0x38, 0x80, 0xff, 0x00, 0x7f}; // d = 0.5
    quant_decode(DTYPE_Q8_0, q8, 32, got);
    assert_true(got[0] == -64 && got[1] == -0.5f && got[2] == 0 && got[3] == 63.5f && got[31] == 0);
    uint8_t q4[18] = {0x00, 0xc0, 0xf0, 0x19}; // d = -2; nibbles 0, 9 and, 16 further, 15, 1
    quant_decode(DTYPE_Q4_0, q4, 32, got);
    assert_true(got[0] == 16 && got[1] == -2 && got[16] == -14 && got[17] == 14 && got[2] == 16);
    // d = 1, m = 0.25. Group 0: s 33, t 2; group 5: s 17 + 32, t 3 + 16.
    uint8_t k4[144] = {[0] = 0x00, [1] = 0x3c, [2] = 0x00, [3] = 0x34, [4] = 33, [8] = 2};
    k4[4 + 1] = 3 << 6; // top bits of s5: 48
    k4[8 + 1] = 1 << 6; // of t5: 16
    k4[12 + 1] = 1 | 3 << 4;
    k4[16] = 0x0a;          // value 0: 10
    k4[16 + 64 + 7] = 0x50; // group 5 has the high nibbles of the third 32 bytes; value 7: 5
    quant_decode(DTYPE_Q4_K, k4, 256, got);
    assert_true(got[0] == 33 * 10 - 0.5f && got[1] == -0.5f);
    assert_true(got[5 * 32 + 7] == 49 * 5 - 0.25f * 19 && got[5 * 32] == -0.25f * 19);
    // d = 2, s[0] = 1, s[11] = -3. Value 0: 5 + 16 * 2; value 180 = 128 + 32 + 20: low nibble.
    uint8_t k6[210] = {[0] = 0x05, [128] = 0x02, [192] = 1, [192 + 11] = 0xfd, [209] = 0x40};
    k6[64 + 32 + 20] = 0x0f;      // the second half's byte 52: 15
    k6[128 + 32 + 20] = 0x3 << 2; // 48
    quant_decode(DTYPE_Q6_K, k6, 256, got);
    assert_true(got[0] == 2 * (37 - 32) && got[1] == -64);
    assert_true(got[180] == 2 * -3 * (63 - 32) && got[181] == 2 * -3 * -32);
}

// ---- encoding ----------------------------------------------------------------------------------

static void encodes_known_blocks(void **state)
{
    (void)state;
    uint8_t block[34];
    // The largest magnitude is 127, so d = 1; ties go away from 0.
    float q8[GROUP] = {-127, 0.5f, -0.5f, 2.5f, -2.5f, 1.4999f, 126.5f, 3};
    static const int codes[8] = {-127, 1, -1, 3, -3, 1, 127, 3};
    assert_true(quant_encode(DTYPE_Q8_0, q8, GROUP, block));
    assert_true(block[0] == 0 && block[1] == 0x3c);
    for (int i = 0; i < 8; i++) assert_int_equal((int8_t)block[2 + i], codes[i]);
    // The first of largest magnitude is -8, so d = 1; ties go up, 7.5 and 8 stay at 7.
    float q4[GROUP] = {-8, 7.5f, 0.5f, -0.5f, 7, [16] = 8, [17] = -7.51f, [18] = -7.5f, [20] = 1};
    static const uint8_t bytes[5] = {0xf0, 0x0f, 0x19, 0x88, 0x9f};
    assert_true(quant_encode(DTYPE_Q4_0, q4, GROUP, block));
    assert_true(block[0] == 0 && block[1] == 0x3c);
    assert_memory_equal(block + 2, bytes, sizeof bytes);
    assert_int_equal(block[2 + 15], 0x88); // zeros
    // The largest magnitude is positive: the scale is negative.
    float up[GROUP] = {16, -14, 2};
    assert_true(quant_encode(DTYPE_Q4_0, up, GROUP, block));
    assert_true(block[0] == 0 && block[1] == 0xc0);
    assert_true(block[2] == 0x80 && block[3] == 0x8f && block[4] == 0x87);
}

static void encodes_zeros_and_the_smallest(void **state)
{
    (void)state;
    static const float sizes[] = {0, 1e-45f, 1e-40f, 1e-38f, 1e-9f};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int t = 0; t < 2; t++) {
            uint8_t block[34];
            float values[GROUP], back[GROUP];
            for (int j = 0; j < GROUP; j++) values[j] = sizes[i] * (float)(j - 16);
            assert_true(quant_encode(t ? DTYPE_Q4_0 : DTYPE_Q8_0, values, GROUP, block));
            quant_decode(t ? DTYPE_Q4_0 : DTYPE_Q8_0, block, GROUP, back);
            for (int j = 0; j < GROUP; j++) assert_true(back[j] == 0); // below what f16 holds
        }
}

static void refuses_what_no_scale_holds(void **state)
{
    (void)state;
    static const Dtype types[] = {DTYPE_Q8_0, DTYPE_Q4_0};
    static const float limits[] = {65519.0f * 127, 65519.0f * 8}; // f16 rounds 65520 to infinity
    for (int t = 0; t < 2; t++) {
        uint8_t blocks[2 * 34];
        const float bad[] = {INFINITY, -INFINITY, NAN, 1.0001f * limits[t], -1.0001f * limits[t]};
        for (int i = 0; i < 5; i++) {
            float values[2 * GROUP] = {1, 2, 3};
            values[GROUP + 7] = bad[i];
            assert_false(quant_encode(types[t], values, 2 * GROUP, blocks));
            assert_true(quant_encode(types[t], values, GROUP, blocks));
        }
        float most[GROUP] = {limits[t], -limits[t]};
        assert_true(quant_encode(types[t], most, GROUP, blocks));
    }
}

// No value is further off than half a step, and what rounding the scale to f16 adds; beyond 7 steps
// Q4_0 has up to one.
static void check_error(Dtype dtype, float size, uint64_t seed)
{
    float values[GROUP], back[GROUP];
    uint8_t block[34];
    blocks_random_floats(values, GROUP, seed, size);
    assert_true(quant_encode(dtype, values, GROUP, block));
    quant_decode(dtype, block, GROUP, back);
    double most = 0;
    for (int i = 0; i < GROUP; i++) most = fmax(most, fabs((double)values[i]));
    double step = most / (dtype == DTYPE_Q8_0 ? 127 : 8);
    double off = most * 0x1p-11 + 0x1p-25 * 127 + step * 1e-6;
    for (int i = 0; i < GROUP; i++) {
        bool clipped = dtype == DTYPE_Q4_0 && fabs((double)values[i]) > 7.5 * step;
        double bound = (clipped ? 1 : 0.5) * step + off;
        if (!(fabs((double)values[i] - (double)back[i]) <= bound))
            fail_msg("%s of %.9g: %.9g, more than %.9g off", dtype_name(dtype), (double)values[i],
                     (double)back[i], bound);
    }
}

static void errors_are_bounded(void **state)
{
    (void)state;
    static const float sizes[] = {1e-3f, 0.02f, 1, 1000};
    for (uint64_t seed = 1; seed < 500; seed++)
        for (int i = 0; i < 4; i++) {
            check_error(DTYPE_Q8_0, sizes[i], seed);
            check_error(DTYPE_Q4_0, sizes[i], seed);
        }
}

// What is on the grid stays, where a code of 127 says what the step is.
static void q8_0_comes_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 2000; seed++) {
        uint8_t block[34], again[34];
        float values[GROUP];
        blocks_random(DTYPE_Q8_0, block, GROUP, seed);
        block[1] &= 0x7f;                          // the encoder's scales are positive
        if ((block[1] & 0x7c) == 0) block[1] |= 4; // and here no subnormals
        for (int i = 0; i < GROUP; i++)
            if (block[2 + i] == 0x80) block[2 + i] = 0x81; // nor -128
        block[2 + seed % GROUP] = seed % 2 ? 127 : 0x81;
        quant_decode(DTYPE_Q8_0, block, GROUP, values);
        assert_true(quant_encode(DTYPE_Q8_0, values, GROUP, again));
        assert_memory_equal(block, again, sizeof block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_those_of_the_files),
        cmocka_unit_test(decodes_random_blocks),
        cmocka_unit_test(decodes_every_byte_in_every_place),
        cmocka_unit_test(decodes_known_blocks),
        cmocka_unit_test(encodes_known_blocks),
        cmocka_unit_test(encodes_zeros_and_the_smallest),
        cmocka_unit_test(refuses_what_no_scale_holds),
        cmocka_unit_test(errors_are_bounded),
        cmocka_unit_test(q8_0_comes_back),
    };
    return cmocka_run_group_tests_name("quant", tests, NULL, NULL);
}
