/* mod_hello: "SetHandler hello" answers with HelloText. The example of a module built outside the tree. */
#include <muster/module.h>

struct hello_conf {
    struct mu_str text;
};

static const struct mu_directive directives[] = { MU_DIR_STR("HelloText", struct hello_conf, text,
                                                             MU_IN_SERVER | MU_IN_DIR,
                                                             "Text sent to the client"),
                                                  MU_DIR_END };

static void init(void *conf)
{
    ((struct hello_conf *)conf)->text = MU_S("Hello from Muster.\n");
}

static enum mu_status hello(struct mu_req *r, const void *conf)
{
    const struct hello_conf *c = conf; /* merged already */

    mu_resp_type(r, MU_S("text/plain"));
    return mu_resp_send(r, MU_200_OK, c->text); /* may suspend */
}

MU_MODULE(hello, .conf_size = sizeof(struct hello_conf), .directives = directives, .init = init,
          .handlers = MU_HANDLERS({ "hello", hello, MU_GET | MU_HEAD, false, false }));
