/* libphp's headers, in the order they want. */
#ifndef MU_PHP_LIBPHP_H
#define MU_PHP_LIBPHP_H

#include <php.h>

#include <SAPI.h>
#include <ext/standard/head.h>
#include <ext/standard/info.h>
#include <php_main.h>
#include <php_output.h>
#include <php_variables.h>
#include <zend_ini.h>
#include <zend_signal.h>
#include <zend_stream.h>

#ifdef ZTS
#error "mod_php wants a PHP without threads (NTS): one request at a time in a process"
#endif

#endif
