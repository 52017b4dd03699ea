// Earlier profiles, read and compared with a fixed one of three steps.
#include "input.h"
#include "profile/compare.h"

#include <math.h>

static const uint8_t args[16];
static const Command command = {
    .kind = COMMAND_DISPATCH,
    .tape = "forward 0",
    .dispatch = {.kernel = K_add, .args = args, .args_bytes = sizeof args}};
static const ProfileStep steps[] = {{0, 2, NAN, 0}, {2, 4, 1, 8}, {4, 7, 2, 8}};
static const ProfileRun runs[] = {{0, 2, 0}, {2, 4, 0}, {4, 7, 0}};
static const ProfileSubmission submissions[] = {{0, 2, 0, 0, 1}, {2, 4, 1, 1, 1}, {4, 7, 2, 2, 1}};
static const ProfileEvent events[] = {{&command, "", 0, 0, 0, 1, {4, 4}},
                                      {&command, "", 0, 1, 2, 3, {4, 4}},
                                      {&command, "", 0, 2, 4, 6, {4, 4}}};

static void print(const ProfileComparison *comparison)
{
    cJSON *json = cJSON_CreateObject();
    FILE *stream = fopen("/dev/null", "w");
    compare_json(json, comparison);
    if (stream) {
        compare_print(stream, comparison);
        compare_print_notes(stream, comparison);
        fclose(stream);
    }
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Error err;
    static const GpuInfo device = {.name = "device", .driver = "driver"};
    static const Ceilings ceilings = {0};
    const ProfileRecord record = {
        .title = "title",
        .device = &device,
        .data = {events, submissions, runs, NULL, 3, 3, 3, 0, 0, false, true, true, 0},
        .steps = steps,
        .step_count = 3,
        .end = 7};
    ProfileSummary summary;
    ProfileComparison comparison;
    ProfileOld *old = compare_read(input_file("old.json", bytes, size), &err);
    if (!old) return 0;
    const ProfileReport report = {.summary = &summary, .version = "1", .date = ""};
    if (summary_make(&summary, &record, &ceilings, &err)) {
        if (compare_make(&comparison, old, &report, 15, .05, &err)) print(&comparison);
        comparison_free(&comparison);
    }
    summary_free(&summary);
    compare_free(old);
    return 0;
}
