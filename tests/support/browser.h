// A headless Chromium (Debian's package chromium), driven through its own pipe: opens a page, runs
// expressions in it, presses keys and buttons, and remembers what it complained of and asked for.
// One at a time. Fails the running cmocka test; where there is no Chromium, skips it and says so.
#ifndef STRATA_TESTS_SUPPORT_BROWSER_H
#define STRATA_TESTS_SUPPORT_BROWSER_H

#include "base/json.h"

// $STRATA_TEST_CHROMIUM or chromium, with a folder of its own and no network; stays for the tests
// that follow. The window is of that size; `dark` is what prefers-color-scheme says.
void browser_open(int width, int height, bool dark);
// Ends it, if it runs. In the teardown of the group.
void browser_close(void);

// Opens a page and waits until it is loaded.
void browser_visit(const char *url);
// What the console was told as warnings and errors, uncaught exceptions and failed loads since
// browser_visit, a line each; "" where there is nothing.
const char *browser_complaints(void);
// What was asked for since browser_visit other than that page itself and data: URLs, a line each.
const char *browser_requests(void);

// The value of a JavaScript expression, or of the promise that it is. The caller deletes it.
cJSON *browser_value(const char *expression);
void browser_do(const char *expression); // whatever it gives
double browser_number(const char *expression);
// The caller frees.
char *browser_text(const char *expression);
// Fails unless the expression is true.
#define assert_page(expression) browser_check(expression, __FILE__, __LINE__)
void browser_check(const char *expression, const char *file, int line);

// Clicks at a point of the window; presses a key ("Enter", "ArrowRight", "+" ...); turns the wheel.
void browser_click(double x, double y);
void browser_key(const char *key);
void browser_wheel(double x, double y, double turn);
void browser_move(double x, double y);
// The middle of the first element that the selector finds, scrolled into the window, is clicked.
void browser_click_on(const char *selector);
// What the window shows, as a PNG.
void browser_picture(const char *path);

#endif
