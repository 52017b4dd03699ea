// LLaMA's relatives as whole models: Qwen2's biases, LLaMA 3's and linearly scaled RoPE, a head
// size of its own, Mistral's window. Logits and every gradient against PyTorch's
// (tests/reference/kind_*), weights on disk, training, what ends a text. Not their configs by
// themselves (test_config_kinds.c).
#include "base/file.h"
#include "infer/generate.h"
#include "model/block.h"
#include "model/export.h"
#include "model/safetensors.h"
#include "support/decoding.h"
#include "support/device.h"
#include "support/soft_reference.h"
#include "train/step.h"

#include "../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTHS = 2, KIND_COUNT = 5, VOCAB = REFERENCE_VOCAB };
static const uint32_t EXITS[DEPTHS] = {1, 2};

#define SHAPE                                                                                      \
    "\"hidden_size\":24,\"intermediate_size\":40,\"num_hidden_layers\":2,"                         \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":48,"                       \
    "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-05"

// The references as their files would describe them.
static const struct {
    const char *name, *config;
} KINDS[KIND_COUNT] = {
    {"qwen2", "{\"model_type\":\"qwen2\"," SHAPE ",\"head_dim\":8,\"rope_theta\":1000000.0,"
              "\"tie_word_embeddings\":true,\"bos_token_id\":1,\"eos_token_id\":[2,3]}"},
    {"llama3", "{\"model_type\":\"llama\"," SHAPE ",\"head_dim\":12,\"rope_theta\":200.0,"
               "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
               "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":128}}"},
    {"biases", "{\"model_type\":\"llama\"," SHAPE ",\"head_dim\":8,\"attention_bias\":true,"
               "\"mlp_bias\":true,\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.5,"
               "\"rope_theta\":10000.0}}"},
    {"mistral", "{\"model_type\":\"mistral\"," SHAPE ",\"head_dim\":8,\"sliding_window\":5}"},
    {"qwen3", "{\"model_type\":\"qwen3\"," SHAPE ",\"head_dim\":12,\"rope_theta\":1000000.0,"
              "\"tie_word_embeddings\":true}"},
};

static Reference *open_kind(int kind)
{
    LlamaConfig config;
    Error err;
    char name[32];
    test_write_text(&own_folder, "config.json", KINDS[kind].config);
    if (!config_load(&config, own_folder.text, &err)) fail_msg("%s", err.text);
    snprintf(name, sizeof name, "kind_%s", KINDS[kind].name);
    return reference_open_as(&config, name);
}

static float *reference_logits(const Reference *ref, uint32_t depth)
{
    char name[32];
    snprintf(name, sizeof name, "logits.%u", depth);
    return read_tensor(ref->path, name, REFERENCE_ROWS, VOCAB);
}

// ---- against PyTorch ---------------------------------------------------------------------------

// tokens of a sequence in pieces of `piece` rows: pieces of 1 go through the kernels for one row.
static void check_sequence(Session *session, const uint32_t *tokens, uint32_t count, uint32_t depth,
                           uint32_t piece, const float *expected, const char *name)
{
    float *logits = malloc((size_t)count * VOCAB * sizeof *logits);
    Error err;
    session_reset(session);
    for (uint32_t at = 0; at < count; at += piece) {
        uint32_t size = count - at < piece ? count - at : piece;
        if (!session_feed(session, tokens + at, size, depth, size, logits + (size_t)at * VOCAB,
                          &err))
            fail_msg("%s", err.text);
    }
    for (uint32_t i = 0; i < count * VOCAB; i++)
        if (!(fabsf(logits[i] - expected[i]) <= 2e-5f))
            fail_msg("%s: depth %u, pieces of %u, position %u, token %u: %g, expected %g", name,
                     depth, piece, i / VOCAB, i % VOCAB, (double)logits[i], (double)expected[i]);
    free(logits);
}

static void logits(void **state)
{
    (void)state;
    Error err;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        Reference *ref = open_kind(kind);
        Session *session = session_open(&ref->model, 0, &err);
        if (!session) fail_msg("%s", err.text);
        for (int e = 0; e < DEPTHS; e++) {
            float *expected = reference_logits(ref, EXITS[e]);
            for (uint32_t s = 0, row = 0; s < REFERENCE_SEQUENCES; row += REFERENCE_LENGTHS[s++])
                for (uint32_t piece = 1; piece <= 32; piece = piece == 1 ? 7 : piece + 25)
                    check_sequence(session, ref->tokens + row, REFERENCE_LENGTHS[s], EXITS[e],
                                   piece, expected + (size_t)row * VOCAB, KINDS[kind].name);
            free(expected);
        }
        session_close(session);
        reference_close(ref);
    }
}

static Step *run_step(Reference *ref, const StepOptions *options, double scale)
{
    Error err;
    const double each = scale / ((double)ref->supervised * DEPTHS), weights[DEPTHS] = {each, each};
    Step *step = step_open_with(&ref->model, options, &err);
    if (!step) fail_msg("%s", err.text);
    reference_fill(step_batch(step), ref, 0, REFERENCE_SEQUENCES);
    if (!step_zero_gradients(step, &err) || !step_run(step, weights, &err))
        fail_msg("%s", err.text);
    return step;
}

static const StepOptions PLAIN = {
    .exits = EXITS, .exit_count = DEPTHS, .capacity = REFERENCE_ROWS, .backward = true};

static double mean_loss(const Step *step, uint32_t exit, const Reference *ref)
{
    double sum = 0;
    for (uint32_t r = 0; r < ref->supervised; r++) sum += step_losses(step, exit)[2 * r];
    return sum / ref->supervised;
}

static void gradients(void **state)
{
    (void)state;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        Reference *ref = open_kind(kind);
        float *expected = read_tensor(ref->path, "loss_per_exit", DEPTHS, 1);
        for (int recompute = 0; recompute < 2; recompute++) {
            StepOptions options = PLAIN;
            options.recompute = recompute;
            Step *step = run_step(ref, &options, 1);
            for (uint32_t e = 0; e < DEPTHS; e++)
                assert_true(fabs(mean_loss(step, e, ref) - expected[e]) <= 1e-5 * expected[e]);
            reference_check_all(ref, step);
            step_close(step);
        }
        free(expected);
        reference_close(ref);
    }
}

// The parameter of that name, NULL span where there is none.
static Tensor find_parameter(Llama *llama, const char *name)
{
    for (size_t i = 0; i < llama_parameter_count(&llama->config); i++) {
        LlamaParameter p = llama_parameter(llama, i);
        if (!strcmp(p.name, name)) return *p.tensor;
    }
    return (Tensor){0};
}

// In f16 what blocks compute with keeps 11 bits; what is f32 there, too, are vectors and their
// gradients.
static void check_in_16_bits(int kind, const char *const *names, size_t count)
{
    Reference *ref = open_kind(kind);
    StepOptions options = PLAIN;
    options.storage =
        (StorageTypes){.weights = DTYPE_F16, .gradients = DTYPE_BF16, .activations = DTYPE_F16};
    Step *step = run_step(ref, &options, 1);
    Llama *found = step_gradients(step);
    assert_int_equal(found->blocks[0].q.dtype, DTYPE_BF16);
    for (size_t i = 0; i < count; i++) {
        Tensor gradient = find_parameter(found, names[i] + 5) /* behind "grad." */;
        uint32_t cols = gradient.cols;
        assert_int_equal(gradient.dtype, DTYPE_F32);
        float *expected = read_tensor(ref->path, names[i], 1, cols), *values = download(gradient);
        double norm = 0, difference = 0;
        for (uint32_t c = 0; c < cols; c++) {
            norm += (double)expected[c] * expected[c];
            difference += pow((double)values[c] - expected[c], 2);
        }
        if (!(difference > 0 && sqrt(difference) <= 0.01 * sqrt(norm)))
            fail_msg("%s: relative error %.4f", names[i], sqrt(difference / norm));
        free(expected);
        free(values);
    }
    step_close(step);
    reference_close(ref);
}

static void gradients_in_16_bits(void **state)
{
    (void)state;
    static const char *const biases[] = {"grad.model.layers.0.self_attn.q_proj.bias",
                                         "grad.model.layers.1.mlp.gate_proj.bias"};
    static const char *const norms[] = {"grad.model.layers.0.self_attn.q_norm.weight",
                                        "grad.model.layers.1.self_attn.k_norm.weight"};
    check_in_16_bits(2, biases, 2);
    check_in_16_bits(4, norms, 2);
}

// ---- what forward is made of -------------------------------------------------------------------

// The table of turns is of the scaled frequencies: here by adding up small angles in long double.
static void turns_are_scaled(void **state)
{
    (void)state;
    enum { CONTEXT = 50, SIZE = 12 };
    Error err;
    Reference *ref = open_kind(1);
    Tensor turns = rope_turns_make(device, &ref->model.config, CONTEXT, &err);
    assert_non_null(turns.span);
    float *values = download(turns);
    static const double share[SIZE / 2] = {1, 1, 0.8279, 0.1468, 0, 0}; // of what stays
    for (int j = 0; j < SIZE / 2; j++) {
        double plain = exp(-j * log(200.0) / 6), turned = 128 * plain / (8 * atan(1));
        double kept = fmin(1, fmax(0, (turned - 1) / 3));
        assert_true(fabs(kept - share[j]) < 1e-3);
        long double angle = 0, add = (long double)(plain * (kept + (1 - kept) / 8));
        for (int t = 0; t < CONTEXT; t++, angle += add) {
            assert_true(fabs(values[t * SIZE + j] - (double)cosl(angle)) < 1e-6);
            assert_true(fabs(values[t * SIZE + SIZE / 2 + j] - (double)sinl(angle)) < 1e-6);
        }
    }
    free(values);
    tensor_free(device, &turns);
    reference_close(ref);
}

// A row of a batch begins at its window's first key; a key is seen as long as its window lasts.
static void batches_have_windows(void **state)
{
    (void)state;
    Batch batch;
    Error err;
    static const uint32_t tokens[] = {5, 6, 7, 8, 9};
    static const uint32_t expected[][ROW_WORDS] = {{0, 0, 1, 2}, {1, 0, 2, 3}, {2, 1, 3, 4},
                                                   {3, 2, 4, 4}, {0, 4, 5, 5}, {0, 5, 6, 7},
                                                   {1, 5, 7, 7}};
    assert_true(batch_make(&batch, device, 8, 2, &err));
    batch_begin(&batch);
    assert_true(batch_add(&batch, tokens, 5, 1) && batch_add(&batch, tokens, 2, 1) &&
                batch_add(&batch, tokens, 3, 1));
    batch_end(&batch);
    assert_memory_equal(tensor_host(batch.row_table), expected, sizeof expected);
    batch_free(&batch);
}

// Every row's bits are those of a feed of all rows, of pieces and of single tokens.
static void rows_stand_alone(void **state)
{
    (void)state;
    Error err;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        Reference *ref = open_kind(kind);
        Session *session = session_open(&ref->model, 0, &err);
        assert_non_null(session);
        float whole[REFERENCE_ROWS * VOCAB], single[VOCAB];
        assert_true(session_feed(session, ref->tokens, 40, 2, 40, whole, &err));
        session_reset(session);
        for (uint32_t i = 0; i < 40; i++) {
            assert_true(session_feed(session, ref->tokens + i, 1, 2, 1, single, &err));
            assert_memory_equal(single, whole + (size_t)i * VOCAB, sizeof single);
        }
        session_close(session);
        reference_close(ref);
    }
}

// ---- files -------------------------------------------------------------------------------------

static void check_same_weights(Llama *a, Llama *b)
{
    size_t count = llama_parameter_count(&a->config);
    assert_int_equal(llama_parameter_count(&b->config), count);
    for (size_t i = 0; i < count; i++) {
        LlamaParameter p = llama_parameter(a, i), q = llama_parameter(b, i);
        assert_string_equal(p.name, q.name);
        float *x = download(*p.tensor), *y = download(*q.tensor);
        assert_memory_equal(x, y, tensor_bytes(*p.tensor));
        free(x);
        free(y);
    }
}

// Saved and loaded, and cut to its first block by export: the names are Hugging Face's.
static void files_hold_biases(void **state)
{
    (void)state;
    Error err;
    static const uint32_t extra[KIND_COUNT] = {3, 0, 7, 0, 2};
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        Reference *ref = open_kind(kind);
        Llama saved, cut;
        char name[32];
        snprintf(name, sizeof name, "cut%d", kind);
        TestPath to = test_path(own_folder.text, name);
        const ExportOptions options = {.depth = 1, .shard_size = EXPORT_SHARD_SIZE};
        size_t count = llama_parameter_count(&ref->model.config);
        assert_int_equal(count, 2u + !ref->model.config.tied + 2 * (9 + extra[kind]));
        if (!llama_save(&ref->model, own_folder.text, &err)) fail_msg("%s", err.text);
        saved = load_model(own_folder.text);
        assert_int_equal(saved.config.kind, ref->model.config.kind);
        check_same_weights(&ref->model, &saved);
        if (!model_export(to.text, own_folder.text, &options, &err)) fail_msg("%s", err.text);
        cut = load_model(to.text);
        assert_int_equal(llama_parameter_count(&cut.config), count - 9 - extra[kind]);
        if (saved.config.qkv_bias) {
            float *a = download(saved.blocks[0].k_bias), *b = download(cut.blocks[0].k_bias);
            assert_memory_equal(a, b, tensor_bytes(cut.blocks[0].k_bias));
            free(a);
            free(b);
        }
        llama_free(&cut);
        llama_free(&saved);
        reference_close(ref);
    }
}

// A Qwen2 without its biases is refused by the tensor's name.
static void missing_biases_are_refused(void **state)
{
    (void)state;
    Error err;
    Llama model;
    Reference *ref = open_kind(3); // has the shape and no biases
    assert_true(llama_save(&ref->model, own_folder.text, &err));
    reference_close(ref);
    test_write_text(&own_folder, "config.json",
                    "{\"model_type\":\"qwen2\"," SHAPE ",\"head_dim\":8}");
    assert_false(llama_load(&model, device, own_folder.text, &err));
    assert_error(err, "tensor 'model.layers.0.self_attn.q_proj.bias'");
}

// ---- training, generating ----------------------------------------------------------------------

// Biases begin at 0. They learn, and do not decay: with no gradient they stay to the bit.
static void biases_learn_and_do_not_decay(void **state)
{
    (void)state;
    Error err;
    Reference *ref = open_kind(0);
    Llama *model = &ref->model;
    assert_true(llama_randomize(model, 3, &err));
    float *start = download(model->blocks[1].v_bias);
    for (uint32_t c = 0; c < model->blocks[1].v_bias.cols; c++) assert_true(start[c] == 0);
    free(start);
    Step *step = run_step(ref, &PLAIN, 1);
    double first = mean_loss(step, 1, ref), norm;
    UpdateValues values = {.rate = 0.01,
                           .beta1 = 0.9,
                           .beta2 = 0.999,
                           .epsilon = 1e-8,
                           .weight_decay = 0.1,
                           .clip = 1};
    const double each = 1 / ((double)ref->supervised * DEPTHS), weights[DEPTHS] = {each, each};
    for (uint64_t t = 1; t <= 60; t++) {
        values.time = t;
        assert_true(step_update(step, &values, &norm, &err) && step_zero_gradients(step, &err) &&
                    step_run(step, weights, &err));
    }
    assert_true(mean_loss(step, 1, ref) < 0.5 * first);
    float *learned = download(model->blocks[1].v_bias), *decayed = download(model->blocks[1].v);
    assert_true(learned[0] != 0);
    step_close(step);
    step = run_step(ref, &PLAIN, 0); // moments of zero
    values.time = 1;
    assert_true(step_update(step, &values, &norm, &err));
    float *after = download(model->blocks[1].v_bias), *less = download(model->blocks[1].v);
    assert_memory_equal(learned, after, tensor_bytes(model->blocks[1].v_bias));
    assert_true(fabs(less[0] - decayed[0] * (1 - 0.01 * 0.1)) <= 1e-6 * fabs(decayed[0]));
    free(learned);
    free(decayed);
    free(after);
    free(less);
    step_close(step);
    reference_close(ref);
}

// Where the third token is among those that end a text, the text ends there, or where one of them
// came before.
static void any_end_ends_a_text(void **state)
{
    (void)state;
    Error err;
    Reference *ref = open_kind(3);
    Session *session = session_open(&ref->model, 0, &err);
    Generation free_run, ended;
    assert_non_null(session);
    assert_true(generate_greedy(&free_run, session, ref->tokens, 4, 2, 12, NULL, 0, &err));
    assert_true(free_run.count == 12 && free_run.end == END_LENGTH);
    const LlamaConfig ends = {.eos = {VOCAB - 1, VOCAB - 2, free_run.tokens[2]}, .eos_count = 3};
    size_t expected = 0;
    while (!config_ends(&ends, free_run.tokens[expected])) expected++;
    assert_true(
        generate_greedy(&ended, session, ref->tokens, 4, 2, 12, ends.eos, ends.eos_count, &err));
    assert_true(ended.end == END_EOS && ended.count == expected);
    assert_memory_equal(ended.tokens, free_run.tokens, expected * sizeof *ended.tokens);
    generation_free(&ended);
    generation_free(&free_run);
    session_close(session);
    reference_close(ref);
}

// The positions that left early, brought to full depth together, have the keys and values of a
// plain pass over the same tokens.
static void check_advanced(Engine *engine, Sequence *sequence)
{
    Error err;
    Engine *plain = open_engine(engine_model(engine), 0, 0);
    Sequence whole = open_sequence(plain);
    const uint32_t end = sequence->count;
    assert_true(sequence_append(&whole, sequence->tokens, end, &err));
    assert_true(engine_advance(engine, &(Advance){sequence, end, 0, NULL}, 1, 2, &err));
    assert_true(engine_advance(plain, &(Advance){&whole, end, 0, NULL}, 1, 2, &err));
    check_same_cache(engine, sequence, plain, &whole, end, 2);
    sequence_free(&whole);
    engine_close(plain);
}

// Drafts at depth 1 and exits that send tokens to either depth give the text of full depth, and the
// same keys and values, also where the text is longer than the window.
static void depth_at_run_time(void **state)
{
    (void)state;
    static const int kinds[] = {0, 3, 4};
    for (int i = 0; i < 3; i++) {
        Reference *ref = open_kind(kinds[i]);
        Engine *a = open_engine(&ref->model, 0, 0), *b = open_engine(&ref->model, 0, 0);
        Sequence full = open_sequence(a), other = open_sequence(b);
        GenerateOptions options = plain_options(policy_fixed(2));
        options.max_tokens = 30;
        Generation want = run_options(a, &full, ref->tokens, 9, &options);
        options.policy.draft = 1;
        Generation drafted = run_options(b, &other, ref->tokens, 9, &options);
        check_same_text(&want, &drafted, KINDS[kinds[i]].name, 1);
        // A threshold that some tokens reach; then all positions go to full depth.
        options.policy = exits_policy(2, EXITS, 1, 0.2);
        Generation exits = run_options(b, &other, ref->tokens, 9, &options);
        assert_true(exits.report.tokens_at[1] > 0);
        check_advanced(b, &other);
        generation_free(&want);
        generation_free(&drafted);
        generation_free(&exits);
        sequence_free(&full);
        sequence_free(&other);
        engine_close(a);
        engine_close(b);
        reference_close(ref);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(logits),
        TEST(gradients),
        TEST(gradients_in_16_bits),
        TEST(turns_are_scaled),
        TEST(batches_have_windows),
        TEST(rows_stand_alone),
        TEST(files_hold_biases),
        TEST(missing_biases_are_refused),
        TEST(biases_learn_and_do_not_decay),
        TEST(any_end_ends_a_text),
        TEST(depth_at_run_time),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
