// Data files of every format as examples: which tokens, which of them carry loss, how documents are
// cut and packed, and what is refused by which message.
#include "base/file.h"
#include "support/files.h"
#include "support/models.h"
#include "train/dataset.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static TestPath folder;
static Tokenizer *words;

static int make_folder(void **state)
{
    (void)state;
    folder = test_folder_make();
    words = words_tokenizer();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    test_folder_remove(&folder);
    tokenizer_free(words);
    return 0;
}

static Dataset load_path(const char *path, uint32_t context, const char *separator)
{
    Dataset set;
    Error err;
    const DatasetOptions options = {.tokenizer = words, .context = context, .separator = separator};
    if (!dataset_open(&set, path, &options, &err)) fail_msg("%s", err.text);
    return set;
}

static Dataset load_text(const char *name, const char *text, uint32_t context)
{
    return load_path(test_write_text(&folder, name, text).text, context, NULL);
}

// ---- what is expected, put together by hand ----------------------------------------------------

typedef struct {
    uint32_t ids[4096]; // (count)
    uint8_t marks[4096];
    uint32_t count, sequences;
} Expected;

static void expect_id(Expected *e, uint32_t id, int mark)
{
    assert_true(e->count < 4096);
    e->ids[e->count] = id;
    e->marks[e->count++] = (uint8_t)mark;
    e->sequences += mark == MARK_BEGIN;
}

static void expect_bos(Expected *e)
{
    expect_id(e, 1, MARK_BEGIN);
}

static TokenList encode_text(const char *text)
{
    TokenList list = {0};
    Error err;
    if (!tokenizer_encode(words, text, strlen(text), &list, &err)) fail_msg("%s", err.text);
    return list;
}

// Prompt and answer as one text, EOS behind it.
static void expect_round(Expected *e, const char *prompt, const char *answer)
{
    char text[4096];
    snprintf(text, sizeof text, "%s%s", prompt, answer);
    TokenList whole = encode_text(text), part = encode_text(prompt);
    for (size_t i = 0; i < whole.count; i++)
        expect_id(e, whole.ids[i], i < part.count ? 0 : MARK_LOSS);
    expect_id(e, 2, MARK_LOSS);
    token_list_free(&whole);
    token_list_free(&part);
}

static void expect_document(Expected *e, const char *text)
{
    TokenList list = encode_text(text);
    expect_bos(e);
    for (size_t i = 0; i < list.count; i++) expect_id(e, list.ids[i], MARK_LOSS);
    expect_id(e, 2, MARK_LOSS);
    token_list_free(&list);
}

static void check_example(const Dataset *set, size_t i, const Expected *e)
{
    assert_true(i < set->count);
    const Example *x = &set->examples[i];
    uint32_t supervised = 0, prompt = 0;
    for (uint32_t t = 0; t < e->count; t++) supervised += e->marks[t] & MARK_LOSS;
    while (!(e->marks[prompt] & MARK_LOSS)) prompt++;
    assert_int_equal(x->length, e->count);
    assert_int_equal(x->sequences, e->sequences);
    assert_int_equal(x->prompt, prompt);
    assert_int_equal(example_supervised(x), supervised);
    assert_int_equal(example_rows(x), e->count - e->sequences);
    assert_memory_equal(set->tokens + x->first, e->ids, e->count * sizeof *e->ids);
    assert_memory_equal(dataset_marks(set, x), e->marks, e->count);
}

// ---- JSON --------------------------------------------------------------------------------------

#define SENTENCE                                                                                   \
    "Below is an instruction that describes a task. Write a response that appropriately "          \
    "completes the request.\n\n"
#define USER(text) "### Instruction:\n" text "\n\n### Response:"
#define MESSAGE(role, text) "{\"role\":\"" role "\",\"content\":\"" text "\"}"
#define CHAT(...) "{\"messages\":[" __VA_ARGS__ "]}"

// Each kind of record in one file of lines, and the same as a list.
static void records_of_every_kind(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"instruction\":\"the\",\"input\":\"\",\"output\":\" task\",\"text\":[1]}",
        CHAT(MESSAGE("user", "the") "," MESSAGE("assistant", " task")),
        "{\"text\":\"that describes\",\"meta\":{\"a\":[]}}",
    };
    char text[2048], list[2048];
    snprintf(text, sizeof text, "%s\n\n  \r\n%s\r\n%s", lines[0], lines[1], lines[2]);
    snprintf(list, sizeof list, "[%s,\n%s,%s]", lines[0], lines[1], lines[2]);
    static const char *const names[] = {"a.jsonl", "a.ndjson", "a.JSONL",
                                        "plain",   "a.json",   "list"};
    for (size_t i = 0; i < 6; i++) {
        Dataset set = load_text(names[i], i < 4 ? text : list, 1000);
        Expected alpaca = {.count = 0}, document = {.count = 0};
        expect_bos(&alpaca);
        expect_round(&alpaca, SENTENCE USER("the"), " task");
        expect_document(&document, "that describes");
        assert_int_equal(set.count, 3);
        check_example(&set, 0, &alpaca);
        check_example(&set, 1, &alpaca); // a chat of one round is an Alpaca record
        check_example(&set, 2, &document);
        assert_int_equal(set.longest, alpaca.count);
        assert_int_equal(set.truncated + set.dropped, 0);
        dataset_free(&set);
    }
}

#define THREE_ROUNDS                                                                               \
    MESSAGE("user", "a")                                                                           \
    "," MESSAGE("assistant", " task") "," MESSAGE("user", "the request") "," MESSAGE(              \
        "assistant", "") "," MESSAGE("user", "is") "," MESSAGE("assistant", " a\\nresponse")

static void expect_three_rounds(Expected *e, const char *first)
{
    expect_bos(e);
    expect_round(e, first, " task");
    expect_round(e, USER("the request"), "");
    expect_round(e, USER("is"), " a\nresponse");
}

// Every answer and its EOS carries loss, nothing else does.
static void chats_of_several_rounds(void **state)
{
    (void)state;
    Dataset set =
        load_text("a.jsonl",
                  CHAT(THREE_ROUNDS) "\n" CHAT(MESSAGE("system", "Write.") "," THREE_ROUNDS) //
                  "\n" CHAT(THREE_ROUNDS "," MESSAGE("user", "unanswered")),
                  1000);
    Expected plain = {.count = 0}, with_system = {.count = 0};
    expect_three_rounds(&plain, SENTENCE USER("a"));
    expect_three_rounds(&with_system, "Write.\n\n" USER("a"));
    assert_int_equal(set.count, 3);
    check_example(&set, 0, &plain);
    check_example(&set, 1, &with_system);
    check_example(&set, 2, &plain); // what nobody answers is left out
    dataset_free(&set);
}

// Cut anywhere: what is left is a beginning of the whole, and is dropped where it has no loss.
static void contexts_cut_chats(void **state)
{
    (void)state;
    Expected whole = {.count = 0};
    expect_three_rounds(&whole, SENTENCE USER("a"));
    uint32_t prompt = 0;
    while (!whole.marks[prompt] || whole.marks[prompt] == MARK_BEGIN) prompt++;
    Error err;
    Dataset set;
    TestPath path = test_write_text(&folder, "a.jsonl", CHAT(THREE_ROUNDS));
    assert_false(dataset_load(&set, path.text, words, prompt, &err));
    assert_error(err, "a.jsonl: no record has an output within the context of");
    for (uint32_t context = prompt + 1; context < whole.count + 2; context++) {
        Expected cut = whole;
        set = load_path(path.text, context, NULL);
        if (context < whole.count) cut.count = context;
        assert_int_equal(set.truncated, context < whole.count);
        assert_int_equal(set.examples[0].truncated, context < whole.count);
        check_example(&set, 0, &cut);
        dataset_free(&set);
    }
}

static const char *const BAD_LINES[][2] = {
    {"", "holds no records"},
    {"\n \r\n", "holds no records"},
    {"{\"text\":\" \\n\"}", "holds no records"},
    {"{\"text\":\"a\"}\n{", "a.jsonl:2: not JSON: syntax error"},
    {"\n\n{\"text\":\"a\"} x\n", "a.jsonl:3: not JSON: unexpected text"},
    {"[1]", "a.jsonl:1: is not an object"},
    {"{}", "a.jsonl:1: key 'instruction' is missing, and so are 'messages' and 'text'"},
    {"{\"text\":\"\xFF\"}", "a.jsonl:1: invalid UTF-8 at byte 9"},
    {"{\"text\":\"a\"}\n{\"text\":3}", "a.jsonl:2: key 'text' must be a string"},
    {"{\"text\":\"a\",\"text\":\"a\"}", "a.jsonl:1: key 'text' stands twice"},
    {"{\"instruction\":\"a\"}", "a.jsonl:1: key 'output' is missing"},
    {"{\"instruction\":\"a\",\"output\":1}", "a.jsonl:1: key 'output' must be a string"},
    {"{\"instruction\":\"a\",\"input\":1,\"output\":\"\"}", "a.jsonl:1: key 'input' must be"},
    {"{\"messages\":{}}", "a.jsonl:1: key 'messages' must be a list of messages"},
    {CHAT(), "a.jsonl:1: key 'messages' must be a list of messages"},
    {CHAT("7"), "a.jsonl:1: message 1: is not an object"},
    {CHAT("{\"role\":\"user\"}"), "a.jsonl:1: message 1: key 'content' is missing"},
    {CHAT("{\"content\":\"user\"}"), "a.jsonl:1: message 1: key 'role' is missing"},
    {CHAT("{\"role\":\"user\",\"content\":[]}"), "message 1: key 'content' must be a string"},
    {CHAT(MESSAGE("user", "a") "," MESSAGE("tool", "b")),
     "a.jsonl:1: message 2: role 'tool', expected 'system', 'user' or 'assistant'"},
    {CHAT(MESSAGE("user", "a") "," MESSAGE("user", "b")),
     "a.jsonl:1: message 2: role 'user' stands behind another 'user'"},
    {CHAT(MESSAGE("assistant", "a")), "message 1: role 'assistant' stands behind no 'user'"},
    {CHAT(MESSAGE("user", "a") "," MESSAGE("assistant", "b") "," MESSAGE("assistant", "c")),
     "a.jsonl:1: message 3: role 'assistant' stands behind no 'user'"},
    {CHAT(MESSAGE("user", "a") "," MESSAGE("system", "b")),
     "a.jsonl:1: message 2: role 'system' stands behind other messages"},
    {CHAT(MESSAGE("user", "a")), "a.jsonl:1: 'messages' hold no 'assistant'"},
};

static void check_refused(const char *path, const char *part)
{
    Dataset set;
    Error err = {""};
    if (dataset_load(&set, path, words, 1000, &err)) fail_msg("taken, though %s", part);
    assert_error(err, part);
    assert_null(set.tokens);
    assert_null(set.examples);
}

static void refuses_bad_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BAD_LINES / sizeof *BAD_LINES; i++)
        check_refused(test_write_text(&folder, "a.jsonl", BAD_LINES[i][0]).text, BAD_LINES[i][1]);
    check_refused(test_write(&folder, "a.jsonl", "{\"text\":\"a\"}\n\0", 14).text,
                  "a.jsonl:2: not JSON that is read here: control character at byte 0");
    check_refused(test_write_text(&folder, "a.json", "[{\"text\":\"a\"},{\"text\":1}]").text,
                  "a.json: record 2: key 'text' must be a string");
    check_refused(test_write_text(&folder, "a.json", "[" CHAT() "]").text,
                  "a.json: record 1: key 'messages'");
}

static void refuses_unknown_formats(void **state)
{
    (void)state;
    check_refused(test_write_text(&folder, "a.csv", "a,b\n").text, "a.csv: unknown format");
    check_refused(test_write_text(&folder, "empty", "").text, "empty: unknown format");
    check_refused(test_path(folder.text, "none.jsonl").text, "none.jsonl: cannot open: No such");
    check_refused(test_path(folder.text, "none").text, "none: cannot open: No such");
    TestPath inner = test_path(folder.text, "texts");
    Error err;
    assert_true(folder_make(inner.text, &err));
    check_refused(inner.text, "texts: holds no .txt files");
    test_write_text(&inner, "a.md", "a");
    check_refused(inner.text, "texts: holds no .txt files");
    test_write_text(&inner, "a.txt", " \n");
    check_refused(inner.text, "texts: holds no records");
    test_write_text(&inner, "b.txt", "one\ntw\xFFo");
    check_refused(inner.text, "texts/b.txt:2: invalid UTF-8 at byte 2");
}

// ---- plain text --------------------------------------------------------------------------------

static const char *const DOCUMENTS[] = {"Below is\n\na task.", "the request", "Write a response"};

// Short documents lie end to end in one example; blank ones are none.
static void documents_are_packed(void **state)
{
    (void)state;
    static const char text[] =
        "\xEF\xBB\xBF\n \nBelow is\n\na task.\n\n<|endoftext|>\n<|endoftext|>\r\n"
        "the request\r\n<|endoftext|>\nWrite a response";
    Expected all = {.count = 0};
    for (int i = 0; i < 3; i++) expect_document(&all, DOCUMENTS[i]);
    Dataset set = load_text("a.txt", text, 1000);
    assert_int_equal(set.count, 1);
    check_example(&set, 0, &all);
    assert_int_equal(set.longest, all.count - 3 + 1);
    dataset_free(&set);
    // As many rows as the context has, and not one more, make an example.
    set = load_text("a.txt", text, all.count - 3 + 1);
    assert_int_equal(set.count, 1);
    dataset_free(&set);
    set = load_text("a.txt", text, all.count - 3);
    Expected two = {.count = 0}, last = {.count = 0};
    expect_document(&two, DOCUMENTS[0]);
    expect_document(&two, DOCUMENTS[1]);
    expect_document(&last, DOCUMENTS[2]);
    assert_int_equal(set.count, 2);
    check_example(&set, 0, &two);
    check_example(&set, 1, &last);
    dataset_free(&set);
}

static void separators_are_told(void **state)
{
    (void)state;
    static const char text[] = "the request\n---\nWrite a response\n----\n --- \n";
    TestPath path = test_write_text(&folder, "a.txt", text);
    Dataset set = load_path(path.text, 1000, "---");
    Expected all = {.count = 0};
    expect_document(&all, DOCUMENTS[1]);
    expect_document(&all, "Write a response\n----\n ---");
    assert_int_equal(set.count, 1);
    check_example(&set, 0, &all);
    dataset_free(&set);
}

// In the order of their names; a separator means nothing there.
static void folders_of_documents(void **state)
{
    (void)state;
    TestPath inner = test_path(folder.text, "texts");
    Error err;
    assert_true(folder_make(inner.text, &err));
    test_write_text(&inner, "b.txt", "the\n<|endoftext|>\nrequest\n");
    test_write_text(&inner, "a.TXT", DOCUMENTS[2]);
    test_write_text(&inner, "c.txt", "");
    test_write_text(&inner, "aa.md", "no");
    test_write_text(&inner, ".a.txt", "no");
    Dataset set = load_path(inner.text, 1000, NULL);
    Expected all = {.count = 0};
    expect_document(&all, DOCUMENTS[2]);
    expect_document(&all, "the\n<|endoftext|>\nrequest");
    assert_int_equal(set.count, 1);
    check_example(&set, 0, &all);
    dataset_free(&set);
}

// Walks through all sequences: put together again, every token is a target once, in order.
static void check_pieces(const Dataset *set, const Expected *whole, uint32_t context)
{
    uint32_t at = 0; // the token of whole that was met last
    for (size_t i = 0; i < set->count; i++) {
        const Example *x = &set->examples[i];
        const uint32_t *tokens = set->tokens + x->first;
        const uint8_t *marks = dataset_marks(set, x);
        assert_true(example_rows(x) <= context - 1);
        assert_int_equal(x->truncated, 0);
        for (uint32_t t = 0; t < x->length; t++) {
            bool bos = at + 1 < whole->count && whole->marks[at + 1] == MARK_BEGIN;
            at += marks[t] == MARK_LOSS || bos; // else a piece begins where the last one ended
            assert_int_equal(tokens[t], whole->ids[at]);
            assert_int_equal(marks[t], t && marks[t] == MARK_LOSS ? MARK_LOSS : MARK_BEGIN);
        }
    }
    assert_int_equal(at, whole->count - 1);
}

static void long_documents_are_cut(void **state)
{
    (void)state;
    Expected whole = {.count = 0};
    char text[2048] = "";
    for (int i = 0; i < 12; i++) {
        const char *document = i % 4 == 3 ? SENTENCE "describes" : DOCUMENTS[i % 4];
        expect_document(&whole, document);
        strcat(strcat(text, document), "\n<|endoftext|>\n");
    }
    size_t last = 0;
    for (uint32_t context = 2; context < whole.count + 2; context++) {
        Dataset set = load_text("a.txt", text, context);
        check_pieces(&set, &whole, context);
        assert_int_equal(set.truncated + set.dropped, 0);
        if (context == 2) assert_int_equal(set.count, whole.count - whole.sequences);
        last = set.count;
        dataset_free(&set);
    }
    assert_int_equal(last, 1);
}

// Lines and documents longer than what is read and encoded at once: nothing is lost.
static void monsters(void **state)
{
    (void)state;
    enum { WORDS = 500000 };
    static const char word[] = " describes"; // a token
    size_t size = WORDS * (sizeof word - 1);
    char *text = malloc(size + 1);
    for (size_t i = 0; i < WORDS; i++) memcpy(text + i * (sizeof word - 1), word, sizeof word);
    for (int lines = 0; lines < 2; lines++) {
        for (size_t i = 1000 * (sizeof word - 1); lines && i < size; i += 1000 * (sizeof word - 1))
            text[i] = '\n';
        TestPath path = test_write(&folder, "a.txt", text, size);
        Dataset set = load_path(path.text, 1000, NULL);
        TokenList one = encode_text(word + 1);
        assert_int_equal(one.count, 1);
        size_t found = 0;
        for (size_t i = 0; i < set.count; i++)
            for (uint32_t t = 1; t < set.examples[i].length; t++)
                found += set.tokens[set.examples[i].first + t] == one.ids[0];
        assert_in_range(found, lines ? WORDS * 0.998 : WORDS - 10, WORDS);
        token_list_free(&one);
        dataset_free(&set);
    }
    free(text);
}

// Every story of the sample is found, and each of its tokens is a target once.
static void real_stories(void **state)
{
    (void)state;
    TestPath path = test_data("text/tinystories_2M.txt");
    TestPath model = test_data("stories260K/tokenizer.json");
    Error err;
    Tokenizer *stories = tokenizer_load(model.text, &err);
    assert_non_null(stories);
    for (uint32_t context = 64; context <= 512; context *= 8) {
        Dataset set;
        if (!dataset_load(&set, path.text, stories, context, &err)) fail_msg("%s", err.text);
        size_t ends = 0, begins = 0, rows = 0;
        for (size_t i = 0; i < set.count; i++) {
            const Example *x = &set.examples[i];
            for (uint32_t t = 0; t < x->length; t++) {
                ends += set.tokens[x->first + t] == 2 && dataset_marks(&set, x)[t] == MARK_LOSS;
                begins += set.tokens[x->first + t] == 1;
            }
            rows += example_rows(x);
        }
        assert_in_range(ends, 2316, 2317); // separators, and what stands behind the last
        assert_int_equal(begins, ends);
        assert_true(rows > set.count * (context - 1) / 2);
        dataset_free(&set);
    }
    tokenizer_free(stories);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(records_of_every_kind),
        CASE(chats_of_several_rounds),
        CASE(contexts_cut_chats),
        CASE(refuses_bad_lines),
        CASE(refuses_unknown_formats),
        CASE(documents_are_packed),
        CASE(separators_are_told),
        CASE(folders_of_documents),
        CASE(long_documents_are_cut),
        CASE(monsters),
        CASE(real_stories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
