// Depth policies as text, what is refused of it, and confidence by hand. The choice of drafts is in
// test_drafting.c, decoding under a policy in test_infer_depth.c and test_infer_draft.c.
#include "base/random.h"
#include "infer/policy.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static LlamaConfig config_of(uint32_t blocks)
{
    return (LlamaConfig){.vocab_size = 512,
                         .width = 64,
                         .hidden = 176,
                         .blocks = blocks,
                         .heads = 8,
                         .kv_heads = 4,
                         .head_size = 8,
                         .context = 512};
}

static LlamaConfig trained_config(uint32_t blocks, const uint32_t *exits, uint32_t count)
{
    LlamaConfig config = config_of(blocks);
    config.exit_count = count;
    memcpy(config.exits, exits, count * sizeof *exits);
    return config;
}

// ---- as text -----------------------------------------------------------------------------------

static void fixed(void **state)
{
    (void)state;
    char text[64];
    DepthPolicy policy = policy_fixed(7);
    assert_true(policy.depth == 7 && !policy.exit_count && !policy.draft && !policy.draft_auto);
    assert_true(policy.draft_stop == DRAFT_STOP_DEFAULT);
    assert_string_equal(policy_describe(&policy, text, sizeof text), "depth 7");
}

static void check_exits(const char *text, const char *described)
{
    Error err = {""};
    char out[128];
    DepthPolicy policy = policy_fixed(8);
    if (!policy_parse_exits(&policy, text, &err)) fail_msg("%s", err.text);
    assert_string_equal(policy_describe(&policy, out, sizeof out), described);
}

static void exits(void **state)
{
    (void)state;
    check_exits("2:.95,4:.9", "exits 2:0.95,4:0.9 of 8");
    check_exits("1:0", "exits 1:0 of 8");
    check_exits("7:1.5", "exits 7:1.5 of 8");
    check_exits("1:1,2:0.5,3:1e-3,6:2", "exits 1:1,2:0.5,3:0.001,6:2 of 8");
    Error err;
    DepthPolicy policy = policy_fixed(8);
    assert_true(policy_parse_exits(&policy, "2:.95,4:.9", &err));
    assert_true(policy.exit_count == 2 && policy.exits[0] == 2 && policy.exits[1] == 4);
    assert_true(policy.thresholds[0] == .95 && policy.thresholds[1] == .9);
}

static void exits_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "exits '': a list such as 2:.95,4:.9 is expected"},
        {"2", "exits '2': a list"},
        {"2:", "exits '2:': a list"},
        {":.5", "exits ':.5': a list"},
        {"2:.5,", "exits '2:.5,': a list"},
        {",2:.5", "exits ',2:.5': a list"},
        {"2:.5,,3:.5", "exits '2:.5,,3:.5': a list"},
        {"2:.5 3:.5", "exits '2:.5 3:.5': a list"},
        {"2:.5;3:.5", "exits '2:.5;3:.5': a list"},
        {" 2:.5", "exits ' 2:.5': a list"},
        {"2: .5", "exits '2: .5': a list"},
        {"x:.5", "exits 'x:.5': a list"},
        {"-2:.5", "exits '-2:.5': a list"},
        {"2.5:.5", "exits '2.5:.5': a list"},
        {"2:-.5", "exits '2:-.5': a list"},
        {"2:nan", "exits '2:nan': a list"},
        {"2:inf", "exits '2:inf': a list"},
        {"2:1e400", "exits '2:1e400': a list"},
        {"2:.", "exits '2:.': a list"},
        {"0:.5", "exits '0:.5': a list"},
        {"8:.5", "exit 8: exits lie below the depth, 8"},
        {"9:.5", "exit 9: exits lie below the depth, 8"},
        {"4294967298:.5", "exit 4294967298: exits lie below the depth, 8"},
        {"99999999999999999999999:.5", ": exits lie below the depth, 8"},
        {"4:.5,4:.5", "exit 4 stands behind 4: exits must ascend"},
        {"4:.5,2:.5", "exit 2 stands behind 4: exits must ascend"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error err = {""};
        DepthPolicy policy = policy_fixed(8);
        if (policy_parse_exits(&policy, bad[i].text, &err)) fail_msg("took '%s'", bad[i].text);
        assert_error(err, bad[i].message);
    }
}

// As many as there may be, and one more; long texts do not fill a message.
static void many_exits(void **state)
{
    (void)state;
    char text[4096] = "", out[128], whole[4096];
    for (uint32_t i = 1; i <= CONFIG_MAX_EXITS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u:.5", i > 1 ? "," : "", i);
    Error err = {""};
    DepthPolicy policy = policy_fixed(300);
    assert_true(policy_parse_exits(&policy, text, &err));
    assert_int_equal(policy.exit_count, CONFIG_MAX_EXITS);
    policy_describe(&policy, out, sizeof out); // is cut, and within its size
    assert_int_equal(strlen(out), sizeof out - 1);
    policy_describe(&policy, whole, sizeof whole);
    assert_non_null(strstr(whole, ",128:0.5 of 300"));
    strcat(text, ",200:.5");
    policy = policy_fixed(300);
    assert_false(policy_parse_exits(&policy, text, &err));
    assert_error(err, "more than 128 exits");
    memset(text, '7', sizeof text - 1);
    policy = policy_fixed(300);
    assert_false(policy_parse_exits(&policy, text, &err));
    assert_error(err, "a list such as");
}

static void one_threshold(void **state)
{
    (void)state;
    static const uint32_t trained[] = {2, 4, 6, 8};
    static const struct {
        uint32_t depth, exits;
        const char *described;
    } cases[] = {{8, 4, "exits 2:0.9,4:0.9,6:0.9 of 8"}, {6, 4, "exits 2:0.9,4:0.9 of 6"},
                 {5, 4, "exits 2:0.9,4:0.9 of 5"},       {2, 4, "depth 2"},
                 {4, 0, "exits 1:0.9,2:0.9,3:0.9 of 4"}, {1, 0, "depth 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error err = {""};
        char text[128];
        LlamaConfig config = trained_config(8, trained, cases[i].exits);
        DepthPolicy policy = policy_fixed(cases[i].depth);
        if (!policy_parse_exit(&policy, ".9", &config, &err)) fail_msg("%s", err.text);
        assert_string_equal(policy_describe(&policy, text, sizeof text), cases[i].described);
    }
    static const char *const bad[] = {"", "x", "-1", ".9x", "nan", "1e400", "2:.5", " .9", ".9 "};
    LlamaConfig config = config_of(8);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error err = {""};
        char message[80];
        DepthPolicy policy = policy_fixed(8);
        snprintf(message, sizeof message, "exit '%s': a threshold such as .9 is expected", bad[i]);
        if (policy_parse_exit(&policy, bad[i], &config, &err)) fail_msg("took '%s'", bad[i]);
        assert_error(err, message);
    }
    Error err; // more blocks than exits are possible: the first of them
    LlamaConfig deep = config_of(200);
    DepthPolicy policy = policy_fixed(200);
    assert_true(policy_parse_exit(&policy, "0.5", &deep, &err));
    assert_int_equal(policy.exit_count, CONFIG_MAX_EXITS);
}

static void drafts(void **state)
{
    (void)state;
    char text[64];
    Error err = {""};
    DepthPolicy policy = policy_fixed(8);
    assert_true(policy_parse_draft(&policy, "3", &err));
    assert_true(policy.draft == 3 && !policy.draft_auto);
    assert_string_equal(policy_describe(&policy, text, sizeof text), "draft 3 of 8");
    policy = policy_fixed(8);
    assert_true(policy_parse_draft(&policy, "auto", &err));
    assert_true(policy.draft == 0 && policy.draft_auto);
    assert_string_equal(policy_describe(&policy, text, sizeof text), "draft auto of 8");
    static const char *const bad[] = {"",      "0",    "8",          "9",
                                      "-1",    "x",    "1.5",        "3 ",
                                      "autos", "AUTO", "4294967297", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char message[80];
        policy = policy_fixed(8);
        snprintf(message, sizeof message, "draft '%s': 1 to 7 blocks, or 'auto', are expected",
                 bad[i]);
        if (policy_parse_draft(&policy, bad[i], &err)) fail_msg("took '%s'", bad[i]);
        assert_error(err, message);
    }
    policy = policy_fixed(1);
    assert_false(policy_parse_draft(&policy, "auto", &err));
    assert_error(err, "draft: a depth of one block has none");
    assert_false(policy_parse_draft(&policy, "1", &err));
    assert_error(err, "draft: a depth of one block has none");
}

// ---- confidence --------------------------------------------------------------------------------

static void check_confidence(const float *logits, uint32_t vocab, double probability, double margin,
                             double entropy)
{
    const double want[] = {probability, margin, entropy};
    for (int i = 0; i < 3; i++) {
        double got = confidence_of(logits, vocab, (Confidence)i);
        if (!(fabs(got - want[i]) <= 1e-6))
            fail_msg("%s: %.9g, expected %.9g", CONFIDENCE_NAMES[i], got, want[i]);
    }
}

static void confidence_by_hand(void **state)
{
    (void)state;
    float z[4];
    const double p[4] = {.1, .6, .05, .25};
    double h = 0;
    for (int i = 0; i < 4; i++) {
        z[i] = (float)log(p[i]) - 50;
        h -= p[i] * log(p[i]);
    }
    assert_string_equal(CONFIDENCE_NAMES[CONFIDENCE_PROBABILITY], "probability");
    assert_string_equal(CONFIDENCE_NAMES[CONFIDENCE_MARGIN], "margin");
    assert_string_equal(CONFIDENCE_NAMES[CONFIDENCE_ENTROPY], "entropy");
    assert_null(CONFIDENCE_NAMES[3]);
    check_confidence(z, 4, .6, .35, 1 - h / log(4));
    check_confidence((const float[]){0, 0, 0, 0}, 4, .25, 0, 0);
    check_confidence((const float[]){5, 5}, 2, .5, 0, 0);
    check_confidence((const float[]){-90, 200, 3}, 3, 1, 1, 1);
    check_confidence((const float[]){7, 7, -1000, -1000}, 4, .5, 0, .5); // ln 2 of ln 4
    check_confidence((const float[]){3}, 1, 1, 1, 1);
    check_confidence((const float[]){3e38f, -3e38f, -3e38f}, 3, 1, 1, 1);
}

static void confidence_of_infinities(void **state)
{
    (void)state;
    const float most = INFINITY, least = -INFINITY;
    check_confidence((const float[]){least, 2, least, 2}, 4, .5, 0, .5);
    check_confidence((const float[]){most, 2, least, 3}, 4, 1, 1, 1);
    check_confidence((const float[]){most, 2, most, 3}, 4, .5, 0, .5);
    check_confidence((const float[]){least, least, least, least}, 4, .25, 0, 0);
    check_confidence((const float[]){1, NAN, 2}, 3, 0, 0, 0); // of nothing that is no number
    check_confidence((const float[]){NAN, NAN}, 2, 0, 0, 0);
}

static void confidence_within_bounds(void **state)
{
    (void)state;
    Random r = random_seed(3);
    for (int round = 0; round < 20000; round++) {
        float z[50];
        uint32_t vocab = 1 + (uint32_t)random_below(&r, 50);
        double scale = exp(4 * random_normal(&r));
        for (uint32_t i = 0; i < vocab; i++) z[i] = (float)(scale * random_normal(&r));
        double value[3];
        for (int i = 0; i < 3; i++) {
            value[i] = confidence_of(z, vocab, (Confidence)i);
            if (!(value[i] >= 0 && value[i] <= 1))
                fail_msg("%s of %u: %.17g", CONFIDENCE_NAMES[i], vocab, value[i]);
        }
        assert_true(value[CONFIDENCE_MARGIN] <= value[CONFIDENCE_PROBABILITY]);
        assert_true(value[CONFIDENCE_PROBABILITY] >= 1. / vocab - 1e-12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed),
        cmocka_unit_test(exits),
        cmocka_unit_test(exits_refused),
        cmocka_unit_test(many_exits),
        cmocka_unit_test(one_threshold),
        cmocka_unit_test(drafts),
        cmocka_unit_test(confidence_by_hand),
        cmocka_unit_test(confidence_of_infinities),
        cmocka_unit_test(confidence_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
