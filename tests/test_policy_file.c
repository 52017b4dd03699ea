// strata_policy.json: that what is written reads back the same, and by which message, naming file
// and key, everything else is refused. What is in it is calibrate.h's business.
#include "base/json.h"
#include "infer/policy_file.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCKS = 8 };

static const char NAME[] = "strata_policy.json";

static bool load_for(StoredPolicies *p, bool *found, uint32_t blocks, Error *err)
{
    const LlamaConfig config = {.blocks = blocks};
    memset(p, 0x55, sizeof *p); // nothing of it may stay
    *err = (Error){{0}};
    return policy_file_load(p, found, own_folder.text, &config, err);
}

// The policies of a text, which must fit.
static StoredPolicies load_text(const char *text)
{
    Error err;
    bool found;
    StoredPolicies p;
    test_write_text(&own_folder, NAME, text);
    if (!load_for(&p, &found, BLOCKS, &err)) fail_msg("%s: %s", text, err.text);
    assert_true(found);
    return p;
}

static void check_zero(const StoredPolicies *p)
{
    const unsigned char *bytes = (const unsigned char *)p;
    for (size_t i = 0; i < sizeof *p; i++) assert_int_equal(bytes[i], 0);
}

// The text is refused, for a model of so many blocks, in one line that names the file and holds
// `part`.
static void check_refused(const char *text, uint32_t blocks, const char *part)
{
    Error err;
    bool found;
    StoredPolicies p;
    test_write_text(&own_folder, NAME, text);
    if (load_for(&p, &found, blocks, &err)) fail_msg("took %s", text);
    assert_false(found);
    check_zero(&p);
    assert_error(err, NAME);
    assert_error(err, part);
}

static void check_same(const DepthPolicy *a, const DepthPolicy *b)
{
    assert_int_equal(a->depth, b->depth);
    assert_int_equal(a->exit_count, b->exit_count);
    assert_memory_equal(a->exits, b->exits, a->exit_count * sizeof *a->exits);
    for (uint32_t i = 0; i < a->exit_count; i++)
        assert_true(a->thresholds[i] == b->thresholds[i]); // to the bit: ties leave together
    assert_int_equal(a->confidence, b->confidence);
    assert_int_equal(a->draft, b->draft);
    assert_int_equal(a->draft_auto, b->draft_auto);
    assert_int_equal(a->window, b->window);
    assert_true(a->draft_stop == b->draft_stop);
}

// ---- what fits ---------------------------------------------------------------------------------

static StoredPolicies sample(void)
{
    StoredPolicies p = {.kind = POLICY_EXITS,
                        .has_exits = true,
                        .has_draft = true,
                        .exits = policy_fixed(BLOCKS),
                        .draft = policy_fixed(BLOCKS)};
    const uint32_t depths[] = {1, 3, 7};
    const double thresholds[] = {0.1 + 0.2, 1 - 0x1p-53, 1. / 3};
    p.exits.exit_count = 3;
    memcpy(p.exits.exits, depths, sizeof depths);
    memcpy(p.exits.thresholds, thresholds, sizeof thresholds);
    p.exits.confidence = CONFIDENCE_MARGIN;
    p.draft.draft = 2;
    p.draft.window = 7;
    p.draft.draft_stop = .6;
    return p;
}

static void check_round_trip(const StoredPolicies *p)
{
    Error err;
    bool found;
    StoredPolicies back;
    if (!policy_file_save(p, own_folder.text, NULL, &err)) fail_msg("%s", err.text);
    if (!load_for(&back, &found, BLOCKS, &err)) fail_msg("%s", err.text);
    assert_true(found && back.kind == p->kind);
    assert_true(back.has_exits == p->has_exits && back.has_draft == p->has_draft);
    if (p->has_exits) check_same(&back.exits, &p->exits);
    if (p->has_draft) check_same(&back.draft, &p->draft);
    assert_int_equal(test_folder_count(own_folder.text), 1); // and nothing beside it
}

static void round_trip(void **state)
{
    (void)state;
    for (Confidence c = CONFIDENCE_PROBABILITY; c <= CONFIDENCE_ENTROPY; c++) {
        StoredPolicies p = sample();
        p.exits.confidence = c;
        for (PolicyKind kind = POLICY_FULL; kind <= POLICY_DRAFT; kind++) {
            p.kind = kind;
            check_round_trip(&p);
        }
        p.kind = POLICY_EXITS, p.has_draft = false;
        check_round_trip(&p);
        p = sample();
        p.kind = POLICY_DRAFT, p.has_exits = false;
        check_round_trip(&p);
        p.kind = POLICY_FULL, p.has_draft = false;
        check_round_trip(&p);
    }
}

// As many exits as there may be, with every threshold another one.
static void many_exits(void **state)
{
    (void)state;
    Error err;
    bool found;
    StoredPolicies p = {.kind = POLICY_EXITS, .has_exits = true, .exits = policy_fixed(200)}, back;
    for (uint32_t i = 0; i < CONFIG_MAX_EXITS; i++) {
        p.exits.exits[i] = i + 1;
        p.exits.thresholds[i] = sqrt(i) / 12;
    }
    p.exits.exit_count = CONFIG_MAX_EXITS;
    assert_true(policy_file_save(&p, own_folder.text, NULL, &err));
    if (!load_for(&back, &found, 200, &err)) fail_msg("%s", err.text);
    check_same(&back.exits, &p.exits);
    char text[8192] = "{\"exits\":[";
    for (uint32_t i = 1; i <= CONFIG_MAX_EXITS + 1; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "%s{\"depth\":%u,\"threshold\":0.5}", i > 1 ? "," : "", i);
    strcat(text, "]}");
    check_refused(text, 200, ": exits: a list of at most 128 objects is expected");
}

// What was calibrated is kept for people, and stays the caller's.
static void calibration_is_kept(void **state)
{
    (void)state;
    Error err;
    StoredPolicies p = sample();
    cJSON *calibration = cJSON_Parse("{\"positions\":17,\"curve\":[{\"x\":\"\\\"\"},null]}");
    assert_true(policy_file_save(&p, own_folder.text, calibration, &err));
    assert_true(policy_file_save(&p, own_folder.text, calibration, &err)); // over the first
    cJSON *object = json_read(test_path(own_folder.text, NAME).text, &err);
    assert_non_null(object);
    assert_true(
        cJSON_Compare(cJSON_GetObjectItemCaseSensitive(object, "calibration"), calibration, true));
    cJSON_Delete(object);
    cJSON_Delete(calibration);
}

// Keys that may be absent, and ones that nobody knows.
static void defaults(void **state)
{
    (void)state;
    StoredPolicies p = load_text("{}");
    assert_true(p.kind == POLICY_FULL && !p.has_exits && !p.has_draft);
    p = load_text(" {\"default\":null,\"exits\":[],\"later\":{\"depth\":99}}\n");
    assert_true(p.kind == POLICY_FULL && p.has_exits && !p.exits.exit_count);
    p = load_text("{\"default\":\"draft\",\"draft\":{\"depth\":7}}");
    assert_true(p.kind == POLICY_DRAFT && p.has_draft && !p.has_exits);
    assert_true(p.draft.draft == 7 && p.draft.depth == BLOCKS && p.draft.window == DRAFT_START);
    assert_true(p.draft.draft_stop == DRAFT_STOP_DEFAULT && !p.draft.draft_auto);
    p = load_text("{\"exits\":[{\"depth\":1,\"threshold\":0},{\"depth\":7,\"threshold\":1e6}]}");
    assert_true(p.has_exits && p.exits.exit_count == 2 && p.exits.depth == BLOCKS);
    assert_true(p.exits.thresholds[0] == 0 && p.exits.thresholds[1] == 1e6);
    assert_int_equal(p.exits.confidence, CONFIDENCE_PROBABILITY);
    p = load_text("{\"confidence\":\"entropy\",\"default\":\"exits\",\"exits\":[]}");
    assert_true(p.kind == POLICY_EXITS && p.exits.confidence == CONFIDENCE_ENTROPY);
    p = load_text("{\"draft\":{\"depth\":1,\"window\":16,\"stop\":1}}");
    assert_true(p.draft.window == DRAFT_WINDOW && p.draft.draft_stop == 1);
}

static void none_there(void **state)
{
    (void)state;
    Error err;
    bool found = true;
    StoredPolicies p;
    assert_true(load_for(&p, &found, BLOCKS, &err));
    assert_false(found);
    check_zero(&p);
    const LlamaConfig config = {.blocks = BLOCKS}; // a file in place of the folder, as a GGUF model
    TestPath file = test_write_text(&own_folder, "model.gguf", "GGUF");
    found = true;
    assert_true(policy_file_load(&p, &found, file.text, &config, &err));
    assert_false(found);
}

// ---- what does not -----------------------------------------------------------------------------

#define EXIT(depth, threshold) "{\"depth\":" depth ",\"threshold\":" threshold "}"
#define EXITS(list) "{\"exits\":[" list "]}"
#define DRAFT(fields) "{\"draft\":{" fields "}}"

static void malformed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", ": not JSON"},
        {"{", ": not JSON"},
        {"{\"default\":\"depth\"}x", ": not JSON: unexpected text"},
        {"{\"default\":\"depth\",\"default\":\"depth\"}", ": key 'default' stands twice"},
        {"{\"default\":\"\\u0000\"}", "control character"},
        {"{\"default\":\"\xff\"}", "invalid UTF-8"},
        {"null", ": an object is expected"},
        {"[]", ": an object is expected"},
        {"7", ": an object is expected"},
        {"\"exits\"", ": an object is expected"},
        {"{\"default\":7}", ": key 'default' must be a string"},
        {"{\"default\":\"\"}", ": key 'default' is '', expected 'depth', 'exits' or 'draft'"},
        {"{\"default\":\"Exits\"}", ": key 'default' is 'Exits', expected"},
        {"{\"default\":\"exits\"}", ": default is 'exits', but that key is missing"},
        {"{\"default\":\"draft\"}", ": default is 'draft', but that key is missing"},
        {"{\"default\":\"draft\",\"exits\":[]}", ": default is 'draft', but that key is missing"},
        {"{\"default\":\"exits\",\"draft\":{\"depth\":1}}", ": default is 'exits', but that key"},
        {"{\"confidence\":\"certainty\"}",
         ": key 'confidence' is 'certainty', expected 'probability', 'margin' or 'entropy'"},
        {"{\"confidence\":[]}", ": key 'confidence' must be a string"},
        {"{\"exits\":null}", ": exits: a list is expected"},
        {"{\"exits\":{}}", ": exits: a list is expected"},
        {"{\"exits\":\"2:.9\"}", ": exits: a list is expected"},
        {EXITS("2"), ": exits: a list of at most 128 objects is expected"},
        {EXITS("[2,0.9]"), ": exits: a list of at most 128 objects is expected"},
        {EXITS("{}"), ": exits[0]: key 'depth' is missing"},
        {EXITS("{\"threshold\":0.9}"), ": exits[0]: key 'depth' is missing"},
        {EXITS("{\"depth\":2}"), ": exits[0]: key 'threshold' is missing"},
        {EXITS(EXIT("2", "null")), ": exits[0]: key 'threshold' is missing"},
        {EXITS(EXIT("\"2\"", "0.9")), ": exits[0]: key 'depth' must be a whole number"},
        {EXITS(EXIT("2.5", "0.9")), ": exits[0]: key 'depth' must be a whole number"},
        {EXITS(EXIT("1e300", "0.9")), ": exits[0]: key 'depth' must be a whole number"},
        {EXITS(EXIT("0", "0.9")), ": exits[0]: key 'depth' is 0, expected 1 to 7"},
        {EXITS(EXIT("-1", "0.9")), ": exits[0]: key 'depth' is -1, expected 1 to 7"},
        {EXITS(EXIT("8", "0.9")), ": exits[0]: key 'depth' is 8, expected 1 to 7"},
        {EXITS(EXIT("4294967298", "0.9")), "key 'depth' is 4294967298, expected 1 to 7"},
        {EXITS(EXIT("4", "0.9") "," EXIT("2", "0.9")),
         ": exits[1]: key 'depth' is 2, expected 5 to 7"},
        {EXITS(EXIT("4", "0.9") "," EXIT("4", "0.9")),
         ": exits[1]: key 'depth' is 4, expected 5 to 7"},
        {EXITS(EXIT("4", "0.9") "," EXIT("5", "0.9") ",7"), ": exits: a list of at most 128"},
        {EXITS(EXIT("2", "\".9\"")), ": exits[0]: key 'threshold' must be a number"},
        {EXITS(EXIT("2", "true")), ": exits[0]: key 'threshold' must be a number"},
        {EXITS(EXIT("2", "-0.5")), ": exits[0]: key 'threshold' is -0.5, expected 0 to 1e+06"},
        {EXITS(EXIT("2", "-1")), ": exits[0]: key 'threshold' is -1, expected 0 to 1e+06"},
        {EXITS(EXIT("2", "1000001")), ": exits[0]: key 'threshold' is 1e+06, expected 0 to 1e+06"},
        {EXITS(EXIT("2", "1e999")), ": exits[0]: key 'threshold' is inf, expected 0 to 1e+06"},
        {EXITS(EXIT("2", "0.9") "," EXIT("3", "-2")), ": exits[1]: key 'threshold' is -2"},
        {"{\"draft\":2}", ": draft: an object is expected"},
        {"{\"draft\":[]}", ": draft: an object is expected"},
        {"{\"draft\":null}", ": draft: an object is expected"},
        {DRAFT(""), ": draft: key 'depth' is missing"},
        {DRAFT("\"depth\":0"), ": draft: key 'depth' is 0, expected 1 to 7"},
        {DRAFT("\"depth\":8"), ": draft: key 'depth' is 8, expected 1 to 7"},
        {DRAFT("\"depth\":\"auto\""), ": draft: key 'depth' must be a whole number"},
        {DRAFT("\"depth\":2,\"window\":0"), ": draft: key 'window' is 0, expected 1 to 16"},
        {DRAFT("\"depth\":2,\"window\":17"), ": draft: key 'window' is 17, expected 1 to 16"},
        {DRAFT("\"depth\":2,\"window\":1.5"), ": draft: key 'window' must be a whole number"},
        {DRAFT("\"depth\":2,\"stop\":-0.1"), ": draft: key 'stop' is -0.1, expected 0 to 1"},
        {DRAFT("\"depth\":2,\"stop\":1.5"), ": draft: key 'stop' is 1.5, expected 0 to 1"},
        {DRAFT("\"depth\":2,\"stop\":[]"), ": draft: key 'stop' must be a number"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_refused(bad[i].text, BLOCKS, bad[i].message);
}

// What fitted a deeper model does not fit one of fewer blocks.
static void shallower_model(void **state)
{
    (void)state;
    Error err;
    StoredPolicies p = sample();
    assert_true(policy_file_save(&p, own_folder.text, NULL, &err));
    size_t size;
    char *text = test_read(test_path(own_folder.text, NAME).text, &size);
    check_refused(text, 7, ": exits[2]: key 'depth' is 7, expected 4 to 6");
    check_refused(text, 2, ": exits[1]: key 'depth' is 3, expected 2 to 1");
    check_refused(text, 1, ": exits[0]: key 'depth' is 1, expected 1 to 0");
    free(text);
    check_refused(DRAFT("\"depth\":3"), 3, ": draft: key 'depth' is 3, expected 1 to 2");
}

// Every text that a good file begins with, and every one of its bytes changed, is taken or refused
// in one line; at once.
static void damaged(void **state)
{
    (void)state;
    Error err;
    bool found;
    StoredPolicies p = sample();
    assert_true(policy_file_save(&p, own_folder.text, NULL, &err));
    size_t size, taken = 0;
    char *text = test_read(test_path(own_folder.text, NAME).text, &size);
    for (size_t i = 0; i < 2 * size; i++) {
        size_t at = i / 2;
        char whole = text[at];
        text[at] ^= i & 1 ? 1 : 0;
        test_write(&own_folder, NAME, text, i & 1 ? size : at);
        text[at] = whole;
        bool ok = load_for(&p, &found, BLOCKS, &err);
        assert_true(ok == found);
        taken += ok;
        if (!ok) assert_error(err, NAME);
    }
    assert_true(taken < size); // some digits may differ
    free(text);
}

// No file, but a folder, stands there; there is no folder to write to.
static void no_such_file(void **state)
{
    (void)state;
    Error err;
    bool found;
    StoredPolicies p = sample(), back;
    TestPath missing = test_path(own_folder.text, "missing"), path;
    assert_false(policy_file_save(&p, missing.text, NULL, &err));
    assert_error(err, NAME);
    path = test_path(own_folder.text, NAME);
    assert_int_equal(mkdir(path.text, 0700), 0);
    assert_false(load_for(&back, &found, BLOCKS, &err));
    assert_error(err, NAME);
    assert_false(policy_file_save(&p, own_folder.text, NULL, &err));
    assert_error(err, NAME);
    assert_int_equal(test_folder_count(own_folder.text), 1); // nothing half-written
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(round_trip),      TEST(many_exits), TEST(calibration_is_kept),
        TEST(defaults),        TEST(none_there), TEST(malformed),
        TEST(shallower_model), TEST(damaged),    TEST(no_such_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
