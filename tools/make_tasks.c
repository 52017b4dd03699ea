// Makes a small dataset of text tasks in the Alpaca format, some within reach of a shallow model
// and some not: one function per kind of task, one row each in TASKS. Everything comes from the
// seed. Not a reader of other people's data.
#include "base/file.h"
#include "base/json.h"
#include "task_words.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))

enum {
    TEXT_SIZE = 128,
    ATTEMPTS = 10000, // draws for one record that was not made before
    RECORD_LIMIT = 1000000,
};

typedef struct {
    uint64_t state;
} Rng;

// What a task function fills in.
typedef struct {
    char argument[TEXT_SIZE]; // stands for '#' in the instruction
    char input[TEXT_SIZE];
    char output[TEXT_SIZE];
} Task;

static uint64_t rng_next(Rng *rng)
{
    uint64_t x = rng->state += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

// 0 to count - 1; the bias of the remainder is of no account for counts this small.
static size_t below(Rng *rng, size_t count)
{
    return (size_t)(rng_next(rng) % count);
}

static int between(Rng *rng, int low, int high)
{
    return low + (int)below(rng, (size_t)(high - low + 1));
}

__attribute__((format(printf, 2, 3))) static void print(char *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(text, TEXT_SIZE, format, args);
    va_end(args);
}

static const char *word(Rng *rng)
{
    return WORDS[below(rng, LENGTH(WORDS))];
}

// count different words.
static void pick_words(Rng *rng, const char **words, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t known = 0;
        words[i] = word(rng);
        while (known < i && words[known] != words[i]) known++;
        i += known == i;
    }
}

// Words with spaces between them.
static void join(char *text, const char *const *words, size_t count)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, TEXT_SIZE - used, "%s%s", i ? " " : "", words[i]);
}

static void random_letters(Rng *rng, char *text, int count, char low, char high)
{
    for (int i = 0; i < count; i++) text[i] = (char)between(rng, low, high);
    text[count] = 0;
}

// A word, or letters that are none.
static void word_or_letters(Rng *rng, char *text)
{
    if (below(rng, 2))
        print(text, "%s", word(rng));
    else
        random_letters(rng, text, between(rng, 3, 6), 'a', 'z');
}

static void copy(Rng *rng, Task *task)
{
    const char *words[3];
    size_t count = 1 + below(rng, 3);
    pick_words(rng, words, count);
    join(task->input, words, count);
    strcpy(task->output, task->input);
}

static void end_letter(Rng *rng, Task *task)
{
    bool last = below(rng, 2);
    word_or_letters(rng, task->input);
    print(task->argument, "%s", last ? "last" : "first");
    print(task->output, "%c", task->input[last ? strlen(task->input) - 1 : 0]);
}

static void upper_case(Rng *rng, Task *task)
{
    const char *words[2];
    size_t count = 1 + below(rng, 2);
    pick_words(rng, words, count);
    join(task->input, words, count);
    strcpy(task->output, task->input);
    for (char *c = task->output; *c; c++)
        if (*c != ' ') *c = (char)(*c - 'a' + 'A');
}

static void twice(Rng *rng, Task *task)
{
    word_or_letters(rng, task->input);
    print(task->output, "%s %s", task->input, task->input);
}

static void reverse_letters(Rng *rng, Task *task)
{
    word_or_letters(rng, task->input);
    size_t length = strlen(task->input);
    for (size_t i = 0; i < length; i++) task->output[i] = task->input[length - 1 - i];
    task->output[length] = 0;
}

static void reverse_words(Rng *rng, Task *task)
{
    const char *words[3];
    pick_words(rng, words, 3);
    join(task->input, words, 3);
    const char *turned[] = {words[2], words[1], words[0]};
    join(task->output, turned, 3);
}

static void nth_word(Rng *rng, Task *task)
{
    static const char *const ORDINALS[] = {"first", "second", "third", "last"};
    const char *words[4];
    size_t at = below(rng, 4);
    pick_words(rng, words, 4);
    join(task->input, words, 4);
    print(task->argument, "%s", ORDINALS[at]);
    print(task->output, "%s", words[at]);
}

static void swap_words(Rng *rng, Task *task)
{
    const char *words[2];
    pick_words(rng, words, 2);
    print(task->input, "%s %s", words[0], words[1]);
    print(task->output, "%s %s", words[1], words[0]);
}

static int compare_letters(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

static void sort_letters(Rng *rng, Task *task)
{
    word_or_letters(rng, task->input);
    strcpy(task->output, task->input);
    qsort(task->output, strlen(task->output), 1, compare_letters);
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_words(Rng *rng, Task *task)
{
    const char *words[3];
    pick_words(rng, words, 3);
    join(task->input, words, 3);
    qsort(words, 3, sizeof *words, compare_words);
    join(task->output, words, 3);
}

static void count_letters(Rng *rng, Task *task)
{
    random_letters(rng, task->input, between(rng, 1, 9), 'a', 'z');
    if (below(rng, 2)) print(task->input, "%s", word(rng));
    print(task->output, "%zu", strlen(task->input));
}

static void count_words(Rng *rng, Task *task)
{
    const char *words[6];
    size_t count = 1 + below(rng, 6);
    pick_words(rng, words, count);
    join(task->input, words, count);
    print(task->output, "%zu", count);
}

static void count_one_letter(Rng *rng, Task *task)
{
    int count = 0;
    char letter = (char)between(rng, 'a', 'd');
    random_letters(rng, task->input, between(rng, 4, 9), 'a', 'd');
    for (const char *c = task->input; *c; c++) count += *c == letter;
    print(task->argument, "%c", letter);
    print(task->output, "%d", count);
}

static void shift_letters(Rng *rng, Task *task)
{
    int step = below(rng, 2) ? 1 : -1;
    random_letters(rng, task->input, between(rng, 1, 4), 'b', 'y');
    strcpy(task->output, task->input);
    for (char *c = task->output; *c; c++) *c = (char)(*c + step);
    print(task->argument, "%s", step > 0 ? "next" : "previous");
}

// Two different numbers of one to three digits.
static void two_numbers(Rng *rng, int *a, int *b)
{
    static const int LIMITS[] = {9, 99, 999};
    int limit = LIMITS[below(rng, 3)];
    *a = between(rng, 0, limit);
    *b = (*a + between(rng, 1, limit)) % (limit + 1);
}

static void compare_numbers(Rng *rng, Task *task)
{
    int a, b;
    bool larger = below(rng, 2);
    two_numbers(rng, &a, &b);
    print(task->argument, "%s", larger ? "larger" : "smaller");
    print(task->input, "%d %d", a, b);
    print(task->output, "%d", larger == (a > b) ? a : b);
}

static void even_or_odd(Rng *rng, Task *task)
{
    int number = between(rng, 0, 999);
    print(task->input, "%d", number);
    print(task->output, "%s", number % 2 ? "odd" : "even");
}

static void add(Rng *rng, Task *task)
{
    int limit = below(rng, 2) ? 9 : 99, a = between(rng, 0, limit), b = between(rng, 0, limit);
    print(task->input, "%d %d", a, b);
    print(task->output, "%d", a + b);
}

static void subtract(Rng *rng, Task *task)
{
    int a = between(rng, 0, below(rng, 2) ? 9 : 99), b = between(rng, 0, a);
    print(task->input, "%d %d", a, b);
    print(task->output, "%d", a - b);
}

static void ask_sum(Rng *rng, Task *task)
{
    int a = between(rng, 0, 49), b = between(rng, 0, a);
    bool plus = below(rng, 2);
    print(task->argument, "%d %s %d", a, plus ? "plus" : "minus", b);
    print(task->output, "%d", plus ? a + b : a - b);
}

static void contains(Rng *rng, Task *task)
{
    const char *words[4];
    size_t at = below(rng, 6); // 0 to 2 are in the list of the first three
    pick_words(rng, words, 4);
    print(task->input, "%s: %s %s %s", words[at < 3 ? at : 3], words[0], words[1], words[2]);
    print(task->output, "%s", at < 3 ? "yes" : "no");
}

static void remove_vowels(Rng *rng, Task *task)
{
    char *out = task->output;
    print(task->input, "%s %s", word(rng), word(rng));
    for (const char *c = task->input; *c; c++)
        if (!strchr("aeiou", *c)) *out++ = *c;
    *out = 0;
}

static void every_second(Rng *rng, Task *task)
{
    char *out = task->output;
    random_letters(rng, task->input, between(rng, 3, 8), 'a', 'z');
    if (below(rng, 2)) print(task->input, "%s", word(rng));
    for (size_t i = 0; i < strlen(task->input); i += 2) *out++ = task->input[i];
    *out = 0;
}

static void longest_word(Rng *rng, Task *task)
{
    const char *words[3], *longest;
    int ties;
    do {
        pick_words(rng, words, 3);
        longest = words[0];
        ties = 0;
        for (int i = 1; i < 3; i++)
            if (strlen(words[i]) > strlen(longest)) longest = words[i];
        for (int i = 0; i < 3; i++) ties += strlen(words[i]) == strlen(longest);
    } while (ties > 1);
    join(task->input, words, 3);
    print(task->output, "%s", longest);
}

// "c a t" of "cat".
static void spaced(char *text, const char *letters)
{
    for (size_t i = 0; letters[i]; i++) {
        text[2 * i] = letters[i];
        text[2 * i + 1] = letters[i + 1] ? ' ' : 0;
    }
}

static void spell(Rng *rng, Task *task)
{
    word_or_letters(rng, task->input);
    spaced(task->output, task->input);
}

static void unspell(Rng *rng, Task *task)
{
    word_or_letters(rng, task->output);
    spaced(task->input, task->output);
}

static void opposite(Rng *rng, Task *task)
{
    const char *const *pair = OPPOSITES[below(rng, LENGTH(OPPOSITES))];
    bool turn = below(rng, 2);
    // "right" and "light" stand in two pairs or mean two things: asked for, but not asked about.
    if (!strcmp(pair[turn], "right") || !strcmp(pair[turn], "light")) turn = !turn;
    print(task->input, "%s", pair[turn]);
    print(task->output, "%s", pair[!turn]);
}

static const char *member(Rng *rng, size_t category)
{
    return CATEGORIES[category][1 + below(rng, LENGTH(CATEGORIES[0]) - 1)];
}

static void odd_one_out(Rng *rng, Task *task)
{
    const char *words[4];
    size_t at = below(rng, 4), common = below(rng, LENGTH(CATEGORIES));
    size_t other = (common + 1 + below(rng, LENGTH(CATEGORIES) - 1)) % LENGTH(CATEGORIES);
    for (size_t i = 0; i < 4;) {
        size_t known = 0;
        words[i] = member(rng, i == at ? other : common);
        while (known < i && words[known] != words[i]) known++;
        i += known == i;
    }
    join(task->input, words, 4);
    print(task->output, "%s", words[at]);
}

static void category(Rng *rng, Task *task)
{
    size_t at = below(rng, LENGTH(CATEGORIES));
    print(task->input, "%s", member(rng, at));
    print(task->output, "%s", CATEGORIES[at][0]);
}

static void plural(Rng *rng, Task *task)
{
    const char *const *pair = PLURALS[below(rng, LENGTH(PLURALS))];
    print(task->input, "%s", pair[0]);
    print(task->output, "%s", pair[1]);
}

// The kinds of tasks and how each may be asked for; # is the task's argument.
static const struct {
    void (*make)(Rng *rng, Task *task);
    const char *phrases[3];
} TASKS[] = {
    {copy, {"Copy the text.", "Repeat the text.", "Write the same text."}},
    {end_letter, {"Write the # letter.", "What is the # letter?"}},
    {upper_case, {"Write the text in capital letters.", "Make all letters capital."}},
    {twice, {"Write the word twice.", "Say the word two times."}},
    {reverse_letters, {"Reverse the letters.", "Write the word backwards."}},
    {reverse_words, {"Reverse the order of the words.", "Write the last word first."}},
    {nth_word, {"Write the # word.", "What is the # word?"}},
    {swap_words, {"Swap the two words.", "Exchange the words."}},
    {sort_letters, {"Sort the letters.", "Put the letters in order."}},
    {sort_words, {"Sort the words.", "Put the words in order."}},
    {count_letters, {"Count the letters.", "How many letters are there?"}},
    {count_words, {"Count the words.", "How many words are there?"}},
    {count_one_letter, {"How often is there the letter #?", "Count the letter #."}},
    {shift_letters, {"Write the # letter for each letter.", "Change each letter to the # one."}},
    {compare_numbers, {"Which number is #?", "Write the # number."}},
    {even_or_odd, {"Is the number even or odd?"}},
    {add, {"Add the numbers.", "What is the sum?"}},
    {subtract, {"Subtract the second number from the first.", "What is the difference?"}},
    {ask_sum, {"What is #?", "Work out #."}},
    {contains, {"Is the word in the list?", "Does the list have the word?"}},
    {remove_vowels, {"Remove the vowels.", "Leave out all vowels."}},
    {every_second, {"Write every second letter from the first.", "Leave out every second letter."}},
    {longest_word, {"Write the longest word.", "Which word is the longest?"}},
    {spell, {"Spell the word.", "Put a space between the letters."}},
    {unspell, {"Join the letters.", "Remove the spaces."}},
    {opposite, {"Write the opposite.", "What is the opposite?"}},
    {odd_one_out, {"Which word does not belong?", "Find the odd one out."}},
    {category, {"What kind of thing is it?", "Name the category."}},
    {plural, {"Write the plural.", "What is the plural?"}},
};

// A phrase of the row with its # replaced.
static void make_instruction(Rng *rng, char *text, size_t row, const char *argument)
{
    size_t count = 0;
    while (count < LENGTH(TASKS[row].phrases) && TASKS[row].phrases[count]) count++;
    const char *phrase = TASKS[row].phrases[below(rng, count)];
    const char *hole = strchr(phrase, '#');
    if (hole)
        print(text, "%.*s%s%s", (int)(hole - phrase), phrase, argument, hole + 1);
    else
        print(text, "%s", phrase);
}

// The records made so far, by hash: two records with one hash count as one, which only costs a
// draw.
typedef struct {
    uint64_t *hashes; // (size), 0 where free
    size_t size;      // a power of two
} Seen;

static bool seen_add(Seen *seen, const char *instruction, const char *input)
{
    char key[2 * TEXT_SIZE + 1];
    uint64_t hash = 0xCBF29CE484222325u;
    snprintf(key, sizeof key, "%s\n%s", instruction, input);
    for (const char *c = key; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001B3u;
    hash += !hash;
    size_t at = (size_t)(hash ^ hash >> 32) & (seen->size - 1);
    while (seen->hashes[at] && seen->hashes[at] != hash) at = (at + 1) & (seen->size - 1);
    bool fresh = !seen->hashes[at];
    seen->hashes[at] = hash;
    return fresh;
}

static cJSON *make_record(Rng *rng, Seen *seen)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        Task task = {0};
        char instruction[TEXT_SIZE];
        size_t row = below(rng, LENGTH(TASKS));
        TASKS[row].make(rng, &task);
        make_instruction(rng, instruction, row, task.argument);
        if (!seen_add(seen, instruction, task.input)) continue;
        cJSON *record = cJSON_CreateObject();
        if (cJSON_AddStringToObject(record, "instruction", instruction) &&
            cJSON_AddStringToObject(record, "input", task.input) &&
            cJSON_AddStringToObject(record, "output", task.output))
            return record;
        cJSON_Delete(record);
        return NULL;
    }
    return NULL;
}

static bool make_file(Rng *rng, Seen *seen, const char *folder, const char *name, size_t count,
                      Error *err)
{
    char path[1024];
    if (!path_join(path, sizeof path, folder, name, err)) return false;
    cJSON *list = cJSON_CreateArray();
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        cJSON *record = make_record(rng, seen);
        ok = record && cJSON_AddItemToArray(list, record);
        if (!ok) error_set(err, "%s: no further record after %zu of %zu", path, i, count);
    }
    ok = ok && json_write(path, list, err);
    cJSON_Delete(list);
    return ok;
}

// The validation records come first: they are the same for every size of the training set.
static bool make_files(const char *folder, size_t train, size_t valid, uint64_t seed, Error *err)
{
    Rng rng = {seed};
    Seen seen = {.size = 1024};
    while (seen.size < 2 * (train + valid)) seen.size *= 2;
    seen.hashes = calloc(seen.size, sizeof *seen.hashes);
    bool ok = seen.hashes ? folder_make(folder, err) : error_set(err, "out of memory");
    ok = ok && make_file(&rng, &seen, folder, "tasks_valid.json", valid, err) &&
         make_file(&rng, &seen, folder, "tasks_train.json", train, err);
    free(seen.hashes);
    return ok;
}

static bool read_number(const char *text, unsigned long long limit, unsigned long long *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && *out <= limit;
}

int main(int argc, char **argv)
{
    static const char *const NAMES[] = {"--train", "--valid", "--seed"};
    unsigned long long values[] = {20000, 500, 1};
    const char *folder = NULL;
    bool ok = true;
    for (int i = 1; i < argc && ok; i++) {
        size_t option = 0;
        while (option < 3 && strcmp(argv[i], NAMES[option])) option++;
        if (option < 3)
            ok = ++i < argc &&
                 read_number(argv[i], option < 2 ? RECORD_LIMIT : UINT64_MAX, &values[option]);
        else if ((ok = !folder && argv[i][0] != '-'))
            folder = argv[i];
    }
    if (!ok || !folder) {
        fprintf(stderr, "usage: make_tasks OUT_FOLDER [--train N] [--valid N] [--seed S]\n");
        return 2;
    }
    Error err;
    if (make_files(folder, (size_t)values[0], (size_t)values[1], values[2], &err)) return 0;
    fprintf(stderr, "make_tasks: %s\n", err.text);
    return 1;
}
