// Chat templates: which one a model has, what the turns of a conversation are as text and as ids.
// The texts of LLaMA 3, Qwen and minimind are those of their own templates as
// tests/reference/tokenizers/render_chat.mjs renders them; of the others, what their authors
// published.
#include "support/files.h"
#include "support/tokens.h"
#include "text/chat_template.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 264, HEAD_END, EOT, IM_START, IM_END };

// The small tokenizer with the special tokens of LLaMA 3 and ChatML, and BOS in front of texts.
static Tokenizer *load_chatty(void)
{
    return load_small("\"added_tokens\":[",
                      "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{"
                      "\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]},"
                      "\"added_tokens\":[" ADDED(264, "<|start_header_id|>", "false") "," ADDED(
                          265, "<|end_header_id|>",
                          "false") "," ADDED(266, "<|eot_id|>",
                                             "false") "," ADDED(267, "<|im_start|>",
                                                                "false") "," ADDED(268,
                                                                                   "<|im_end|>",
                                                                                   "false") ",");
}

static ChatTemplate open_named(const Tokenizer *t, const char *name)
{
    ChatStyle style;
    ChatTemplate chat;
    Error err;
    if (!chat_style_named(&style, name, &err)) fail_msg("%s", err.text);
    if (!chat_template_open(&chat, &style, t, &err)) fail_msg("%s", err.text);
    return chat;
}

static void check_turn(const ChatTemplate *chat, const char *system, const char *user, bool first,
                       const char *expected)
{
    char *text = chat_user_text(chat, system, user, first);
    assert_string_equal(text, expected);
    free(text);
}

static void test_texts(void **state)
{
    (void)state;
    Tokenizer *t = load_chatty();
    ChatTemplate chat = open_named(t, "llama2");
    check_turn(&chat, NULL, " Hi there \n", true, "<s>[INST] Hi there [/INST]");
    check_turn(&chat, "Be brief.", " Hi there \n", true,
               "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi there [/INST]");
    check_turn(&chat, "Be brief.", "Bye", false, "<s>[INST] Bye [/INST]");
    chat = open_named(t, "llama3");
    check_turn(&chat, "", " Hi there \n", true,
               "<s><|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|>"
               "<|start_header_id|>assistant<|end_header_id|>\n\n");
    check_turn(&chat, "Be brief.", "Hi", true,
               "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
               "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
               "<|start_header_id|>assistant<|end_header_id|>\n\n");
    check_turn(&chat, "Be brief.", "Bye", false,
               "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
               "<|start_header_id|>assistant<|end_header_id|>\n\n");
    chat = open_named(t, "mistral");
    check_turn(&chat, NULL, "Hi", true, "<s>[INST] Hi [/INST]");
    check_turn(&chat, "Be brief.", "Hi", true, "<s>[INST] Be brief.\n\nHi [/INST]");
    check_turn(&chat, NULL, "Bye", false, "[INST] Bye [/INST]");
    chat = open_named(t, "alpaca");
    check_turn(&chat, "Be brief.", "Hi", true,
               "<s>Be brief.\n\n### Instruction:\nHi\n\n### Response:");
    check_turn(&chat, "Be brief.", "Bye", false, "### Instruction:\nBye\n\n### Response:");
    tokenizer_free(t);
}

static void test_chatml_texts(void **state)
{
    (void)state;
    Tokenizer *t = load_chatty();
    ChatTemplate chat = open_named(t, "chatml");
    check_turn(&chat, "Be brief.", "Bye", false,
               "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
    check_turn(&chat, "Be brief.", " Hi there \n", true,
               "<s><|im_start|>system\nBe brief.<|im_end|>\n"
               "<|im_start|>user\n Hi there \n<|im_end|>\n<|im_start|>assistant\n");
    strcpy(chat.style.system, "You help.");
    chat.style.no_thought = true;
    check_turn(&chat, NULL, "Hi", true,
               "<s><|im_start|>system\nYou help.<|im_end|>\n"
               "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
    tokenizer_free(t);
}

static void check_list(const TokenList *list, const uint32_t *ids, size_t count)
{
    assert_int_equal(list->count, count);
    assert_memory_equal(list->ids, ids, count * sizeof *ids);
}

// A conversation grows turn by turn into the ids of the whole text, with BOS once.
static void test_turns_make_the_whole(void **state)
{
    (void)state;
    static const char WHOLE[] =
        "<s><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nab<|im_end|>\n"
        "<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n";
    Tokenizer *t = load_chatty();
    ChatTemplate chat = open_named(t, "chatml");
    TokenList list = {0}, expected = encode(t, WHOLE);
    Error err;
    assert_true(chat_user_turn(&chat, &list, NULL, "a", true, &err));
    assert_true(token_list_push(&list, AB)); // the answer
    assert_true(chat_close_turn(&chat, &list, &err));
    assert_true(chat_user_turn(&chat, &list, NULL, "b", false, &err));
    check_list(&list, expected.ids, expected.count);
    token_list_free(&list);
    token_list_free(&expected);
    tokenizer_free(t);
}

static void test_ids(void **state)
{
    (void)state;
    Tokenizer *t = load_chatty();
    ChatTemplate chat = open_named(t, "llama3");
    TokenList list = {0};
    Error err;
    assert_true(chat_close_turn(&chat, &list, &err));
    check_list(&list, IDS(EOT));
    assert_true(chat_is_stop(&chat, EOT) && chat_is_stop(&chat, 2) && !chat_is_stop(&chat, 1));
    list.count = 0;
    assert_true(chat_user_turn(&chat, &list, NULL, "a", true, &err));
    assert_int_equal(list.ids[0], 1);
    assert_int_equal(list.ids[1], HEAD);
    size_t first = list.count;
    assert_true(chat_user_turn(&chat, &list, NULL, "a", false, &err));
    assert_int_equal(list.count, first + first - 1);
    assert_memory_equal(list.ids + first, list.ids + 1, (first - 1) * sizeof *list.ids);
    list.count = 0;
    chat = open_named(t, "mistral");
    assert_true(chat_user_turn(&chat, &list, NULL, "a", false, &err));
    assert_int_equal(list.ids[0], byte_id('[')); // as behind </s>
    list.count = 0;
    assert_true(chat_close_turn(&chat, &list, &err));
    check_list(&list, IDS(2));
    list.count = 0;
    chat = open_named(t, "chatml");
    assert_true(chat_close_turn(&chat, &list, &err));
    check_list(&list, IDS(IM_END, SPACE, byte_id('\n')));
    assert_true(chat_is_stop(&chat, IM_END));
    token_list_free(&list);
    tokenizer_free(t);
}

// Behind a special token a Metaspace of "first" puts no space: a later turn must not have one.
static void test_no_space_behind_a_token(void **state)
{
    (void)state;
    Tokenizer *t = load_metaspace("first");
    ChatTemplate chat = open_named(t, "mistral");
    TokenList list = {0};
    Error err;
    assert_true(chat_user_turn(&chat, &list, NULL, "a", true, &err));
    assert_int_equal(list.ids[0], 1);
    assert_int_equal(list.ids[1], byte_id('['));
    list.count = 0;
    assert_true(chat_user_turn(&chat, &list, NULL, "a", false, &err));
    assert_int_equal(list.ids[0], byte_id('['));
    token_list_free(&list);
    tokenizer_free(t);
}

static void test_missing_tokens(void **state)
{
    (void)state;
    Tokenizer *t = load_small(NULL, NULL);
    ChatStyle style;
    ChatTemplate chat;
    Error err;
    assert_true(chat_style_named(&style, "chatml", &err));
    assert_false(chat_template_open(&chat, &style, t, &err));
    assert_error(err, "chat template chatml: the tokenizer has no token '<|im_start|>'");
    assert_false(chat_style_named(&style, "vicuna", &err));
    assert_error(err, "chat template 'vicuna' is not known, expected llama2, llama3");
    tokenizer_free(t);
}

static void test_detection(void **state)
{
    (void)state;
    static const struct {
        const char *jinja, *name, *system;
        bool tight, no_thought;
    } CASES[] = {
        {"{{ bos_token + '[INST] ' + '<<SYS>>\\n' + m + ' [/INST]' }}", "llama2", "", false, false},
        {"{{ '[INST] ' + m + ' [/INST]' }}", "mistral", "", false, false},
        {"{{ '[INST] ' + m + '[/INST]' }}", "mistral", "", true, false},
        {"{{ '<|start_header_id|>' + role }}", "llama3", "", false, false},
        {"{{ '<|im_start|>' + role + '\\n' }}", "chatml", "", false, false},
        {"'<|im_start|>system\\n' + m {{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}",
         "chatml", "You help.", false, false},
        {"<|im_start|>system\nYou.<|im_end|>\n", "chatml", "You.", false, false},
        {"<|im_start|>{% if add_generation_prompt %}{% if a %}x{% else "
         "%}'<think>\\n\\n</think>\\n\\n'",
         "chatml", "", false, true},
        {"<|im_start|>{% if add_generation_prompt %}{% if a %}'<think>\\n\\n</think>\\n\\n'",
         "chatml", "", false, false},
        {"### Instruction:\\n", "alpaca", "", false, false},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        ChatStyle style;
        Error err;
        assert_true(chat_style_detect(&style, CASES[i].jinja, "t", &err));
        assert_string_equal(chat_kind_name(style.kind), CASES[i].name);
        assert_string_equal(style.system, CASES[i].system);
        assert_int_equal(style.tight, CASES[i].tight);
        assert_int_equal(style.no_thought, CASES[i].no_thought);
    }
    ChatStyle style;
    Error err;
    assert_false(chat_style_detect(&style, "{{ 'USER: ' + m }}", "gguf", &err));
    assert_error(err, "gguf: the chat template is not one of the known ones: it has none of "
                      "<|start_header_id|>, <|im_start|>, [INST] and ### Instruction:");
}

static void check_folder(const char *config, const char *name, const char *message)
{
    ChatStyle style;
    Error err = {0};
    test_write_text(&own_folder, "tokenizer_config.json", config);
    bool ok = chat_style_of_folder(&style, own_folder.text, &err);
    assert_int_equal(ok, name != NULL);
    if (ok) assert_string_equal(chat_kind_name(style.kind), name);
    if (!ok) assert_error(err, message);
}

static void test_folders(void **state)
{
    (void)state;
    ChatStyle style;
    Error err;
    assert_false(chat_style_of_folder(&style, own_folder.text, &err));
    assert_error(err, ": the model has no chat template");
    check_folder("{\"chat_template\":\"[INST]\"}", "mistral", NULL);
    check_folder("{\"chat_template\":[{\"name\":\"tool\",\"template\":\"[INST]\"},"
                 "{\"name\":\"default\",\"template\":\"<|im_start|>\"}]}",
                 "chatml", NULL);
    check_folder("{\"chat_template\":[{\"name\":\"tool\",\"template\":\"[INST]\"}]}", "mistral",
                 NULL);
    check_folder("{\"chat_template\":[]}", NULL, "key 'chat_template' must be text or a list");
    check_folder("{\"chat_template\":7}", NULL, "key 'chat_template' must be text or a list");
    check_folder("{\"chat_template\":null}", NULL, ": the model has no chat template");
    check_folder("{\"chat_template\":\"?\"}", NULL, "tokenizer_config.json: the chat template is");
    check_folder("{", NULL, "tokenizer_config.json: not JSON");
    test_write_text(&own_folder, "chat_template.jinja", "<|start_header_id|>");
    check_folder("{\"chat_template\":\"[INST]\"}", "llama3", NULL);
}

static void test_minimind(void **state)
{
    (void)state;
    ChatStyle style;
    ChatTemplate chat;
    Error err;
    TestPath folder = test_data("tokenizers/minimind");
    Tokenizer *t = tokenizer_load_folder(folder.text, &err);
    assert_true(t && chat_style_of_folder(&style, folder.text, &err));
    assert_true(chat_template_open(&chat, &style, t, &err));
    check_turn(&chat, "Be brief.", " Hi there \n", true,
               "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi there \n<|im_end|>\n"
               "<|im_start|>assistant\n<think>\n\n</think>\n\n");
    TokenList list = {0};
    assert_true(chat_user_turn(&chat, &list, NULL, "Hi", true, &err));
    assert_int_equal(list.ids[0], 1);
    assert_true(chat_is_stop(&chat, 2) && chat_is_stop(&chat, 0));
    token_list_free(&list);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_chatml_texts),
        cmocka_unit_test(test_turns_make_the_whole),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_no_space_behind_a_token),
        cmocka_unit_test(test_missing_tokens),
        cmocka_unit_test(test_detection),
        TEST(test_folders),
        cmocka_unit_test(test_minimind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
