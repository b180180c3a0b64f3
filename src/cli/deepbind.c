/*
 * deepbind: in sanitized builds alone. PHP loads its extensions with RTLD_DEEPBIND, which keeps the
 * sanitizers' own functions away from them, so the sanitizers refuse it and end the process. The
 * program's dlopen comes before theirs: it takes that flag away and calls theirs.
 */
#include <dlfcn.h>
#include <stdlib.h>

void *dlopen(const char *file, int mode)
{
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");

    if (!next)
        abort();
    return next(file, mode & ~RTLD_DEEPBIND);
}
