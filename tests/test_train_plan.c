// The planned memory against what a model, a training step and a validation really hold.
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
    // Per row and block: width 5 and the stream's, heads 4, hidden 3, statistics.
    uint64_t values = 6 * 5120 + 4 * 5120 + 3 * 13824 + 80;
    check_close("activations", plan.bytes[PLAN_ACTIVATIONS], 4 * values * 8188 * 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_are_what_they_say),
        cmocka_unit_test(choices_hold_what_was_planned),
        cmocka_unit_test(plans_large_models),
        cmocka_unit_test(storage_types_hold_what_was_planned),
        cmocka_unit_test(storage_types_save_memory),
        cmocka_unit_test(soft_holds_what_was_planned),
        cmocka_unit_test(sft_holds_what_was_planned),
        cmocka_unit_test(shallow_exits_and_validation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
