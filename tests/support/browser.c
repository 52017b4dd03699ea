// Headless Chromium through --remote-debugging-pipe: JSON messages that end with a NUL, to it on
// its file 3 and from it on its file 4. See browser.h. Protocol:
// https://chromedevtools.github.io/devtools-protocol/
#define _GNU_SOURCE // pipe2
#include "support/browser.h"
#include "support/files.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 120, NOTES = 4096 }; // generous: sanitizers and busy machines

static struct {
    pid_t pid;
    TestPath folder;
    int to, from;
    int last;         // id of the last message
    char session[64]; // of the one tab
    char *buffer;     // (used): what came and was not read yet
    size_t used, size;
    bool loaded;
    char page[2 * TEST_PATH_SIZE];
    char complaints[NOTES], requests[NOTES];
} browser;

// ---- the process -------------------------------------------------------------------------------

static const char *program(void)
{
    const char *name = getenv("STRATA_TEST_CHROMIUM");
    return name && *name ? name : "chromium";
}

static bool is_installed(const char *name)
{
    char line[TEST_PATH_SIZE];
    snprintf(line, sizeof line, "command -v '%s' >/dev/null 2>&1", name);
    return system(line) == 0;
}

static void become(const char *folder, int in, int out)
{
    char data[TEST_PATH_SIZE + 32];
    snprintf(data, sizeof data, "--user-data-dir=%s/chromium", folder);
    int null = open("/dev/null", O_RDWR);
    // 3 and 4 may be any of these, so they go out of the way first.
    in = fcntl(in, F_DUPFD, 10);
    out = fcntl(out, F_DUPFD, 10);
    null = fcntl(null, F_DUPFD, 10);
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || dup2(in, 3) < 0 ||
        dup2(out, 4) < 0)
        _exit(127);
    setpgid(0, 0);
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("XDG_CACHE_HOME", folder, 1);
    unsetenv("LD_PRELOAD"); // the sanitizers' is not for it
    unsetenv("LD_LIBRARY_PATH");
    execlp(program(), program(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
           "--no-first-run", "--disable-background-networking", "--disable-component-update",
           "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars",
           "--force-device-scale-factor=1", "--host-resolver-rules=MAP * ~NOTFOUND",
           "--remote-debugging-pipe", data, "about:blank", (char *)NULL);
    _exit(127);
}

void browser_close(void)
{
    if (!browser.pid) return;
    close(browser.to); // which ends it
    close(browser.from);
    bool ended = false;
    for (int i = 0; i < 100 && !ended; i++) {
        ended = waitpid(browser.pid, NULL, WNOHANG) != 0;
        if (!ended) usleep(20000);
    }
    kill(-browser.pid, SIGKILL); // and what it may have left
    if (!ended) waitpid(browser.pid, NULL, 0);
    free(browser.buffer);
    test_folder_remove(&browser.folder);
    memset(&browser, 0, sizeof browser);
}

// ---- messages ----------------------------------------------------------------------------------

static void note(char notes[NOTES], const char *what, const char *text)
{
    size_t used = strlen(notes);
    snprintf(notes + used, NOTES - used, "%s: %s\n", what, text);
}

static const char *text_at(const cJSON *object, const char *path)
{
    char key[64];
    while (object && *path) {
        size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        object = cJSON_IsArray(object) ? cJSON_GetArrayItem(object, atoi(key))
                                       : cJSON_GetObjectItemCaseSensitive(object, key);
        path += length + (path[length] == '.');
    }
    return cJSON_IsString(object) ? object->valuestring : "";
}

static bool is_serious(const char *level)
{
    return !strcmp(level, "error") || !strcmp(level, "warning") || !strcmp(level, "assert");
}

// Events, as opposed to answers.
static void take_event(const cJSON *message)
{
    const char *method = text_at(message, "method"), *url;
    if (!strcmp(method, "Page.loadEventFired")) {
        browser.loaded = true;
    } else if (!strcmp(method, "Runtime.exceptionThrown")) {
        note(browser.complaints, "exception",
             text_at(message, "params.exceptionDetails.exception.description"));
    } else if (!strcmp(method, "Runtime.consoleAPICalled")) {
        if (is_serious(text_at(message, "params.type")))
            note(browser.complaints, "console", text_at(message, "params.args.0.value"));
    } else if (!strcmp(method, "Log.entryAdded")) {
        if (is_serious(text_at(message, "params.entry.level")))
            note(browser.complaints, "log", text_at(message, "params.entry.text"));
    } else if (!strcmp(method, "Network.requestWillBeSent")) {
        url = text_at(message, "params.request.url");
        if (strncmp(url, "data:", 5) && strcmp(url, browser.page))
            note(browser.requests, "request", url);
    }
}

// Waits for bytes and takes them into the buffer.
static void receive(double until)
{
    struct pollfd wait = {.fd = browser.from, .events = POLLIN};
    if (browser.size - browser.used < 65536) {
        browser.size = 2 * browser.size + 65536;
        browser.buffer = realloc(browser.buffer, browser.size);
        assert_non_null(browser.buffer);
    }
    double left = until - clock_seconds();
    if (left <= 0 || poll(&wait, 1, (int)(1000 * left) + 1) <= 0)
        fail_msg("%s did not answer within %d seconds", program(), LIMIT_SECONDS);
    ssize_t count = read(browser.from, browser.buffer + browser.used, 65536);
    if (count <= 0) fail_msg("%s ended", program());
    browser.used += (size_t)count;
}

// The next message.
static cJSON *next(double until)
{
    char *end;
    size_t seen = 0;
    while (!browser.used || !(end = memchr(browser.buffer + seen, 0, browser.used - seen))) {
        seen = browser.used;
        receive(until);
    }
    cJSON *message = cJSON_Parse(browser.buffer);
    size_t length = (size_t)(end - browser.buffer) + 1;
    memmove(browser.buffer, browser.buffer + length, browser.used - length);
    browser.used -= length;
    assert_non_null(message);
    return message;
}

static void put_all(const char *bytes, size_t size)
{
    for (ssize_t count; size; bytes += count, size -= (size_t)count)
        if ((count = write(browser.to, bytes, size)) <= 0)
            fail_msg("%s takes no message", program());
}

// Calls a method with params, which it takes, and gives the result, which the caller deletes.
static cJSON *call(const char *method, cJSON *params)
{
    double until = clock_seconds() + LIMIT_SECONDS;
    int id = ++browser.last;
    cJSON *message = cJSON_CreateObject();
    cJSON_AddNumberToObject(message, "id", id);
    cJSON_AddStringToObject(message, "method", method);
    cJSON_AddItemToObject(message, "params", params ? params : cJSON_CreateObject());
    if (browser.session[0]) cJSON_AddStringToObject(message, "sessionId", browser.session);
    char *text = cJSON_PrintUnformatted(message);
    cJSON_Delete(message);
    put_all(text, strlen(text) + 1);
    free(text);
    for (;;) {
        message = next(until);
        const cJSON *own = cJSON_GetObjectItemCaseSensitive(message, "id");
        if (cJSON_IsNumber(own) && own->valueint == id) break;
        take_event(message);
        cJSON_Delete(message);
    }
    cJSON *result = cJSON_DetachItemFromObject(message, "result");
    if (!result) fail_msg("%s: %s", method, text_at(message, "error.message"));
    cJSON_Delete(message);
    return result;
}

static void command(const char *method, cJSON *params)
{
    cJSON_Delete(call(method, params));
}

// An object from a printf of its JSON.
static cJSON *object(const char *format, ...) __attribute__((format(printf, 1, 2)));
static cJSON *object(const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cJSON *value = cJSON_Parse(text);
    assert_non_null(value);
    return value;
}

// ---- the page ----------------------------------------------------------------------------------

static void attach(void)
{
    cJSON *target = call("Target.createTarget", object("{\"url\":\"about:blank\"}"));
    cJSON *session = call("Target.attachToTarget", object("{\"targetId\":\"%s\",\"flatten\":true}",
                                                          text_at(target, "targetId")));
    snprintf(browser.session, sizeof browser.session, "%s", text_at(session, "sessionId"));
    cJSON_Delete(target);
    cJSON_Delete(session);
}

static void start(void)
{
    int to[2], from[2];
    signal(SIGPIPE, SIG_IGN);
    browser.folder = test_folder_make();
    assert_true(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    browser.pid = fork();
    assert_int_not_equal(browser.pid, -1);
    if (!browser.pid) become(browser.folder.text, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    browser.to = to[1];
    browser.from = from[0];
    attach();
    command("Runtime.enable", NULL);
    command("Log.enable", NULL);
    command("Network.enable", NULL);
    command("Page.enable", NULL);
}

void browser_open(int width, int height, bool dark)
{
    if (!is_installed(program())) {
        print_message("skipped: no %s here (Debian package chromium)\n", program());
        skip();
    }
    if (!browser.pid) start();
    command("Emulation.setDeviceMetricsOverride",
            object("{\"width\":%d,\"height\":%d,\"deviceScaleFactor\":1,\"mobile\":false}", width,
                   height));
    command("Emulation.setEmulatedMedia",
            object("{\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"%s\"}]}",
                   dark ? "dark" : "light"));
}

void browser_visit(const char *url)
{
    double until = clock_seconds() + LIMIT_SECONDS;
    browser.loaded = false;
    browser.complaints[0] = browser.requests[0] = 0;
    snprintf(browser.page, sizeof browser.page, "%.*s", (int)strcspn(url, "#"), url);
    command("Page.navigate", object("{\"url\":\"%s\"}", url));
    while (!browser.loaded) {
        cJSON *message = next(until);
        take_event(message);
        cJSON_Delete(message);
    }
}

const char *browser_complaints(void)
{
    return browser.complaints;
}

const char *browser_requests(void)
{
    return browser.requests;
}

cJSON *browser_value(const char *expression)
{
    cJSON *params = object("{\"returnByValue\":true,\"awaitPromise\":true,\"userGesture\":true}");
    cJSON_AddStringToObject(params, "expression", expression);
    cJSON *answer = call("Runtime.evaluate", params);
    const char *thrown = text_at(answer, "exceptionDetails.exception.description");
    if (cJSON_GetObjectItemCaseSensitive(answer, "exceptionDetails"))
        fail_msg("%s\n-> %s", expression, *thrown ? thrown : "exception");
    cJSON *result = cJSON_GetObjectItemCaseSensitive(answer, "result");
    cJSON *value = cJSON_DetachItemFromObject(result, "value");
    cJSON_Delete(answer);
    return value ? value : cJSON_CreateNull();
}

void browser_do(const char *expression)
{
    cJSON_Delete(browser_value(expression));
}

double browser_number(const char *expression)
{
    cJSON *value = browser_value(expression);
    if (!cJSON_IsNumber(value)) fail_msg("%s: no number", expression);
    double number = value->valuedouble;
    cJSON_Delete(value);
    return number;
}

char *browser_text(const char *expression)
{
    cJSON *value = browser_value(expression);
    if (!cJSON_IsString(value)) fail_msg("%s: no string", expression);
    char *text = strdup(value->valuestring);
    cJSON_Delete(value);
    return text;
}

void browser_check(const char *expression, const char *file, int line)
{
    cJSON *value = browser_value(expression);
    bool holds = cJSON_IsTrue(value);
    char *text = holds ? NULL : cJSON_PrintUnformatted(value);
    cJSON_Delete(value);
    if (holds) return;
    print_error("%s\nis %s\n", expression, text);
    free(text);
    _fail(file, line);
}

static void mouse(const char *type, double x, double y, const char *more)
{
    command("Input.dispatchMouseEvent",
            object("{\"type\":\"%s\",\"x\":%g,\"y\":%g%s}", type, x, y, more));
}

void browser_move(double x, double y)
{
    mouse("mouseMoved", x, y, "");
}

void browser_click(double x, double y)
{
    browser_move(x, y);
    mouse("mousePressed", x, y, ",\"button\":\"left\",\"clickCount\":1");
    mouse("mouseReleased", x, y, ",\"button\":\"left\",\"clickCount\":1");
}

void browser_wheel(double x, double y, double turn)
{
    char more[64];
    snprintf(more, sizeof more, ",\"deltaX\":0,\"deltaY\":%g", turn);
    mouse("mouseWheel", x, y, more);
}

void browser_key(const char *key)
{
    const char *text = !strcmp(key, "Enter") ? "\\r" : strlen(key) == 1 ? key : "";
    for (int up = 0; up < 2; up++)
        command("Input.dispatchKeyEvent",
                object("{\"type\":\"%s\",\"key\":\"%s\",\"code\":\"%s\",\"text\":\"%s\"%s}",
                       up      ? "keyUp"
                       : *text ? "keyDown"
                               : "rawKeyDown",
                       key, key, up ? "" : text,
                       !strcmp(key, "Enter") ? ",\"windowsVirtualKeyCode\":13" : ""));
}

void browser_click_on(const char *selector)
{
    char expression[1024];
    snprintf(expression, sizeof expression,
             "(() => { const e = document.querySelector(%s); e.scrollIntoView({block: 'center', "
             "behavior: 'instant'}); const r = e.getBoundingClientRect(); "
             "return [r.x + r.width / 2, r.y + r.height / 2]; })()",
             selector);
    cJSON *point = browser_value(expression);
    browser_click(cJSON_GetArrayItem(point, 0)->valuedouble,
                  cJSON_GetArrayItem(point, 1)->valuedouble);
    cJSON_Delete(point);
}

static int digit(char c)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(DIGITS, c) : NULL;
    return at ? (int)(at - DIGITS) : -1;
}

void browser_picture(const char *path)
{
    cJSON *answer = call("Page.captureScreenshot", NULL);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    unsigned bits = 0;
    int count = 0;
    for (const char *at = text_at(answer, "data"); digit(*at) >= 0; at++) { // base64
        bits = bits << 6 | (unsigned)digit(*at);
        count += 6;
        if (count < 8) continue;
        count -= 8;
        fputc((int)(bits >> count & 0xFF), file);
    }
    fclose(file);
    cJSON_Delete(answer);
}
