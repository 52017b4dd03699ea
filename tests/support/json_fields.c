// Fields of JSON that must be there: see json_fields.h.
#include "support/json_fields.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

const cJSON *field_item(const cJSON *object, const char *key)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!found) fail_msg("no key '%s'", key);
    return found;
}

double field_number(const cJSON *object, const char *key)
{
    assert_true(cJSON_IsNumber(field_item(object, key)));
    return field_item(object, key)->valuedouble;
}

const char *field_text(const cJSON *object, const char *key)
{
    assert_true(cJSON_IsString(field_item(object, key)));
    return field_item(object, key)->valuestring;
}
