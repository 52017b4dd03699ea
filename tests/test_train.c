// The SoFT step: losses and every gradient against PyTorch's (reference/make_gradients.py), AdamW
// and clipping likewise, batches that are split or packed. Not whole runs (test_train_run.c).
#include "infer/session.h"
#include "model/safetensors.h"
#include "support/device.h"
#include "support/models.h"
#include "support/soft_reference.h"
#include "train/step.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void upload(Tensor tensor, const float *values)
{
    Error err;
    if (!tensor_upload(device, tensor, values, &err)) fail_msg("%s", err.text);
}

static Step *open_step(Llama *model, const uint32_t *exits, uint32_t count, uint32_t capacity,
                       bool backward)
{
    Error err;
    Step *step = step_open(model, exits, count, capacity, backward, &err);
    if (!step) fail_msg("%s", err.text);
    return step;
}

static void run_step(Step *step, const double *weights)
{
    Error err;
    if (!step_run(step, weights, &err)) fail_msg("%s", err.text);
}

// The gradient of the mean over exits of the mean over rows, in micro-batches that end there.
static Step *run_reference(Reference *ref, const uint32_t *ends, size_t count)
{
    Step *step = open_step(&ref->model, REFERENCE_DEPTHS, REFERENCE_EXITS, REFERENCE_ROWS, true);
    double weights[REFERENCE_EXITS];
    Error err;
    for (int e = 0; e < REFERENCE_EXITS; e++)
        weights[e] = 1.0 / ((double)ref->supervised * REFERENCE_EXITS);
    assert_true(step_zero_gradients(step, &err));
    for (size_t i = 0; i < count; i++) {
        reference_fill(step_batch(step), ref, i ? ends[i - 1] : 0, ends[i]);
        run_step(step, weights);
    }
    return step;
}

// Loss of each exit, and for each row whether its target is the largest logit.
static void check_losses(const Reference *ref, const Step *step)
{
    float *expected = read_tensor(ref->path, "loss_per_exit", REFERENCE_EXITS, 1);
    for (uint32_t e = 0; e < REFERENCE_EXITS; e++) {
        char name[32];
        snprintf(name, sizeof name, "logits.%u", REFERENCE_DEPTHS[e]);
        float *logits = read_tensor(ref->path, name, REFERENCE_ROWS, REFERENCE_VOCAB);
        const float *losses = step_losses(step, e);
        double sum = 0;
        uint32_t at = 0;
        for (uint32_t r = 0; r < REFERENCE_ROWS; r++) {
            if (ref->targets[r] < 0) continue;
            uint32_t best = 0;
            for (uint32_t v = 1; v < REFERENCE_VOCAB; v++)
                if (logits[r * REFERENCE_VOCAB + v] > logits[r * REFERENCE_VOCAB + best]) best = v;
            assert_true(losses[2 * at + 1] == (best == (uint32_t)ref->targets[r] ? 1.0f : 0.0f));
            sum += losses[2 * at++];
        }
        assert_true(fabs(sum / at - expected[e]) <= 1e-5 * expected[e]);
        free(logits);
    }
    free(expected);
}

static void check_reference(bool tied)
{
    Reference *ref = reference_open(tied);
    Step *step = run_reference(ref, (const uint32_t[]){REFERENCE_SEQUENCES}, 1);
    check_losses(ref, step);
    reference_check_all(ref, step);
    step_close(step);
    reference_close(ref);
}

static void gradients_tied(void **state)
{
    (void)state;
    check_reference(true);
}

static void gradients_untied(void **state)
{
    (void)state;
    check_reference(false);
}

static void gradients_in_micro_batches(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        Reference *ref = reference_open(tied);
        Step *step = run_reference(ref, (const uint32_t[]){1, REFERENCE_SEQUENCES}, 2);
        reference_check_all(ref, step);
        step_close(step);
        step = run_reference(ref, (const uint32_t[]){1, 2, 3}, 3);
        reference_check_all(ref, step);
        step_close(step);
        reference_close(ref);
    }
}

// A second step begins from zero again: it has the very gradients of the first.
static void gradients_are_set_to_zero(void **state)
{
    (void)state;
    Reference *ref = reference_open(true);
    Step *step = run_reference(ref, (const uint32_t[]){REFERENCE_SEQUENCES}, 1);
    const double weights[REFERENCE_EXITS] = {1, 2, 3};
    Error err;
    Tensor gradient = step_gradients(step)->blocks[0].q;
    assert_true(step_zero_gradients(step, &err));
    run_step(step, weights);
    float *once = download(gradient);
    assert_true(step_zero_gradients(step, &err));
    run_step(step, weights);
    float *again = download(gradient);
    assert_memory_equal(once, again, tensor_bytes(gradient));
    free(again);
    run_step(step, weights); // and without, they add up
    again = download(gradient);
    for (size_t i = 0; i < tensor_bytes(gradient) / sizeof *once; i++)
        assert_true(fabsf(again[i] - 2 * once[i]) <= 1e-5f * fabsf(once[i]) + 1e-6f);
    free(again);
    free(once);
    step_close(step);
    reference_close(ref);
}

// An exit's weight is its share: one exit alone, and blocks above it get nothing.
static void exits_reach_their_blocks(void **state)
{
    (void)state;
    Reference *ref = reference_open(true);
    Step *step = open_step(&ref->model, REFERENCE_DEPTHS, REFERENCE_EXITS, REFERENCE_ROWS, true);
    Error err;
    reference_fill(step_batch(step), ref, 0, REFERENCE_SEQUENCES);
    for (int e = 0; e < REFERENCE_EXITS; e++) {
        double weights[REFERENCE_EXITS] = {0};
        weights[e] = 1;
        assert_true(step_zero_gradients(step, &err));
        run_step(step, weights);
        for (uint32_t l = 0; l < REFERENCE_BLOCKS; l++) {
            Tensor gradient = step_gradients(step)->blocks[l].down;
            float *values = download(gradient), most = 0;
            for (size_t i = 0; i < tensor_bytes(gradient) / sizeof *values; i++)
                most = fmaxf(most, fabsf(values[i]));
            assert_true((most > 0) == (l < REFERENCE_DEPTHS[e]));
            free(values);
        }
    }
    step_close(step);
    reference_close(ref);
}

// The logits of each sequence as a session gives them.
static void session_logits(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        Reference *ref = reference_open(tied);
        Error err;
        Session *session = session_open(&ref->model, 0, &err);
        float logits[REFERENCE_ROWS * REFERENCE_VOCAB];
        for (uint32_t e = 0; e < REFERENCE_EXITS; e++) {
            char name[32];
            snprintf(name, sizeof name, "logits.%u", REFERENCE_DEPTHS[e]);
            float *expected = read_tensor(ref->path, name, REFERENCE_ROWS, REFERENCE_VOCAB);
            for (uint32_t s = 0, row = 0; s < REFERENCE_SEQUENCES; row += REFERENCE_LENGTHS[s++]) {
                session_reset(session);
                assert_true(session_feed(session, ref->tokens + row, REFERENCE_LENGTHS[s],
                                         REFERENCE_DEPTHS[e], REFERENCE_LENGTHS[s],
                                         logits + row * REFERENCE_VOCAB, &err));
            }
            for (int i = 0; i < REFERENCE_ROWS * REFERENCE_VOCAB; i++)
                assert_true(fabsf(logits[i] - expected[i]) <= 2e-5f);
            free(expected);
        }
        session_close(session);
        reference_close(ref);
    }
}

// ---- the optimizer -----------------------------------------------------------------------------

enum { ADAM_VALUES = 64, ADAM_STEPS = 3 };

static float *adam_tensor(const char *what, int number, uint64_t rows, uint64_t cols)
{
    char name[32];
    if (number >= 0)
        snprintf(name, sizeof name, "%s%d", what, number);
    else
        snprintf(name, sizeof name, "%s", what);
    return read_tensor(TEST_ROOT "/tests/reference/adamw.safetensors", name, rows, cols);
}

// One matrix of 64 values learns; all else has no gradient. Norms do not decay, matrices do.
static void check_adamw(bool clip)
{
    LlamaConfig config = small_config();
    config.blocks = config.kv_heads = 1;
    config.head_size = 2; // k is (2, 32)
    Llama model;
    Error err;
    assert_true(llama_make(&model, device, &config, &err));
    Step *step = open_step(&model, (const uint32_t[]){1}, 1, 8, true);
    float ones[32], *start = adam_tensor("p0", -1, 1, ADAM_VALUES);
    for (int i = 0; i < 32; i++) ones[i] = 1;
    upload(model.blocks[0].attn_norm, ones);
    upload(model.blocks[0].v, start); // of the same shape: decay alone
    upload(model.blocks[0].k, start);
    float *rates = adam_tensor("learning_rates", -1, ADAM_STEPS, 1);
    float *norms = adam_tensor("norms", -1, ADAM_STEPS, 1);
    double left = 1;
    assert_true(step_zero_gradients(step, &err));
    for (int t = 0; t < ADAM_STEPS; t++) {
        float *gradient = adam_tensor("g", t + 1, 1, ADAM_VALUES);
        upload(step_gradients(step)->blocks[0].k, gradient);
        const UpdateValues values = {.rate = rates[t],
                                     .beta1 = 0.9,
                                     .beta2 = 0.999,
                                     .epsilon = 1e-8,
                                     .weight_decay = 0.1,
                                     .clip = clip ? 1 : 0,
                                     .time = (uint64_t)t + 1};
        double norm;
        assert_true(step_update(step, &values, &norm, &err));
        assert_true(fabs(norm - norms[t]) <= 1e-5 * norms[t]);
        float *expected = adam_tensor(clip ? "clipped.p" : "p", t + 1, 1, ADAM_VALUES);
        float *found = download(model.blocks[0].k), *decayed = download(model.blocks[0].v);
        left *= 1 - (double)rates[t] * 0.1;
        for (int i = 0; i < ADAM_VALUES; i++) {
            if (!(fabsf(found[i] - expected[i]) <= 1e-6f))
                fail_msg("step %d, value %d: %.8g, expected %.8g", t + 1, i, found[i], expected[i]);
            assert_true(fabs(decayed[i] - left * start[i]) <= 1e-6);
        }
        free(gradient);
        free(expected);
        free(found);
        free(decayed);
    }
    float *norm = download(model.blocks[0].attn_norm);
    assert_memory_equal(norm, ones, sizeof ones);
    free(norm);
    free(start);
    free(rates);
    free(norms);
    step_close(step);
    llama_free(&model);
}

static void adamw(void **state)
{
    (void)state;
    check_adamw(false);
}

static void adamw_with_clipping(void **state)
{
    (void)state;
    check_adamw(true);
}

// ---- packing -----------------------------------------------------------------------------------

enum { RECORDS = 6, LONGEST = 65 };

// Record `record` of a batch; `other` gives another text of the same length.
static uint32_t fill_record(uint32_t *tokens, uint32_t record, uint32_t other, uint32_t vocab)
{
    static const uint32_t lengths[RECORDS] = {9, 2, 40, 23, LONGEST, 3};
    for (uint32_t i = 0; i < lengths[record]; i++)
        tokens[i] = (record * 131 + other * 17 + i * i * 7 + i) % vocab;
    return lengths[record];
}

// Runs records first .. last - 1, of which `changed` has another text.
static void run_records(Step *step, uint32_t first, uint32_t last, uint32_t changed, uint32_t vocab)
{
    const double weights[] = {1, 1};
    uint32_t tokens[LONGEST];
    batch_begin(step_batch(step));
    for (uint32_t i = first; i < last; i++) {
        uint32_t length = fill_record(tokens, i, i == changed, vocab);
        assert_true(batch_add(step_batch(step), tokens, length, 1 + length / 3));
    }
    batch_end(step_batch(step));
    run_step(step, weights);
}

// Losses of a record alone; its rows' distance from a run of keys may round the sums otherwise.
static void check_alone(const float *alone, const float *packed, uint32_t rows)
{
    for (uint32_t r = 0; r < rows; r++) {
        assert_true(fabsf(alone[2 * r] - packed[2 * r]) <= 1e-6f * fmaxf(1, alone[2 * r]));
        assert_true(alone[2 * r + 1] == packed[2 * r + 1]);
    }
}

// A record's losses are those it has alone, and do not change by a bit with its neighbours' texts.
static void records_do_not_see_each_other(void **state)
{
    (void)state;
    Llama model = load_model(small_model(&own_folder, "m", 11).text);
    const uint32_t exits[] = {2, 4};
    uint32_t vocab = model.config.vocab_size;
    for (int backward = 0; backward < 2; backward++) {
        Step *all = open_step(&model, exits, 2, 200, backward);
        Step *other = open_step(&model, exits, 2, 200, backward);
        run_records(all, 0, RECORDS, RECORDS, vocab);
        for (uint32_t i = 0, at = 0; i < RECORDS; i++) {
            run_records(other, i, i + 1, RECORDS, vocab);
            uint32_t rows = step_batch(other)->supervised;
            for (uint32_t e = 0; e < 2; e++)
                check_alone(step_losses(other, e), step_losses(all, e) + (size_t)2 * at, rows);
            run_records(other, 0, RECORDS, i, vocab);
            for (uint32_t e = 0; e < 2; e++) {
                const float *before = step_losses(all, e), *after = step_losses(other, e);
                size_t end = at + rows, last = step_batch(all)->supervised;
                assert_memory_equal(before, after, 2 * at * sizeof *before);
                assert_memory_not_equal(before + 2 * at, after + 2 * at, 2 * rows * sizeof *before);
                assert_memory_equal(before + 2 * end, after + 2 * end,
                                    2 * (last - end) * sizeof *before);
            }
            at += rows;
        }
        step_close(other);
        step_close(all);
    }
    llama_free(&model);
}

// Three sequences of 65 tokens, or one of them.
static void run_sequences(Step *step, uint32_t first, uint32_t last, uint32_t vocab)
{
    const double weights[] = {0.01};
    uint32_t tokens[65];
    batch_begin(step_batch(step));
    for (uint32_t i = first; i < last; i++) {
        for (uint32_t t = 0; t < 65; t++) tokens[t] = (i * 40000 + t * 977) % vocab;
        assert_true(batch_add(step_batch(step), tokens, 65, 1));
    }
    assert_false(batch_add(step_batch(step), tokens, 2, 1)); // full
    batch_end(step_batch(step));
    run_step(step, weights);
}

// Logits of many supervised rows are made in chunks of rows, which a wide vocabulary makes short.
// Sequence by sequence, in one chunk each, the sums are the same.
static void chunks_change_nothing(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    config.blocks = 1;
    config.vocab_size = 70000; // 64 rows a chunk
    Llama model;
    Error err;
    assert_true(llama_make(&model, device, &config, &err));
    assert_true(llama_randomize(&model, 3, &err));
    const uint32_t exits[] = {1};
    Step *whole = open_step(&model, exits, 1, 192, true);
    Step *part = open_step(&model, exits, 1, 64, true);
    assert_true(step_zero_gradients(whole, &err) && step_zero_gradients(part, &err));
    run_sequences(whole, 0, 3, config.vocab_size);
    for (uint32_t i = 0; i < 3; i++) {
        run_sequences(part, i, i + 1, config.vocab_size);
        assert_memory_equal(step_losses(part, 0), step_losses(whole, 0) + (size_t)i * 128,
                            128 * sizeof(float));
    }
    Tensor a = step_gradients(whole)->blocks[0].down, b = step_gradients(part)->blocks[0].down;
    float *x = download(a), *y = download(b), most = 0;
    for (size_t i = 0; i < tensor_bytes(a) / sizeof *x; i++) most = fmaxf(most, fabsf(x[i]));
    assert_true(most > 0);
    for (size_t i = 0; i < tensor_bytes(a) / sizeof *x; i++)
        assert_true(fabsf(x[i] - y[i]) <= 1e-5f * most);
    free(x);
    free(y);
    step_close(part);
    step_close(whole);
    llama_free(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gradients_tied),
        TEST(gradients_untied),
        TEST(gradients_in_micro_batches),
        TEST(gradients_are_set_to_zero),
        TEST(exits_reach_their_blocks),
        TEST(session_logits),
        TEST(adamw),
        TEST(adamw_with_clipping),
        TEST(records_do_not_see_each_other),
        TEST(chunks_change_nothing),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
