// Fields of JSON that must be there, as tests read what strata printed. Fails the running cmocka
// test itself.
#ifndef STRATA_TESTS_SUPPORT_JSON_FIELDS_H
#define STRATA_TESTS_SUPPORT_JSON_FIELDS_H

#include "base/json.h"

const cJSON *field_item(const cJSON *object, const char *key);
double field_number(const cJSON *object, const char *key);
const char *field_text(const cJSON *object, const char *key);

#endif
