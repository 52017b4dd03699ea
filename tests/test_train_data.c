// Records as training sees them: which tokens carry loss, what the context cuts, how rows lie in a
// batch; and evaluation, against the same figures computed from a session's logits.
#include "infer/generate.h"
#include "support/device.h"
#include "support/models.h"
#include "text/alpaca.h"
#include "train/batch.h"
#include "train/evaluate.h"

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

static const char *const RECORDS[][2] = {
    {"Write a word.", "Below"},
    {"Complete the response.", "that describes a task."},
    {"a", " an input"},
    {"Instruction", "Response:\n"},
    {"", "is"},
    {"\xE2\x82\xAC", "\xC3\xA9t\xC3\xA9"},
};
enum { RECORD_COUNT = sizeof RECORDS / sizeof *RECORDS };

// ---- tokens and masks --------------------------------------------------------------------------

static Dataset load_set(const char *path, const Tokenizer *words, uint32_t context)
{
    Dataset set;
    Error err;
    if (!dataset_load(&set, path, words, context, &err)) fail_msg("%s", err.text);
    return set;
}

// The tokens of a text behind BOS.
static TokenList encode_behind_bos(const Tokenizer *words, const char *text)
{
    TokenList list = {0};
    Error err;
    assert_true(token_list_push(&list, tokenizer_bos(words)));
    if (!tokenizer_encode(words, text, strlen(text), &list, &err)) fail_msg("%s", err.text);
    return list;
}

// BOS, prompt and output as one text, EOS; as many leading tokens as BOS and the prompt carry none.
static void examples_are_whole_texts(void **state)
{
    (void)state;
    Tokenizer *words = words_tokenizer();
    TestPath path = write_records(&own_folder, "data.json", RECORDS, RECORD_COUNT);
    Dataset set = load_set(path.text, words, 1000);
    uint32_t longest = 0;
    assert_int_equal(set.count, RECORD_COUNT);
    assert_int_equal(set.truncated, 0);
    assert_int_equal(set.dropped, 0);
    for (size_t i = 0; i < RECORD_COUNT; i++) {
        char text[1000], *prompt = alpaca_prompt(RECORDS[i][0], NULL);
        snprintf(text, sizeof text, "%s%s", prompt, RECORDS[i][1]);
        TokenList whole = encode_behind_bos(words, text), part = encode_behind_bos(words, prompt);
        assert_true(token_list_push(&whole, tokenizer_eos(words)));
        const Example *e = &set.examples[i];
        assert_int_equal(e->length, whole.count);
        assert_int_equal(e->prompt, part.count);
        const uint8_t *marks = dataset_marks(&set, e);
        assert_int_equal(marks[0], MARK_BEGIN);
        for (uint32_t t = 1; t < e->length; t++)
            assert_int_equal(marks[t], t >= part.count ? MARK_LOSS : 0);
        assert_int_equal(e->sequences, 1);
        assert_memory_equal(set.tokens + e->first, whole.ids, whole.count * sizeof *whole.ids);
        assert_int_equal(set.tokens[e->first], 1);
        assert_int_equal(set.tokens[e->first + e->length - 1], 2);
        assert_int_equal(example_supervised(e), whole.count - part.count);
        assert_int_equal(example_rows(e), whole.count - 1);
        assert_false(e->truncated);
        if (e->length > longest) longest = e->length;
        token_list_free(&whole);
        token_list_free(&part);
        free(prompt);
    }
    assert_int_equal(set.longest, longest);
    dataset_free(&set);
    tokenizer_free(words);
}

// Every context, from one that leaves nothing to one that cuts nothing.
static void contexts_cut(void **state)
{
    (void)state;
    Tokenizer *words = words_tokenizer();
    TestPath path = write_records(&own_folder, "data.json", RECORDS, RECORD_COUNT);
    Dataset whole = load_set(path.text, words, 1000), set;
    Error err = {""};
    assert_false(dataset_load(&set, path.text, words, 10, &err));
    assert_error(err, "data.json: no record has an output within the context of 10 tokens");
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < RECORD_COUNT; i++)
        if (whole.examples[i].prompt < least) least = whole.examples[i].prompt;
    assert_false(dataset_load(&set, path.text, words, least, &err));
    for (uint32_t context = least + 1; context <= whole.longest; context++) {
        set = load_set(path.text, words, context);
        size_t truncated = 0, dropped = 0, at = 0;
        for (size_t i = 0; i < RECORD_COUNT; i++) {
            const Example *w = &whole.examples[i];
            truncated += w->length > context;
            dropped += w->prompt >= context;
            if (w->prompt >= context) continue;
            const Example *e = &set.examples[at++];
            assert_int_equal(e->length, w->length > context ? context : w->length);
            assert_int_equal(e->prompt, w->prompt);
            assert_true(e->truncated == (w->length > context));
            assert_memory_equal(set.tokens + e->first, whole.tokens + w->first,
                                e->length * sizeof *set.tokens);
        }
        assert_int_equal(set.count, at);
        assert_int_equal(set.truncated, truncated);
        assert_int_equal(set.dropped, dropped);
        assert_true(set.longest <= context);
        dataset_free(&set);
    }
    dataset_free(&whole);
    tokenizer_free(words);
}

static void refuses_bad_files(void **state)
{
    (void)state;
    Tokenizer *words = words_tokenizer();
    static const struct {
        const char *text, *part;
    } files[] = {
        {"[]", "bad.json: holds no records"},
        {"{}", "bad.json: is not a JSON list of records"},
        {"[{\"instruction\":\"a\"}]", "bad.json: record 1: key 'output'"},
        {"[{\"instruction\":\"a\",\"output\":\"b\"},{\"output\":\"b\"}]",
         "bad.json: record 2: key 'instruction'"},
        {"[{\"instruction\":\"a\",\"output\":\"\xFF\"}]", "bad.json"},
        {"", "bad.json"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        TestPath path = test_write_text(&own_folder, "bad.json", files[i].text);
        Dataset set;
        Error err = {""};
        assert_false(dataset_load(&set, path.text, words, 100, &err));
        assert_error(err, files[i].part);
        assert_null(set.tokens);
        assert_null(set.examples);
    }
    tokenizer_free(words);
}

// ---- batches -----------------------------------------------------------------------------------

static void check_words(Tensor tensor, const uint32_t *expected, size_t count)
{
    assert_memory_equal(tensor_host(tensor), expected, count * sizeof *expected);
}

// Two sequences, followed by hand.
static void batches_lie_end_to_end(void **state)
{
    (void)state;
    Batch batch;
    Error err;
    assert_true(batch_make(&batch, device, 7, 0, &err));
    for (int round = 0; round < 2; round++) { // it can be filled again
        batch_begin(&batch);
        assert_true(batch_add(&batch, (const uint32_t[]){7, 5, 7, 9}, 4, 2));
        assert_true(batch_add(&batch, (const uint32_t[]){5, 8}, 2, 1));
        assert_false(batch_add(&batch, (const uint32_t[]){1, 1, 1, 1, 1}, 5, 1)); // does not fit
        batch_end(&batch);
        assert_int_equal(batch.used, 4);
        assert_int_equal(batch.supervised, 3);
        check_words(batch.tokens, (const uint32_t[]){7, 5, 7, 5}, 4);
        const uint32_t *table = tensor_host(batch.row_table);
        static const uint32_t rows[4][4] = {{0, 0, 1, 3}, {1, 0, 2, 3}, {2, 0, 3, 3}, {0, 3, 4, 4}};
        for (int r = 0; r < 4; r++) {
            assert_int_equal(table[ROW_WORDS * r + ROW_POSITION], rows[r][0]);
            assert_int_equal(table[ROW_WORDS * r + ROW_FIRST_KEY], rows[r][1]);
            assert_int_equal(table[ROW_WORDS * r + ROW_LAST_KEY], rows[r][2]);
            assert_int_equal(table[ROW_WORDS * r + ROW_UNTIL], rows[r][3]);
        }
        check_words(batch.index, (const uint32_t[]){1, 2, 3}, 3);
        check_words(batch.targets, (const uint32_t[]){7, 9, 8}, 3);
        check_words(batch.uses, (const uint32_t[]){5, 0, 7, 2}, 4);
        assert_int_equal(((const uint32_t *)tensor_host(batch.uses))[5], 4);
        check_words(batch.order, (const uint32_t[]){1, 3, 0, 2}, 4);
    }
    batch_free(&batch);
    batch_free(&batch);
}

static Dataset load_documents(const char *name, const char *text, uint32_t context)
{
    Tokenizer *words = words_tokenizer();
    Dataset set = load_set(test_write_text(&own_folder, name, text).text, words, context);
    tokenizer_free(words);
    return set;
}

static void check_same_words(Tensor a, Tensor b, size_t count)
{
    assert_memory_equal(tensor_host(a), tensor_host(b), count * 4);
}

// A pack of documents is laid out as if each came alone.
static void packs_are_sequences(void **state)
{
    (void)state;
    Dataset set = load_documents("a.txt", "a task\n<|endoftext|>\nBelow\n<|endoftext|>\nthe", 100);
    assert_int_equal(set.count, 1);
    const Example *pack = set.examples;
    const uint32_t *tokens = set.tokens + pack->first;
    assert_int_equal(pack->sequences, 3);
    Batch whole, parts;
    Error err;
    assert_true(batch_make(&whole, device, example_rows(pack), 0, &err));
    assert_true(batch_make(&parts, device, example_rows(pack), 0, &err));
    batch_begin(&whole);
    assert_true(batch_add_example(&whole, &set, pack));
    assert_false(batch_add_example(&whole, &set, pack)); // full
    batch_end(&whole);
    batch_begin(&parts);
    for (uint32_t begin = 0, end; begin < pack->length; begin = end) {
        for (end = begin + 1; end < pack->length && tokens[end] != 1;) end++;
        assert_true(batch_add(&parts, tokens + begin, end - begin, 1));
    }
    batch_end(&parts);
    assert_int_equal(whole.used, example_rows(pack));
    assert_int_equal(whole.used, parts.used);
    assert_int_equal(whole.supervised, parts.supervised);
    assert_int_equal(whole.supervised, pack->supervised);
    check_same_words(whole.tokens, parts.tokens, whole.used);
    check_same_words(whole.row_table, parts.row_table, (size_t)ROW_WORDS * whole.used);
    check_same_words(whole.index, parts.index, whole.supervised);
    check_same_words(whole.targets, parts.targets, whole.supervised);
    batch_free(&whole);
    batch_free(&parts);
    dataset_free(&set);
}

// ---- evaluation --------------------------------------------------------------------------------

typedef struct {
    double loss;
    uint32_t tokens, hits, exact;
} Figures;

// Of one record at one depth, from a session's logits in double, and from greedy decoding.
static void add_record(Figures *f, Session *session, const Dataset *set, const Example *e,
                       uint32_t depth)
{
    uint32_t vocab = session_vocab(session), count = example_supervised(e);
    const uint32_t *tokens = set->tokens + e->first, *targets = tokens + e->prompt;
    float *logits = malloc((size_t)count * vocab * sizeof *logits);
    Error err;
    session_reset(session);
    assert_true(session_feed(session, tokens, e->length - 1, depth, count, logits, &err));
    for (uint32_t i = 0; i < count; i++) {
        const float *row = logits + (size_t)i * vocab;
        double sum = 0;
        for (uint32_t v = 0; v < vocab; v++) sum += exp((double)row[v]);
        f->loss += log(sum) - row[targets[i]];
        f->hits += argmax(row, vocab) == targets[i];
    }
    f->tokens += count;
    free(logits);
    const uint32_t eos = 2;
    Generation out;
    assert_true(generate_greedy(&out, session, tokens, e->prompt, depth, 100, &eos, 1, &err));
    f->exact += !e->truncated && out.end == END_EOS && out.count == count - 1 &&
                !memcmp(out.tokens, targets, out.count * sizeof *targets);
    generation_free(&out);
}

// Depth by depth; the figures are shares of all records, those left out included.
static void check_scores(Llama *model, const Dataset *set, const uint32_t *depths, uint32_t count)
{
    DepthScore scores[CONFIG_MAX_EXITS];
    Error err;
    if (!evaluate(model, set, depths, count, scores, NULL, NULL, &err)) fail_msg("%s", err.text);
    Session *session = session_open(model, 0, &err);
    for (uint32_t d = 0; d < count; d++) {
        Figures f = {0};
        for (size_t i = 0; i < set->count; i++)
            add_record(&f, session, set, &set->examples[i], depths[d]);
        assert_int_equal(scores[d].depth, depths[d]);
        assert_true(fabs(scores[d].loss - f.loss / f.tokens) <= 1e-5 * (1 + f.loss / f.tokens));
        assert_true(scores[d].perplexity == exp(scores[d].loss));
        assert_true(scores[d].token_accuracy == (double)f.hits / f.tokens);
        assert_true(scores[d].exact_match == (double)f.exact / (double)(set->count + set->dropped));
    }
    session_close(session);
}

static void counts_done(void *user, size_t done)
{
    size_t *last = user;
    assert_true(done > *last);
    *last = done;
}

static void evaluation_is_what_sessions_say(void **state)
{
    (void)state;
    TestPath folder = small_model(&own_folder, "m", 21);
    TestPath path = write_records(&own_folder, "data.json", RECORDS, RECORD_COUNT);
    Tokenizer *words = words_tokenizer();
    Llama model = load_model(folder.text);
    const uint32_t all[] = {1, 2, 3, 4}, some[] = {2, 3};
    Dataset set = load_set(path.text, words, 160);
    check_scores(&model, &set, all, 4);
    check_scores(&model, &set, some, 2);
    check_scores(&model, &set, all + 3, 1);
    size_t done = 0;
    DepthScore score;
    Error err;
    assert_true(evaluate(&model, &set, all, 1, &score, counts_done, &done, &err));
    assert_int_equal(done, RECORD_COUNT);
    uint32_t context = set.examples[4].length; // the shortest prompt and little more
    dataset_free(&set);
    set = load_set(path.text, words, context);
    assert_true(set.truncated > set.dropped && set.dropped > 0);
    check_scores(&model, &set, all, 4);
    dataset_free(&set);
    llama_free(&model);
    tokenizer_free(words);
}

// More rows than a batch holds: copies of the records in several batches score as one copy does.
static void evaluation_in_several_batches(void **state)
{
    (void)state;
    enum { COPIES = 15 };
    TestPath folder = small_model(&own_folder, "m", 21);
    TestPath path = write_records(&own_folder, "data.json", RECORDS, RECORD_COUNT);
    Tokenizer *words = words_tokenizer();
    Llama model = load_model(folder.text);
    Dataset set = load_set(path.text, words, 160);
    Example *examples = malloc(COPIES * RECORD_COUNT * sizeof *examples);
    for (size_t i = 0; i < COPIES * RECORD_COUNT; i++) examples[i] = set.examples[i % RECORD_COUNT];
    Dataset many = set;
    many.examples = examples;
    many.count = COPIES * RECORD_COUNT;
    const uint32_t depths[] = {1, 4};
    DepthScore one[2], all[2];
    size_t done = 0;
    Error err;
    assert_true(evaluate(&model, &set, depths, 2, one, NULL, NULL, &err));
    assert_true(evaluate(&model, &many, depths, 2, all, counts_done, &done, &err));
    assert_int_equal(done, COPIES * RECORD_COUNT);
    for (int d = 0; d < 2; d++) {
        assert_true(fabs(one[d].loss - all[d].loss) <= 1e-5 * one[d].loss);
        assert_true(fabs(one[d].token_accuracy - all[d].token_accuracy) <= 1e-9);
        assert_true(fabs(one[d].exact_match - all[d].exact_match) <= 1e-9);
    }
    free(examples);
    dataset_free(&set);
    llama_free(&model);
    tokenizer_free(words);
}

// Two answers in each record, made of what the model says itself; then one token is another.
enum { TURNS_LENGTH = 12, TURNS_COUNT = 4 };

static void make_turns(uint32_t *tokens, uint8_t *marks, Session *session)
{
    uint32_t vocab = session_vocab(session);
    float *logits = malloc(vocab * sizeof *logits);
    Error err;
    for (uint32_t t = 0; t < TURNS_LENGTH; t++) {
        bool answer = (t >= 3 && t < 6) || t >= 9;
        marks[t] = answer ? MARK_LOSS : t ? 0 : MARK_BEGIN;
        tokens[t] = answer ? argmax(logits, vocab) : t ? 300 + 7 * t : 1;
        session_reset(session);
        assert_true(session_feed(session, tokens, t + 1, 4, 1, logits, &err));
    }
    free(logits);
}

static void every_answer_must_be_right(void **state)
{
    (void)state;
    enum { WORDS = TURNS_LENGTH + TURNS_LENGTH / 4 };
    static const uint32_t wrong[TURNS_COUNT] = {0, 4, 9, 11}; // 0: none
    Error err;
    TestPath folder = small_model(&own_folder, "m", 21);
    Llama model = load_model(folder.text);
    Session *session = session_open(&model, 0, &err);
    uint32_t words[TURNS_COUNT * WORDS];
    Example examples[TURNS_COUNT] = {{0}};
    Dataset set = {.tokens = words, .examples = examples, .longest = TURNS_LENGTH};
    for (uint32_t i = 0; i < TURNS_COUNT; i++) {
        uint32_t *tokens = words + i * WORDS;
        make_turns(tokens, (uint8_t *)(tokens + TURNS_LENGTH), session);
        if (wrong[i]) tokens[wrong[i]] ^= 1;
        examples[i] = (Example){.first = i * WORDS,
                                .length = TURNS_LENGTH,
                                .sequences = 1,
                                .supervised = 6,
                                .prompt = 3};
        set.count = i + 1;
        DepthScore score;
        assert_true(evaluate(&model, &set, (const uint32_t[]){4}, 1, &score, NULL, NULL, &err));
        assert_true(score.exact_match == 1.0 / (i + 1)); // the first one only
    }
    session_close(session);
    llama_free(&model);
}

// The loss of documents in one pack is that of each by itself.
static void packs_do_not_leak(void **state)
{
    (void)state;
    static const char *const texts[] = {"Write a response", "the task", "that describes a request"};
    TestPath folder = small_model(&own_folder, "m", 21);
    Llama model = load_model(folder.text);
    const uint32_t depths[] = {1, 4};
    DepthScore scores[2];
    double sums[2] = {0}, tokens = 0;
    char all[200] = "";
    Error err;
    for (int i = 0; i < 3; i++) {
        strcat(strcat(all, texts[i]), "\n<|endoftext|>\n");
        Dataset one = load_documents("one.txt", texts[i], 160);
        assert_true(evaluate(&model, &one, depths, 2, scores, NULL, NULL, &err));
        for (int d = 0; d < 2; d++) sums[d] += scores[d].loss * one.examples[0].supervised;
        tokens += one.examples[0].supervised;
        dataset_free(&one);
    }
    Dataset set = load_documents("all.txt", all, 160);
    assert_int_equal(set.count, 1);
    assert_true(evaluate(&model, &set, depths, 2, scores, NULL, NULL, &err));
    for (int d = 0; d < 2; d++)
        assert_true(fabs(scores[d].loss - sums[d] / tokens) <= 1e-6 * scores[d].loss);
    dataset_free(&set);
    llama_free(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(examples_are_whole_texts),
        TEST(contexts_cut),
        TEST(refuses_bad_files),
        TEST(batches_lie_end_to_end),
        TEST(packs_are_sequences),
        TEST(evaluation_is_what_sessions_say),
        TEST(evaluation_in_several_batches),
        TEST(every_answer_must_be_right),
        TEST(packs_do_not_leak),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
