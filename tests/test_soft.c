// SoFT's choices: every gradient against PyTorch's (tests/reference/choices_*), recomputed blocks
// to the bit, shares, curricula, dropped blocks, norms and heads of an exit's own on disk. Not the
// plain step (test_train.c), not runs (test_train_run.c).
#include "base/file.h"
#include "infer/session.h"
#include "model/export.h"
#include "support/device.h"
#include "support/soft_reference.h"
#include "train/soft.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- gradients ---------------------------------------------------------------------------------

typedef struct {
    const char *name; // of choices_NAME
    bool tied;
    ExitNorm norm;
    bool heads;
    double shares[REFERENCE_EXITS];
    double distill, temperature;
    bool skip[REFERENCE_BLOCKS];
} Choice;

static const Choice DISTILL = {
    .name = "distill", .tied = true, .shares = {.2, .3, .5}, .distill = .7, .temperature = 2};
static const Choice OWN = {
    .name = "own", .norm = EXIT_NORM_PER_EXIT, .heads = true, .shares = {1. / 3, 1. / 3, 1. / 3}};
static const Choice HEADS = {
    .name = "heads", .tied = true, .heads = true, .shares = {1. / 3, 1. / 3, 1. / 3}};
static const Choice BARE = {
    .name = "bare", .norm = EXIT_NORM_NONE, .shares = {1, 1, 1}, .skip = {false, true}};

static const Choice RESTS = {.name = "rests", .tied = true, .shares = {.5, 0, .5}};

// The reference with the exits' own norms and heads of the choice; its path is then the choice's.
static Reference *open_choice(const Choice *choice)
{
    Reference *ref = reference_open(choice->tied);
    Llama *model = &ref->model;
    Error err;
    if (!llama_add_exits(model, REFERENCE_DEPTHS, REFERENCE_EXITS, choice->norm, choice->heads,
                         &err))
        fail_msg("%s", err.text);
    snprintf(ref->path, sizeof ref->path, "%s/tests/reference/choices_%s.safetensors", TEST_ROOT,
             choice->name);
    size_t count = llama_parameter_count(&model->config);
    for (size_t i = llama_shared_count(&model->config); i < count; i++) {
        LlamaParameter p = llama_parameter(model, i);
        float *values = read_tensor(ref->path, p.name, p.rows ? p.rows : 1, p.cols);
        assert_true(tensor_upload(device, *p.tensor, values, &err));
        free(values);
    }
    return ref;
}

static Step *run_choice(Reference *ref, const Choice *choice, bool recompute, bool exits_alone)
{
    const StepOptions options = {.exits = REFERENCE_DEPTHS,
                                 .exit_count = REFERENCE_EXITS,
                                 .capacity = REFERENCE_ROWS,
                                 .backward = true,
                                 .recompute = recompute,
                                 .exits_alone = exits_alone,
                                 .distill = choice->distill > 0};
    Error err;
    Step *step = step_open_with(&ref->model, &options, &err);
    if (!step) fail_msg("%s", err.text);
    double weights[REFERENCE_EXITS];
    for (int e = 0; e < REFERENCE_EXITS; e++) weights[e] = choice->shares[e] / ref->supervised;
    const StepTerms terms = {weights, choice->skip, choice->distill, choice->temperature};
    reference_fill(step_batch(step), ref, 0, REFERENCE_SEQUENCES);
    if (!step_zero_gradients(step, &err) || !step_run_with(step, &terms, &err))
        fail_msg("%s", err.text);
    return step;
}

// The mean of `stride`-spaced values against the reference's.
static void check_mean(const float *values, uint32_t stride, const Reference *ref, double expected)
{
    double sum = 0;
    for (uint32_t r = 0; r < ref->supervised; r++) sum += values[stride * r];
    assert_true(fabs(sum / ref->supervised - expected) <= 1e-5 * fabs(expected) + 1e-7);
}

static void check_terms(const Reference *ref, const Step *step, const Choice *choice)
{
    float *losses = read_tensor(ref->path, "loss_per_exit", REFERENCE_EXITS, 1);
    float *terms = read_tensor(ref->path, "divergence_per_exit", REFERENCE_EXITS - 1, 1);
    for (uint32_t e = 0; e < REFERENCE_EXITS; e++) {
        const float *divergences = step_divergences(step, e);
        if (choice->shares[e] > 0) check_mean(step_losses(step, e), 2, ref, losses[e]);
        assert_true((divergences != NULL) == (choice->distill > 0 && e + 1 < REFERENCE_EXITS));
        if (divergences) check_mean(divergences, 1, ref, terms[e]);
    }
    free(terms);
    free(losses);
}

static void check_choice(const Choice *choice)
{
    Reference *ref = open_choice(choice);
    for (int recompute = 0; recompute < 2; recompute++) {
        Step *step = run_choice(ref, choice, recompute, false);
        check_terms(ref, step, choice);
        reference_check_all(ref, step);
        step_close(step);
    }
    reference_close(ref);
}

static void distillation(void **state)
{
    (void)state;
    check_choice(&DISTILL);
}

static void an_exit_rests(void **state)
{
    (void)state;
    check_choice(&RESTS);
}

static void norms_and_heads_of_their_own(void **state)
{
    (void)state;
    check_choice(&OWN);
    check_choice(&HEADS);
}

static void no_norm_and_a_block_left_out(void **state)
{
    (void)state;
    check_choice(&BARE);
}

// With the blocks frozen the heads get the very gradients that they get otherwise; nothing else has
// memory for one.
static void frozen_blocks(void **state)
{
    (void)state;
    static const Choice *const choices[] = {&HEADS, &OWN};
    for (int i = 0; i < 2; i++) {
        Reference *ref = open_choice(choices[i]);
        Step *step = run_choice(ref, choices[i], false, true);
        size_t own = 0, count = llama_parameter_count(&ref->model.config);
        for (size_t p = 0; p < count; p++)
            own += llama_parameter(step_gradients(step), p).tensor->span != NULL;
        assert_int_equal(own, i ? 4 : 2);
        check_terms(ref, step, choices[i]);
        reference_check_all(ref, step);
        step_close(step);
        reference_close(ref);
    }
}

// ---- recomputation -----------------------------------------------------------------------------

static void same_gradients(Step *a, Step *b)
{
    Llama *x = step_gradients(a), *y = step_gradients(b);
    for (size_t i = 0; i < llama_parameter_count(&x->config); i++) {
        LlamaParameter p = llama_parameter(x, i), q = llama_parameter(y, i);
        float *one = download(*p.tensor), *other = download(*q.tensor);
        if (memcmp(one, other, tensor_bytes(*p.tensor))) fail_msg("%s is not the same", p.name);
        free(one);
        free(other);
    }
}

static void recomputed_blocks_change_no_bit(void **state)
{
    (void)state;
    static const Choice *const choices[] = {&DISTILL, &OWN, &BARE};
    for (int i = 0; i < 3; i++) {
        Reference *ref = open_choice(choices[i]);
        uint64_t before = gpu_memory_used(device);
        Step *plain = run_choice(ref, choices[i], false, false);
        uint64_t kept = gpu_memory_used(device) - before;
        Step *recomputed = run_choice(ref, choices[i], true, false);
        assert_true(gpu_memory_used(device) - before - kept < kept);
        same_gradients(plain, recomputed);
        step_close(plain);
        step_close(recomputed);
        reference_close(ref);
    }
}

// ---- the exits' own modules elsewhere ----------------------------------------------------------

static void feed(float *logits, Llama *model, uint32_t depth)
{
    Error err;
    Session *session = session_open(model, 0, &err);
    const uint32_t tokens[] = {1, 5, 9};
    if (!session || !session_feed(session, tokens, 3, depth, 1, logits, &err))
        fail_msg("%s", err.text);
    session_close(session);
}

// Saved, loaded and run: an exit speaks through its own head, other depths through the model's, and
// all through the model's when the exits share it again.
static void own_heads_are_saved_and_used(void **state)
{
    (void)state;
    Reference *ref = open_choice(&OWN);
    (void)state;
    const TestPath folder = own_folder;
    Error err;
    Llama loaded;
    float before[REFERENCE_VOCAB], after[REFERENCE_VOCAB], shared[REFERENCE_VOCAB];
    if (!llama_save(&ref->model, folder.text, &err) ||
        !llama_load(&loaded, device, folder.text, &err))
        fail_msg("%s", err.text);
    assert_int_equal(loaded.config.exit_norm, EXIT_NORM_PER_EXIT);
    assert_true(loaded.config.separate_heads);
    for (uint32_t depth = 1; depth <= REFERENCE_BLOCKS; depth++) {
        feed(before, &ref->model, depth);
        feed(after, &loaded, depth);
        assert_memory_equal(before, after, sizeof before);
    }
    feed(before, &loaded, 3);
    llama_share_exits(&loaded);
    feed(shared, &loaded, 3);
    assert_memory_not_equal(before, shared, sizeof before);
    llama_free(&loaded);
    assert_true(llama_load_first(&loaded, device, folder.text, 3, &err));
    assert_int_equal(loaded.config.blocks, 3);
    assert_int_equal(loaded.config.exit_count, 0);
    feed(after, &loaded, 3);
    assert_memory_equal(shared, after, sizeof shared);
    llama_free(&loaded);
    reference_close(ref);
}

// Exported at an exit, its own norm and head are the model's; a model without a norm there is
// refused.
static void own_heads_are_exported(void **state)
{
    (void)state;
    Reference *ref = open_choice(&HEADS); // tied: its export no longer is
    const TestPath from = test_path(own_folder.text, "from"), to = test_path(own_folder.text, "to");
    const ExportOptions options = {.depth = 3, .shard_size = EXPORT_SHARD_SIZE};
    float before[REFERENCE_VOCAB], after[REFERENCE_VOCAB];
    Llama exported;
    Error err;
    assert_true(folder_make(from.text, &err) && llama_save(&ref->model, from.text, &err));
    if (!model_export(to.text, from.text, &options, &err) ||
        !llama_load(&exported, device, to.text, &err))
        fail_msg("%s", err.text);
    assert_false(exported.config.tied);
    assert_false(exported.config.separate_heads);
    feed(before, &ref->model, 3);
    feed(after, &exported, 3);
    assert_memory_equal(before, after, sizeof before);
    llama_free(&exported);
    ref->model.config.exit_norm = EXIT_NORM_NONE;
    assert_true(config_save(&ref->model.config, from.text, &err));
    assert_false(model_export(test_path(own_folder.text, "bare").text, from.text, &options, &err));
    assert_error(err, "strata_exit_norm");
    ref->model.config.exit_norm = EXIT_NORM_SHARED;
    reference_close(ref);
}

// ---- shares ------------------------------------------------------------------------------------

enum { EXITS = 4 };
static const uint32_t DEPTHS[EXITS] = {2, 4, 6, 8};

static void expect_shares(const SoftChoices *choices, uint64_t step, uint64_t steps,
                          const double *expected)
{
    double shares[EXITS];
    soft_shares(shares, choices, DEPTHS, EXITS, 8, step, steps);
    for (int e = 0; e < EXITS; e++)
        if (fabs(shares[e] - expected[e]) > 1e-12)
            fail_msg("step %d, exit %d: share %.6f, expected %.6f", (int)step, e, shares[e],
                     expected[e]);
}

static void shares_follow_their_formulas(void **state)
{
    (void)state;
    SoftChoices choices = {.exit_scale = 0.5};
    expect_shares(&choices, 1, 10, (double[]){.25, .25, .25, .25});
    choices.weighting = WEIGHTS_SUM;
    expect_shares(&choices, 1, 10, (double[]){1, 1, 1, 1});
    choices.weighting = WEIGHTS_LIST;
    memcpy(choices.list, (double[]){3, 0, 1, .5}, 4 * sizeof(double));
    expect_shares(&choices, 1, 10, (double[]){3, 0, 1, .5});
    choices.weighting = WEIGHTS_DEPTH; // by hand: .5 (0 + 1), .5 (0 + 1 + 2 + 3), .5 15, 7 + .5 21
    const double sum = 0.5 + 3 + 7.5 + 17.5;
    expect_shares(&choices, 1, 10, (double[]){.5 / sum, 3 / sum, 7.5 / sum, 17.5 / sum});
}

static void curricula_choose_exits(void **state)
{
    (void)state;
    SoftChoices choices = {.curriculum = CURRICULUM_ROTATIONAL, .rotation = 3};
    expect_shares(&choices, 3, 10, (double[]){.5, 0, 0, .5});
    expect_shares(&choices, 4, 10, (double[]){0, 0, .5, .5});
    expect_shares(&choices, 5, 10, (double[]){0, .5, 0, .5});
    choices = (SoftChoices){.curriculum = CURRICULUM_GRADUAL};
    expect_shares(&choices, 10, 80, (double[]){0, 0, 0, 1});
    expect_shares(&choices, 11, 80, (double[]){0, 0, .5, .5});
    expect_shares(&choices, 21, 80, (double[]){0, 1. / 3, 1. / 3, 1. / 3});
    expect_shares(&choices, 31, 80, (double[]){.25, .25, .25, .25});
}

static void drops_rise_with_depth(void **state)
{
    (void)state;
    enum { BLOCKS = 5, DRAWS = 20000 };
    const SoftChoices choices = {.layer_dropout = 0.4};
    Random random = random_seed(11);
    int dropped[BLOCKS] = {0};
    for (int i = 0; i < DRAWS; i++) {
        bool skip[BLOCKS];
        soft_drop(skip, &choices, BLOCKS, &random);
        for (int l = 0; l < BLOCKS; l++) dropped[l] += skip[l];
    }
    assert_int_equal(dropped[0], 0);
    for (int l = 0; l < BLOCKS; l++) {
        double p = 0.4 * (pow(2, l / 4.0) - 1), deviation = sqrt(p * (1 - p) / DRAWS);
        assert_true(fabs((double)dropped[l] / DRAWS - p) <= 5 * deviation);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distillation),
        cmocka_unit_test(an_exit_rests),
        cmocka_unit_test(norms_and_heads_of_their_own),
        cmocka_unit_test(no_norm_and_a_block_left_out),
        cmocka_unit_test(frozen_blocks),
        cmocka_unit_test(recomputed_blocks_change_no_bit),
        TEST(own_heads_are_saved_and_used),
        TEST(own_heads_are_exported),
        cmocka_unit_test(shares_follow_their_formulas),
        cmocka_unit_test(curricula_choose_exits),
        cmocka_unit_test(drops_rise_with_depth),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
