// A summary as tables for a terminal, CSV and JSON, without a device. Profiles are made by hand.
#define _POSIX_C_SOURCE 200809L // open_memstream
#include "profile/table.h"
#include "support/json_fields.h"
#include "support/profiles.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const Ceilings UNKNOWN = {0};

static void assert_near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b)))) fail_msg("%.17g is not %.17g", a, b);
}

// ---- CSV ---------------------------------------------------------------------------------------

enum { CSV_COLUMNS = 14 };

// The next record of RFC 4180 with its fields; false: there is none.
static bool csv_record(const char **at, char fields[CSV_COLUMNS][256])
{
    if (!**at) return false;
    for (int f = 0; f < CSV_COLUMNS; f++) {
        size_t length = 0;
        bool quoted = **at == '"';
        if (quoted) ++*at;
        for (;; ++*at) {
            assert_true(**at && length < 255);
            if (quoted && **at == '"' && *++*at != '"') break;
            if (!quoted && (**at == ',' || **at == '\n')) break;
            assert_true(quoted || **at != '"');
            fields[f][length++] = **at;
        }
        fields[f][length] = 0;
        assert_int_equal(**at, f + 1 < CSV_COLUMNS ? ',' : '\n');
        ++*at;
    }
    return true;
}

static ProfileReport report_of(const ProfileSummary *s)
{
    static const ProfileSetting settings[] = {{"steps", "2"}, {"policy", "full"}};
    return (ProfileReport){.summary = s,
                           .version = "1.2.3",
                           .date = "2026-01-02T03:04:05Z",
                           .settings = settings,
                           .setting_count = 2};
}

static char *text_of(const ProfileReport *report, bool csv, unsigned kinds, size_t top)
{
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    if (csv)
        table_csv(stream, report, kinds);
    else
        table_print(stream, report, kinds, top);
    assert_int_equal(ferror(stream), 0);
    assert_int_equal(fclose(stream), 0);
    return text;
}

// Ceilings that a kernel exceeds were measured on a busy machine; a little is noise.
static void ceilings_that_are_too_low(void **state)
{
    (void)state;
    const Ceilings ceilings = {100, 400, 1000, .01};
    for (int low = 0; low < 2; low++) {
        HandProfile *hand = hand_open();
        hand_run(hand, 0, 3);
        hand_event(hand, hand_dispatch(hand, K_add, "t", 1, 4), 0, 1, 0, low ? 1060 : 1040);
        hand_event(hand, hand_dispatch(hand, K_rmsnorm, "t", 1, 4), 1, 2, 0, low ? 1300 : 1040);
        hand->record.end = 3;
        ProfileSummary s = hand_summary(hand, &ceilings);
        ProfileReport report = report_of(&s);
        char *text = text_of(&report, false, 1u << SUMMARY_KERNELS, 0);
        assert_int_equal(strstr(text, "\nceilings: ") != NULL, low);
        assert_int_equal(strstr(text, ": rmsnorm reaches 130% of the f32 rate, ") != NULL, low);
        free(text);
        summary_free(&s);
        free(hand);
    }
}

static void csv_reads_back(void **state)
{
    (void)state;
    HandProfile *hand = hand_sums();
    const char *phase = "a \"draft\", say\nof two lines";
    hand->events[5].phase = phase;
    const Ceilings ceilings = {100, 200, 50, .25};
    ProfileSummary s = hand_summary(hand, &ceilings);
    ProfileReport report = report_of(&s);
    char fields[CSV_COLUMNS][256], *text = text_of(&report, true, 15, 0);
    const char *at = text;
    assert_true(csv_record(&at, fields));
    assert_string_equal(fields[0], "table");
    assert_string_equal(fields[13], "limit");
    bool found = false;
    for (int kind = 0; kind < SUMMARY_PIPELINES; kind++)
        for (size_t i = 0; i < s.tables[kind].count; i++) {
            const SummaryRow *row = &s.tables[kind].rows[i];
            const double values[] = {(double)row->calls,   row->total,          row->median,
                                     row->share,           row->bytes,          row->operations,
                                     row->byte_rate,       row->operation_rate, row->byte_share,
                                     row->operation_share, row->launch_share};
            assert_true(csv_record(&at, fields));
            assert_string_equal(fields[0], SUMMARY_NAMES[kind]);
            assert_string_equal(fields[1], row->name);
            for (int v = 0; v < 11; v++)
                assert_true(fabs(atof(fields[v + 2]) - values[v]) <= 1e-8 * values[v]);
            assert_string_equal(fields[13], LIMIT_NAMES[row->limit]);
            found |= !strcmp(fields[1], phase);
        }
    assert_true(found);
    assert_true(csv_record(&at, fields)); // the accounts: all, then steps
    assert_string_equal(fields[0], "accounting");
    assert_string_equal(fields[1], "all wall");
    assert_near(atof(fields[3]), 160);
    for (int i = 0; i < 11; i++) assert_true(csv_record(&at, fields));
    assert_string_equal(fields[1], "steps sum");
    assert_near(atof(fields[3]), 150);
    assert_false(csv_record(&at, fields));
    free(text);
    summary_free(&s);
    free(hand);
}

// ---- text --------------------------------------------------------------------------------------

static const char *line_with(const char *text, const char *begin)
{
    const char *at = text;
    while (strncmp(at, begin, strlen(begin)) != 0) {
        const char *end = strchr(at, '\n');
        if (!end) {
            fail_msg("no line '%s' in\n%s", begin, text);
            return text;
        }
        at = end + 1;
    }
    return at;
}

static void text_for_terminals(void **state)
{
    (void)state;
    HandProfile *hand = hand_sums();
    const Ceilings ceilings = {100, 200, 50, .25};
    ProfileSummary s = hand_summary(hand, &ceilings);
    ProfileReport report = report_of(&s);
    char *text = text_of(&report, false, 1u << SUMMARY_KERNELS, 2);
    assert_non_null(strstr(text, "device, driver\ntitle\nsteps 2, policy full\n"));
    line_with(text, "add           2  21.0 s  46.7%  10.5 s  1.01 kB  55.0 FLOP");
    line_with(text, "2 others      2  6.00 s  13.3%       -    384 B          -");
    line_with(text, "all           6  45.0 s   100%       -  1.57 kB   235 FLOP");
    line_with(text, "wall clock   160 s           150 s\n");
    line_with(text, "GPU busy    45.0 s   28.1%  44.0 s   29.3%\n");
    line_with(text, "sum          160 s  +0.00%   150 s  +0.00%\n");
    assert_non_null(strstr(text, "steps: 2, median 75.0 s, 50.0 s to 100 s\n"));
    assert_non_null(strstr(text, "uploads: 1, 4.10 kB in 5.00 s\n"));
    assert_null(strstr(text, "block 0"));
    // One width for all lines of a table.
    const char *head = line_with(text, "kernel  ");
    size_t width = strcspn(head, "\n");
    assert_int_equal(strcspn(line_with(text, "2 others"), "\n"), width);
    assert_int_equal(strcspn(line_with(text, "all "), "\n"), width);
    free(text);
    text = text_of(&report, false, 1u << SUMMARY_BLOCKS | 1u << SUMMARY_PHASES, 0);
    line_with(text, "block 0");
    line_with(text, "forward");
    assert_null(strstr(text, "rmsnorm"));
    assert_null(strstr(text, "others"));
    free(text);
    summary_free(&s);
    free(hand);
}

// ---- JSON --------------------------------------------------------------------------------------

static void json_has_all(void **state)
{
    (void)state;
    Error err;
    HandProfile *hand = hand_sums();
    hand->steps[0].loss = 1.5;
    hand->steps[1].tokens = 64;
    hand->record.title = "caf\xE9 \x1b[31m"; // no UTF-8, and a terminal's escape
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    ProfileReport report = report_of(&s);
    cJSON *json = table_json(&report, &err);
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    json = json_parse(text, strlen(text), "text", &err);
    if (!json) fail_msg("%s", err.text);
    assert_int_equal((int)field_number(json, "profile"), TABLE_LAYOUT);
    assert_string_equal(field_item(json, "title")->valuestring, "caf? ?[31m");
    assert_string_equal(field_item(field_item(json, "settings"), "policy")->valuestring, "full");
    assert_string_equal(field_item(field_item(json, "settings"), "calibrated")->valuestring, "yes");
    assert_near(field_number(field_item(field_item(json, "accounting"), "steps"), "gaps"), 36);
    const cJSON *steps = field_item(json, "steps");
    assert_near(cJSON_GetArrayItem(field_item(steps, "wall"), 1)->valuedouble, 50);
    assert_near(cJSON_GetArrayItem(field_item(steps, "busy"), 1)->valuedouble, 9);
    assert_near(cJSON_GetArrayItem(field_item(steps, "loss"), 0)->valuedouble, 1.5);
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(field_item(steps, "loss"), 1)));
    assert_near(cJSON_GetArrayItem(field_item(steps, "tokens"), 1)->valuedouble, 64);
    for (int kind = 0; kind < SUMMARY_TABLES; kind++) {
        const cJSON *rows = field_item(field_item(json, "tables"), SUMMARY_NAMES[kind]), *row;
        size_t i = 0;
        cJSON_ArrayForEach(row, rows)
        {
            const SummaryRow *own = &s.tables[kind].rows[i++];
            assert_string_equal(field_item(row, "name")->valuestring, own->name);
            assert_near(field_number(row, "total"), own->total);
            assert_int_equal(cJSON_GetArraySize(field_item(row, "samples")), 2);
            for (int k = 0; k < 2; k++)
                assert_near(cJSON_GetArrayItem(field_item(row, "samples"), k)->valuedouble,
                            own->samples[k]);
        }
        assert_int_equal(i, s.tables[kind].count);
    }
    cJSON_Delete(json);
    free(text);
    summary_free(&s);
    free(hand);
}

// ---- nothing at all ----------------------------------------------------------------------------

static void empty_profile(void **state)
{
    (void)state;
    Error err;
    HandProfile *hand = hand_open();
    ProfileSummary s = hand_summary(hand, &UNKNOWN);
    ProfileReport report = {.summary = &s, .version = "1", .date = ""};
    for (int csv = 0; csv < 2; csv++) {
        char *text = text_of(&report, csv, 15, 3);
        assert_null(strstr(text, "nan"));
        assert_null(strstr(text, "inf"));
        free(text);
    }
    cJSON *json = table_json(&report, &err);
    assert_non_null(json);
    assert_int_equal(cJSON_GetArraySize(field_item(field_item(json, "tables"), "shape")), 0);
    assert_int_equal(cJSON_GetArraySize(field_item(field_item(json, "steps"), "wall")), 0);
    cJSON_Delete(json);
    summary_free(&s);
    free(hand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ceilings_that_are_too_low),
        cmocka_unit_test(csv_reads_back),
        cmocka_unit_test(text_for_terminals),
        cmocka_unit_test(json_has_all),
        cmocka_unit_test(empty_profile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
