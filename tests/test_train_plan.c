// The planned memory against what a model, a training step and a validation really hold, what SoFT
// holds more than SFT, and which devices a plan fits.
#include "gpu/gpu.h"
#include "train/evaluate.h"
#include "train/plan.h"
#include "train/step.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static const LlamaConfig GROUPED = {.blocks = 4,
                                    .width = 192,
                                    .hidden = 500,
                                    .heads = 6,
                                    .kv_heads = 2,
                                    .head_size = 32,
                                    .vocab_size = 3001,
                                    .context = 600,
                                    .norm_epsilon = 1e-5,
                                    .rope_theta = 10000,
                                    .tied = true};
static const LlamaConfig UNTIED = {.blocks = 2,
                                   .width = 64,
                                   .hidden = 96,
                                   .heads = 2,
                                   .kv_heads = 2,
                                   .head_size = 32,
                                   .vocab_size = 20000,
                                   .context = 64,
                                   .norm_epsilon = 1e-5,
                                   .rope_theta = 10000};

static void check_close(const char *what, uint64_t planned, uint64_t real)
{
    double difference = fabs((double)planned - (double)real) / (double)real;
    if (difference > 0.05)
        fail_msg("%s: planned %llu bytes, really %llu", what, (unsigned long long)planned,
                 (unsigned long long)real);
}

// Makes it all on a device of its own, whose peak is that of nothing else.
static void check_shape(const PlanShape *shape)
{
    Error err = {""};
    Plan plan;
    Llama model;
    Step *score = NULL;
    Gpu *gpu = gpu_open(NULL, &err);
    if (!gpu) fail_msg("%s", err.text);
    assert_true(plan_make(&plan, shape, &err) && llama_make(&model, gpu, shape->model, &err));
    Step *step = step_open_with(&model,
                                &(StepOptions){.exits = shape->exits,
                                               .exit_count = shape->exit_count,
                                               .capacity = shape->rows,
                                               .backward = true,
                                               .recompute = shape->recompute,
                                               .exits_alone = shape->exits_alone,
                                               .distill = shape->distill,
                                               .storage = shape->storage},
                                &err);
    if (!step) fail_msg("%s", err.text);
    if (shape->valid_longest) {
        score = step_open(&model, shape->exits, shape->exit_count,
                          evaluate_rows(shape->valid_longest), false, &err);
        if (!score) fail_msg("%s", err.text);
    }
    check_close("peak", plan.peak, gpu_memory_peak(gpu));
    step_close(score);
    step_close(step);
    llama_free(&model);
    gpu_close(gpu);
}

static void soft_holds_what_was_planned(void **state)
{
    (void)state;
    static const uint32_t exits[] = {1, 2, 4};
    check_shape(&(PlanShape){&GROUPED, exits, 3, 1500, 0});
}

static void sft_holds_what_was_planned(void **state)
{
    (void)state;
    static const uint32_t exits[] = {2};
    check_shape(&(PlanShape){&UNTIED, exits, 1, 250, 0});
}

// Blocks behind the deepest exit have weights but no activations.
static void shallow_exits_and_validation(void **state)
{
    (void)state;
    static const uint32_t exits[] = {1, 2};
    check_shape(&(PlanShape){&GROUPED, exits, 2, 700, 300});
    check_shape(&(PlanShape){&UNTIED, exits, 1, 33, 2500});
}

// Exits with norms and heads of their own; recomputed blocks, a teacher, frozen blocks.
static void choices_hold_what_was_planned(void **state)
{
    (void)state;
    static const uint32_t exits[] = {1, 2, 4};
    LlamaConfig own = GROUPED;
    own.exit_count = 3;
    memcpy(own.exits, exits, sizeof exits);
    own.exit_norm = EXIT_NORM_PER_EXIT;
    own.separate_heads = true;
    check_shape(&(PlanShape){&own, exits, 3, 1500, 0, .recompute = true});
    check_shape(&(PlanShape){&own, exits, 3, 1500, 0, .distill = true});
    check_shape(&(PlanShape){&own, exits, 3, 1500, 0, .exits_alone = true});
}

// Every projection with a bias; heads with norms.
static void biases_hold_what_was_planned(void **state)
{
    (void)state;
    static const uint32_t exits[] = {1, 2, 4};
    const StorageTypes types = {DTYPE_BF16, DTYPE_F16, DTYPE_U8, DTYPE_BF16};
    LlamaConfig biases = GROUPED;
    biases.qkv_bias = biases.o_bias = biases.mlp_bias = true;
    check_shape(&(PlanShape){&biases, exits, 3, 1500, 0});
    check_shape(&(PlanShape){&biases, exits, 3, 1500, 0, .storage = types});
    LlamaConfig norms = GROUPED;
    norms.qk_norm = true;
    check_shape(&(PlanShape){&norms, exits, 3, 1500, 0});
    check_shape(&(PlanShape){&norms, exits, 3, 1500, 0, .storage = types});
}

// Each role in a type of its own; 3001 rows of the vocabulary do not pack, 3000 do.
static void storage_types_hold_what_was_planned(void **state)
{
    (void)state;
    static const uint32_t exits[] = {1, 2, 4};
    const StorageTypes types = {DTYPE_BF16, DTYPE_F16, DTYPE_U8, DTYPE_BF16};
    LlamaConfig packs = GROUPED;
    check_shape(&(PlanShape){&packs, exits, 3, 1500, 0, .storage = types});
    packs.vocab_size = 3000;
    check_shape(&(PlanShape){&packs, exits, 3, 1500, 0, .storage = types});
    check_shape(&(PlanShape){&packs, exits, 3, 1500, 0, .recompute = true, .storage = types});
    check_shape(&(PlanShape){&UNTIED, exits, 1, 250, 0, .storage = types});
}

static void storage_types_save_memory(void **state)
{
    (void)state;
    static const uint32_t exits[] = {1, 2, 4};
    LlamaConfig packs = GROUPED;
    Plan plain, small;
    Error err;
    packs.vocab_size = 3000;
    const PlanShape shape = {&packs, exits, 3, 1500, 0};
    PlanShape typed = shape;
    typed.storage = (StorageTypes){DTYPE_F32, DTYPE_BF16, DTYPE_U8, DTYPE_BF16};
    assert_true(plan_make(&plain, &shape, &err) && plan_make(&small, &typed, &err));
    check_close("gradients", 2 * small.bytes[PLAN_GRADIENTS], plain.bytes[PLAN_GRADIENTS]);
    assert_true(small.bytes[PLAN_MOMENTS] < 0.28 * (double)plain.bytes[PLAN_MOMENTS]);
    assert_true(small.bytes[PLAN_ACTIVATIONS] < plain.bytes[PLAN_ACTIVATIONS]);
    assert_int_equal(small.bytes[PLAN_WEIGHTS], plain.bytes[PLAN_WEIGHTS]);
}

static void roles_are_what_they_say(void **state)
{
    (void)state;
    static const uint32_t exits[] = {1, 2, 4};
    Plan plan, scored;
    Error err;
    uint64_t weights = 4 * config_parameters(&GROUPED);
    assert_true(plan_make(&plan, &(PlanShape){&GROUPED, exits, 3, 1500, 0}, &err));
    check_close("weights", plan.bytes[PLAN_WEIGHTS], weights);
    assert_int_equal(plan.bytes[PLAN_GRADIENTS], plan.bytes[PLAN_WEIGHTS]);
    assert_int_equal(plan.bytes[PLAN_MOMENTS], 2 * plan.bytes[PLAN_WEIGHTS]);
    assert_int_equal(plan.bytes[PLAN_VALIDATION], 0);
    assert_true(plan.bytes[PLAN_LOGITS] > 4ull * step_chunk_rows(1500, 3001) * 3001);
    // The logits' chunk, here.
    assert_int_equal(plan.largest, (4ull * 1500 * 3001 + 255) / 256 * 256);
    assert_int_equal(plan.bound, plan.largest);
    assert_true(plan.largest_role == PLAN_LOGITS && plan.bound_role == PLAN_LOGITS);
    assert_true(plan_make(&scored, &(PlanShape){&GROUPED, exits, 3, 1500, 64}, &err));
    for (int i = 0; i < PLAN_VALIDATION; i++) assert_int_equal(plan.bytes[i], scored.bytes[i]);
    assert_int_equal(scored.bytes[PLAN_OTHER], plan.bytes[PLAN_OTHER]);
    assert_true(scored.peak > plan.peak);
}

// Nothing on the way is cut to 32 bits: LLaMA 2 13B has 13.016e9 parameters.
static void plans_large_models(void **state)
{
    (void)state;
    const LlamaConfig large = {.blocks = 40,
                               .width = 5120,
                               .hidden = 13824,
                               .heads = 40,
                               .kv_heads = 40,
                               .head_size = 128,
                               .vocab_size = 32000,
                               .context = 4096};
    static const uint32_t exits[] = {12, 16, 20, 24, 28, 32, 36, 40};
    Plan plan;
    Error err;
    assert_true(plan_make(&plan, &(PlanShape){&large, exits, 8, 8188, 0}, &err));
    check_close("weights", plan.bytes[PLAN_WEIGHTS], 4 * UINT64_C(13016000000));
    // Per row and block: width 5 and the stream's, heads 2, hidden 3, statistics; keys and values.
    uint64_t values = 6 * 5120 + 2 * 5120 + 3 * 13824 + 80;
    check_close("activations", plan.bytes[PLAN_ACTIVATIONS], 4 * values * 8188 * 40);
    check_close("kv", plan.bytes[PLAN_KV], UINT64_C(4) * 2 * 5120 * 8188 * 40);
    // The embedding needs an allocation; what is bound is an MLP's rows, for that comes in slices.
    assert_int_equal(plan.largest, UINT64_C(4) * 32000 * 5120);
    assert_int_equal(plan.bound, UINT64_C(4) * 8188 * 13824);
    assert_true(plan.largest_role == PLAN_WEIGHTS && plan.bound_role == PLAN_ACTIVATIONS);
}

// ---- devices -----------------------------------------------------------------------------------

// A device that has exactly what the plan needs.
static GpuInfo device_of(const Plan *plan)
{
    return (GpuInfo){.name = "made up",
                     .local_bytes = plan->peak,
                     .binding_bytes = plan->bound,
                     .allocation_bytes = plan->largest,
                     .loop_steps = (uint32_t)plan->loop + 1};
}

static void check_lacks(const Plan *plan, const GpuInfo *info, const char *what, uint64_t found,
                        uint64_t allowed, const char *advice)
{
    Error err = {""};
    char have[24], most[24];
    snprintf(have, sizeof have, "%llu", (unsigned long long)found);
    snprintf(most, sizeof most, "%llu", (unsigned long long)allowed);
    assert_false(plan_check(plan, info, &err));
    const char *const parts[] = {what, have, most, advice};
    for (int i = 0; i < 4; i++)
        if (!strstr(err.text, parts[i])) fail_msg("no '%s' in: %s", parts[i], err.text);
}

static void says_what_does_not_fit(void **state)
{
    (void)state;
    static const uint32_t exits[] = {1, 2, 4};
    static const char lower[] = ": lower batch_size or context";
    static const char none[] = ": no batch_size or context is small enough";
    Plan plan;
    Error err;
    assert_true(plan_make(&plan, &(PlanShape){&GROUPED, exits, 3, 1500, 0}, &err));
    const GpuInfo enough = device_of(&plan);
    GpuInfo less = enough;
    assert_true(plan_check(&plan, &enough, &err));
    less.local_bytes--;
    check_lacks(&plan, &less, "lacks memory", plan.peak, plan.peak - 1, lower);
    less.local_bytes = plan.bytes[PLAN_MOMENTS];
    check_lacks(&plan, &less, "lacks memory", plan.peak, less.local_bytes, none);
    less = enough;
    less.binding_bytes--;
    check_lacks(&plan, &less, "logits: a tensor of", plan.bound, plan.bound - 1, lower);
    less.allocation_bytes--;
    check_lacks(&plan, &less, "one allocation has", plan.largest, plan.largest - 1, lower);
    check_lacks(&plan, &less, "one binding sees", plan.bound, plan.bound - 1, lower);
    less = enough;
    less.loop_steps = 1500;
    check_lacks(&plan, &less, "rows are summed", plan.loop, 1500, lower);
    less.loop_steps = 0;
    assert_true(plan_check(&plan, &less, &err));
}

// Of a parameter the smallest slice of rows is bound; the whole of it is allocated.
static void parameters_come_in_slices(void **state)
{
    (void)state;
    static const uint32_t exits[] = {2};
    Plan plan;
    Error err;
    assert_true(plan_make(&plan, &(PlanShape){&UNTIED, exits, 1, 2, 0}, &err));
    GpuInfo info = device_of(&plan);
    assert_true(plan.largest == UINT64_C(4) * 20000 * 64 && plan.bound < plan.largest);
    info.allocation_bytes--;
    check_lacks(&plan, &info, "weights: a tensor of", plan.largest, plan.largest - 1,
                ": no batch_size or context is small enough");
}

// ---- SoFT beside SFT ---------------------------------------------------------------------------

enum { EXITS = 8, MOST_ROWS = 256 };

// What a whole step comes to at its peak, on a device of its own.
static uint64_t measured_peak(const LlamaConfig *config, const uint32_t *exits, uint32_t count,
                              uint32_t rows)
{
    Error err = {""};
    Llama model;
    uint32_t tokens[MOST_ROWS + 1];
    double weights[EXITS], norm;
    const UpdateValues values = {
        .rate = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip = 1, .time = 1};
    Gpu *gpu = gpu_open(NULL, &err);
    if (!gpu || !llama_make(&model, gpu, config, &err)) fail_msg("%s", err.text);
    Step *step = step_open(&model, exits, count, rows, true, &err);
    if (!step) fail_msg("%s", err.text);
    for (uint32_t i = 0; i <= rows; i++) tokens[i] = i * 7919 % config->vocab_size;
    for (uint32_t e = 0; e < count; e++) weights[e] = 1.0 / (rows * count);
    batch_begin(step_batch(step));
    assert_true(batch_add(step_batch(step), tokens, rows + 1, 1));
    batch_end(step_batch(step));
    if (!step_zero_gradients(step, &err) || !step_run(step, weights, &err) ||
        !step_update(step, &values, &norm, &err))
        fail_msg("%s", err.text);
    uint64_t peak = gpu_memory_peak(gpu);
    step_close(step);
    llama_free(&model);
    gpu_close(gpu);
    return peak;
}

static void check_ratio(const char *name, const LlamaConfig *config, uint32_t rows)
{
    static const uint32_t exits[EXITS] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint64_t soft = measured_peak(config, exits, EXITS, rows);
    uint64_t sft = measured_peak(config, exits + EXITS - 1, 1, rows);
    double ratio = (double)soft / (double)sft;
    print_message("%s: measured peak of SFT %.2f MiB, of SoFT with %d exits %.2f MiB: %.5f\n", name,
                  (double)sft / (1 << 20), EXITS, (double)soft / (1 << 20), ratio);
    assert_true(ratio >= 1 && ratio <= 1.02);
}

// Eight exits cost at most 2 % more memory, whether the vocabulary is large beside the width (where
// logits are what costs most) or small.
static void soft_needs_what_sft_needs(void **state)
{
    (void)state;
    LlamaConfig config = {.blocks = EXITS,
                          .width = 256,
                          .hidden = 688,
                          .heads = 8,
                          .kv_heads = 8,
                          .head_size = 32,
                          .vocab_size = 32000,
                          .context = MOST_ROWS,
                          .norm_epsilon = 1e-5,
                          .rope_theta = 10000};
    check_ratio("width 256, vocabulary 32000", &config, 64);
    config.width = 64;
    config.hidden = 172;
    config.kv_heads = 4;
    config.head_size = 8;
    config.vocab_size = 512;
    config.tied = true;
    check_ratio("width 64, vocabulary 512", &config, MOST_ROWS);
}

static void no_validation_messages(void **state)
{
    (void)state;
    assert_int_equal(gpu_validation_messages(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_are_what_they_say),
        cmocka_unit_test(choices_hold_what_was_planned),
        cmocka_unit_test(plans_large_models),
        cmocka_unit_test(biases_hold_what_was_planned),
        cmocka_unit_test(storage_types_hold_what_was_planned),
        cmocka_unit_test(storage_types_save_memory),
        cmocka_unit_test(soft_holds_what_was_planned),
        cmocka_unit_test(sft_holds_what_was_planned),
        cmocka_unit_test(shallow_exits_and_validation),
        cmocka_unit_test(says_what_does_not_fit),
        cmocka_unit_test(parameters_come_in_slices),
        cmocka_unit_test(soft_needs_what_sft_needs),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
