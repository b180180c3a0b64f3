/*
 * startup: libphp is started once, in the supervisor, before children are forked: what that makes
 * (extensions, OPcache's shared memory) is shared by all children of the generation. A graceful
 * restart executes the supervisor anew, so it begins with a fresh libphp and reads php.ini again,
 * while the old children keep what they were born with.
 */
#include "php.h"

#include "libphp.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Extensions find PHP's own functions in the global scope, and a module is loaded out of it. */
static enum mu_rc make_global(void)
{
    Dl_info info;

    if (dladdr((void *)(uintptr_t)&sapi_module, &info) &&
        dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD))
        return MU_OK;
    MU_LOG(NULL, "php", MU_LOG_EMERG, "MU1606",
           "libphp cannot be made global for its extensions: %s", dlerror());
    return MU_BAD;
}

/*
 * Where Debian keeps the settings of PHP in Apache httpd, they hold for this module too; elsewhere
 * libphp's own place. PHP reads the folder of further files from the environment, and keeps
 * pointers to what it was told: all of it is static, or as good as that.
 * Returns whether the environment was changed for the start.
 */
static bool choose_ini(sapi_module_struct *m, const char *ini)
{
    static char folder[64], file[80], scan[96];
    bool is_debian;

    (void)snprintf(folder, sizeof(folder), "/etc/php/%d.%d/apache2", PHP_MAJOR_VERSION,
                   PHP_MINOR_VERSION);
    (void)snprintf(file, sizeof(file), "%s/php.ini", folder);
    (void)snprintf(scan, sizeof(scan), "PHP_INI_SCAN_DIR=%s/conf.d", folder);
    is_debian = access(file, R_OK) == 0;
    if (ini)
        m->php_ini_path_override = strdup(ini);
    else if (is_debian && !getenv("PHPRC"))
        m->php_ini_path_override = folder;
    return is_debian && !getenv("PHP_INI_SCAN_DIR") && putenv(scan) == 0;
}

/* libphp.so has no version in its name: another one would fit the name and nothing else. */
static enum mu_rc check_version(void)
{
    static const char ours[] = "Zend Engine v" ZEND_VERSION;
    const char *theirs = get_zend_version();
    size_t n = (size_t)(strrchr(ours, '.') - ours) + 1;

    if (strncmp(theirs, ours, n) == 0)
        return MU_OK;
    MU_LOG(
        NULL, "php", MU_LOG_EMERG, "MU1607",
        "mod_php was built for PHP %s, and libphp.so is of another version (%.*s); build Muster again",
        PHP_VERSION, (int)strcspn(theirs, ",\n"), theirs);
    return MU_BAD;
}

enum mu_rc mu_php_startup(const char *ini)
{
    sapi_module_struct *m = mu_php_sapi();
    bool is_env_changed;
    int rc;

    if (make_global() != MU_OK)
        return MU_BAD;
    zend_signal_startup();
#ifdef ZEND_SIGNALS
    SIGG(reset) = 0; /* signals but SIGPROF's are the server's own */
#endif
    sapi_startup(m);
    is_env_changed = choose_ini(m, ini);
    rc = m->startup(m);
    if (is_env_changed)
        (void)unsetenv("PHP_INI_SCAN_DIR"); /* the next generation decides anew */
    if (rc != SUCCESS) {
        MU_LOG(NULL, "php", MU_LOG_EMERG, "MU1608",
               "PHP could not be started; the lines above say why");
        return MU_BAD;
    }
    mu_php_watch_forks();
    return check_version();
}

void mu_php_shutdown(void)
{
    php_module_shutdown();
    sapi_shutdown();
}
