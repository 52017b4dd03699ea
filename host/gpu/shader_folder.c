// GLSL compiled at run time through libshaderc, for those who tune shaders:
// STRATA_SHADER_DIR/FILE.comp at start, or any file in a kernel's place.
#define _POSIX_C_SOURCE 200809L
#include "gpu/internal.h"
#include "base/file.h"

#include <shaderc/shaderc.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCE_LIMIT = 1 << 22, INCLUDE_DEPTH = 16 };

// Where the files lie that a shader includes.
typedef struct {
    char folder[1024];
    const char *other; // where it is not there; may be NULL
    bool embedded;     // where it is in neither: what the program was made with
} Folders;

// An #include "..." of a shader.
typedef struct {
    shaderc_include_result result;
    char path[1024];
    char *text;
    Error error;
} Include;

// The file's text in *include, or an error; one of the program's own is copied.
static void find_include(Include *include, size_t *size, const Folders *folders, const char *name)
{
    const char *own = folders->embedded ? gpu_shader_text(name) : NULL;
    if (!path_join(include->path, sizeof include->path, folders->folder, name, &include->error))
        return;
    if (folders->other && !file_exists(include->path) &&
        !path_join(include->path, sizeof include->path, folders->other, name, &include->error))
        return;
    if (!own || file_exists(include->path)) {
        file_read(&include->text, size, include->path, SOURCE_LIMIT, &include->error);
        return;
    }
    snprintf(include->path, sizeof include->path, "%s", name);
    include->text = strdup(own);
    *size = strlen(own);
    if (!include->text) error_set(&include->error, "%s: out of memory", name);
}

static shaderc_include_result *open_include(void *folders, const char *name, int type,
                                            const char *from, size_t depth)
{
    (void)type;
    Include *include = calloc(1, sizeof *include);
    if (!include) abort(); // shaderc offers no way to say so
    size_t size = 0;
    if (depth > INCLUDE_DEPTH) // a file that includes itself would go on until the stack ends
        error_set(&include->error, "%s: files include one another more than %d deep", from,
                  INCLUDE_DEPTH);
    else
        find_include(include, &size, folders, name);
    if (include->text) {
        include->result.source_name = include->path;
        include->result.source_name_length = strlen(include->path);
        include->result.content = include->text;
        include->result.content_length = size;
    } else { // an empty source name marks a failure; the content is its message
        include->result.source_name = "";
        include->result.content = include->error.text;
        include->result.content_length = strlen(include->error.text);
    }
    include->result.user_data = include;
    return &include->result;
}

static void close_include(void *folders, shaderc_include_result *result)
{
    (void)folders;
    Include *include = result->user_data;
    free(include->text);
    free(include);
}

// The first error of shaderc's log: "file:line: error: message".
static bool report(const char *path, const char *log, Error *err)
{
    const char *first = strstr(log, "error: "); // warnings may stand before it
    while (first && first > log && first[-1] != '\n') first--;
    if (first) log = first;
    size_t length = strcspn(log, "\n");
    if (!length) return error_set(err, "%s: cannot be compiled", path);
    return error_set(err, "%.*s", (int)length, log);
}

static bool copy_words(uint32_t **words, size_t *count, shaderc_compilation_result_t result)
{
    size_t bytes = shaderc_result_get_length(result);
    *words = malloc(bytes);
    if (!*words) return false;
    memcpy(*words, shaderc_result_get_bytes(result), bytes);
    *count = bytes / sizeof(uint32_t);
    return true;
}

static void define_macros(shaderc_compile_options_t options, const char *macros)
{
    for (const char *at = macros; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        shaderc_compile_options_add_macro_definition(options, at, length, "", 0);
        at += length;
    }
}

static void set_options(shaderc_compile_options_t options, Folders *folders, const char *macros)
{
    shaderc_compile_options_set_target_env(options, shaderc_target_env_vulkan,
                                           shaderc_env_version_vulkan_1_2);
    shaderc_compile_options_set_optimization_level(options, shaderc_optimization_level_performance);
    // An older #version makes glslang print its own built-ins as errors.
    shaderc_compile_options_set_forced_version_profile(options, 450, shaderc_profile_none);
    shaderc_compile_options_set_include_callbacks(options, open_include, close_include, folders);
    define_macros(options, macros);
}

static bool compile_text(uint32_t **words, size_t *count, Folders *folders, const char *path,
                         const char *macros, const char *text, size_t size, Error *err)
{
    // Without a version libshaderc takes one of its own and fails over its own built-ins.
    if (!strstr(text, "#version")) return error_set(err, "%s:1: error: no #version", path);
    shaderc_compiler_t compiler = shaderc_compiler_initialize();
    shaderc_compile_options_t options = shaderc_compile_options_initialize();
    bool ok = compiler && options;
    if (ok) {
        set_options(options, folders, macros);
        shaderc_compilation_result_t result = shaderc_compile_into_spv(
            compiler, text, size, shaderc_compute_shader, path, "main", options);
        ok = result &&
             shaderc_result_get_compilation_status(result) == shaderc_compilation_status_success;
        if (!ok)
            report(path, result ? shaderc_result_get_error_message(result) : "", err);
        else if (!copy_words(words, count, result))
            ok = error_set(err, "%s: out of memory", path);
        if (result) shaderc_result_release(result);
    } else {
        error_set(err, "%s: libshaderc cannot start", path);
    }
    if (options) shaderc_compile_options_release(options);
    if (compiler) shaderc_compiler_release(compiler);
    return ok;
}

static bool compile_file(uint32_t **words, size_t *count, Folders *folders, const char *path,
                         const char *macros, Error *err)
{
    char *text;
    size_t size;
    if (!file_read(&text, &size, path, SOURCE_LIMIT, err)) return false;
    bool ok = compile_text(words, count, folders, path, macros, text, size, err);
    free(text);
    return ok;
}

bool shader_folder_compile(uint32_t **words, size_t *count, const char *folder,
                           const KernelSource *source, Error *err)
{
    char path[1024], file[128];
    Folders folders = {.other = NULL};
    snprintf(file, sizeof file, "%s.comp", source->file);
    snprintf(folders.folder, sizeof folders.folder, "%s", folder);
    *words = NULL;
    if (!path_join(path, sizeof path, folder, ".", err)) return false;
    if (!file_exists(path)) // FOLDER/. : a file is no folder
        return error_set(err, "STRATA_SHADER_DIR: %s: no such folder", folder);
    if (!path_join(path, sizeof path, folder, file, err)) return false;
    if (!file_exists(path)) return true; // the embedded kernel serves
    return compile_file(words, count, &folders, path, source->macros, err);
}

bool shader_file_compile(uint32_t **words, size_t *count, const char *path,
                         const KernelSource *source, Error *err)
{
    const char *other = getenv("STRATA_SHADER_DIR"), *slash = strrchr(path, '/');
    Folders folders = {.folder = ".", .other = other && *other ? other : NULL, .embedded = true};
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof folders.folder) return error_set(err, "%s: the path is too long", path);
    if (slash) memcpy(folders.folder, path, length ? length : 1); // "/" is a folder, too
    if (slash) folders.folder[length ? length : 1] = 0;
    *words = NULL;
    return compile_file(words, count, &folders, path, source->macros, err);
}
