// strata profile counters: the hardware counters that a device offers. Reading them around a kernel
// is gpu/counters.h's.
#include "cli.h"
#include "gpu/counters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_list(const GpuInfo *info, const Counter *list, uint32_t count)
{
    printf("%s, %s: ", info->name, info->driver);
    if (!count) printf("no counters (VK_KHR_performance_query)\n");
    if (count) printf("%u counters\n", count);
    for (uint32_t i = 0; i < count; i++) {
        const Counter *c = &list[i];
        if (!i || strcmp(c->category, list[i - 1].category)) printf("\n%s\n", c->category);
        printf("  %s%s%s%s\n", c->name, *c->unit ? " (" : "", c->unit, *c->unit ? ")" : "");
        if (*c->description) printf("      %s\n", c->description);
    }
}

static bool print_json(const GpuInfo *info, const Counter *list, uint32_t count, Error *err)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "device", info->name);
    cJSON_AddStringToObject(object, "driver", info->driver);
    cJSON *array = cJSON_AddArrayToObject(object, "counters");
    for (uint32_t i = 0; i < count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", list[i].name);
        cJSON_AddStringToObject(item, "category", list[i].category);
        cJSON_AddStringToObject(item, "description", list[i].description);
        cJSON_AddStringToObject(item, "unit", list[i].unit);
        cJSON_AddStringToObject(item, "scope", list[i].scope);
        cJSON_AddItemToArray(array, item);
    }
    return cli_print_json(object, err);
}

static int run(const char *device, bool json)
{
    Error err;
    Counter *list = NULL;
    uint32_t count = 0;
    Gpu *gpu = gpu_open_counting(device, &err);
    bool ok = gpu && counters_list(&list, &count, gpu, &err);
    if (ok && json) ok = print_json(gpu_info(gpu), list, count, &err);
    if (ok && !json) print_list(gpu_info(gpu), list, count);
    free(list);
    gpu_close(gpu);
    return ok ? EXIT_OK : cli_fail(&err);
}

int cmd_profile_counters(int argc, char **argv)
{
    static const char usage[] = "strata profile counters [--device N|NAME] [--json]";
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"device", required_argument, NULL, 'D'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    const char *device = NULL;
    bool json = false;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 'h') {
            printf("usage: %s\n", usage);
            return EXIT_OK;
        }
        if (option != 'D' && option != 'j') return cli_bad_option(usage, argv);
        if (option == 'D') device = optarg;
        json |= option == 'j';
    }
    if (optind != argc) return cli_usage(usage, "profile counters takes no argument");
    return run(device, json);
}
