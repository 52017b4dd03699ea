// The progress line: its figures, and what it leaves out where the terminal is narrow.
#include "train/progress.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static const uint32_t EXITS[] = {2, 4, 6, 8};

static StepReport four_exits(void)
{
    return (StepReport){.step = 350,
                        .steps = 700,
                        .exit_count = 4,
                        .exits = EXITS,
                        .losses = {2.5, 2.25, 2.125, 2},
                        .loss = 2.21875,
                        .norm = 1.234,
                        .rate = 2e-5,
                        .tokens = 1000,
                        .seconds = 0.5,
                        .elapsed = 200,
                        .done_here = 350,
                        .operations = 6.2e9,
                        .memory_bytes = 512 << 20};
}

static void the_plain_line_has_everything(void **state)
{
    (void)state;
    char line[PROGRESS_BYTES];
    const StepReport report = four_exits();
    progress_line(line, &report);
    assert_string_equal(line, "step 350/700  left 3:20  loss 2.2188 (2: 2.500  4: 2.250  6: 2.125  "
                              "8: 2.000)  norm 1.234  rate 2.00e-05  2000 tokens/s  12.4 GFLOP/s  "
                              "512 MiB");
}

static void four_exits_fit_120_columns(void **state)
{
    (void)state;
    char line[PROGRESS_BYTES];
    const StepReport report = four_exits();
    progress_bar(line, &report, 200);
    assert_string_equal(line,
                        "[##########..........] 350/700  loss 2.219 = 2:2.500 4:2.250 6:2.125 "
                        "8:2.000  norm 1.23  rate 2.0e-05  2000 tok/s  12.4 GFLOP/s  512 MiB"
                        "  left 3:20");
    progress_bar(line, &report, 120);
    assert_string_equal(line, "350/700  loss 2:2.500 4:2.250 6:2.125 8:2.000  norm 1.23  rate "
                              "2.0e-05  2000 tok/s  12.4 GFLOP/s  512 MiB  left 3:20");
    progress_bar(line, &report, 100);
    assert_string_equal(line, "350/700  loss 2:2.500 4:2.250 6:2.125 8:2.000  norm 1.23  rate "
                              "2.0e-05  2000 tok/s  left 3:20");
    progress_bar(line, &report, 60);
    assert_string_equal(line, "350/700  loss 2:2.500 4:2.250 6:2.125 8:2.000  left 3:20");
    progress_bar(line, &report, 40);
    assert_string_equal(line, "350/700  loss 2.219  left 3:20");
}

static void no_line_is_wider_than_the_terminal(void **state)
{
    (void)state;
    char line[PROGRESS_BYTES];
    uint32_t exits[CONFIG_MAX_EXITS];
    StepReport report = four_exits();
    report.exits = exits;
    report.exit_count = CONFIG_MAX_EXITS;
    for (uint32_t i = 0; i < CONFIG_MAX_EXITS; i++) exits[i] = 60000 + i;
    for (unsigned width = 1; width < 300; width++) {
        progress_bar(line, &report, width);
        assert_true(strlen(line) <= width && line[0]);
    }
    progress_line(line, &report);
    assert_non_null(strstr(line, "60127: 0.000"));
    assert_non_null(strstr(line, "512 MiB"));
}

static void one_exit_is_told_once(void **state)
{
    (void)state;
    char line[PROGRESS_BYTES];
    StepReport report = four_exits();
    report.exit_count = 1;
    progress_bar(line, &report, 120);
    assert_non_null(strstr(line, "350/700  loss 2.219  norm"));
}

static void units_suit_the_figure(void **state)
{
    (void)state;
    char text[32];
    static const struct {
        double speed;
        const char *text;
    } speeds[] = {{0, "0.0 MFLOP/s"},
                  {1.5e6, "1.5 MFLOP/s"},
                  {123.4e9, "123 GFLOP/s"},
                  {999.9e9, "1.0 TFLOP/s"},
                  {1.25e13, "12.5 TFLOP/s"}};
    static const struct {
        uint64_t bytes;
        const char *text;
    } memories[] = {{3 << 19, "1.5 MiB"},
                    {72 << 20, "72.0 MiB"},
                    {9000ull << 20, "9000 MiB"},
                    {40ull << 30, "40.0 GiB"}};
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++)
        assert_string_equal(progress_speed(text, sizeof text, speeds[i].speed), speeds[i].text);
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        assert_string_equal(progress_memory(text, sizeof text, memories[i].bytes),
                            memories[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plain_line_has_everything),
        cmocka_unit_test(four_exits_fit_120_columns),
        cmocka_unit_test(no_line_is_wider_than_the_terminal),
        cmocka_unit_test(one_exit_is_told_once),
        cmocka_unit_test(units_suit_the_figure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
