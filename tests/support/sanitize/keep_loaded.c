// Preloaded into the tests of the sanitize build: nothing is ever unloaded. A library that is gone
// when LeakSanitizer looks cannot be named in a report, nor its globals searched for pointers.
// Not part of strata.

// <dlfcn.h> is not included: its declaration of handle as nonnull would only be in the way.
int dlclose(void *handle);

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
