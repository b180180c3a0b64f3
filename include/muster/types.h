/* Types everybody shares: result codes, HTTP status, borrowed strings, contract attributes. */
#ifndef MUSTER_TYPES_H
#define MUSTER_TYPES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#define MU_NODISCARD __attribute__((warn_unused_result))
#define MU_PRINTF(f, a) __attribute__((format(printf, f, a)))
/** What carries this may park the calling fiber: hold no mutex across it. */
#define MU_MAY_SUSPEND
#define MU_LIKELY(x) __builtin_expect(!!(x), 1)
#define MU_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MU_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MU_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/** Result of an operation inside the server. Never an HTTP status, never an errno. */
enum mu_rc {
    MU_OK = 0,
    MU_EOF,     /**< orderly end of the data */
    MU_AGAIN,   /**< would block: only from calls named …_try_… */
    MU_TIMEOUT, /**< the deadline passed */
    MU_GONE,    /**< peer left, or the fiber was cancelled: return normally */
    MU_NOMEM,   /**< out of memory or a pool is exhausted */
    MU_LIMIT,   /**< a configured limit was exceeded */
    MU_BAD,     /**< malformed input */
    MU_NOENT,   /**< there is no such thing */
    MU_DENIED,  /**< not allowed */
    /** a system call failed; the callee logged it or errno is documented to be valid */
    MU_EIO,
};

/** HTTP status. MU_STATUS_NONE from a hook or handler means "not mine, go on". */
enum mu_status {
    MU_STATUS_NONE = 0,
    MU_100_CONTINUE = 100,
    MU_101_SWITCHING_PROTOCOLS = 101,
    MU_200_OK = 200,
    MU_201_CREATED = 201,
    MU_204_NO_CONTENT = 204,
    MU_206_PARTIAL_CONTENT = 206,
    MU_300_MULTIPLE_CHOICES = 300,
    MU_301_MOVED_PERMANENTLY = 301,
    MU_302_FOUND = 302,
    MU_303_SEE_OTHER = 303,
    MU_304_NOT_MODIFIED = 304,
    MU_307_TEMPORARY_REDIRECT = 307,
    MU_308_PERMANENT_REDIRECT = 308,
    MU_400_BAD_REQUEST = 400,
    MU_401_UNAUTHORIZED = 401,
    MU_403_FORBIDDEN = 403,
    MU_404_NOT_FOUND = 404,
    MU_405_METHOD_NOT_ALLOWED = 405,
    MU_408_REQUEST_TIMEOUT = 408,
    MU_410_GONE = 410,
    MU_411_LENGTH_REQUIRED = 411,
    MU_412_PRECONDITION_FAILED = 412,
    MU_413_CONTENT_TOO_LARGE = 413,
    MU_414_URI_TOO_LONG = 414,
    MU_415_UNSUPPORTED_MEDIA_TYPE = 415,
    MU_416_RANGE_NOT_SATISFIABLE = 416,
    MU_417_EXPECTATION_FAILED = 417,
    MU_421_MISDIRECTED_REQUEST = 421,
    MU_426_UPGRADE_REQUIRED = 426,
    MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE = 431,
    MU_500_INTERNAL_SERVER_ERROR = 500,
    MU_501_NOT_IMPLEMENTED = 501,
    MU_502_BAD_GATEWAY = 502,
    MU_503_SERVICE_UNAVAILABLE = 503,
    MU_504_GATEWAY_TIMEOUT = 504,
    MU_505_HTTP_VERSION_NOT_SUPPORTED = 505,
};

/** Borrowed bytes, not NUL-terminated unless the giver says so. p may be NULL when n is 0. */
struct mu_str {
    const char *p;
    size_t n;
};

/** A literal as a mu_str. */
#define MU_S(lit) ((struct mu_str){ .p = "" lit, .n = sizeof(lit) - 1 })
#define MU_STR_NULL ((struct mu_str){ NULL, 0 })
/** For printf: "%.*s", MU_FMT(s). */
#define MU_FMT(s) (int)(s).n, ((s).p ? (s).p : "")

#endif
