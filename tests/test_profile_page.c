// The pages and traces of profiles, opened in headless Chromium: what is really on a page, what its
// parts do under a reader's hands, and that it asks for nothing; and what the trace reader of
// Chromium's own developer tools makes of a trace.
#include "profile/page.h"
#include "profile/table.h"
#include "profile/trace.h"
#include "support/browser.h"
#include "support/files.h"
#include "support/made_profile.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const MadeOptions PLAIN = {
    .steps = 6, .blocks = 4, .title = "train x.json", .device = "made up", .driver = "none 1"};

static int close_browser(void **state)
{
    (void)state;
    browser_close();
    return 0;
}

// ---- making and opening ------------------------------------------------------------------------

// A compiler that tells of each pipeline registers and no spills, and nothing else.
static Compiled made_up(const SummaryTable *pipelines)
{
    Compiled c = {.fields = calloc(pipelines->count + 1, sizeof *c.fields), .statistics = true};
    assert_non_null(c.fields);
    for (; c.count < pipelines->count; c.count++) {
        for (int f = 0; f < FIELD_COUNT; f++) c.fields[c.count][f] = NAN;
        c.fields[c.count][FIELD_REGISTERS] = 20 + (double)c.count;
        c.fields[c.count][FIELD_SPILLS] = 0;
    }
    return c;
}

// `compared`: JSON as of compare.h, or NULL.
static void write_page(const char *path, const ProfileRecord *record, const char *compared)
{
    const Ceilings ceilings = {9e9, 40e9, 60e9, 4e-6};
    const ProfileSetting setting = {"steps", "6"};
    ProfileSummary summary;
    Error err = {0};
    if (!summary_make(&summary, record, &ceilings, &err)) fail_msg("%s", err.text);
    Compiled compiled = made_up(&summary.tables[SUMMARY_PIPELINES]);
    const ProfileReport report = {&summary, "0.1.0", "2026-01-02T03:04:05Z",
                                  &setting, 1,       &compiled};
    cJSON *json = table_json(&report, &err);
    if (json && compared) cJSON_AddItemToObject(json, "compared", cJSON_Parse(compared));
    if (!json || !page_write(path, record, json, &err)) fail_msg("%s", err.text);
    cJSON_Delete(json);
    compiled_free(&compiled);
    summary_free(&summary);
}

// Paints come a frame after what changed.
static void until_painted(void)
{
    browser_do("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))");
}

static void visit(const char *path)
{
    char url[TEST_PATH_SIZE + 16];
    snprintf(url, sizeof url, "file://%s", path);
    browser_visit(url);
    until_painted();
}

static MadeProfile *open_page(const MadeOptions *options, bool dark)
{
    browser_open(1280, 900, dark); // or skips
    MadeProfile *made = made_profile(options);
    TestPath path = test_path(own_folder.text, "profile.html");
    write_page(path.text, &made->record, NULL);
    visit(path.text);
    return made;
}

// $STRATA_TEST_PICTURES: a folder that keeps what the window shows, for whoever wants to see it.
static void picture(const char *name)
{
    const char *folder = getenv("STRATA_TEST_PICTURES");
    if (folder) browser_picture(test_path(folder, name).text);
}

static void check_quiet(void)
{
    assert_string_equal(browser_complaints(), "");
    assert_string_equal(browser_requests(), "");
}

// ---- pages -------------------------------------------------------------------------------------

// How many pixels of the timeline's canvas between two heights have a colour of their own.
static const char PAINTED[] =
    "(() => { const c = document.querySelector('#tracks'), own = document.createElement('canvas'); "
    "[own.width, own.height] = [c.width, c.height]; const pen = own.getContext('2d', "
    "{willReadFrequently: true}); pen.drawImage(c, 0, 0); const d = pen.getImageData(0, 0, "
    "c.width, "
    "c.height).data; let n = 0; for (let i = 0; i < d.length; i += 4) if (Math.max(d[i], d[i + 1], "
    "d[i + 2]) - Math.min(d[i], d[i + 1], d[i + 2]) > 60 && d[i + 3] > 80) n++; return n; })()";

static void a_page_shows_all_of_it(void **state)
{
    (void)state;
    MadeProfile *made = open_page(&PLAIN, false);
    assert_page("document.querySelector('h1').textContent === 'train x.json'");
    assert_page("document.title.startsWith('train x.json')");
    assert_page("document.querySelector('#machine').textContent === 'made up · none 1'");
    // 18 kernels in the made profile, each with a row and a dot under its name.
    assert_page("document.querySelectorAll('#table-kernel tbody tr').length === 18");
    assert_page("document.querySelectorAll('#roofline circle.dot').length === 18");
    assert_page("[...document.querySelectorAll('#roofline circle.dot')].every(dot => "
                "dot.getAttribute('aria-label').startsWith(dot.dataset.kernel) && "
                "Number.isFinite(dot.cx.baseVal.value) && dot.getBoundingClientRect().width > 5)");
    assert_page("document.querySelectorAll('#roofline .roof').length === 3");
    // Embedding, four blocks, the exit, the optimizer.
    assert_page("document.querySelectorAll('#table-block tbody tr').length === 7");
    assert_page("document.querySelectorAll('#table-phase tbody tr').length === 5");
    assert_page("document.querySelector('#panel-kernel').offsetHeight > 100");
    assert_page("document.querySelector('#panel-phase').offsetHeight === 0");
    assert_page("document.querySelectorAll('#account-bar span').length === 4");
    assert_true(browser_number(PAINTED) > 20000);
    picture("page.png");
    browser_do("document.querySelector('#roofline-heading').scrollIntoView({behavior: 'instant'})");
    picture("roofline.png");
    browser_do("scrollTo({top: 99999, behavior: 'instant'})");
    picture("tables.png");
    check_quiet();
    made_profile_free(made);
}

static void headings_sort(void **state)
{
    (void)state;
    MadeProfile *made = open_page(&PLAIN, false);
    static const char names[] = "[...document.querySelectorAll('#table-kernel tbody tr')].map(row "
                                "=> row.cells[0].textContent).join()";
    static const char sorted[] =
        "(list => list.join() === [...list].sort((a, b) => a.localeCompare(b)).join())"
        "([...document.querySelectorAll('#table-kernel tbody tr')].map(row => "
        "row.cells[0].textContent))";
    char *before = browser_text(names);
    browser_click_on("'#table-kernel th:nth-child(1) button'");
    assert_page(sorted);
    assert_page("document.querySelector('#table-kernel th').getAttribute('aria-sort') === "
                "'ascending'");
    char *after = browser_text(names);
    assert_string_not_equal(before, after);
    browser_key("Enter"); // the heading has the focus: the other way round
    assert_page("document.querySelector('#table-kernel th').getAttribute('aria-sort') === "
                "'descending'");
    browser_click_on(
        "'#table-kernel th:nth-child(3) button'"); // time, the longest first, as before
    char *again = browser_text(names);
    assert_string_equal(before, again);
    browser_click_on("'#tab-phase'");
    assert_page("document.querySelector('#panel-phase').offsetHeight > 50");
    assert_page("document.querySelector('#panel-kernel').offsetHeight === 0");
    check_quiet();
    free(before);
    free(after);
    free(again);
    made_profile_free(made);
}

static char *range_after(void)
{
    until_painted();
    return browser_text("document.querySelector('#range').textContent");
}

static void assert_moves(char **range, bool moves)
{
    char *now = range_after();
    if (moves == !strcmp(now, *range)) fail_msg("from %s to %s", *range, now);
    free(*range);
    *range = now;
}

// A point on the timeline: a share of its width, and a track by its name.
static void point(double *x, double *y, double share, const char *track)
{
    char expression[512];
    snprintf(expression, sizeof expression,
             "(() => { const c = document.querySelector('#tracks'); c.scrollIntoView({block: "
             "'center', behavior: 'instant'}); const r = c.getBoundingClientRect(), t = "
             "TRACKS.find(own => own.label === '%s'); return [r.x + GUTTER + %g * (r.width - "
             "GUTTER), r.y + t.y + t.height / 2]; })()",
             track, share);
    cJSON *at = browser_value(expression);
    *x = cJSON_GetArrayItem(at, 0)->valuedouble;
    *y = cJSON_GetArrayItem(at, 1)->valuedouble;
    cJSON_Delete(at);
}

static void the_timeline_moves(void **state)
{
    (void)state;
    MadeProfile *made = open_page(&PLAIN, true);
    double x, y;
    char *range = range_after();
    assert_true(strncmp(range, "0 s – ", 8) == 0);
    browser_click_on("'#zoom-in'");
    assert_moves(&range, true);
    browser_click_on("'#step-on'");
    assert_moves(&range, true);
    point(&x, &y, 0.5, "kernel");
    browser_wheel(x, y, -300); // the page's, as the timeline was not touched yet
    assert_moves(&range, false);
    point(&x, &y, 0.5, "kernel");
    browser_click(x, y);
    assert_page("!document.querySelector('#detail').hidden && "
                "/takes [0-9.]+ [mµ]s/.test(document.querySelector('#detail').textContent)");
    browser_wheel(x, y, -300);
    assert_moves(&range, true);
    browser_key("ArrowRight");
    assert_moves(&range, true);
    browser_move(x, y);
    browser_move(x + 1, y);
    assert_page("!document.querySelector('#tip').hidden");
    picture("zoomed.png");
    browser_key("Escape");
    browser_key("0");
    assert_moves(&range, true);
    assert_true(strncmp(range, "0 s – ", 8) == 0);
    browser_key("n");
    browser_key("n");
    assert_page("document.querySelector('#detail').textContent.startsWith('rmsnorm')");
    check_quiet();
    free(range);
    made_profile_free(made);
}

static void a_chosen_kernel_shines_everywhere(void **state)
{
    (void)state;
    MadeProfile *made = open_page(&PLAIN, false);
    until_painted();
    double all = browser_number(PAINTED);
    browser_click_on("'#roofline circle[data-kernel=matmul]'");
    until_painted();
    assert_page("document.querySelectorAll('#roofline .dot.pale').length === 17");
    assert_page("document.querySelector('#table-kernel tr.chosen td').textContent === 'matmul'");
    assert_true(browser_number(PAINTED) < all);
    browser_click_on("'#table-kernel tr.chosen'");
    until_painted();
    assert_page("document.querySelectorAll('#roofline .dot.pale').length === 0");
    assert_true(browser_number(PAINTED) == all);
    check_quiet();
    made_profile_free(made);
}

static void comparisons_stand_beside_their_rows(void **state)
{
    (void)state;
    MadeProfile *made = open_page(&PLAIN, true);
    assert_page("document.querySelectorAll('#table-kernel th').length === 12");
    TestPath path = test_path(own_folder.text, "compared.html");
    write_page(path.text, &made->record,
               "{\"file\":\"old.json\",\"notes\":[\"Another driver.\"],\"regressed\":1,"
               "\"unknown\":0,\"rows\":["
               "{\"table\":\"step\",\"name\":\"step\",\"change\":\"slower\",\"ratio\":1.25,"
               "\"low\":1.2,\"high\":1.3,\"old\":1,\"new\":1.25,\"regressed\":true},"
               "{\"table\":\"kernel\",\"name\":\"swiglu\",\"change\":\"faster\",\"ratio\":0.5,"
               "\"low\":0.4,\"high\":0.6,\"old\":2,\"new\":1,\"regressed\":false}]}");
    visit(path.text);
    assert_page("document.querySelectorAll('#table-kernel th').length === 14");
    assert_page("(row => row.cells[0].textContent + row.cells[12].textContent + "
                "row.cells[13].textContent)(document.querySelector('tr.faster')) === "
                "'swiglu0.50faster'");
    assert_page(
        "document.querySelector('#facts').textContent.includes('1.25 slower, 1.20 to 1.30')");
    assert_page(
        "document.querySelector('#notes').textContent.includes('old.json. Another driver.')");
    check_quiet();
    made_profile_free(made);
}

static void pipelines_show_what_compilers_say(void **state)
{
    (void)state;
    MadeProfile *made = open_page(&PLAIN, false);
    static const char cell[] =
        "[...document.querySelectorAll('#table-pipeline tbody tr')].map(row => "
        "row.cells[[...document.querySelectorAll('#table-pipeline th')].findIndex(head => "
        "head.textContent === '%s')].textContent).sort().join()";
    char text[400];
    assert_page("document.querySelectorAll('#table-pipeline tbody tr').length === 18");
    snprintf(text, sizeof text, cell, "registers");
    char *registers = browser_text(text);
    assert_string_equal(registers, "20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37");
    snprintf(text, sizeof text, cell, "spills");
    char *spills = browser_text(text); // 0 is something, too
    assert_string_equal(spills, "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0");
    assert_page("![...document.querySelectorAll('th')].some(head => head.textContent === "
                "'occupancy')");
    assert_page("![...document.querySelectorAll('#table-kernel th')].some(head => "
                "head.textContent === 'registers')");
    check_quiet();
    free(registers);
    free(spills);
    made_profile_free(made);
}

static void names_are_never_markup(void **state)
{
    (void)state;
    MadeOptions options = PLAIN;
    options.title = "</script><img src=x onerror=alert(1)> \"q\" \x01 \xE2\x86\x92";
    options.extra = "<b>&amp;</b></script>";
    MadeProfile *made = open_page(&options, false);
    assert_page("document.querySelector('h1').textContent.startsWith('</script><img src=x')");
    assert_page("document.querySelectorAll('img, td b').length === 0");
    assert_page("[...document.querySelectorAll('#table-block td')].some(cell => "
                "cell.textContent === '<b>&amp;</b></script>')");
    check_quiet();
    made_profile_free(made);
}

static void a_hundred_thousand_commands_stay_swift(void **state)
{
    (void)state;
    MadeOptions options = PLAIN;
    options.steps = 300;
    options.blocks = 16;
    MadeProfile *made = open_page(&options, false);
    assert_true(made->record.data.event_count > 90000);
    assert_int_equal(browser_number("COMMANDS.size"), made->record.data.event_count);
    assert_true(browser_number(PAINTED) > 20000);
    // A paint of everything, and one of a part: the median of some, far below what a debug build of
    // anything or a busy machine needs to be noticed.
    double ms = browser_number(
        "(() => { const times = []; for (let i = 0; i < 21; i++) { const from = performance.now(); "
        "show(i * 1e5, LENGTH - i * 1e5); paint(); times.push(performance.now() - from); } "
        "return times.sort((a, b) => a - b)[10]; })()");
    print_message("%zu commands are painted in %.1f ms\n", made->record.data.event_count, ms);
    assert_true(ms < 500);
    picture("many.png");
    check_quiet();
    made_profile_free(made);
}

static void nothing_is_a_page_as_well(void **state)
{
    (void)state;
    MadeOptions options = PLAIN;
    options.steps = 0;
    MadeProfile *made = open_page(&options, false);
    assert_page("document.querySelector('h1').textContent === 'train x.json'");
    assert_page("document.querySelectorAll('#table-kernel tbody tr').length === 0");
    check_quiet();
    made_profile_free(made);
}

static void what_cannot_be_written_is_said(void **state)
{
    (void)state;
    MadeProfile *made = made_profile(&PLAIN);
    cJSON *report = cJSON_CreateObject();
    TestPath path = test_path(own_folder.text, "nowhere/profile.html");
    Error err;
    assert_false(page_write(path.text, &made->record, report, &err));
    assert_error(err, "nowhere/profile.html: cannot write");
    cJSON_Delete(report);
    made_profile_free(made);
}

// ---- traces ------------------------------------------------------------------------------------

// What Chromium's developer tools read out of a trace: "process thread name: slices, depth" a line.
static const char READER[] =
    "(async () => { const tools = await "
    "import('devtools://devtools/bundled/models/trace/trace.js');"
    "const model = tools.TraceModel.Model.createWithAllHandlers(); await model.parse(trace."
    "traceEvents); const data = model.parsedTrace().data, lines = []; for (const [pid, process] of "
    "data.Renderer.processes) for (const [tid, thread] of process.threads) lines.push(`${pid} "
    "${tid} "
    "${thread.name}: ${thread.entries.length}, ${thread.tree ? thread.tree.maxDepth : 0}`); "
    "return lines.join('\\n'); })()";

static void chromium_reads_traces(void **state)
{
    (void)state;
    browser_open(800, 600, false);
    MadeProfile *made = made_profile(&PLAIN);
    TestPath path = test_path(own_folder.text, "trace.json");
    Error err;
    size_t size;
    if (!trace_write(path.text, &made->record, &err)) fail_msg("%s", err.text);
    char *trace = test_read(path.text, &size), *expression = malloc(size + 32);
    assert_non_null(expression);
    sprintf(expression, "void (window.trace = %s)", trace);
    browser_visit("devtools://devtools/bundled/devtools_app.html");
    browser_do(expression);
    char *text = browser_text(READER);
    // Of each of 6 steps: itself, 2 runs, 2 transfers; 5 phases, 11 places, 88 commands; 3
    // submissions, of which two are in flight together.
    assert_string_equal(text, "1 1 host: 30, 2\n1 6 GPU: 624, 3\n"
                              "1 2 submissions: 12, 1\n1 3 submissions 2: 6, 1");
    free(text);
    free(trace);
    free(expression);
    made_profile_free(made);
}

// Its importer is the strictest that is to be had: it complains of every slice that does not nest.
static void speedscope_reads_traces(void **state)
{
    (void)state;
    const char *folder = getenv("STRATA_TEST_SPEEDSCOPE");
    if (!folder) {
        print_message("skipped: STRATA_TEST_SPEEDSCOPE is not the folder of npm's speedscope\n");
        skip();
    }
    browser_open(800, 600, false);
    MadeOptions options = PLAIN;
    options.disorder = true;
    MadeProfile *made = made_profile(&options);
    TestPath path = test_path(own_folder.text, "trace.json");
    Error err;
    size_t size;
    if (!trace_write(path.text, &made->record, &err)) fail_msg("%s", err.text);
    char *trace = test_read(path.text, &size), *script = malloc(size + 128),
         url[2 * TEST_PATH_SIZE];
    assert_non_null(script);
    sprintf(script, "speedscope.loadFileFromBase64('trace.json', btoa(JSON.stringify(%s)))", trace);
    path = test_write_text(&own_folder, "trace.js", script);
    snprintf(url, sizeof url, "file://%s/dist/release/index.html#localProfilePath=%s", folder,
             path.text);
    browser_visit(url);
    browser_do("new Promise(done => { const look = () => document.title.startsWith("
               "'trace.json') ? done() : setTimeout(look, 50); look(); })");
    assert_page("/train x.json.*\\(1\\/4\\)/.test(document.body.innerText)"); // a thread of four
    assert_null(strstr(browser_complaints(), "console:")); // "log:" is what its WebGL says
    assert_null(strstr(browser_complaints(), "exception:"));
    free(trace);
    free(script);
    made_profile_free(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_page_shows_all_of_it),
        TEST(headings_sort),
        TEST(the_timeline_moves),
        TEST(a_chosen_kernel_shines_everywhere),
        TEST(comparisons_stand_beside_their_rows),
        TEST(pipelines_show_what_compilers_say),
        TEST(names_are_never_markup),
        TEST(a_hundred_thousand_commands_stay_swift),
        TEST(nothing_is_a_page_as_well),
        TEST(chromium_reads_traces),
        TEST(speedscope_reads_traces),
        TEST(what_cannot_be_written_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, close_browser);
}
