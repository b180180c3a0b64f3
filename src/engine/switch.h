/* The context switch: assembler, one file an architecture (switch_x86_64.S, switch_aarch64.S). */
#ifndef MU_ENGINE_SWITCH_H
#define MU_ENGINE_SWITCH_H

/**
 * Save the callee-saved registers on the present stack, its pointer in *save, and go on where `to`
 * was saved. The floating-point control words (rounding, exception masks) are part of the state, as
 * the ABIs say; sticky exception flags are not.
 */
void mu_ctx_switch(void **save, void *to);
/**
 * Prepare the stack that ends at `top` so that switching to the result calls entry(arg), which
 * never returns.
 */
void *mu_ctx_prepare(void *top, void (*entry)(void *arg), void *arg);
/** Call fn(arg) on the stack that ends at `top`, and come back. */
void mu_ctx_call(void *top, void (*fn)(void *arg), void *arg);

#endif
