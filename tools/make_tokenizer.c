// Trains a byte-pair vocabulary on Alpaca-format records and writes it as a Hugging Face tokenizer.
// Merges are learned from the prompt templates and instructions alone, so that these become few
// tokens while inputs and outputs, which only add characters, stay in small pieces.
#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "text/alpaca.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE_MARK "\xE2\x96\x81" // U+2581
#define INPUT_MARK "\x01"         // stands in a prompt where the input would
#define SEPARATOR UINT32_MAX      // between stretches that no merge may bridge

enum {
    FIRST_CHARACTER = 259, // behind <unk>, <s>, </s> and the bytes
    VOCAB_MAX = 16384,
    PIECE_CHARACTERS = 16, // as in SentencePiece
    PIECE_BYTES = 4 * PIECE_CHARACTERS + 1,
    CODE_POINTS = 0x110000,
};

typedef struct {
    char text[PIECE_BYTES];
    int characters;
    bool closed; // never part of a merge
} Piece;

typedef struct {
    uint64_t pair; // left << 32 | right
    int64_t count;
} PairCount;

// Open hashing; an entry once made stays, perhaps with count 0.
typedef struct {
    PairCount *entries; // (size), free where pair is FREE_PAIR
    size_t size, used;
} PairTable;

#define FREE_PAIR UINT64_MAX

typedef struct {
    char **prompts; // (prompt_count), with INPUT_MARK for the input
    size_t prompt_count, prompt_capacity;
    uint8_t *seen;    // (CODE_POINTS), the characters of all texts
    uint32_t *ids;    // (CODE_POINTS), of single characters
    uint32_t *corpus; // (corpus_size), ids and SEPARATORs
    size_t corpus_size;
    Piece *pieces; // (limit)
    uint32_t count, limit;
    uint32_t (*merges)[2]; // (merge_count)
    size_t merge_count, merge_capacity;
    PairTable pairs;
} Trainer;

static bool no_memory(Error *err)
{
    return error_set(err, "out of memory");
}

// -- Reading

static uint32_t code_point(const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text;
    if (size == 1) return s[0];
    uint32_t value = s[0] & (0xFFu >> (size + 1));
    for (size_t i = 1; i < size; i++) value = value << 6 | (s[i] & 0x3F);
    return value;
}

static void note_characters(Trainer *t, const char *text)
{
    for (size_t size; *text; text += size) {
        size = utf8_sequence(text, strlen(text) < 4 ? strlen(text) : 4);
        if (!size) return; // cannot be: JSON files are checked
        t->seen[code_point(text, size)] = 1;
    }
}

static bool add_prompt(Trainer *t, const char *instruction, bool has_input, Error *err)
{
    if (t->prompt_count == t->prompt_capacity) {
        size_t larger = t->prompt_capacity ? 2 * t->prompt_capacity : 1024;
        char **moved = realloc(t->prompts, larger * sizeof *moved);
        if (!moved) return no_memory(err);
        t->prompts = moved;
        t->prompt_capacity = larger;
    }
    char *prompt = alpaca_prompt(instruction, has_input ? INPUT_MARK : NULL);
    if (!prompt) return no_memory(err);
    t->prompts[t->prompt_count++] = prompt;
    return true;
}

static bool read_record(Trainer *t, const cJSON *record, const char *file, Error *err)
{
    const char *instruction, *input, *output;
    if (!json_string(&instruction, record, "instruction", file, err) ||
        !json_string_or(&input, record, "input", "", file, err) ||
        !json_string(&output, record, "output", file, err))
        return false;
    note_characters(t, instruction);
    note_characters(t, input);
    note_characters(t, output);
    return add_prompt(t, instruction, *input, err);
}

static bool read_file(Trainer *t, const char *file, Error *err)
{
    cJSON *list = json_read(file, err);
    if (!list) return false;
    bool ok = cJSON_IsArray(list) || error_set(err, "%s: must be an array of records", file);
    const cJSON *record;
    if (ok) cJSON_ArrayForEach(record, list) if (ok) ok = read_record(t, record, file, err);
    cJSON_Delete(list);
    return ok;
}

// -- The corpus

static int compare_prompts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Each prompt counts once, however many records have it.
static void drop_duplicates(Trainer *t)
{
    size_t kept = 0;
    if (t->prompt_count) qsort(t->prompts, t->prompt_count, sizeof *t->prompts, compare_prompts);
    for (size_t i = 0; i < t->prompt_count; i++) {
        if (kept && !strcmp(t->prompts[kept - 1], t->prompts[i]))
            free(t->prompts[i]);
        else
            t->prompts[kept++] = t->prompts[i];
    }
    t->prompt_count = kept;
}

static size_t encode_utf8(char *out, uint32_t c)
{
    size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = size; i-- > 1; c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(size == 1 ? c : (0xFF00u >> size & 0xFF) | c);
    out[size] = 0;
    return size;
}

// The pieces that every vocabulary begins with: control tokens, bytes, characters by code point.
static bool add_first_pieces(Trainer *t, Error *err)
{
    static const char *const CONTROL[] = {"<unk>", "<s>", "</s>"};
    t->seen[code_point(SPACE_MARK, 3)] = 1;
    t->seen[' '] = 0; // written as SPACE_MARK
    for (t->count = 0; t->count < FIRST_CHARACTER; t->count++) {
        Piece *piece = &t->pieces[t->count];
        piece->closed = true;
        if (t->count < 3)
            snprintf(piece->text, sizeof piece->text, "%s", CONTROL[t->count]);
        else
            snprintf(piece->text, sizeof piece->text, "<0x%02X>", t->count - 3);
    }
    for (uint32_t c = 1; c < CODE_POINTS; c++) {
        if (!t->seen[c]) continue;
        if (t->count == t->limit)
            return error_set(err, "the texts have more characters than the %u pieces asked for",
                             t->limit);
        Piece *piece = &t->pieces[t->count];
        encode_utf8(piece->text, c);
        piece->characters = 1;
        piece->closed = c >= '0' && c <= '9';
        t->ids[c] = t->count++;
    }
    return true;
}

static void add_to_corpus(Trainer *t, const char *prompt)
{
    uint32_t space = t->ids[code_point(SPACE_MARK, 3)];
    t->corpus[t->corpus_size++] = space;
    for (size_t size; *prompt; prompt += size) {
        size = utf8_sequence(prompt, strlen(prompt) < 4 ? strlen(prompt) : 4);
        if (!size) return; // cannot be: JSON files are checked
        uint32_t id = *prompt == ' ' ? space : t->ids[code_point(prompt, size)];
        t->corpus[t->corpus_size++] = *prompt == *INPUT_MARK ? SEPARATOR : id;
    }
    t->corpus[t->corpus_size++] = SEPARATOR;
}

static bool make_corpus(Trainer *t, Error *err)
{
    size_t room = 0;
    for (size_t i = 0; i < t->prompt_count; i++) room += strlen(t->prompts[i]) + 2;
    t->corpus = malloc((room + 1) * sizeof *t->corpus);
    if (!t->corpus) return no_memory(err);
    for (size_t i = 0; i < t->prompt_count; i++) add_to_corpus(t, t->prompts[i]);
    return true;
}

// -- Counting

static PairCount *pair_entry(const PairTable *table, uint64_t pair)
{
    uint64_t hash = (pair ^ pair >> 29) * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(hash ^ hash >> 32) & (table->size - 1);
    while (table->entries[at].pair != FREE_PAIR && table->entries[at].pair != pair)
        at = (at + 1) & (table->size - 1);
    return &table->entries[at];
}

static bool grow_pairs(PairTable *table)
{
    PairTable larger = {.size = table->size ? 2 * table->size : 4096, .used = table->used};
    larger.entries = malloc(larger.size * sizeof *larger.entries);
    if (!larger.entries) return false;
    for (size_t i = 0; i < larger.size; i++) larger.entries[i] = (PairCount){FREE_PAIR, 0};
    for (size_t i = 0; i < table->size; i++)
        if (table->entries[i].pair != FREE_PAIR)
            *pair_entry(&larger, table->entries[i].pair) = table->entries[i];
    free(table->entries);
    *table = larger;
    return true;
}

// Adds to the count of a pair, unless it can never be merged.
static bool count_pair(Trainer *t, uint32_t left, uint32_t right, int change)
{
    if (left == SEPARATOR || right == SEPARATOR) return true;
    const Piece *a = &t->pieces[left], *b = &t->pieces[right];
    if (a->closed || b->closed || a->characters + b->characters > PIECE_CHARACTERS) return true;
    if (2 * t->pairs.used >= t->pairs.size && !grow_pairs(&t->pairs)) return false;
    uint64_t pair = (uint64_t)left << 32 | right;
    PairCount *entry = pair_entry(&t->pairs, pair);
    if (entry->pair == FREE_PAIR) t->pairs.used++;
    entry->pair = pair;
    entry->count += change;
    return true;
}

static bool count_corpus(Trainer *t)
{
    for (size_t i = 1; i < t->corpus_size; i++)
        if (!count_pair(t, t->corpus[i - 1], t->corpus[i], 1)) return false;
    return true;
}

// The most frequent pair, of equals the one with the lowest ids; false where none is left.
static bool best_pair(const Trainer *t, uint32_t pair[2])
{
    PairCount best = {FREE_PAIR, 0};
    for (size_t i = 0; i < t->pairs.size; i++) {
        const PairCount *entry = &t->pairs.entries[i];
        if (entry->count > best.count || (entry->count == best.count && entry->pair < best.pair))
            best = *entry;
    }
    pair[0] = (uint32_t)(best.pair >> 32);
    pair[1] = (uint32_t)best.pair;
    return best.count > 0;
}

// -- Merging

// The piece that a pair makes: there already by another way, or new.
static uint32_t result_of(Trainer *t, const uint32_t pair[2])
{
    char text[2 * PIECE_BYTES];
    snprintf(text, sizeof text, "%s%s", t->pieces[pair[0]].text, t->pieces[pair[1]].text);
    for (uint32_t id = FIRST_CHARACTER; id < t->count; id++)
        if (!strcmp(t->pieces[id].text, text)) return id;
    Piece *piece = &t->pieces[t->count];
    memcpy(piece->text, text, strlen(text) + 1);
    piece->characters = t->pieces[pair[0]].characters + t->pieces[pair[1]].characters;
    piece->closed = false;
    return t->count++;
}

// Replaces the pair by its result from left to right and keeps the counts of its neighbours true.
static bool apply(Trainer *t, const uint32_t pair[2], uint32_t result)
{
    uint32_t *corpus = t->corpus;
    size_t kept = 0;
    bool ok = true;
    for (size_t i = 0; i < t->corpus_size; i++) {
        bool hit = corpus[i] == pair[0] && i + 1 < t->corpus_size && corpus[i + 1] == pair[1];
        if (hit) {
            uint32_t before = kept ? corpus[kept - 1] : SEPARATOR;
            uint32_t after = i + 2 < t->corpus_size ? corpus[i + 2] : SEPARATOR;
            ok = ok && count_pair(t, pair[0], pair[1], -1) && count_pair(t, before, pair[0], -1) &&
                 count_pair(t, before, result, 1) && count_pair(t, pair[1], after, -1) &&
                 count_pair(t, result, after, 1);
            i++;
        }
        corpus[kept++] = hit ? result : corpus[i];
    }
    t->corpus_size = kept;
    return ok;
}

static bool add_merge(Trainer *t, const uint32_t pair[2])
{
    if (t->merge_count == t->merge_capacity) {
        size_t larger = t->merge_capacity ? 2 * t->merge_capacity : 1024;
        uint32_t(*moved)[2] = realloc(t->merges, larger * sizeof *moved);
        if (!moved) return false;
        t->merges = moved;
        t->merge_capacity = larger;
    }
    memcpy(t->merges[t->merge_count++], pair, sizeof *t->merges);
    return true;
}

static bool learn(Trainer *t, Error *err)
{
    uint32_t pair[2];
    if (!count_corpus(t)) return no_memory(err);
    while (t->count < t->limit) {
        if (!best_pair(t, pair))
            return error_set(err, "the prompts give %u pieces, %u were asked for", t->count,
                             t->limit);
        if (!add_merge(t, pair) || !apply(t, pair, result_of(t, pair))) return no_memory(err);
    }
    return true;
}

// -- Writing

static bool save_config(const char *folder, Error *err)
{
    static const char *const NAMES[][2] = {{"bos_token", "<s>"},
                                           {"eos_token", "</s>"},
                                           {"unk_token", "<unk>"},
                                           // The generic class takes tokenizer.json as it stands.
                                           {"tokenizer_class", "PreTrainedTokenizerFast"}};
    char path[1024];
    if (!path_join(path, sizeof path, folder, "tokenizer_config.json", err)) return false;
    cJSON *root = cJSON_CreateObject();
    bool ok = root && cJSON_AddBoolToObject(root, "add_bos_token", true) &&
              cJSON_AddBoolToObject(root, "add_eos_token", false) &&
              cJSON_AddBoolToObject(root, "clean_up_tokenization_spaces", false);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES && ok; i++)
        ok = cJSON_AddStringToObject(root, NAMES[i][0], NAMES[i][1]);
    ok = ok ? json_write(path, root, err) : no_memory(err);
    cJSON_Delete(root);
    return ok;
}

static bool save(const Trainer *t, const char *folder, Error *err)
{
    char path[1024];
    const char **texts = malloc(t->count * sizeof *texts);
    if (!texts) return no_memory(err);
    for (uint32_t i = 0; i < t->count; i++) texts[i] = t->pieces[i].text;
    Tokenizer *tokenizer =
        tokenizer_build(texts, t->count, (const uint32_t(*)[2])t->merges, t->merge_count, err);
    free(texts);
    bool ok = tokenizer && folder_make(folder, err) &&
              path_join(path, sizeof path, folder, "tokenizer.json", err) &&
              tokenizer_save(tokenizer, path, err) && save_config(folder, err);
    tokenizer_free(tokenizer);
    return ok;
}

static bool trainer_open(Trainer *t, uint32_t limit, Error *err)
{
    *t = (Trainer){.limit = limit};
    t->seen = calloc(CODE_POINTS, sizeof *t->seen);
    t->ids = calloc(CODE_POINTS, sizeof *t->ids);
    t->pieces = calloc(limit, sizeof *t->pieces);
    return (t->seen && t->ids && t->pieces) || no_memory(err);
}

static void trainer_close(Trainer *t)
{
    for (size_t i = 0; i < t->prompt_count; i++) free(t->prompts[i]);
    free(t->prompts);
    free(t->seen);
    free(t->ids);
    free(t->corpus);
    free(t->pieces);
    free(t->merges);
    free(t->pairs.entries);
}

static bool train(Trainer *t, const char *folder, char *const *files, int file_count, Error *err)
{
    for (int i = 0; i < file_count; i++)
        if (!read_file(t, files[i], err)) return false;
    drop_duplicates(t);
    for (size_t i = 0; i < t->prompt_count; i++) note_characters(t, t->prompts[i]);
    t->seen[code_point(INPUT_MARK, 1)] = 0;
    return add_first_pieces(t, err) && make_corpus(t, err) && learn(t, err) && save(t, folder, err);
}

int main(int argc, char **argv)
{
    char *end = "";
    long limit = argc > 3 ? strtol(argv[1], &end, 10) : 0;
    if (limit <= FIRST_CHARACTER || limit > VOCAB_MAX || *end) {
        fprintf(stderr, "usage: make_tokenizer VOCAB_SIZE OUT_FOLDER FILE.json...\n"
                        "VOCAB_SIZE: 260 to 16384\n");
        return 2;
    }
    Trainer trainer;
    Error err;
    bool ok = trainer_open(&trainer, (uint32_t)limit, &err) &&
              train(&trainer, argv[2], argv + 3, argc - 3, &err);
    if (ok)
        printf("%s: %u pieces, %zu merges, from %zu prompts\n", argv[2], trainer.count,
               trainer.merge_count, trainer.prompt_count);
    else
        fprintf(stderr, "make_tokenizer: %s\n", err.text);
    trainer_close(&trainer);
    return ok ? 0 : 1;
}
