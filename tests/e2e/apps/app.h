/* What the commands of testapp need of the way it is run: a body to read, an answer to write. */
#ifndef MU_TESTAPP_H
#define MU_TESTAPP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** One request, by CGI or by FastCGI. */
struct app {
    char **env; /**< "NAME=value", NULL at the end */
    bool is_fcgi;
    bool has_head;    /**< the head was written */
    char head[16384]; /**< fields gathered for it */
    size_t head_len;
    const char *marks; /**< file that `mark` appends to */
    uint32_t status;   /**< application status, or the exit status of a CGI program */
    uint8_t protocol_status;
    bool is_cut; /**< end the connection without a word */
};

/** Value of a variable of the request; NULL when it is not there. */
const char *app_env(const struct app *a, const char *name);
/** Up to cap bytes of the body; 0 at its end. A lost connection ends this request. */
size_t app_read(struct app *a, void *buf, size_t cap);
void app_write(struct app *a, const void *p, size_t n);
void app_flush(struct app *a);
void app_err(struct app *a, const char *text);
/** Bytes on the connection that are no record. FastCGI only. */
void app_write_raw(struct app *a, const void *p, size_t n);
/** FastCGI: wait for the record ABORT_REQUEST (true) or the end of the connection (false). */
bool app_await_abort(struct app *a);

/** Carry out the commands of the query string. */
void app_run(struct app *a);

/** Accept and answer on `listener` until told to end, or `max` requests were answered (0: any number). */
void fcgi_serve(int listener, const char *marks, unsigned max);
void fcgi_flush(void);
size_t fcgi_read(void *buf, size_t cap);
void fcgi_write(const void *p, size_t n);
void fcgi_err(const char *text);
void fcgi_raw(const void *p, size_t n);
bool fcgi_await_abort(void);

#endif
