// strata devices: what is there, what it can do, and which one would be chosen.
#include "cli.h"

#include <stdio.h>

enum { MOST = 32 };

static double gib(uint64_t bytes)
{
    return (double)bytes / (1 << 30);
}

static void feature(const char *name, bool there)
{
    if (there) printf(" %s", name);
}

static void print(size_t i, const GpuInfo *info)
{
    printf("%zu: %s (%s)%s\n", i, info->name, info->kind, info->chosen ? "  <- chosen" : "");
    printf("   driver     %s, Vulkan %s\n", info->driver, info->vulkan);
    printf("   memory     %.2f GiB device-local, %.2f GiB host-visible; one allocation %.2f GiB, "
           "one binding %.3f GiB, one texel view %.3f GiB\n",
           gib(info->local_bytes), gib(info->host_bytes), gib(info->allocation_bytes),
           gib(info->binding_bytes), gib(info->texel_bytes));
    printf("   compute    subgroup %u, workgroup %u invocations, %u KiB shared, %u storage "
           "buffers\n",
           info->subgroup_size, info->group_lanes, info->shared_bytes / 1024, info->bindings);
    printf("   optional  ");
    feature("subgroup-shuffle", info->subgroup_shuffle);
    feature("subgroup-arithmetic", info->subgroup_arithmetic);
    feature("float16", info->float16);
    feature("storage16", info->storage16);
    feature("storage8", info->storage8);
    feature("int64", info->int64);
    feature("integer-dot", info->integer_dot);
    feature("cooperative-matrix", info->cooperative_matrix);
    feature("timestamps", info->timestamps);
    printf("\n");
    if (info->problem[0]) printf("   unusable   %s\n", info->problem);
}

int cmd_devices(int argc, char **argv)
{
    static const char usage[] = "strata devices [--device N|NAME]";
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"device", required_argument, NULL, 'D'}, {0}};
    const char *device = NULL;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 'h') {
            printf("usage: %s\n", usage);
            return EXIT_OK;
        }
        if (option != 'D') return cli_bad_option(usage, argv);
        device = optarg;
    }
    if (optind != argc) return cli_usage(usage, "devices takes no argument");
    GpuInfo infos[MOST];
    size_t count;
    Error err;
    if (!gpu_list(infos, MOST, &count, device, &err)) return cli_fail(&err);
    for (size_t i = 0; i < count; i++) print(i, &infos[i]);
    return EXIT_OK;
}
